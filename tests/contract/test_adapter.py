"""The promises of the Adapter port, held on every implementation.

A platform joins by adding a `Bench` factory to `BENCHES`: an adapter that is connected to its platform (or to a
stand-in of it), a place to write to, and two looks at the platform from outside.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

from adapters.console import files
from adapters.console.adapter import Console
from adapters.delivery.paced import Paced
from adapters.delivery.pacing import Slots
from adapters.telegram.adapter import Telegram
from adapters.web.adapter import WebPage
from bot.config import WebConfig
from bot.errors import MessageGone, TooLarge
from bot.messages import (
    Attachment,
    Author,
    Command,
    ConversationKey,
    Destination,
    Event,
    File,
    Limits,
    Message,
    MessageRef,
    Outgoing,
    Preview,
    Triage,
    Typing,
)
from bot.metered import Metered
from bot.metrics import Metrics
from bot.ports import Adapter, Receive
from bot.testing import MemoryAdapter
from storage.store import SqlStore
from tests.discord_fake import serving as serving_discord
from tests.discord_house import discord_config, hurried
from tests.discord_online import Online
from tests.telegram import serving
from tests.telegram_house import telegram_config
from tests.web import asked, web_house


@dataclass
class Bench:
    """An adapter with its platform. The chat is one that the bot can write to; nothing was written there yet."""

    adapter: Adapter
    to: Destination
    standing: Callable[[], Awaitable[list[str]]]
    """The bot's messages as a person sees them in the chat now, oldest first."""
    hear: Callable[[str], Awaitable[None]]
    """A person writes this text in the chat; returns when the platform has had its acknowledgement."""
    bring: Callable[[bytes], Awaitable[Attachment]] | None
    """A file with these bytes is on the platform now; gives what an event would say of it. None: no files come here."""
    menu: Callable[[], Awaitable[list[tuple[str, str]]]]
    """Name and help of each command in the platform's menu now. The adapter is listening."""

    async def brought(self, data: bytes) -> Attachment:
        """A file that came, where files come."""
        if self.bring is None:
            assert self.adapter.limits.file_bytes == 0
            pytest.skip("no files come here")
        return await self.bring(data)


@asynccontextmanager
async def memory() -> AsyncIterator[Bench]:
    key = ConversationKey("memory", "bot", "1")
    adapter = MemoryAdapter(
        limits=Limits(text=100, seconds_per_call=0.0, buttons=True, files=True, private_answers=True, file_bytes=10)
    )
    said = iter(range(1, 100))

    async def standing() -> list[str]:
        return [what.text for what in adapter.standing(key)]

    async def hear(text: str) -> None:
        now = datetime.now(UTC)
        await adapter.say(
            Message(key=key, event_id=f"m{next(said)}", author=Author("7", "Ann"), text=text, sent_at=now)
        )

    async def bring(data: bytes) -> Attachment:
        adapter.files["f1"] = data
        return Attachment(kind="file", name="a.txt", media_type="text/plain", size=len(data), reference="f1")

    async def menu() -> list[tuple[str, str]]:
        return [(command.name, command.help) for command in adapter.commands]

    yield Bench(adapter, Destination(key=key), standing, hear, bring, menu)


@asynccontextmanager
async def metered() -> AsyncIterator[Bench]:
    """As the dispatcher has every adapter: its refusals are counted."""
    async with memory() as inner:
        yield replace(inner, adapter=Metered(inner.adapter, Metrics()))


@asynccontextmanager
async def paced() -> AsyncIterator[Bench]:
    """As what is said beside answers goes out: at the pace of its chat."""
    async with memory() as inner:
        slots = Slots(time.monotonic, asyncio.sleep)
        yield replace(inner, adapter=Paced(inner.adapter, slots))


