"""Commands of a platform's menu and buttons, where each waits for an answer that one person alone can see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.config import Config
from bot.messages import Action, ActionName, Author, Destination, Limits, Message, MessageRef, Outgoing
from bot.strangers import REFUSED, WORDS_A_MINUTE
from bot.testing import MemoryAdapter
from tests.house import ADA, BEA, House, configuration, house, place, stalled, until

NOW = datetime.now(UTC)
EVE = Author("3", "Eve", guild="5")
COMMAND = Message(
    key=place(),
    event_id="i1",
    author=EVE,
    text="/settings",
    sent_at=NOW,
    addressed=True,
    interaction="token-i1",
    can_reply_privately=True,
)
PRESS = Action(
    key=place(),
    event_id="i2",
    author=EVE,
    name=ActionName.STOP,
    sent_at=NOW,
    target="1",
    interaction="token-i2",
    can_reply_privately=True,
)


def word(author: Author) -> str:
    return (
        f"I do not know you here yet. My owner can let in you alone with the id memory:{author.id}, or everybody in this "
        "chat with memory:chat/chat"
    )


def configured(**permissions: object) -> Config:
    """A configuration that knows Ada alone."""
    return configuration(permissions={"allow": ["memory:1"]} | permissions)


def hall() -> MemoryAdapter:
    return MemoryAdapter(limits=Limits(text=2000, seconds_per_call=0.0, buttons=True, private_answers=True))


def told(h: House) -> list[tuple[str, bool]]:
    return [(shown.text, shown.private) for shown in h.platform.standing(place())]


async def spoken(h: House, count: int) -> list[Outgoing]:
    """What stands in the chat once so many messages do, and no more are on their way."""
    await until(lambda: len(h.texts()) >= count and not h.dispatcher._control.tasks, f"{count} messages")
    return h.platform.standing(place())


@pytest.mark.parametrize("event", [COMMAND, PRESS], ids=["command", "press"])
async def test_each_stranger_is_told_at_once_and_each_time(tmp_path: Path, event: Message | Action) -> None:
    async with house(tmp_path, configured(), platform=hall()) as h:
        for number in range(WORDS_A_MINUTE + 5):
            await h.inbox.receive(replace(event, event_id=f"e{number}"))
        await h.inbox.receive(replace(event, author=replace(EVE, id="4")))
        shown = await spoken(h, WORDS_A_MINUTE + 6)
        assert [one.private for one in shown] == [True] * (WORDS_A_MINUTE + 6)
        assert sorted({one.text for one in shown}) == [word(EVE), word(replace(EVE, id="4"))]
        assert await h.store.find_conversation(place()) is None


async def test_each_is_answered_while_another_s_word_is_on_its_way(tmp_path: Path) -> None:
    """In private or not: a direct chat's words are no secret there."""

    class Slow(MemoryAdapter):
        door = asyncio.Event()

        async def send(self, to: Destination, what: Outgoing) -> MessageRef:
            await self.door.wait()
            return await super().send(to, what)

    platform = Slow(limits=hall().limits)
    async with house(tmp_path, configured(), platform=platform) as h:
        for number, direct in enumerate((False, False, True, True)):
            await h.inbox.receive(replace(COMMAND, event_id=f"e{number}", direct=direct))
        await h.inbox.receive(PRESS)
        await until(lambda: len(h.dispatcher._control.tasks) == 5, "all to wait")
        await asyncio.sleep(0)  # each has begun
        Slow.door.set()
        assert [one.private for one in await spoken(h, 5)].count(True) == 3


@pytest.mark.parametrize("event", [COMMAND, PRESS, replace(COMMAND, text="/stop")], ids=["command", "press", "stop"])
@pytest.mark.parametrize("entry", ["memory:3", "memory:guild/5", "memory:chat/chat", "memory:role/7"])
async def test_who_is_denied_is_told_that_much_and_no_id(tmp_path: Path, event: Message | Action, entry: str) -> None:
    by = replace(EVE, roles=frozenset({"7"}))
    config = configured(allow=["memory:*"], deny=[entry])
    async with house(tmp_path, config, platform=hall()) as h:
        for number in range(3):
            await h.inbox.receive(replace(event, author=by, event_id=f"e{number}"))
        await spoken(h, 3)
        assert told(h) == [(REFUSED, True)] * 3


async def test_a_bot_whose_owner_wants_nothing_said_still_answers_an_interaction(tmp_path: Path) -> None:
    config = configured(stranger_word="", stranger_word_in_groups="")
    async with house(tmp_path, config, platform=hall()) as h:
        await h.inbox.receive(COMMAND)
        await h.inbox.receive(PRESS)
        await h.inbox.receive(replace(COMMAND, event_id="e", direct=True, author=BEA))
        await spoken(h, 3)
        assert {text for text, _ in told(h)} == {REFUSED}


