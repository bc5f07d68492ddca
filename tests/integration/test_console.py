"""The terminal's adapter, client and screen, over the real socket."""

import asyncio
import io
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.console.account import account_in
from adapters.console.adapter import Console, IsOpen
from adapters.console.client import Client
from adapters.console.operator import Operator
from adapters.console.socket import answers
from adapters.console.terminal import save
from bot.errors import DatabaseError, MessageGone, StartError
from bot.messages import (
    Action,
    ActionName,
    Command,
    ConversationKey,
    Destination,
    Event,
    File,
    Message,
    MessageRef,
    Outgoing,
    Triage,
)
from bot.ports import Forgotten, Receive
from storage.store import SqlStore
from tests.house import ADA, until

NO_ANSWER = "No answer comes to this: it was removed, it waited too long, or it was answered before."
LOCAL = ConversationKey("console", "local", "default")


async def still_open(key: ConversationKey, event: str) -> bool:
    return True


def plain(socket: Path) -> Console:
    """A console that nothing is special about."""
    return Console(socket, is_open=still_open)


@asynccontextmanager
async def console(
    folder: Path, receive: Receive, *routes: Any, is_open: IsOpen = still_open, **how: Any
) -> AsyncIterator[tuple[Console, Client]]:
    """A console that listens, and a client that is connected."""
    made = Console(folder / "run" / "hearth.sock", *routes, is_open=is_open, **how)
    task = asyncio.create_task(made.listen(receive))
    await asyncio.wait([task, asyncio.ensure_future(made.listening.wait())], return_when=asyncio.FIRST_COMPLETED)
    try:
        async with Client(folder / "run" / "hearth.sock") as client:
            yield made, client
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class Bot:
    """Receives events and answers them as `answer` says."""

    def __init__(self, *states: Outgoing) -> None:
        self.states = states
        self.events: list[Event] = []
        self.console: Console | None = None
        self.tasks: list[asyncio.Task[None]] = []

    async def receive(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Message):
            self.tasks.append(asyncio.create_task(self._answer(event)))

    async def _answer(self, event: Message) -> None:
        assert self.console is not None
        sent: MessageRef | None = None
        for state in self.states:
            await asyncio.sleep(0)
            if sent is None:
                sent = await self.console.send(Destination(key=event.key, interaction=event.interaction), state)
            else:
                await self.console.edit(sent, state)


GROWING = (Outgoing(text="He", final=False), Outgoing(text="Hello", final=False), Outgoing(text="Hello."))


async def ask(client: Client, text: str = "hi", conversation: str = "default") -> list[dict[str, Any]]:
    return [state async for state in client.ask(conversation, text)]


async def test_a_client_sees_the_answer_grow(tmp_path: Path) -> None:
    bot = Bot(*GROWING)
    async with console(tmp_path, bot.receive) as (bot.console, client):
        states = await ask(client)
        assert [(state["text"], state["final"]) for state in states] == [
            ("He", False),
            ("Hello", False),
            ("Hello.", True),
        ]
        assert len({state["message"] for state in states}) == 1
        (event,) = bot.events
        assert isinstance(event, Message)
        assert (event.key, event.text, event.direct) == (ConversationKey("console", "local", "default"), "hi", True)


