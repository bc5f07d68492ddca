"""Programs that send too much, go away, do not read or come in crowds: the others are answered, and nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.web.openai import body
from bot.generation import Generation
from bot.testing import ScriptedEngine
from tests.house import DEADLINE, until
from tests.programs import CHAT, DONE, HELLO, Program, error, program
from tests.web import Site, site, status

VANISHING, IDLE, FLOOD = 64, 1000, 64
MEBIBYTE = 2**20
SLOTS = 8
"""Of a configured model."""


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, engine=ScriptedEngine(lambda _: "word " * 200)) as made:
        yield made


def head(home: Site, length: int, kind: str = "application/json") -> bytes:
    """The head of a request for a chat completion, as a program sends it."""
    return home.request(f"POST /v1{CHAT} HTTP/1.1", f"Content-Type: {kind}", f"Content-Length: {length}")


async def test_a_body_of_26_mb_is_refused_before_it_has_come(home: Site) -> None:
    answer = await home.raw(head(home, 26 * MEBIBYTE) + b'{"model": "')
    assert status(answer) == 413
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
    assert home.engine.requests == []


async def test_a_body_that_never_ends_is_not_waited_for(home: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "SECONDS", 0.1)
    answer = await home.raw(head(home, 1000) + b'{"model": "')
    assert status(answer) == 408


async def test_a_thousand_idle_connections_keep_nobody_out(home: Site) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", home.port) for _ in range(IDLE)]
    try:
        async with program(home) as asker:
            assert (await asker.chat())["choices"][0]["finish_reason"] == "stop"
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def test_programs_that_vanish_in_the_middle_leave_the_engine_and_the_memory(home: Site) -> None:
    home.engine.stall_after = 3
    await vanish(home)
    objects = counted()
    for _ in range(3):
        await vanish(home)
    assert counted() <= objects * 1.02, "what three crowds more have left behind"
    home.engine.stall_after = None
    async with program(home) as asker:
        assert (await asker.chat())["choices"][0]["finish_reason"] == "stop"


async def vanish(home: Site) -> None:
    """64 programs are told the first words, as many at a time as are served, and all break off."""
    asking = json.dumps({"model": "default", "messages": HELLO, "stream": True}).encode()
    opened = []
    for _ in range(VANISHING):
        reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
        writer.write(head(home, len(asking)) + asking)
        opened.append((reader, writer))
    await until(lambda: home.engine.active == SLOTS - 1, "as many streams as one caller may have")
    reading = [asyncio.create_task(reader.readuntil(b'"content": "w"')) for reader, _ in opened]
    done, waiting = await asyncio.wait(reading, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
    assert done
    for task in waiting:
        task.cancel()
    for _, writer in opened:
        writer.transport.abort()
    await asyncio.gather(*reading, return_exceptions=True)
    await until(lambda: home.engine.active == 0, "the end of the streams")
    scheduler = (await home.app.registry.get("default")).scheduler
    await asyncio.wait_for(scheduler.idle(), DEADLINE)


def counted() -> int:
    """Objects that live."""
    gc.collect()
    return len(gc.get_objects())


async def test_a_person_is_answered_while_a_program_floods(home: Site) -> None:
    """No program has all slots: the person's question is in the engine although not one of its streams has ended."""
    home.engine.stall_after = 1
    async with program(home) as flooding, home.browser() as browser:
        flood = [asyncio.create_task(begun_and_held(flooding)) for _ in range(FLOOD)]
        await until(lambda: home.engine.active == SLOTS - 1, "the flood")
        where = await browser.begin()
        await browser.say(where, "a question of a person")
        await until(lambda: "a question of a person" in prompt(home.engine.requests[-1], home.engine), "the person")
        assert len(home.engine.requests) == SLOTS
        home.engine.stall_after = None
        home.engine.resume.set()
        assert (await browser.settled(where))["messages"][-1]["text"].startswith("word ")
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def begun_and_held(program: Program) -> None:
    async for _ in program.live(CHAT, {"messages": HELLO}):
        pass


def prompt(request: Generation, engine: ScriptedEngine) -> str:
    return engine.decode(request.prompt)


async def test_a_stop_lets_streams_end_and_takes_no_new_ones(home: Site) -> None:
    home.engine.stall_after = 2
    async with program(home) as first, program(home) as second:
        stream = first.live(CHAT, {"messages": HELLO})
        assert (await anext(stream))["choices"]
        home.page.refuse()
        refused = await second.post(CHAT, {"model": "default", "messages": HELLO})
        assert (refused.status, error(refused)["type"]) == (503, "server_error")
        assert int(refused.headers["Retry-After"]) > 0
        draining = asyncio.create_task(home.page.drain(DEADLINE))
        await asyncio.sleep(0)
        assert not draining.done()
        home.engine.resume.set()
        rest = [chunk async for chunk in stream]
        assert rest[-1] == DONE
        await asyncio.wait_for(draining, DEADLINE)


async def test_a_stream_that_does_not_end_is_broken_off_when_the_time_is_up(home: Site) -> None:
    home.engine.stall_after = 2
    async with program(home) as asker:
        stream = asker.live(CHAT, {"messages": HELLO})
        await anext(stream)
        await asyncio.wait_for(home.page.drain(0.05), DEADLINE)
        with suppress(Exception):
            await stream.aclose()
