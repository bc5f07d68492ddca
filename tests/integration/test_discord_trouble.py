"""Discord when things go wrong: limits, outages, lost answers, missing permissions, moderators, and what nobody knows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from adapters.discord import client
from bot.errors import Barred, FloodWait, MessageGone, PlatformError, Unreachable
from bot.messages import ConversationKey, Destination, MessageRef, Outgoing, Typing
from tests.discord_fake import Channel, Permission
from tests.discord_house import Ferns, discord_config, hurried
from tests.discord_online import Online

ANSWER = "You said: Ada: hello"


@pytest.fixture
async def online(ferns: Ferns) -> AsyncIterator[Online]:
    """An adapter that only sends."""
    with hurried(ferns.server):
        made = Online(discord_config(ferns.folder, ferns.server).discord, ferns.server)
        await made.begin()
        yield made
        await made.rest()


def to(online: Online, channel: Channel) -> Destination:
    return Destination(key=ConversationKey("discord", online.account, str(channel.id)))


# Limits and outages


@pytest.mark.parametrize("kind", ["429", "500", "503", "drop", "garbage"])
async def test_an_answer_goes_through_what_passes(ferns: Ferns, kind: str) -> None:
    ferns.server.fail("create_message", kind)  # type: ignore[arg-type]
    async with ferns.house() as h:
        h.engine.stall_after = 3
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.from_bot, "the placeholder")
        ferns.server.fail("update_message", kind)  # type: ignore[arg-type]
        h.engine.resume.set()
        await h.answered(ferns.general, ANSWER)


@pytest.mark.parametrize("kind", ["lost", "garbage"])
async def test_a_lost_acknowledgement_doubles_nothing(ferns: Ferns, kind: str) -> None:
    """A message is known by its nonce."""
    fault = ferns.server.fail("create_message", kind)  # type: ignore[arg-type]
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, ANSWER)
        assert fault.happened == 1
        ferns.general.say(ferns.ada, "again", mention=ferns.bot)
        await h.answered(ferns.general, ANSWER, "You said: Ada: again")


async def test_a_channel_that_must_wait_holds_up_no_other(ferns: Ferns) -> None:
    """A 429 of a proxy in front of Discord says nothing of a bucket."""
    others = [ferns.guild.text(f"other-{number}") for number in range(3)]
    fault = ferns.server.fail("create_message", "cloudflare", channel=ferns.general.id)
    async with ferns.house(chat={"drain": 0.1}) as h:
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: fault.happened, "the refusal")
        for channel in others:
            channel.say(ferns.bea, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: all(c.texts_of_bot() == ["You said: Bea: hello"] for c in others), "the others")
        await h.server.wait_for(lambda: h.app.dispatcher.in_progress == 1, "the others' end")
        assert ferns.general.from_bot == []
        assert await h.app.store.pending() == 1


async def test_slow_mode_is_waited_for(ferns: Ferns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SLOW_SECONDS", 0.01)
    ferns.server.fail("create_message", "refuse", status=400, code=20016, message="Slowmode", times=2)
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, ANSWER)


async def test_floods_say_how_long_to_wait(ferns: Ferns, online: Online) -> None:
    ferns.server.fail("create_message", "cloudflare")
    with pytest.raises(FloodWait) as caught:
        await online.send(to(online, ferns.general), Outgoing(text="hello"))
    assert caught.value.seconds == 600
    ferns.server.fail("create_message", "429", retry_after=77.0)
    with pytest.raises(FloodWait) as caught:
        await online.send(to(online, ferns.general), Outgoing(text="hello"))
    assert caught.value.seconds == 77


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, 10008, MessageGone),
        (404, 10003, Barred),
        (403, 50001, Barred),
        (403, 50013, Barred),
        (403, 50007, Barred),
        (400, 50035, PlatformError),
        (401, 0, Unreachable),
        (503, 0, Unreachable),
        (429, 20028, FloodWait),
        (400, 20016, FloodWait),
    ],
)
async def test_refusals_by_their_codes(
    ferns: Ferns, online: Online, status: int, code: int, error: type[PlatformError]
) -> None:
    ferns.server.fail("update_message", "refuse", status=status, code=code, message="no", times=5)
    with pytest.raises(error) as caught:
        await online.edit(MessageRef(to(online, ferns.general).key, "1"), Outgoing(text="hello"))
    assert type(caught.value) is error or error is Barred
    assert ferns.server.token not in str(caught.value)


async def test_a_sign_of_life_never_fails(ferns: Ferns, online: Online) -> None:
    for status, code in ((403, 50013), (503, 0), (404, 10003)):
        ferns.server.fail("trigger_typing_indicator", "refuse", status=status, code=code)
        await online.show(to(online, ferns.general), Typing())
    assert ferns.general.typing == []


async def test_words_and_the_token_are_in_no_log(ferns: Ferns, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    for kind in ("503", "drop", "garbage"):
        ferns.server.fail("create_message", kind)
    with capture_logs() as logs:
        async with ferns.house() as h:
            ferns.general.say(ferns.ada, "a secret word", mention=ferns.bot)
            await h.answered(ferns.general, "You said: Ada: a secret word")
    said = str([log for log in logs if log["log_level"] != "debug"]) + caplog.text
    assert ferns.server.token not in said
    assert "a secret word" not in said


# What the bot may not


@pytest.mark.parametrize("denied", [Permission.SEND_MESSAGES, Permission.VIEW_CHANNEL])
async def test_where_it_may_not_write_an_answer_ends_at_once(ferns: Ferns, denied: Permission) -> None:
    async with ferns.house() as h:
        h.engine.stall_after = 0
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: h.engine.active == 1, "the question")
        ferns.general.overwrite(ferns.bot, deny=denied)
        h.engine.resume.set()
        await h.settled()
        assert ferns.general.from_bot == []
        ferns.general.overwrite(ferns.bot)
        h.engine.stall_after = None
        ferns.general.say(ferns.ada, "again", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: again")


async def test_where_it_may_not_read_what_was_said_it_answers_without_a_reference(ferns: Ferns) -> None:
    ferns.general.overwrite(ferns.bot, deny=Permission.READ_MESSAGE_HISTORY)
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, ANSWER)
        assert ferns.general.from_bot[0].reply_to is None


async def test_where_it_may_open_no_thread_it_answers_in_the_channel(ferns: Ferns) -> None:
    ferns.general.overwrite(ferns.bot, deny=Permission.CREATE_PUBLIC_THREADS)
    async with ferns.house(groups={"threads": ["discord:*"]}) as h:
        asked = ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, ANSWER)
        assert ferns.general.from_bot[0].reply_to == asked.id
        assert ferns.general.threads == []


async def test_a_person_who_takes_no_messages_is_not_asked_again(ferns: Ferns) -> None:
    dm = ferns.world.dm(ferns.ada)
    async with ferns.house() as h:
        h.engine.stall_after = 0
        dm.say(ferns.ada, "hello")
        await h.server.wait_for(lambda: h.engine.active == 1, "the question")
        dm.closed = True
        h.engine.resume.set()
        await h.settled()
        assert dm.from_bot == []
        assert len(h.server.called("create_message")) == 1


# Threads


async def test_a_thread_that_was_archived_meanwhile_is_opened_again(ferns: Ferns) -> None:
    thread = ferns.general.thread(ferns.ada, "Moss")
    async with ferns.house() as h:
        h.engine.stall_after = 5
        thread.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: thread.texts_of_bot() == ["You s"], "the placeholder")
        thread.archive()
        h.engine.resume.set()
        await h.answered(thread, ANSWER)
        assert not thread.archived


@pytest.mark.parametrize("begun", [False, True])
async def test_in_a_locked_thread_an_answer_ends(ferns: Ferns, begun: bool) -> None:
    thread = ferns.general.thread(ferns.ada, "Moss")
    async with ferns.house() as h:
        h.engine.stall_after = 5 if begun else 0
        thread.say(ferns.ada, "hello", mention=ferns.bot)
        there = ["You s"] if begun else []
        await h.server.wait_for(lambda: h.engine.active == 1 and thread.texts_of_bot() == there, "the beginning")
        thread.archive(locked=True)
        h.engine.resume.set()
        await h.settled()
        assert thread.texts_of_bot() == there
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, ANSWER)


# What others do meanwhile


async def test_an_answer_that_a_moderator_deletes_while_it_grows_is_sent_anew(ferns: Ferns) -> None:
    async with ferns.house() as h:
        h.engine.stall_after = 5
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.texts_of_bot() == ["You s"], "the placeholder")
        ferns.general.delete(ferns.general.from_bot[0])
        h.engine.resume.set()
        await h.answered(ferns.general, ANSWER)


async def test_what_is_told_twice_is_answered_once(ferns: Ferns) -> None:
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, ANSWER)
        question = ferns.general.say(ferns.ada, "again", mention=ferns.bot)
        h.server.ws.repeat()
        ferns.general.tell("MESSAGE_CREATE", ferns.general.as_event(question))
        await h.answered(ferns.general, ANSWER, "You said: Ada: again")
        used = ferns.general.command(ferns.ada, "stop")
        await h.told(used, "There is nothing to stop.")
        assert len(h.prompts()) == 2


async def test_what_nobody_knows_keeps_nothing_else_from_being_heard(ferns: Ferns) -> None:
    """Channels of a type that is not there yet, events of an unknown name, and messages in channels that nobody has seen."""
    odd = ferns.guild._channel("odd", 99)
    async with ferns.house() as h:
        odd.say(ferns.ada, "hello", mention=ferns.bot)
        another = ferns.guild._channel("odder", 98)
        another.say(ferns.ada, "hello", mention=ferns.bot)
        another.discard()
        ferns.general.tell("QUANTUM_ENTANGLE", {"id": "1"})
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, ANSWER)
        assert h.server.ws.attempts == 1, "the connection is still the first"
    ferns.server.expect_violation("get_channel's answer: type")
