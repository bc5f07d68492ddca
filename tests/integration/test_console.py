"""The terminal's adapter, client and screen, over the real socket."""

import asyncio
import io
from pathlib import Path

import pytest
from aiohttp import web

from adapters.console.account import account_in
from adapters.console.client import Client
from adapters.console.socket import answers, listening
from adapters.console.terminal import save
from bot.errors import DatabaseError, MessageGone, StartError
from bot.messages import Action, ActionName, Command, ConversationKey, Destination, Event, File, Message, Outgoing
from tests.console import GROWING, LOCAL, NO_ANSWER, Bot, ask, console, plain, post, said
from tests.house import until


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


async def test_a_client_is_told_that_an_answer_failed(tmp_path: Path) -> None:
    bot = Bot(Outgoing(text="He", final=False), Outgoing(text="He\n\nThe model failed.", failed=True))
    async with console(tmp_path, bot.receive) as (bot.console, client):
        assert [state["failed"] for state in await ask(client)] == [False, True]


async def test_files_come_whole(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    bot = Bot(Outgoing(text="Here.", files=(File("a.bin", "application/octet-stream", data),)))
    async with console(tmp_path, bot.receive) as (bot.console, client):
        ((state),) = await ask(client)
        path = save(state["files"][0], tmp_path)
        assert (path.name, path.read_bytes()) == ("a.bin", data)


async def test_a_file_goes_with_a_message_and_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"a;b")
    bot = Bot(*GROWING)
    async with console(tmp_path, bot.receive) as (bot.console, client):
        assert [state["text"] async for state in client.ask("default", "hi", [str(path)])][-1] == "Hello."
        (event,) = bot.events
        assert isinstance(event, Message)
        (file,) = event.attachments
        assert (file.kind, file.name, file.media_type, file.size) == ("file", "list.csv", "text/csv", 3)
        path.write_bytes(b"a;b;c")
        assert await plain(tmp_path / "s").fetch(file) == b"a;b;c"


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
        await stream.aclose()
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
        assert states[-1]["failed"]
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
        await stream.aclose()
        await until(bot.console.unwatched.is_set, "the end of the screen")


async def test_a_console_beside_others_has_an_account_of_its_own(tmp_path: Path) -> None:
    bot = Bot(*GROWING)
    async with console(tmp_path, bot.receive, account="5af3") as (bot.console, client):
        assert (await ask(client))[-1]["text"] == "Hello."
        await client.stop("default")
        assert {event.key for event in bot.events} == {ConversationKey("console", "5af3", "default")}


@pytest.mark.parametrize("turns", range(4))
async def test_a_start_that_is_broken_off_leaves_nobody_who_listens(tmp_path: Path, turns: int) -> None:
    path = tmp_path / "run" / "hearth.sock"
    begun = asyncio.Event()

    async def start() -> None:
        begun.set()
        async with listening(web.Application(), path):
            await asyncio.Event().wait()

    task = asyncio.create_task(start())
    await begun.wait()
    while not path.exists():
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await answers(path)


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
        (said(files="/a.txt"), "files: must be a list of absolute paths"),
        (said(files=[5]), "files: must be a list of absolute paths"),
        (said(files=["a.txt"]), "files: must be a list of absolute paths"),
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
        for name in ("dance", "choose"):
            assert await post(tmp_path, "/actions", said(name=name)) == (400, "name: one of stop, retry")


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
