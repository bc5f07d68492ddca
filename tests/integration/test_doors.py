"""Strangers before the door of a whole Hearth: let in, told a word, forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from bot.config import Config
from bot.errors import PlatformError
from bot.messages import ActionName, Destination, Message, MessageRef, Outgoing
from bot.strangers import WELCOME
from bot.testing import Fault, MemoryAdapter
from tests.house import BEA, configuration, house, place, until

CODE = "open-sesame"
WORD = "I do not know you yet. My owner can let you in with this id: memory:2"


def known(**permissions: Any) -> Config:
    """A configuration that knows Ada alone."""
    return configuration(permissions={"allow": ["memory:1"], "pairing_code": CODE} | permissions)


def holds(folder: Path, *words: bytes) -> list[str]:
    """The files in which one of these words is."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return [path.name for path in files if any(word in path.read_bytes() for word in words)]


async def test_a_stranger_is_told_a_word_in_passing_and_nothing_is_stored(tmp_path: Path) -> None:
    async with house(tmp_path, known()) as h:
        await h.say("xyzzy", author=BEA)
        await until(lambda: h.texts() == [WORD], "the word")
        assert h.platform.messages[0].now.notice
        assert not h.platform.messages[0].now.private
        await h.say("xyzzy", chat="group", author=BEA, group=True)
        await until(lambda: len(h.texts("group")) == 1, "the word in the group")
        assert [posted.reply_to is None for posted in h.platform.messages] == [True, False]
        assert (await h.store.export("memory", "2")).data["conversations"] == []
        assert await h.store.find_conversation(place()) is None
        assert h.engine.requests == []
    assert holds(tmp_path, b"xyzzy", b"Bea") == []


async def test_a_platform_that_takes_its_time_over_the_word_does_not_hold_up_what_is_heard(tmp_path: Path) -> None:
    class Slow(MemoryAdapter):
        async def send(self, to: Destination, what: Outgoing) -> MessageRef:
            await asyncio.Event().wait()
            raise AssertionError

    async with house(tmp_path, known(), platform=Slow()) as h:
        await asyncio.wait_for(h.say("hello", author=BEA), 10)
        await asyncio.wait_for(h.say(CODE, author=BEA), 10)
        assert await h.store.is_paired("memory", "2")


async def test_a_word_that_cannot_be_said_is_only_logged(tmp_path: Path) -> None:
    async with house(tmp_path, known()) as h:
        h.platform.faults.append(Fault(PlatformError("no")))
        with capture_logs() as logs:
            await h.say("xyzzy", author=BEA)
            await until(lambda: any(entry["event"] == "not said" for entry in logs), "the log")
        assert "xyzzy" not in str(logs)
        assert h.texts() == []


async def test_who_is_let_in_is_answered_also_by_the_next_process(tmp_path: Path) -> None:
    async with house(tmp_path, known()) as h:
        with capture_logs() as logs:
            await h.say(CODE, author=BEA)
            await until(lambda: h.texts() == [WELCOME], "the welcome")
        assert CODE not in str(logs)
        assert await h.ask("hello", author=BEA) == "You said: hello"
    async with house(tmp_path, known(pairing_code="")) as h:
        assert await h.ask("again", author=BEA) == "You said: again"
        assert await h.ask("in a group", chat="group", author=BEA, group=True) == "You said: Bea: in a group"
    assert holds(tmp_path, CODE.encode()) == []


async def test_edits_and_buttons_of_who_was_let_in_count(tmp_path: Path) -> None:
    async with house(tmp_path, known()) as h:
        await h.say(CODE, author=BEA)
        event = await h.say("one", author=BEA)
        await h.settled()
        await h.edit(event, "two", author=BEA)
        await h.settled()
        assert h.texts() == [WELCOME, "You said: two"]
        await h.press(ActionName.RETRY, author=BEA)
        await h.settled()
        assert h.texts() == [WELCOME, "You said: two", "You said: two"]


async def test_who_asks_to_be_forgotten_is_a_stranger_again(tmp_path: Path) -> None:
    async with house(tmp_path, known()) as h:
        await h.say(CODE, author=BEA)
        await h.ask("hello", author=BEA)
        assert (await h.store.export("memory", "2")).data["paired_at"] is not None
        await h.ask("/forgetme", author=BEA)
        asked = len(h.engine.requests)
        await h.say("still here?", author=BEA)
        await until(lambda: h.texts()[-1] == WORD, "the word")
        await h.settled()
        assert len(h.engine.requests) == asked


async def test_who_is_denied_while_the_bot_runs_is_out_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, known()) as h:
        await h.say(CODE, author=BEA)
        await h.ask("hello", author=BEA)
        h.config = known(deny=["memory:2"])
        await h.say("and now?", author=BEA)
        await h.settled()
        assert len(h.engine.requests) == 1


async def test_where_everything_is_answered_strangers_talk_is_left_alone(tmp_path: Path) -> None:
    """The word is for who addresses the bot, also by its name."""
    config = known().model_copy(
        update={"groups": configuration(groups={"names": ["hearth"], "always": ["memory:*"]}).groups}
    )
    async with house(tmp_path, config) as h:
        await h.say("hello all", author=BEA, group=True, addressed=False)
        await h.ask("hello all", group=True, addressed=False)
        assert h.texts() == ["You said: Ada: hello all"]
        await h.say("hearth?", author=BEA, group=True, addressed=False)
        await until(lambda: len(h.texts()) == 2, "the word")


async def test_the_word_is_for_the_strangers_eyes_where_a_group_can_do_that(tmp_path: Path) -> None:
    said = Message(
        key=place(), event_id="1", author=BEA, text="hello", sent_at=datetime.now(UTC), addressed=True, interaction="i"
    )
    async with house(tmp_path, known()) as h:
        await h.inbox.receive(replace(said, can_reply_privately=True))
        await until(lambda: len(h.texts()) == 1, "the word")
        assert h.platform.messages[0].now.private
