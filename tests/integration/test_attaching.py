"""Commands find the process that runs or become it, and their questions outlive it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

import adapters.console.client
from adapters.console.client import Client
from adapters.console.wire import RESTART_SECONDS
from bot.app import App, running
from bot.attaching import Start, attached
from bot.config import Config, ModelConfig
from bot.errors import InUse, StartError
from bot.messages import Command, Message, Outgoing
from bot.ports import ChatEngine
from bot.testing import MemoryAdapter, ScriptedEngine
from tests.console import GROWING, LOCAL, Bot, ask, console, refused
from tests.house import ADA, DEADLINE, configuration, place, until

HELD = Message(key=place(), event_id="1", author=ADA, text="hi", sent_at=datetime.now(UTC), direct=True)


class Process:
    """What `attached` starts: a whole Hearth with a scripted model, and a platform whose calls last until `let_go`."""

    def __init__(self, folder: Path, stall_after: int | None = None) -> None:
        self.settings = configuration(data_dir=folder / "data")
        self.engine = ScriptedEngine()
        self._stall_after = stall_after
        self.let_go = asyncio.Event()
        self.platform = MemoryAdapter(sleep=self._hold, seconds_per_call=1.0)
        self.apps: list[App] = []
        """That were started."""

    async def _hold(self, seconds: float) -> None:
        await self.let_go.wait()

    async def _load(self, alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        self.engine = ScriptedEngine()
        self.engine.stall_after = self._stall_after
        return self.engine

    @asynccontextmanager
    async def start(self) -> AsyncIterator[App]:
        loaders = {".fake": self._load}
        async with running(self.settings, loaders=loaders, adapters=[("bot", self.platform)]) as app:
            self.apps.append(app)
            yield app


async def at(settings: Config, start: Start, text: str) -> str:
    """Ask as a command does, in a conversation of its own."""

    async def say(client: Client) -> str:
        return str((await ask(client, text, conversation=text))[-1]["text"])

    return await attached(settings.socket, start, say)


async def test_a_message_between_the_last_answer_and_the_end_is_not_received(tmp_path: Path) -> None:
    """Nobody would answer it: the process that a command is has begun to end. A platform's slow call makes that long."""
    here = Process(tmp_path, stall_after=3)
    waiting: list[asyncio.Task[str]] = []
    used = asyncio.Event()

    async def use(client: Client) -> None:
        await here.platform.say(HELD)
        waiting.append(asyncio.create_task(at(here.settings, here.start, "hello")))
        await until(lambda: here.engine.active == 2, "two answers")
        used.set()

    leaving = asyncio.create_task(attached(here.settings.socket, here.start, use))
    await until(used.is_set, "the use of the process")
    (app,) = here.apps
    here.engine.resume.set()
    await app.console.unwatched.wait()
    assert await refused(here.settings.socket) == (503, "0")
    assert await app.store.find_sent(LOCAL, "late") is None
    assert await waiting[0] == "You said: hello"
    assert not leaving.done()
    here.let_go.set()
    await leaving
    assert [message.text for message in here.platform.standing(place())] == ["You said: hi"]


async def test_a_process_that_was_told_to_stop_takes_no_message(tmp_path: Path) -> None:
    """What is in progress is finished; who comes now may ask again once somebody has had time to start it anew."""
    here = Process(tmp_path)
    stop, stopped = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        async with here.start():
            await stop.wait()
            stopped.set()

    serving = asyncio.create_task(serve())
    await until(lambda: len(here.apps) == 1, "the start")
    await here.platform.say(HELD)
    await until(lambda: here.apps[0].dispatcher.in_progress == 1, "the answer")
    stop.set()
    await stopped.wait()
    assert await refused(here.settings.socket) == (503, str(RESTART_SECONDS))
    assert await here.apps[0].store.find_sent(LOCAL, "late") is None
    here.let_go.set()
    await serving


async def test_who_is_refused_becomes_the_next_process(tmp_path: Path) -> None:
    """It waits until the one that ends has given the others their answers."""
    first, next_ = Process(tmp_path, stall_after=3), Process(tmp_path)
    one = asyncio.create_task(at(first.settings, first.start, "one"))
    await until(lambda: first.engine.active == 1, "the first question")
    two = asyncio.create_task(at(first.settings, first.start, "two"))
    await until(lambda: first.engine.active == 2, "the second question")
    first.apps[0].console.refuse(retry_after=0)
    three = asyncio.create_task(at(next_.settings, next_.start, "three"))
    await asyncio.wait([three], timeout=0.3)
    assert next_.apps == []
    first.engine.resume.set()
    assert [await one, await two, await three] == ["You said: one", "You said: two", "You said: three"]
    assert (len(first.apps), len(next_.apps)) == (1, 1)