async def test_files_come_whole(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    bot = Bot(Outgoing(text="Here.", files=(File("a.bin", "application/octet-stream", data),)))
    async with console(tmp_path, bot.receive) as (bot.console, client):
        ((state),) = await ask(client)
        path = save(state["files"][0], tmp_path)
        assert (path.name, path.read_bytes()) == ("a.bin", data)


async def test_many_clients_see_each_its_own_answer(tmp_path: Path) -> None:
    class Echo(Bot):
        async def _answer(self, event: Message) -> None:
            assert self.console is not None
            to = Destination(key=event.key, interaction=event.interaction)
            await self.console.send(to, Outgoing(text=event.text))

    bot = Echo()
    async with console(tmp_path, bot.receive) as (bot.console, client):
        found = await asyncio.gather(*(ask(client, f"text {number}") for number in range(20)))
        assert [states[-1]["text"] for states in found] == [f"text {number}" for number in range(20)]


async def test_two_conversations_may_use_the_same_id(tmp_path: Path) -> None:
    bot = Bot(*GROWING)
    async with console(tmp_path, bot.receive) as (bot.console, _):
        both = await asyncio.gather(*(post(tmp_path, "/messages", said(conversation=name)) for name in ("a", "b")))
        assert [text.count('"Hello."') for _, text in both] == [1, 1]


async def test_a_client_that_goes_away_leaves_the_adapter_in_peace(tmp_path: Path) -> None:
    bot = Bot(Outgoing(text="He", final=False))
    async with console(tmp_path, bot.receive) as (made, client):
        bot.console = made
        stream = client.ask("default", "hi")
        assert (await anext(stream))["text"] == "He"
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        await until(lambda: not made._screens, "the end of the screen")
        (event,) = bot.events
        key = ConversationKey("console", "local", "default")
        sent = await made.send(Destination(key=key, interaction=event.event_id), Outgoing(text="late"))
        await made.edit(sent, Outgoing(text="later"))
        await made.delete(sent)


async def test_a_process_that_goes_away_is_told_to_who_waits(tmp_path: Path) -> None:
    bot = Bot(Outgoing(text="He", final=False))
    async with Client(tmp_path / "run" / "hearth.sock") as client:
        with pytest.raises(StartError, match="It has your message and will answer it"):
            async with console(tmp_path, bot.receive) as (bot.console, _):
                waiting = asyncio.create_task(ask(client))
                await until(lambda: len(bot.events) == 1, "the message")
                await asyncio.gather(*bot.tasks)
            await waiting
        with pytest.raises(StartError, match=r"Please ask again\."):
            await ask(client)
        with pytest.raises(StartError, match="does not answer any more"):
            await client.health()


async def test_who_waits_is_told_when_no_answer_comes_any_more(tmp_path: Path) -> None:
    """The question may have been removed elsewhere, or have waited too long."""
    asked: list[tuple[ConversationKey, str]] = []
    bot = Bot(Outgoing(text="He", final=False))

    async def is_open(key: ConversationKey, event: str) -> bool:
        asked.append((key, event))
        return len(asked) < 3

    async with console(tmp_path, bot.receive, is_open=is_open, look=0.001) as (bot.console, client):
        states = await ask(client)
        assert [(state["text"], state["final"]) for state in states] == [("He", False), (NO_ANSWER, True)]
        (event,) = bot.events
        assert asked == [(LOCAL, event.event_id)] * 3


async def test_an_answer_that_comes_while_it_is_asked_for_is_shown(tmp_path: Path) -> None:
    bot = Bot()

    async def is_open(key: ConversationKey, event: str) -> bool:
        assert bot.console is not None
        await bot.console.send(Destination(key=key, interaction=event), Outgoing(text="Hello."))
        return False

    async with console(tmp_path, bot.receive, is_open=is_open, look=0.001) as (bot.console, client):
        assert [state["text"] for state in await ask(client)] == ["Hello."]


async def test_a_database_that_fails_for_a_moment_ends_nobodys_wait(tmp_path: Path) -> None:
    bot = Bot()
    asked = 0

    async def is_open(key: ConversationKey, event: str) -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise DatabaseError("the disk is full")
        return False

    async with console(tmp_path, bot.receive, is_open=is_open, look=0.001) as (bot.console, client):
        assert [state["text"] for state in await ask(client)] == [NO_ANSWER]
        assert asked == 2


async def test_what_no_database_holds_is_replaced_before_it_is_used(tmp_path: Path) -> None:
    """A lone surrogate, as a name that is not UTF-8 becomes one, finds its way back to its screen."""
    bot = Bot(*GROWING)
    async with console(tmp_path, bot.receive) as (bot.console, _):
        body = said(id="\ud800", conversation="a\udcffb", text="\0hi \U0001f600")
        _, told = await post(tmp_path, "/messages", body)
        assert '"Hello."' in told
        (event,) = bot.events
        assert isinstance(event, Message)
        assert (event.event_id, event.key.chat, event.text) == ("\ufffd", "a\ufffdb", "\ufffdhi \U0001f600")


async def test_it_is_told_when_nobody_watches_any_more(tmp_path: Path) -> None:
    bot = Bot(Outgoing(text="He", final=False))
    async with console(tmp_path, bot.receive) as (bot.console, client):
        assert bot.console.unwatched.is_set()
        stream = client.ask("default", "hi")
        await anext(stream)
        assert not bot.console.unwatched.is_set()
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        await until(bot.console.unwatched.is_set, "the end of the screen")


async def test_a_console_beside_others_has_an_account_of_its_own(tmp_path: Path) -> None:
    bot = Bot(*GROWING)
    async with console(tmp_path, bot.receive, account="5af3") as (bot.console, client):
        assert (await ask(client))[-1]["text"] == "Hello."
        await client.stop("default")
        assert {event.key for event in bot.events} == {ConversationKey("console", "5af3", "default")}


def test_an_account_is_made_once_and_kept(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    account = account_in(one)
    assert len(account) == 16
    assert account_in(one) == account != account_in(other)
    assert [path.name for path in one.iterdir()] == ["instance"]
    (other / "instance").write_bytes(b"\xff")
    with pytest.raises(StartError, match="instance cannot be used"):
        account_in(other)


async def test_a_stop_reaches_the_bot(tmp_path: Path) -> None:
    bot = Bot()
    async with console(tmp_path, bot.receive) as (bot.console, client):
        await client.stop("other")
        (event,) = bot.events
        assert isinstance(event, Action)
        assert (event.key.chat, event.name, event.target) == ("other", ActionName.STOP, None)


async def test_the_menu_is_told(tmp_path: Path) -> None:
    bot = Bot()
    async with console(tmp_path, bot.receive) as (bot.console, client):
        await bot.console.publish(
            [Command(name="new", help="begins anew"), Command(name="model", help="m", argument="A")]
        )
        assert await client.commands() == [
            {"name": "new", "help": "begins anew", "argument": ""},
            {"name": "model", "help": "m", "argument": "A"},
        ]


def said(**changed: object) -> dict[str, object]:
    return {"id": "1", "conversation": "default", "author": "ada", "text": "hi"} | changed


async def post(folder: Path, path: str, body: object) -> tuple[int, str]:
    """A body as it is, or as JSON."""
    connector = aiohttp.UnixConnector(str(folder / "run" / "hearth.sock"))
    async with aiohttp.ClientSession("http://hearth", connector=connector) as http:
        sent: dict[str, Any] = {"data" if isinstance(body, bytes | io.BytesIO) else "json": body}
        async with http.post(path, **sent) as response:
            return response.status, await response.text()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"1" * 10_000, "the body is not JSON"),
        ([], "the body is not a JSON object"),
        (b"null", "the body is not a JSON object"),
        ({}, "id: must be text"),
        (said(id=5), "id: must be text"),
        (said(text=None), "text: must be text"),
        (said(author=["ada"]), "author: must be text"),
        (said(conversation={}), "conversation: must be text"),
    ],
)
async def test_a_wrong_body_is_refused_in_words(tmp_path: Path, body: object, words: str) -> None:
    bot = Bot()
    async with console(tmp_path, bot.receive) as (bot.console, _):
        assert await post(tmp_path, "/messages", body) == (400, words)
        assert bot.events == []