@asynccontextmanager
async def console() -> AsyncIterator[Bench]:
    """The local socket; the screen of one event is open."""

    async def is_open(_: ConversationKey, __: str) -> bool:
        return True

    async def answer_to(_: ConversationKey, __: str) -> None:
        return None

    said = iter(range(1, 100))
    shown: dict[int, str] = {}
    with TemporaryDirectory() as folder:
        adapter = Console(Path(folder) / "run" / "hearth.sock", is_open=is_open, answer_to=answer_to)

        def client() -> aiohttp.ClientSession:
            return aiohttp.ClientSession("http://hearth", connector=aiohttp.UnixConnector(f"{folder}/run/hearth.sock"))

        async def hear(text: str) -> None:
            await adapter.listening.wait()
            body = {"id": f"m{next(said)}", "conversation": "1", "author": "7", "text": text}
            async with client() as http, http.post("/messages", json=body) as response:
                assert await response.content.readline() == b'{"received": true}\n'

        async def bring(data: bytes) -> Attachment:
            path = Path(folder) / "a.txt"
            path.write_bytes(data)
            return files.attachment(str(path))

        async def menu() -> list[tuple[str, str]]:
            await adapter.listening.wait()
            async with client() as http, http.get("/commands") as response:
                return [(row["name"], row["help"]) for row in await response.json()]

        with adapter.screen("1", "m0") as states:

            async def standing() -> list[str]:
                while not states.empty():
                    state = states.get_nowait()
                    shown[state["message"]] = state["text"]
                return [text for text in shown.values() if text]

            key = ConversationKey("console", "local", "1")
            yield Bench(adapter, Destination(key=key, interaction="m0"), standing, hear, bring, menu)


@asynccontextmanager
async def web() -> AsyncIterator[Bench]:
    """The page; a question in one conversation is open."""
    said = iter(range(1, 100))
    with TemporaryDirectory() as folder:
        store = await SqlStore.open(f"sqlite+aiosqlite:///{folder}/hearth.db", default_retention_days=30)
        adapter = WebPage(WebConfig(port=0), web_house(store, Path(folder)))
        key = ConversationKey("web", "local", "owner", "1")
        await store.receive(asked(key, "question-0"), Triage.PENDING)

        browser = {"Connection": "keep-alive"}

        async def post(path: str, body: object) -> int:
            await adapter.listening.wait()
            own = browser | {"X-Hearth": "page", "Origin": adapter.address}
            async with aiohttp.ClientSession() as http, http.post(adapter.address + path, json=body, headers=own) as r:
                return r.status

        async def hear(text: str) -> None:
            body = {"event": f"question-{next(said)}", "text": text}
            assert await post("/api/conversations/1/messages", body) == 202

        async def menu() -> list[tuple[str, str]]:
            await adapter.listening.wait()
            async with (
                aiohttp.ClientSession(headers=browser) as http,
                http.get(f"{adapter.address}/api/me") as response,
            ):
                return [(row["name"], row["help"]) for row in (await response.json())["commands"]]

        async def standing() -> list[str]:
            return [state["text"] for state in await adapter.screens.states("owner", "1")]

        async def bring(data: bytes) -> Attachment:
            digest = sha256(data).hexdigest()
            item = Attachment(kind="file", name="a.txt", media_type="", size=len(data), reference=digest, data=data)
            await store.receive(replace(asked(key, f"file-{next(said)}"), attachments=(item,)), Triage.PENDING)
            return item

        try:
            yield Bench(adapter, Destination(key=key, interaction="question-0"), standing, hear, bring, menu)
        finally:
            await store.aclose()


@asynccontextmanager
async def telegram() -> AsyncIterator[Bench]:
    """A private chat on the stand-in for Telegram."""
    async with serving() as server:
        with TemporaryDirectory() as folder:
            config = telegram_config(Path(folder), server)
        adapter = Telegram(config.telegram, file_bytes=10_000)
        ann = server.world.user("Ann")
        chat = server.world.private(ann)

        async def standing() -> list[str]:
            return chat.texts_of_bot()

        async def hear(text: str) -> None:
            chat.say(ann, text)
            await server.wait_for(lambda: not server.queue.pending, "the acknowledgement")

        async def bring(data: bytes) -> Attachment:
            file = chat.document(ann, data, file_name="a.txt", mime="text/plain").json["document"]
            server.queue.pending.clear()
            told = {"name": file["file_name"], "media_type": file["mime_type"], "size": file["file_size"]}
            return Attachment(kind="file", reference=file["file_id"], **told)

        async def menu() -> list[tuple[str, str]]:
            def shown() -> list[Any]:
                usual = [call.given for call in server.called("setMyCommands") if "language_code" not in call.given]
                return [given["commands"] for given in usual if given["scope"]["type"] == "all_private_chats"]

            await server.wait_for(shown, "a menu")
            return [(row["command"], row["description"]) for row in shown()[-1]]

        try:
            yield Bench(
                adapter,
                Destination(key=ConversationKey("telegram", adapter.account, str(chat.id))),
                standing,
                hear,
                bring,
                menu,
            )
        finally:
            await adapter.aclose()