async def test_what_waits_for_no_answer_is_met_with_silence(tmp_path: Path) -> None:
    """Presses on a platform where nobody waits for a word, and what who is denied writes."""
    async with house(tmp_path, configured(deny=["memory:3"]), platform=hall()) as h:
        for author in (EVE, BEA):
            await h.inbox.receive(replace(PRESS, interaction=None, author=author, event_id=f"p{author.id}"))
        await h.inbox.receive(replace(COMMAND, interaction=None))
        await h.ask("hello")
        assert h.texts() == ["You said: hello"]


async def test_a_word_that_one_person_sees_does_not_keep_it_from_the_next(tmp_path: Path) -> None:
    """And each is told it once an hour."""
    said = replace(COMMAND, interaction=None, text="hello")
    async with house(tmp_path, configured(), platform=hall()) as h:
        for number, author in enumerate((BEA, EVE, BEA, EVE)):
            await h.inbox.receive(replace(said, author=author, event_id=f"e{number}"))
        await spoken(h, 2)
        assert told(h) == [(word(BEA), True), (word(EVE), True)]


# Presses of those who may talk


def texts_of(shown: Iterable[Outgoing]) -> list[tuple[str, bool]]:
    return [(one.text, one.private) for one in shown]


async def test_a_setting_that_is_not_theirs_to_choose_is_refused_in_private(tmp_path: Path) -> None:
    async with house(tmp_path, configured(allow=["memory:*"], admins=["memory:1"]), platform=hall()) as h:
        await h.ask("/settings", group=True, author=ADA)
        press = replace(PRESS, name=ActionName.CHOOSE, choice="keep:7")
        await h.inbox.receive(press)
        shown = await spoken(h, 2)
        only = "Here only who manages the server, or owns the bot, may change that."
        assert texts_of(shown[1:]) == [(only, True)]
        await h.inbox.receive(replace(press, event_id="again", author=replace(EVE, manages=True)))
        await until(lambda: not h.dispatcher._control.tasks, "the press to take effect")
        assert (await h.conversation()).settings.retention_days == 7
        assert len(h.texts()) == 2


async def test_anothers_question_is_not_theirs_to_ask_again(tmp_path: Path) -> None:
    async with house(tmp_path, configured(allow=["memory:*"]), platform=hall()) as h:
        await h.ask("hello", group=True)
        press = replace(PRESS, name=ActionName.RETRY)
        await h.inbox.receive(press)
        shown = await spoken(h, 2)
        assert texts_of(shown[1:]) == [("There is nothing here that I could answer again for you.", True)]
        await h.inbox.receive(replace(press, event_id="again", author=replace(EVE, manages=True)))
        await h.settled()
        assert len(h.engine.requests) == 2, "who manages the guild may"
        assert len([text for text in h.texts() if text.startswith("There is nothing")]) == 1


@pytest.mark.parametrize("command", ["/persona default", "/new", "/server trigger always", "/forget 1"])
async def test_a_command_that_is_not_theirs_is_refused_in_private(tmp_path: Path, command: str) -> None:
    async with house(tmp_path, configured(allow=["memory:*"]), platform=hall()) as h:
        await h.ask("hello", group=True)
        await h.inbox.receive(replace(COMMAND, text=command))
        await h.settled()
        assert [private for _, private in told(h)] == [False, True]
        await h.inbox.receive(
            replace(COMMAND, text=command, event_id="typed", interaction=None, can_reply_privately=False)
        )
        await h.settled()
        assert told(h)[2] == (told(h)[1][0], False)


async def test_who_uses_too_much_by_interactions_is_told_each_time_and_in_private(tmp_path: Path) -> None:
    config = configured(allow=["memory:*"], limits={"memory:role/7": {"messages_per_minute": 1}})
    async with house(tmp_path, config, platform=hall()) as h:
        by = replace(EVE, roles=frozenset({"7"}))
        for number in range(3):
            await h.inbox.receive(replace(COMMAND, text="hello", author=by, event_id=f"e{number}"))
        await h.settled()
        words = "That was more than 1 message in a minute. Please wait a little and ask again."
        assert told(h) == [("You said: Eve: hello", False), (words, True), (words, True)]