async def test_an_unknown_action_is_refused(tmp_path: Path) -> None:
    bot = Bot()
    async with console(tmp_path, bot.receive) as (bot.console, _):
        assert await post(tmp_path, "/actions", said(name="dance")) == (400, "name: one of stop, retry")


async def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    bot = Bot()
    async with console(tmp_path, bot.receive) as (bot.console, _):
        status, _ = await post(tmp_path, "/messages", io.BytesIO(b'"' + b"x" * 5_000_000 + b'"'))
        assert status == 413


async def test_an_id_that_is_being_answered_is_not_taken_twice(tmp_path: Path) -> None:
    bot = Bot(Outgoing(text="He", final=False))
    async with console(tmp_path, bot.receive) as (bot.console, _):
        first = asyncio.create_task(post(tmp_path, "/messages", said()))
        await until(lambda: len(bot.events) == 1, "the message")
        assert await post(tmp_path, "/messages", said()) == (409, "id: '1' is being answered already")
        first.cancel()


async def test_what_the_database_refuses_is_told_to_the_client(tmp_path: Path) -> None:
    async def receive(event: Event) -> None:
        raise DatabaseError("the disk is full; nothing of this was written")

    async with console(tmp_path, receive) as (_, client):
        with pytest.raises(StartError, match="the disk is full; nothing of this was written"):
            await ask(client)


