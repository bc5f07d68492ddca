"""Delivery when things go wrong: faults of the platform, later attempts, and words that others must not see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from adapters.text import split
from bot.errors import DatabaseError, FloodWait, LeaseLost, MessageGone, PlatformError, TextRefused, Unreachable
from bot.messages import Claim, Notice, Piece, Text
from bot.testing import Fault
from tests.staging import CHAT, FILE, Stage, a_claim, done, in_group

# ---------------------------------------------------------------------------------------------------------------------
# Faults


async def test_interim_failures_are_skipped() -> None:
    stage, claim = Stage(), a_claim()
    stage.platform.faults = [Fault(Unreachable("502")), Fault(FloodWait(3)), Fault(PlatformError("forbidden"))]
    steps = [step for _ in range(20) for step in (1.0, Text("x"))]
    await stage.deliver(claim, *steps, done("x" * 20))
    assert stage.texts() == ["x" * 20]
    stage.agree(claim)


async def test_a_lost_acknowledgement_is_sent_again_with_the_same_nonce() -> None:
    stage, claim = Stage(), a_claim()
    stage.platform.enforce_nonce = True
    stage.platform.faults = [Fault(Unreachable("reset"), after=True)]
    await stage.deliver(claim, done("once"))
    assert len(stage.calls("send")) == 2
    assert len(stage.platform.messages) == 1
    stage.agree(claim)


async def test_a_lost_acknowledgement_of_other_words_is_made_up_for_by_an_edit() -> None:
    stage, claim = Stage(), a_claim()
    stage.platform.enforce_nonce = True
    stage.platform.faults = [Fault(Unreachable("reset"), after=True)]
    await stage.deliver(claim, Text("Hel"), 9.0, done("Hello"))
    assert stage.texts() == ["Hello"]
    assert len(stage.platform.messages) == 1


async def test_five_tries_then_the_platform_is_given_up() -> None:
    stage = Stage()
    stage.platform.faults = [Fault(Unreachable("down"))] * 5
    with pytest.raises(Unreachable):
        await stage.deliver(a_claim(), done("never"))
    assert len(stage.calls()) == 5
    assert stage.calls()[-1][0] < 60


async def test_a_final_refusal_is_raised() -> None:
    stage = Stage()
    stage.platform.faults = [Fault(PlatformError("the bot was blocked"))]
    with pytest.raises(PlatformError, match="blocked"):
        await stage.deliver(a_claim(), done("never"))


async def test_a_text_that_is_refused_is_sent_plain_once() -> None:
    stage = Stage()
    stage.platform.unparsable = lambda text: "**" in text
    await stage.deliver(a_claim(), Text("**a"), 3.0, done("**ab"))
    standing = stage.platform.standing(CHAT)[0]
    assert (standing.text, standing.plain, standing.final) == ("**ab", True, True)


async def test_a_text_that_is_refused_plain_too_is_a_failure() -> None:
    stage = Stage()
    stage.platform.faults = [Fault(TextRefused("no")), Fault(TextRefused("no"))]
    with pytest.raises(TextRefused):
        await stage.deliver(a_claim(), done("text"))


async def test_a_message_that_somebody_removed_is_sent_anew_with_a_new_nonce() -> None:
    stage, claim = Stage(), a_claim()
    stage.platform.enforce_nonce = True

    async def remove() -> None:
        await stage.time.sleep(2.0)
        stage.platform.messages[0].deleted = True

    async def both() -> None:
        await asyncio.gather(remove(), stage.start(claim, Text("Hel"), 5.0, done("Hello")))

    await stage.time.run(both())
    assert stage.texts() == ["Hello"]
    first, second = stage.ledger.intents
    assert first.nonce != second.nonce
    assert first.index == second.index == 0
    stage.agree(claim)


async def test_a_question_that_is_gone_is_answered_without_a_reply() -> None:
    stage, claim = Stage(), in_group(a_claim())
    stage.platform.gone = {"q1"}
    await stage.deliver(claim, done("hello"))
    assert stage.platform.messages[0].reply_to is None
    assert stage.texts() == ["hello"]


async def test_a_chat_that_is_gone_is_given_up() -> None:
    stage = Stage()
    stage.platform.faults = [Fault(MessageGone("chat not found"))] * 9
    with pytest.raises(MessageGone):
        await stage.deliver(a_claim(), done("hello"))
    assert len(stage.calls()) == 3


# ---------------------------------------------------------------------------------------------------------------------
# Attempts, and what the ledger knows


async def test_the_intent_is_committed_before_the_send() -> None:
    stage, claim = Stage(), a_claim()
    stage.platform.faults = [Fault(PlatformError("no"))]
    with pytest.raises(PlatformError):
        await stage.deliver(claim, done("never"))
    (part,) = stage.ledger.of(claim)
    assert (part.index, part.message) == (0, None)
    assert 1 <= len(part.nonce) <= 25


async def test_the_next_attempt_edits_what_stands_and_sends_what_is_missing() -> None:
    stage, claim = Stage(), a_claim()
    with pytest.raises(ValueError, match="engine"):
        await stage.deliver(claim, Text("word " * 30), 5.0, ValueError("engine"))
    stage.agree(claim)
    sent = len(stage.calls("send"))
    await stage.deliver(replace(claim, attempt=2, parts=stage.ledger.of(claim)), Text("other"), done("other " * 40))
    assert stage.texts() == split("other " * 40, 100, len)
    assert len(stage.calls("send")) == sent + 1
    stage.agree(claim)


async def test_an_unacknowledged_part_of_an_earlier_attempt_keeps_its_nonce() -> None:
    stage, claim = Stage(), a_claim()
    stage.platform.enforce_nonce = True
    stage.platform.faults = [Fault(Unreachable("reset"), after=True)]
    with pytest.raises(ValueError, match="engine"):
        await stage.deliver(claim, Text("Hel"), 0.1, ValueError("engine"))
    (part,) = stage.ledger.of(claim)
    assert part.message is None
    await stage.deliver(replace(claim, attempt=2, parts=(part,)), done("Hello"))
    assert len(stage.platform.messages) == 1
    assert stage.ledger.of(claim)[0].nonce == part.nonce


async def test_messages_too_many_of_an_earlier_attempt_are_removed() -> None:
    stage, claim = Stage(), a_claim()
    await stage.deliver(claim, done("word " * 60))
    assert len(stage.texts()) == 3
    await stage.deliver(replace(claim, parts=stage.ledger.of(claim)), done("short"))
    assert stage.texts() == ["short"]
    stage.agree(claim)


async def test_to_remove_a_message_is_tried_again() -> None:
    stage, claim = Stage(), a_claim()
    await stage.deliver(claim, done("word " * 30))
    stage.platform.faults = [Fault(Unreachable("502"), kind="delete"), Fault(FloodWait(30), kind="delete")]
    await stage.deliver(replace(claim, parts=stage.ledger.of(claim)), done("short"))
    assert stage.texts() == ["short"]
    stage.agree(claim)


async def test_a_message_that_cannot_be_removed_stays_in_the_ledger_too() -> None:
    stage, claim = Stage(), a_claim()
    await stage.deliver(claim, done("word " * 30))
    stage.platform.faults = [Fault(PlatformError("too old"), kind="delete")]
    await stage.deliver(replace(claim, parts=stage.ledger.of(claim)), done("short"))
    stage.agree(claim)


async def test_a_kept_answer_goes_straight_to_its_final_text() -> None:
    stage = Stage()
    claim = replace(a_claim(), kept=done("word " * 30))
    assert claim.kept
    await stage.deliver(claim, claim.kept)
    assert stage.shown() == []
    assert stage.texts() == split("word " * 30, 100, len)
    assert all(what.final for posted in stage.platform.messages for what in posted.states)


async def test_nonces_of_different_answers_and_messages_differ() -> None:
    stage = Stage()
    await stage.deliver(a_claim(1), done("word " * 30))
    await stage.deliver(a_claim(2), done("word " * 30))
    assert len({part.nonce for part in stage.ledger.intents}) == 4


async def test_cancelled_it_stops_at_once_without_a_final_edit() -> None:
    stage, claim = Stage(), a_claim()

    async def cancel() -> float:
        task = asyncio.create_task(stage.start(claim, Text("Hel"), 60.0, done("Hello")))
        await stage.time.sleep(3.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return stage.time.now() - 1000

    assert await stage.time.run(cancel()) == 3
    assert stage.calls() == [(0, "Hel")]
    stage.agree(claim)


async def cancelled_after(stage: Stage, claim: Claim, seconds: float) -> float:
    """Deliver, cancel after so long, and return when it had ended, from the beginning."""

    async def cancel() -> None:
        task = asyncio.create_task(stage.start(claim, Text("Hel"), 60.0, done("Hello")))
        await stage.time.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await stage.time.run(cancel())
    return stage.time.now() - 1000


async def test_cancelled_while_the_platform_answers_the_message_is_written_down() -> None:
    stage, claim = Stage(), a_claim()
    stage.platform.seconds_per_call = 4.0
    assert await cancelled_after(stage, claim, 1.0) == 4
    assert stage.texts() == ["Hel"]
    stage.agree(claim)


async def test_cancelled_while_the_platform_answers_very_slowly_the_ledger_keeps_the_intent() -> None:
    stage, claim = Stage(), a_claim()
    stage.platform.seconds_per_call = 100.0
    assert await cancelled_after(stage, claim, 3.0) == 8
    assert [part.message for part in stage.ledger.of(claim)] == [None]


async def test_cancelled_while_an_id_is_committed_the_ledger_has_it() -> None:
    stage, claim = Stage(), a_claim()
    stage.ledger.record = lambda: stage.time.sleep(5.0)
    assert await cancelled_after(stage, claim, 3.0) == 5
    assert stage.texts() == ["Hel"]
    stage.agree(claim)


async def test_a_message_that_nobody_waits_for_any_more_when_it_is_sent_is_removed() -> None:
    """The question was deleted, or its answer was closed, while the send was under way."""
    stage, claim = Stage(), a_claim()
    stage.platform.seconds_per_call = 1.0

    async def lost() -> None:
        raise LeaseLost("nobody has it")

    stage.ledger.record = lost
    await cancelled_after(stage, claim, 0.5)
    assert [(posted.now.text, posted.deleted) for posted in stage.platform.messages] == [("Hel", True)]
    with pytest.raises(LeaseLost):
        await stage.deliver(a_claim(2), done("Hello"))
    assert [(posted.now.text, posted.deleted) for posted in stage.platform.messages][1:] == [("Hello", True)]


async def test_a_short_answer_is_written_down_once_before_it_is_sent_and_once_after() -> None:
    stage, claim = Stage(), a_claim()
    end = await stage.deliver(claim, done("Hello"))
    assert stage.ledger.writes == ["intend, keep", "record, close"]
    assert stage.ledger.kept[claim.id] == end
    stage.agree(claim)


async def test_an_answer_that_waits_for_its_turn_is_kept_before() -> None:
    stage, kept_at = Stage(), 0.0
    await stage.deliver(a_claim(), done("Hello"))

    async def look() -> None:
        nonlocal kept_at
        while 2 not in stage.ledger.kept:
            await asyncio.sleep(0)
        kept_at = stage.time.now()

    await asyncio.gather(look(), stage.deliver(a_claim(2), done("world")))
    assert [round(call.at - kept_at) for call in stage.platform.calls if call.kind == "send"] == [0, 1]
    assert stage.ledger.writes[2:] == ["keep", "intend", "record, close"]


async def test_of_an_answer_in_several_messages_the_last_one_closes_it() -> None:
    stage = Stage()
    await stage.deliver(a_claim(), done("word " * 30))
    assert stage.ledger.writes == ["intend, keep", "record", "intend", "record, close"]


async def test_what_stands_already_is_kept_edited_and_closed() -> None:
    stage = Stage()
    await stage.deliver(a_claim(), Text("Hel"), 2.0, done("Hello"))
    assert stage.ledger.writes == ["intend", "record", "keep", "close"]


@pytest.mark.parametrize("error", [LeaseLost("an edit took it"), DatabaseError("the disk is full")])
async def test_a_message_is_written_down_although_its_answer_cannot_be_closed(error: Exception) -> None:
    stage, claim = Stage(), a_claim()
    stage.ledger.unclosed = error
    with pytest.raises(type(error)):
        await stage.deliver(claim, done("Hello"))
    assert stage.texts() == ["Hello"]
    assert stage.ledger.writes == ["intend, keep", "record"]
    stage.agree(claim)


async def test_of_what_is_not_to_stay_the_answer_is_closed_when_its_message_is_written_down() -> None:
    stage = Stage()
    await stage.deliver(a_claim(), done("Forgotten.", erase=True))
    assert stage.ledger.writes == ["intend", "record", "close"]


async def test_the_pieces_are_closed_when_delivery_ends_early() -> None:
    stage, closed = Stage(), asyncio.Event()

    async def pieces() -> AsyncIterator[Piece]:
        try:
            yield Text("a")
            await asyncio.Event().wait()
        finally:
            closed.set()

    stage.ledger.lost = True
    with pytest.raises(LeaseLost):
        await stage.time.run(stage.delivery.deliver(a_claim(), stage.platform, pieces()))
    assert closed.is_set()


# ---------------------------------------------------------------------------------------------------------------------
# Files, and words for the asker alone


async def test_a_file_comes_with_the_last_message_and_not_by_an_edit() -> None:
    stage, claim = Stage(), a_claim()
    await stage.deliver(claim, Notice("wait"), 2.0, done("word " * 30, files=(FILE,)))
    assert [len(what.files) for what in stage.platform.standing(CHAT)] == [0, 1]
    await stage.deliver(a_claim(2), Notice("wait"), 2.0, done("Here it is.", files=(FILE,)))
    assert [(what.text, len(what.files)) for what in stage.platform.standing(CHAT)][2:] == [("Here it is.", 1)]


async def test_a_file_without_words_is_sent() -> None:
    stage = Stage()
    await stage.deliver(a_claim(), done("", files=(FILE,)))
    assert stage.platform.standing(CHAT)[0].files == (FILE,)


async def test_where_files_cannot_be_sent_their_names_are_told() -> None:
    stage = Stage(files=False)
    await stage.deliver(a_claim(), done("Here.", files=(FILE,)))
    assert stage.texts() == ["Here.\n\nFiles cannot be sent here: data.json"]


async def test_an_answer_for_the_asker_alone_is_private_in_a_group() -> None:
    stage, claim = Stage(), in_group(a_claim(), private=True)
    await stage.deliver(claim, Notice("wait"), 2.0, done("secret", private=True))
    assert [(what.text, what.private) for what in stage.platform.standing(CHAT)] == [("secret", True)]
    assert all(what.private for posted in stage.platform.messages for what in posted.states if "secret" in what.text)
    stage.agree(claim)


async def test_an_answer_for_the_asker_alone_is_never_shown_to_others() -> None:
    stage = Stage()
    with pytest.raises(PlatformError, match="asker alone"):
        await stage.deliver(in_group(a_claim()), done("secret", private=True))
    assert stage.platform.messages == []


async def test_in_a_direct_chat_everything_is_private_already() -> None:
    stage = Stage(private_answers=False)
    await stage.deliver(a_claim(), done("secret", private=True))
    assert stage.texts() == ["secret"]
