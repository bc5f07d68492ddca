"""The end of a process that serves programs: streams end within a time, and nothing new is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from adapters.web.openai.faults import LEAVING
from bot.testing import ScriptedEngine
from tests.house import DEADLINE, until
from tests.programs import CHAT, DONE, HELLO, error, program
from tests.web import Site, site


@asynccontextmanager
async def ending(folder: Path, **chat: float) -> AsyncIterator[tuple[Site, asyncio.Event, asyncio.Task[None]]]:
    """A site that ends when the event is set, and the task that is it."""
    made: asyncio.Future[Site] = asyncio.get_running_loop().create_future()
    end = asyncio.Event()

    async def run() -> None:
        engine = ScriptedEngine(lambda _: "word " * 20)
        async with site(folder, engine=engine, chat=chat) as home:
            made.set_result(home)
            await end.wait()

    task = asyncio.create_task(run())
    try:
        yield await asyncio.wait_for(made, DEADLINE), end, task
    finally:
        end.set()
        await asyncio.wait_for(task, DEADLINE)


def held(home: Site) -> asyncio.Event:
    """Let streams stop after three tokens until this is set, whatever else is resumed."""
    home.engine.stall_after = 3
    waiting, home.engine.resume = asyncio.Event(), asyncio.Event()
    home.engine.resume = waiting
    return waiting


async def test_a_stop_lets_streams_end_and_takes_no_new_ones(tmp_path: Path) -> None:
    async with ending(tmp_path) as (home, end, task), program(home) as first, program(home) as second:
        resume = held(home)
        whole = asyncio.create_task(second.post(CHAT, {"model": "default", "messages": HELLO}))
        async with aclosing(first.live(CHAT, {"messages": HELLO})) as stream:
            for _ in range(4):
                await anext(stream)
            await until(lambda: home.engine.active == 2, "both in progress")
            home.engine.resume = asyncio.Event()  # the one that the site sets when it ends is another
            assert home.page.api is not None
            end.set()
            await until(lambda: refuses(home), "the stop")
            for method, path in (("POST", CHAT), ("GET", "/models")):
                refused = await second.send(method, path, json={"model": "default", "messages": HELLO})
                assert (refused.status, error(refused)["type"]) == (503, "server_error")
                assert int(refused.headers["Retry-After"]) > 0
            assert not task.done()
            resume.set()
            rest = [chunk async for chunk in stream]
            assert rest[-1] == DONE
            assert rest[-2]["choices"][0]["finish_reason"] == "stop"
        assert (await whole).json["choices"][0]["message"]["content"] == "word " * 20
        await asyncio.wait_for(task, DEADLINE)
        assert len(home.engine.requests) == 2


def refuses(home: Site) -> bool:
    """Whether the page takes no message any more."""
    return home.page.server.leaving


async def test_what_does_not_end_is_told_so_when_the_time_is_up(tmp_path: Path) -> None:
    """A stream in its last event, a whole answer by its status; and the engine is free."""
    async with ending(tmp_path, drain=0.2) as (home, end, task), program(home) as asker, program(home) as other:
        held(home)
        whole = asyncio.create_task(other.post(CHAT, {"model": "default", "messages": HELLO}))
        stream = asker.live(CHAT, {"messages": HELLO})
        got = [await anext(stream) for _ in range(4)]
        await until(lambda: home.engine.generated == 6, "both standing still")
        home.engine.resume = asyncio.Event()
        end.set()
        *rest, last = [chunk async for chunk in stream]
        assert (last["error"]["type"], last["error"]["message"]) == ("server_error", LEAVING)
        assert not any(chunk["choices"][0]["finish_reason"] for chunk in [*got, *rest])
        refused = await whole
        assert (refused.status, error(refused)) == (503, last["error"])
        assert int(refused.headers["Retry-After"]) > 0
        await asyncio.wait_for(task, DEADLINE)
        assert home.engine.active == 0