async def test_a_message_off_the_screen_is_gone_while_the_screen_is_there(tmp_path: Path) -> None:
    made = plain(tmp_path / "s")
    key = LOCAL
    with made.screen("default", "1") as states:
        sent = await made.send(Destination(key=key, interaction="1"), Outgoing(text="one"))
        await made.delete(sent)
        with pytest.raises(MessageGone):
            await made.edit(sent, Outgoing(text="two"))
        assert [states.get_nowait()["text"] for _ in range(2)] == ["one", ""]
    await made.edit(sent, Outgoing(text="three"))


def test_a_later_process_uses_no_message_number_again(tmp_path: Path) -> None:
    """An answer that goes on after a restart has messages of both processes."""
    one, other = plain(tmp_path / "s"), plain(tmp_path / "s")
    assert next(one._numbers) <= next(other._numbers)
    assert next(one._numbers) > 1_600_000_000_000


# The socket


async def test_the_sockets_directory_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    bot = Bot()
    async with console(tmp_path, bot.receive) as (bot.console, _):
        assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
        assert await answers(tmp_path / "run" / "hearth.sock")
    assert not (tmp_path / "run" / "hearth.sock").exists()


async def test_a_second_process_on_the_socket_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    bot = Bot(*GROWING)
    async with console(tmp_path, bot.receive) as (bot.console, client):
        with pytest.raises(StartError, match="Another Hearth process answers on"):
            await plain(tmp_path / "run" / "hearth.sock").listen(bot.receive)
        assert (await ask(client))[-1]["text"] == "Hello."


async def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "hearth.sock").write_text("")
    bot = Bot(*GROWING)
    async with console(tmp_path, bot.receive) as (bot.console, client):
        assert (await ask(client))[-1]["text"] == "Hello."


async def test_a_link_in_the_directorys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="is not a directory of yours"):
        await plain(tmp_path / "run" / "hearth.sock").listen(Bot().receive)


async def test_a_place_where_no_socket_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be made or used"):
        await plain(tmp_path / "file" / "hearth.sock").listen(Bot().receive)
    with pytest.raises(StartError, match="cannot be opened"):
        await plain(tmp_path / "run" / ("x" * 200)).listen(Bot().receive)


# The owner's requests


async def test_the_owner_looks_after_the_store(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    removed: list[Forgotten] = []
    operator = Operator(store, lambda: {"status": "ok", "pid": 5}, removed.append)
    bot = Bot()
    async with console(tmp_path, bot.receive, operator) as (bot.console, client):
        assert await client.health() == {"status": "ok", "pid": 5, "waiting": 0}
        assert await client.usage() == []
        assert (await client.export("memory", "a/b c?"))["person"] == {"platform": "memory", "id": "a/b c?"}
        assert await client.forget("memory", "1") == {"messages": 0, "answers": 0}
        assert removed == [Forgotten(messages=0, answers=0)]
        await client.backup(tmp_path / "copy.db")
        assert (tmp_path / "copy.db").stat().st_size > 0
        assert await post(tmp_path, "/backup", {}) == (400, "target: must be text")
        with pytest.raises(StartError):
            await client.backup(tmp_path / "no" / "such" / "folder.db")
    await store.aclose()


async def test_a_look_at_a_conversation_makes_none(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    bot = Bot()
    async with console(tmp_path, bot.receive, Operator(store, dict, print)) as (bot.console, client):
        assert await client.line("default") == []
        assert await store.find_conversation(LOCAL) is None
        message = Message(key=LOCAL, event_id="1", author=ADA, text="hi", sent_at=datetime.now(UTC), direct=True)
        await store.receive(message, Triage.PENDING)
        made = await store.find_conversation(LOCAL)
        assert made is not None
        assert made.key == LOCAL
        assert await store.claim("worker", lease=60.0) is not None
        assert await client.line("default") == []
    await store.aclose()


async def test_a_bad_health_is_told_and_not_raised(tmp_path: Path) -> None:
    class Broken(SqlStore):
        async def pending(self, conversation: int | None = None) -> int:
            raise DatabaseError("the file is damaged; restore a backup")

    store = await Broken.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    bot = Bot()
    async with console(tmp_path, bot.receive, Operator(store, lambda: {"status": "ok"}, print)) as (
        bot.console,
        client,
    ):
        assert await client.health() == {
            "status": "the database fails",
            "database": "the file is damaged; restore a backup",
        }
    await store.aclose()