@asynccontextmanager
async def discord() -> AsyncIterator[Bench]:
    """A DM on the stand-in for Discord."""
    async with serving_discord() as server:
        with TemporaryDirectory() as folder:
            config = discord_config(Path(folder), server)
        with hurried(server):
            adapter = Online(config.discord, server)
            ann = server.world.user("Ann")
            chat = server.world.dm(ann)

            async def standing() -> list[str]:
                return chat.texts_of_bot()

            async def hear(text: str) -> None:
                await adapter.taken_over()
                chat.say(ann, text)
                await adapter.heard(adapter.committed + 1)

            async def bring(data: bytes) -> Attachment:
                file = server.world.scene.attachment(chat.upload(("a.txt", data)))
                told = {"name": file["filename"], "media_type": "text/plain", "size": file["size"]}
                return Attachment(kind="file", reference=file["url"], **told)

            async def menu() -> list[tuple[str, str]]:
                await adapter.taken_over()
                shown = server.world.scene.commands
                await server.wait_for(lambda: len(shown) > 1, "more than the command that is not Hearth's own")
                return [(row["name"], row["description"]) for row in shown if row["name"] != "ask"]

            await adapter.begin()
            try:
                to = Destination(key=ConversationKey("discord", adapter.account, str(chat.id)))
                yield Bench(adapter, to, standing, hear, bring, menu)
            finally:
                await adapter.rest()


BENCHES: dict[str, Callable[[], AbstractAsyncContextManager[Bench]]] = {
    "memory": memory,
    "metered": metered,
    "paced": paced,
    "console": console,
    "web": web,
    "telegram": telegram,
    "discord": discord,
}


@pytest.fixture(params=sorted(BENCHES))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with BENCHES[request.param]() as made:
        yield made


async def test_what_is_sent_stands_and_has_its_own_reference(bench: Bench) -> None:
    first = await bench.adapter.send(bench.to, Outgoing(text="one", nonce="n-1"))
    second = await bench.adapter.send(bench.to, Outgoing(text="two", nonce="n-2"))
    assert await bench.standing() == ["one", "two"]
    assert first != second
    assert first.key == bench.to.key


async def test_an_edit_changes_a_message_in_its_place(bench: Bench) -> None:
    first = await bench.adapter.send(bench.to, Outgoing(text="one", final=False, nonce="n-1"))
    await bench.adapter.send(bench.to, Outgoing(text="two", nonce="n-2"))
    await bench.adapter.edit(first, Outgoing(text="one and a half"))
    assert await bench.standing() == ["one and a half", "two"]


async def test_a_reference_is_all_that_an_edit_needs(bench: Bench) -> None:
    sent = await bench.adapter.send(bench.to, Outgoing(text="one", nonce="n-1"))
    stored = MessageRef(replace(sent.key), str(sent.message_id))
    await bench.adapter.edit(stored, Outgoing(text="two"))
    assert await bench.standing() == ["two"]


async def test_an_edit_that_changes_nothing_is_no_error(bench: Bench) -> None:
    sent = await bench.adapter.send(bench.to, Outgoing(text="same", nonce="n-1"))
    await bench.adapter.edit(sent, Outgoing(text="same"))
    await bench.adapter.edit(sent, Outgoing(text="same"))
    assert await bench.standing() == ["same"]


async def test_to_edit_what_is_not_there_says_message_gone(bench: Bench) -> None:
    sent = await bench.adapter.send(bench.to, Outgoing(text="one", nonce="n-1"))
    await bench.adapter.delete(sent)
    with pytest.raises(MessageGone):
        await bench.adapter.edit(sent, Outgoing(text="two"))


async def test_a_file_makes_room_for_a_text(bench: Bench) -> None:
    """In its place, or anew."""
    assert bench.adapter.limits.files
    shown = Outgoing(text="Here it is.", files=(File("a.txt", "text/plain", b"ab"),))
    ref = await bench.adapter.send(bench.to, shown)
    try:
        await bench.adapter.edit(ref, Outgoing(text="No file."))
    except MessageGone:
        assert await bench.standing() == []
    else:
        assert await bench.standing() == ["No file."]


async def test_a_message_can_be_deleted_and_then_it_is_no_error(bench: Bench) -> None:
    sent = await bench.adapter.send(bench.to, Outgoing(text="one", nonce="n-1"))
    await bench.adapter.delete(sent)
    await bench.adapter.delete(sent)
    assert await bench.standing() == []