async def test_a_command_that_fails_leaves_the_next_one_a_free_place(tmp_path: Path) -> None:
    here = Process(tmp_path)

    async def fail(client: Client) -> None:
        raise ValueError("a bug")

    with pytest.raises(BaseExceptionGroup) as caught:
        await attached(here.settings.socket, here.start, fail)
    assert caught.group_contains(ValueError, match="a bug")
    assert await at(here.settings, here.start, "hello") == "You said: hello"


# A process goes away


async def test_a_question_is_sent_again_with_the_same_id_to_the_next_process(tmp_path: Path) -> None:
    first, second = Bot(Outgoing(text="He", final=False)), Bot(Outgoing(text="Hello."))
    looked: list[float] = []
    async with AsyncExitStack() as later:

        async def find(patience: float) -> None:
            looked.append(patience)
            second.console, _ = await later.enter_async_context(console(tmp_path, second.receive))

        async with Client(tmp_path / "run" / "hearth.sock", find) as client:
            async with console(tmp_path, first.receive) as (first.console, _):
                asking = asyncio.create_task(ask(client))
                await until(lambda: bool(first.sent), "the first words")
            assert [state["text"] for state in await asking] == ["He", "Hello."]
    assert [event.event_id for event in first.events] == [event.event_id for event in second.events]
    assert looked == [RESTART_SECONDS]


async def test_a_question_that_no_process_took_is_asked_of_the_next_one(tmp_path: Path) -> None:
    """Between two questions of a chat the process has gone."""
    bot = Bot(*GROWING)
    async with AsyncExitStack() as later:

        async def find(patience: float) -> None:
            bot.console, _ = await later.enter_async_context(console(tmp_path, bot.receive))

        async with Client(tmp_path / "run" / "hearth.sock", find) as client:
            assert (await ask(client))[-1]["text"] == "Hello."


async def test_a_question_that_is_refused_is_asked_of_the_next_process_at_once(tmp_path: Path) -> None:
    """As soon as the refusal allows, and as often as it is refused."""
    second = Bot(*GROWING)
    looked: list[float] = []
    async with AsyncExitStack() as now, AsyncExitStack() as later:
        leaving, _ = await now.enter_async_context(console(tmp_path, Bot().receive))
        leaving.refuse(retry_after=0)

        async def find(patience: float) -> None:
            looked.append(patience)
            if len(looked) == 3:
                await now.aclose()
                second.console, _ = await later.enter_async_context(console(tmp_path, second.receive))

        async with Client(tmp_path / "run" / "hearth.sock", find) as client:
            assert (await ask(client))[-1]["text"] == "Hello."
    assert looked == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("received", "words"), [(True, "It has your message and will answer it"), (False, "stop it first")]
)
async def test_where_no_other_process_can_be_had_the_asker_is_told(tmp_path: Path, received: bool, words: str) -> None:
    async def find(patience: float) -> None:
        raise InUse("another Hearth process (pid 1) uses the database; stop it first")

    bot = Bot(Outgoing(text="He", final=False))
    async with Client(tmp_path / "run" / "hearth.sock", find) as client:
        async with console(tmp_path, bot.receive) as (bot.console, _):
            asking = asyncio.create_task(ask(client))
            await until(lambda: bool(bot.sent), "the first words")
        with pytest.raises(StartError, match=words):
            await (asking if received else ask(client))
        asking.cancel()


async def test_what_a_chat_shows_first_can_be_had_from_the_next_process(tmp_path: Path) -> None:
    async with AsyncExitStack() as later:

        async def find(patience: float) -> None:
            made, _ = await later.enter_async_context(console(tmp_path, Bot().receive))
            await made.publish([Command(name="new", help="begins anew")])

        async with Client(tmp_path / "run" / "hearth.sock", find) as client:
            assert [command["name"] for command in await client.commands()] == ["new"]


async def test_the_place_of_a_lost_process_is_left_to_whoever_starts_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that took it at once would lock the service out that a supervisor starts again."""
    monkeypatch.setattr(adapters.console.client, "RESTART_SECONDS", DEADLINE)  # the next one may be slow to start
    first, second = Bot(Outgoing(text="He", final=False)), Bot(*GROWING)

    def start() -> AbstractAsyncContextManager[App]:
        raise AssertionError("it became the process")

    async with console(tmp_path, first.receive) as (first.console, _):
        asking = asyncio.create_task(attached(tmp_path / "run" / "hearth.sock", start, ask))
        await until(lambda: bool(first.sent), "the first words")
    async with console(tmp_path, second.receive) as (second.console, _):
        assert (await asking)[-1]["text"] == "Hello."