async def test_who_has_used_up_a_role_s_tokens_is_told_in_private(tmp_path: Path) -> None:
    config = configured(allow=["memory:*"], limits={"memory:guild/5": {"tokens_per_day": 1}})
    async with house(tmp_path, config, platform=hall()) as h:
        for number in range(2):
            await h.inbox.receive(replace(COMMAND, text="hello", event_id=f"e{number}"))
            await h.settled()
        assert told(h)[1] == ("You have used today's tokens. There are new ones after midnight (UTC).", True)
        await h.ask("hello", group=True, author=BEA)
        assert h.texts()[-1] == "You said: Bea: hello", "of no guild: no limit"


async def test_who_manages_the_guild_stops_anothers_answer_and_who_does_not_is_told(tmp_path: Path) -> None:
    async with house(tmp_path, configured(allow=["memory:*"]), platform=hall()) as h:
        await stalled(h, group=True)
        target = h.platform.messages[0].ref.message_id
        await h.inbox.receive(replace(PRESS, target=target))
        shown = await spoken(h, 2)
        only = "Only who asked, or an owner of this bot, can stop that answer."
        assert texts_of(shown[1:]) == [(only, True)]
        assert h.engine.active == 1
        await h.inbox.receive(replace(PRESS, event_id="again", author=replace(EVE, manages=True), target=target))
        await h.settled()
        assert len(h.texts()) == 2


async def test_a_typed_stop_is_answered_where_it_was_asked(tmp_path: Path) -> None:
    """What is no interaction cannot be answered to one person alone."""
    async with house(tmp_path, configured(allow=["memory:*"]), platform=hall()) as h:
        await h.inbox.receive(replace(COMMAND, text="/stop"))
        await h.inbox.receive(replace(COMMAND, text="/stop", event_id="e", interaction=None, can_reply_privately=False))
        await spoken(h, 2)
        assert sorted(told(h)) == [("There is nothing to stop.", False), ("There is nothing to stop.", True)]


# Commands of those who may talk


@pytest.mark.parametrize("text", ["/privacy", "/forgetme", "/usage"])
async def test_what_others_need_not_see_is_hidden_where_that_can_be(tmp_path: Path, text: str) -> None:
    config = configured(allow=["memory:*"])
    async with house(tmp_path, config, platform=hall()) as h:
        await h.inbox.receive(replace(COMMAND, text=text))
        await h.settled()
        await h.inbox.receive(replace(COMMAND, text=text, event_id="e", interaction=None, can_reply_privately=False))
        await h.settled()
        assert [private for _, private in told(h)] == [True, False]


async def test_a_refusal_is_for_who_asked(tmp_path: Path) -> None:
    async with house(tmp_path, configured(allow=["memory:*"]), platform=hall()) as h:
        await h.inbox.receive(replace(COMMAND, text="/new"))
        await h.settled()
        assert told(h) == [("Here only who manages the server, or owns the bot, may change that.", True)]


# Threads


async def test_a_question_that_opens_a_thread_is_answered_in_it(tmp_path: Path) -> None:
    """Each is a conversation of its own; commands stay in the channel."""
    config = configuration(groups={"threads": ["memory:chat/chat"]})
    said = replace(COMMAND, author=ADA, interaction=None, can_reply_privately=False)
    async with house(tmp_path, config, platform=hall()) as h:
        for number, text in (("71", "first"), ("72", "second"), ("73", "/help")):
            await h.inbox.receive(replace(said, event_id=number, text=text, opens=number))
        await h.settled()
        for number, text in (("71", "first"), ("72", "second")):
            thread = replace(place(), thread=number)
            assert [one.text for one in h.platform.standing(thread)] == [f"You said: Ada: {text}"]
            assert [posted.reply_to for posted in h.platform.messages if posted.ref.key == thread] == [number]
        assert [text.splitlines()[0] for text in h.texts()] == ["/help - lists the commands"]
        await h.inbox.receive(replace(said, event_id="74", text="and then?", key=replace(place(), thread="71")))
        await h.settled()
        assert "first" in h.prompts()[-1]
        assert "second" not in h.prompts()[-1]


async def test_an_edit_or_a_deletion_of_it_comes_with_the_channels_key_and_finds_it(tmp_path: Path) -> None:
    config = configuration(groups={"threads": ["memory:*"]})
    said = replace(COMMAND, author=ADA, interaction=None, can_reply_privately=False, text="first", opens="71")
    thread = replace(place(), thread="71")
    async with house(tmp_path, config, platform=hall()) as h:
        await h.inbox.receive(replace(said, event_id="71"))
        await h.settled()
        await h.edit("71", "better")
        await h.settled()
        assert [one.text for one in h.platform.standing(thread)] == ["You said: Ada: better"]
        await h.delete("71")
        here = await h.store.find_conversation(thread)
        assert here is not None
        assert [message.text for message in await h.store.history(here.head)] == ["You said: Ada: better"]
        assert await h.store.find_conversation(place()) is None