async def test_the_longest_text_is_taken(bench: Bench) -> None:
    longest = "x" * bench.adapter.limits.text
    assert bench.adapter.limits.measure(longest) == len(longest)
    await bench.adapter.send(bench.to, Outgoing(text=longest, nonce="n-1"))
    assert await bench.standing() == [longest]


async def test_plain_text_is_shown_letter_by_letter(bench: Bench) -> None:
    await bench.adapter.send(bench.to, Outgoing(text="**a** <b> `c", plain=True, nonce="n-1"))
    assert await bench.standing() == ["**a** <b> `c"]


async def test_words_about_a_failure_are_shown(bench: Bench) -> None:
    sent = await bench.adapter.send(bench.to, Outgoing(text="one", final=False, nonce="n-1"))
    await bench.adapter.edit(sent, Outgoing(text="one\n\nThe model failed.", failed=True))
    await bench.adapter.send(bench.to, Outgoing(text="The model failed.", failed=True, nonce="n-2"))
    assert await bench.standing() == ["one\n\nThe model failed.", "The model failed."]


async def test_a_sign_of_life_never_fails(bench: Bench) -> None:
    await bench.adapter.show(bench.to, Typing())
    await bench.adapter.show(bench.to, Preview("half a sen"))
    await bench.adapter.show(Destination(key=replace(bench.to.key, chat="999999")), Typing())
    assert await bench.standing() == []


async def test_what_people_say_is_received_in_order_and_acknowledged_after_it_is_committed(bench: Bench) -> None:
    committed: list[str] = []

    async def receive(event: Event) -> None:
        await asyncio.sleep(0)
        if isinstance(event, Message):
            committed.append(event.text)

    async with listening(bench.adapter, receive):
        await bench.hear("one")
        assert committed == ["one"]
        await bench.hear("two")
        assert committed == ["one", "two"]


async def test_what_people_say_has_all_that_an_event_needs(bench: Bench) -> None:
    events: list[Event] = []

    async def receive(event: Event) -> None:
        events.append(event)

    async with listening(bench.adapter, receive):
        await bench.hear("one")
        await bench.hear("two")
    one, two = events
    assert isinstance(one, Message)
    assert isinstance(two, Message)
    assert one.key == bench.to.key
    assert one.key.platform == bench.adapter.name
    assert one.event_id != two.event_id
    assert one.author.id
    assert one.sent_at.utcoffset() is not None


async def test_a_file_comes_byte_for_byte_whenever_it_is_asked_for(bench: Bench) -> None:
    item = await bench.brought(b"\xff\x00\r\n")
    assert item.size in {4, None}
    assert await bench.adapter.fetch(item) == b"\xff\x00\r\n"
    stored = Attachment(kind="file", name="", media_type="", size=None, reference=str(item.reference))
    assert await bench.adapter.fetch(stored) == b"\xff\x00\r\n"


async def test_a_file_that_is_larger_than_the_limit_is_not_loaded(bench: Bench) -> None:
    most = bench.adapter.limits.file_bytes
    assert len(await bench.adapter.fetch(await bench.brought(bytes(most)))) == most
    with pytest.raises(TooLarge) as caught:
        await bench.adapter.fetch(await bench.brought(bytes(most + 1)))
    assert caught.value.most == most


async def test_a_file_that_is_not_there_says_message_gone(bench: Bench) -> None:
    missing = Attachment(kind="file", name="a.txt", media_type="text/plain", size=1, reference="0-no-such-file")
    with pytest.raises(MessageGone):
        await bench.adapter.fetch(missing)


async def test_commands_can_be_published_again_and_the_last_menu_counts(bench: Bench) -> None:
    commands = [Command(name="new", help="Begin anew"), Command(name="model", help="Choose", argument="name")]

    async def receive(event: Event) -> None:
        raise AssertionError("nothing was said")

    async with listening(bench.adapter, receive):
        await bench.adapter.publish(commands[:1])
        await bench.adapter.publish(commands)
        assert await bench.menu() == [("new", "Begin anew"), ("model", "Choose")]


async def test_the_limits_make_sense(bench: Bench) -> None:
    limits = bench.adapter.limits
    assert limits.text >= 50
    assert limits.burst >= 1
    assert limits.seconds_per_call >= 0


@asynccontextmanager
async def listening(adapter: Adapter, receive: Receive) -> AsyncIterator[None]:
    """Listen meanwhile; cancelled, it must end."""
    task = asyncio.create_task(adapter.listen(receive))
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
