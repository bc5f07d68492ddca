"""Who comes back to the terminal's socket for an answer, and who comes too late."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.errors import StartError
from bot.messages import Action, ConversationKey, Event, Message, MessageState, Outgoing, Role, StoredMessage
from tests.console import LOCAL, NO_ANSWER, Bot, ask, console, post, refused, said
from tests.house import until


async def test_who_comes_back_is_shown_the_answer_that_is_kept(tmp_path: Path) -> None:
    """It was closed while nobody looked: between two processes, or two clients."""
    bot = Bot()

    async def closed(key: ConversationKey, event: str) -> bool:
        return False

    async def answer_to(key: ConversationKey, event: str) -> StoredMessage | None:
        if (key, event) != (LOCAL, "1"):
            return None
        then = datetime(2026, 3, 1, tzinfo=UTC)
        return StoredMessage(
            id=2, parent=1, role=Role.ASSISTANT, text="Hello.", author=None, state=MessageState.FINAL, created_at=then
        )

    async with console(tmp_path, bot.receive, is_open=closed, answer_to=answer_to, look=0.001) as (bot.console, _):
        _, kept = await post(tmp_path, "/messages", said())
        assert [json.loads(line).get("text") for line in kept.splitlines()] == [None, "Hello."]
        assert not json.loads(kept.splitlines()[-1])["failed"]
        _, other = await post(tmp_path, "/messages", said(id="2"))
        assert [json.loads(line).get("text") for line in other.splitlines()] == [None, NO_ANSWER]


async def test_who_comes_back_to_a_later_process_sees_the_rest_of_the_answer(tmp_path: Path) -> None:
    """The message was sent by the first process, and the second one edits it."""
    bot = Bot(Outgoing(text="He", final=False))
    async with console(tmp_path, bot.receive) as (bot.console, _):
        lost = asyncio.create_task(post(tmp_path, "/messages", said()))
        await until(lambda: len(bot.tasks) == 1, "the message")
        await asyncio.gather(*bot.tasks)
        sent = bot.sent[0]
        lost.cancel()

    async def receive(event: Event) -> None:
        """A duplicate: nothing begins anew."""

    async with console(tmp_path, receive) as (later, _):
        again = asyncio.create_task(post(tmp_path, "/messages", said()))
        await until(lambda: not later.unwatched.is_set(), "the screen")
        await later.edit(sent, Outgoing(text="Hello."))
        status, told = await again
        assert status == 200
        assert [json.loads(line).get("text") for line in told.splitlines()] == [None, "Hello."]


async def test_a_message_that_comes_too_late_is_refused_before_it_is_received(tmp_path: Path) -> None:
    """Who is being answered goes on; a stop still reaches the bot."""
    bot = Bot(Outgoing(text="He", final=False))
    async with console(tmp_path, bot.receive) as (bot.console, client):
        shown = client.ask("default", "hi")
        assert (await anext(shown))["text"] == "He"
        bot.console.refuse(retry_after=0)
        bot.console.refuse(retry_after=7)
        assert await refused(tmp_path / "run" / "hearth.sock") == (503, "0")
        await client.stop("default")
        assert [type(event) for event in bot.events] == [Message, Action]
        await bot.console.edit(bot.sent[0], Outgoing(text="Hello."))
        assert [state["text"] async for state in shown] == ["Hello."]
        await until(bot.console.unwatched.is_set, "the end of the screen")
        with pytest.raises(StartError, match=r"Please ask again\."):
            await ask(client)
