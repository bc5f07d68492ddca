"""Delivery: one answer, from its pieces to what stands on the platform and in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import pairwise

import pytest

from adapters.delivery import Delivery
from adapters.text import split, telegram_length
from bot.errors import FloodWait, LeaseLost, MessageGone, PlatformError, TextRefused, Unreachable
from bot.messages import (
    AnswerState,
    Author,
    Claim,
    Conversation,
    ConversationKey,
    Draft,
    File,
    Finished,
    Limits,
    Message,
    MessageState,
    Notice,
    Outgoing,
    Piece,
    Preview,
    Reply,
    Role,
    SentPart,
    Settings,
    StoredMessage,
    Text,
    Typing,
)
from bot.testing import Fault, MemoryAdapter, VirtualClock

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CHAT = ConversationKey("memory", "bot", "chat", "thread")
FILE = File("data.json", "application/json", b"{}")
Step = Piece | float | BaseException
"""A piece, or seconds to wait, or an error to raise."""


@dataclass
class Memo:
    """A Ledger in memory: parts by answer and index, as a Store keeps them."""

    parts: dict[int, dict[int, SentPart]] = field(default_factory=dict)
    intents: list[SentPart] = field(default_factory=list)
    lost: bool = False

    async def intend(self, claim: Claim, part: SentPart) -> None:
        await asyncio.sleep(0)
        if self.lost:
            raise LeaseLost("another worker has it")
        assert part.message is None
        self.intents.append(part)
        self.parts.setdefault(claim.id, {})[part.index] = part

    async def record_sent(self, claim: Claim, part: SentPart) -> None:
        await asyncio.sleep(0)
        assert part.message
        assert self.parts[claim.id][part.index].nonce == part.nonce
        self.parts[claim.id][part.index] = part

    async def drop_part(self, claim: Claim, index: int) -> None:
        await asyncio.sleep(0)
        del self.parts[claim.id][index]

    def of(self, claim: Claim) -> tuple[SentPart, ...]:
        known = self.parts.get(claim.id, {})
        return tuple(known[index] for index in sorted(known))


class Stage:
    """A clock, a platform, a ledger and a delivery."""

    def __init__(self, **limits: object) -> None:
        self.time = VirtualClock()
        chosen = {"text": 100, "seconds_per_call": 1.0, "burst": 1, "files": True, "private_answers": True} | limits
        self.platform = MemoryAdapter(
            limits=Limits(**chosen),  # type: ignore[arg-type]
            clock=self.time.now,
            sleep=self.time.sleep,
        )
        self.ledger = Memo()
        self.delivery = Delivery(self.ledger, self.time.now, self.time.sleep)
        self.taken: list[float] = []
        """When each piece was taken."""

    async def pieces(self, steps: tuple[Step, ...]) -> AsyncIterator[Piece]:
        for step in steps:
            if isinstance(step, float):
                await self.time.sleep(step)
            elif isinstance(step, BaseException):
                raise step
            else:
                yield step
                self.taken.append(self.time.now())

    async def deliver(self, claim: Claim, *steps: Step) -> Finished:
        return await self.time.run(self.start(claim, *steps))

    async def start(self, claim: Claim, *steps: Step) -> Finished:
        return await self.delivery.deliver(claim, self.platform, self.pieces(steps))

    def texts(self, key: ConversationKey = CHAT) -> list[str]:
        return [what.text for what in self.platform.standing(key)]

    def shown(self) -> list[object]:
        return [call.what for call in self.platform.calls if call.kind == "show"]

    def calls(self, *kinds: str) -> list[tuple[float, str]]:
        """When, since the beginning, and the text."""
        calls = [call for call in self.platform.calls if call.kind in (kinds or ("send", "edit"))]
        return [(round(c.at - 1000, 3), c.what.text if isinstance(c.what, Outgoing) else "") for c in calls]

    def agree(self, claim: Claim) -> None:
        """The ledger knows just the messages that stand."""
        known = [part.message for part in self.ledger.of(claim)]
        standing = [posted.ref for posted in self.platform.messages if not posted.deleted]
        assert known == standing


def a_claim(number: int = 1, key: ConversationKey = CHAT, **changes: object) -> Claim:
    event = Message(key=key, event_id=f"q{number}", author=Author("7", "Ann"), text="?", sent_at=NOW, direct=True)
    question = StoredMessage(
        id=number, parent=None, role=Role.USER, text="?", author=None, state=MessageState.PENDING, created_at=NOW
    )
    conversation = Conversation(id=1, key=key, direct=True, settings=Settings(), head=None, first_day=date(2026, 11, 1))
    claim = Claim(
        id=number, conversation=conversation, question=question, event=event, attempt=1, owner="w", received_at=NOW
    )
    return replace(claim, **changes)  # type: ignore[arg-type]


def in_group(claim: Claim, *, private: bool = False) -> Claim:
    return replace(claim, event=replace(claim.event, direct=False, can_reply_privately=private))


def done(text: str, **changes: object) -> Finished:
    draft = Draft(role=Role.ASSISTANT, text=text, parent=1)
    finished = Finished(outcome=AnswerState.DONE, text=text, drafts=(draft,))
    return replace(finished, **changes)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------------
# The ordinary way


async def test_an_answer_is_a_typing_sign_a_placeholder_with_the_first_text_and_edits_at_the_chats_pace() -> None:
    stage, claim = Stage(), a_claim()
    words = [step for n in range(10) for step in (0.3, Text(f"w{n} "))]
    finished = await stage.deliver(claim, *words, done("".join(f"w{n} " for n in range(10)).strip()))
    assert finished.text == "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9"
    assert stage.shown()[0] == Typing()
    assert stage.calls() == [
        (0.3, "w0"),
        (1.3, "w0 w1 w2 w3"),
        (2.3, "w0 w1 w2 w3 w4 w5 w6"),
        (3.3, "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9"),
    ]
    assert stage.texts() == ["w0 w1 w2 w3 w4 w5 w6 w7 w8 w9"]
    stage.agree(claim)


async def test_the_typing_sign_is_repeated_until_there_is_text() -> None:
    stage = Stage()
    await stage.deliver(a_claim(), 9.0, Text("a"), 9.0, done("a b"))
    assert [call.at - 1000 for call in stage.platform.calls if call.kind == "show"] == [0, 4, 8]


async def test_a_notice_becomes_a_placeholder_that_the_answer_replaces() -> None:
    stage, claim = Stage(), a_claim()
    await stage.deliver(claim, Notice("place 2"), 2.0, Notice("place 1"), 2.0, Text("Hel"), 2.0, done("Hello"))
    assert stage.calls("send") == [(0, "place 2")]
    assert stage.calls("edit") == [(2, "place 1"), (4, "Hel"), (6, "Hello")]
    assert [what.final for what in stage.platform.messages[0].states] == [False, False, False, True]
    stage.agree(claim)


async def test_only_the_last_state_is_final_although_the_text_is_the_same() -> None:
    stage = Stage()
    await stage.deliver(a_claim(), Text("same"), 5.0, done("same"))
    assert [(what.text, what.final) for what in stage.platform.messages[0].states] == [("same", False), ("same", True)]


async def test_a_full_message_is_finished_and_the_answer_rolls_over_while_it_streams() -> None:
    stage, claim = Stage(), a_claim()
    text = " ".join(f"word{n:02}" for n in range(40))
    steps = [step for n in range(40) for step in (0.2, Text(f"word{n:02} "))]
    await stage.deliver(claim, *steps, done(text))
    assert stage.texts() == split(text, 100, len)
    first = stage.platform.messages[0].states
    assert [what.final for what in first].count(True) == 1
    assert first[-1].final
    sends = [at for at, _ in stage.calls("send")]
    assert len(sends) == 3
    assert sends[1] < 5
    stage.agree(claim)


async def test_markdown_that_streams_is_measured_as_the_platform_does() -> None:
    stage = Stage(measure=telegram_length)
    text = "**" + "bold " * 30 + "end** [link](https://example.com/) " + "```py\ncode\n" + "line\n" * 30 + "```"
    await stage.deliver(a_claim(), *(Text(char) for char in text), done(text))
    assert stage.texts() == split(text, 100, telegram_length)


async def test_a_reply_in_a_group_answers_the_question_in_its_first_message() -> None:
    stage = Stage()
    await stage.deliver(in_group(a_claim()), done("word " * 30))
    assert [posted.reply_to for posted in stage.platform.messages] == ["q1", None]


async def test_a_direct_answer_replies_to_nothing() -> None:
    stage = Stage()
    await stage.deliver(a_claim(), done("hello"))
    assert stage.platform.messages[0].reply_to is None


async def test_a_stop_button_while_it_streams_becomes_a_retry_button() -> None:
    stage = Stage(buttons=True)
    await stage.deliver(a_claim(5), Text("Hel"), 2.0, done("Hello"))
    assert [b.id for what in stage.platform.messages[0].states for b in what.buttons] == ["stop:5", "retry:5"]


async def test_a_full_message_has_no_button() -> None:
    stage = Stage(buttons=True)
    await stage.deliver(a_claim(5), Text("word " * 30), 5.0, done("word " * 30))
    assert [[b.id for b in what.buttons] for what in stage.platform.standing(CHAT)] == [[], ["retry:5"]]


async def test_a_command_has_no_retry_button() -> None:
    stage = Stage(buttons=True)
    await stage.deliver(a_claim(), done("The models are ...", drafts=()))
    assert stage.platform.standing(CHAT)[0].buttons == ()


async def test_a_failure_has_a_retry_button() -> None:
    stage = Stage(buttons=True)
    await stage.deliver(a_claim(), done("It failed.", drafts=(), outcome=AnswerState.FAILED))
    assert [b.label for b in stage.platform.standing(CHAT)[0].buttons] == ["Retry"]


async def test_a_stopped_answer_stands_as_far_as_it_went() -> None:
    stage, claim = Stage(), a_claim()
    finished = await stage.deliver(claim, Text("One two"), 3.0, done("One two", outcome=AnswerState.STOPPED))
    assert finished.outcome is AnswerState.STOPPED
    assert stage.texts() == ["One two"]


# ---------------------------------------------------------------------------------------------------------------------
# Nothing to say


async def test_an_empty_answer_sends_nothing() -> None:
    stage = Stage()
    await stage.deliver(a_claim(), 1.0, done(" "))
    assert stage.platform.messages == []


async def test_an_empty_answer_takes_its_placeholder_back() -> None:
    stage, claim = Stage(), a_claim()
    await stage.deliver(claim, Notice("wait"), 5.0, done(""))
    assert stage.texts() == []
    assert stage.ledger.of(claim) == ()


async def test_pieces_without_an_end_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="without Finished"):
        await Stage().deliver(a_claim(), Text("a"))


# ---------------------------------------------------------------------------------------------------------------------
# Previews


async def test_with_previews_the_text_grows_there_and_the_message_is_sent_once() -> None:
    stage, claim = Stage(previews=True), a_claim()
    await stage.deliver(claim, Notice("wait"), 2.0, Text("Hel"), 2.0, Text("lo"), 2.0, done("Hello!"))
    assert [sign for sign in stage.shown() if sign != Typing()] == [Preview("wait"), Preview("Hel"), Preview("Hello")]
    assert stage.calls() == [(6, "Hello!")]
    stage.agree(claim)


async def test_a_preview_is_shown_again_before_it_fades() -> None:
    stage = Stage(previews=True)
    await stage.deliver(a_claim(), Text("Hel"), 50.0, done("Hello"))
    previews = [call.at - 1000 for call in stage.platform.calls if call.what == Preview("Hel")]
    assert previews == [0, 20, 40]


async def test_new_text_is_previewed_at_once_and_not_when_the_old_preview_fades() -> None:
    stage = Stage(previews=True)
    await stage.deliver(a_claim(), Text("Hel"), 3.0, Text("lo"), 3.0, done("Hello!"))
    assert [call.at - 1000 for call in stage.platform.calls if call.what == Preview("Hello")] == [3]


async def test_a_full_message_is_sent_although_there_are_previews() -> None:
    stage = Stage(previews=True)
    await stage.deliver(a_claim(), Text("word " * 30), 5.0, done("word " * 30))
    assert stage.calls("edit") == []
    assert [at for at, _ in stage.calls("send")] == [0, 5]


async def test_there_are_no_previews_in_groups() -> None:
    stage = Stage(previews=True)
    await stage.deliver(in_group(a_claim()), Text("Hel"), 2.0, done("Hello"))
    assert stage.calls("edit") == [(2, "Hello")]


async def test_an_answer_that_is_replaced_in_place_is_edited_and_not_previewed() -> None:
    stage, claim = Stage(previews=True), a_claim()
    await stage.deliver(claim, done("old"))
    await stage.deliver(replace(claim, parts=stage.ledger.of(claim)), 5.0, Text("ne"), 2.0, done("new"))
    assert [text for _, text in stage.calls("edit")] == ["ne", "new"]
    assert stage.texts() == ["new"]


# ---------------------------------------------------------------------------------------------------------------------
# Pace


async def test_answers_in_one_chat_share_one_slot_also_over_threads() -> None:
    stage = Stage()
    other = replace(CHAT, thread="another")
    steps = [step for _ in range(20) for step in (0.1, Text("x"))]

    async def both() -> None:
        one = stage.start(a_claim(1), *steps, done("x" * 20))
        two = stage.start(a_claim(2, key=other), *steps, done("x" * 20))
        await asyncio.gather(one, two)

    await stage.time.run(both())
    times = sorted(at for at, _ in stage.calls())
    assert all(later - earlier > 0.999 for earlier, later in pairwise(times))
    assert stage.texts() == ["x" * 20]
    assert stage.texts(other) == ["x" * 20]


async def test_the_pace_is_kept_from_one_answer_to_the_next() -> None:
    stage = Stage()
    await stage.deliver(a_claim(1), done("one"))
    await stage.deliver(a_claim(2), done("two"))
    assert stage.calls() == [(0, "one"), (1, "two")]


async def test_a_burst_goes_at_once_after_a_rest() -> None:
    stage = Stage(burst=3)
    await stage.deliver(a_claim(), done("word " * 90))
    assert [at for at, _ in stage.calls("send")] == [0, 0, 0, 1, 2]


async def test_a_flooded_chat_holds_up_no_other_and_its_final_text_comes_when_it_may() -> None:
    stage, claim = Stage(), a_claim(1)
    other = a_claim(2, key=replace(CHAT, chat="other"))
    stage.platform.faults = [Fault(FloodWait(300), kind="edit", chat="chat")]
    steps = [step for _ in range(10) for step in (1.0, Text("x"))]

    async def both() -> None:
        await asyncio.gather(stage.start(claim, *steps, done("x" * 10)), stage.start(other, *steps, done("x" * 10)))

    await stage.time.run(both())
    flooded = [call.at - 1000 for call in stage.platform.calls if call.key.chat == "chat" and call.kind != "show"]
    assert flooded == [1, 2, 302]
    others = [call.at - 1000 for call in stage.platform.calls if call.key.chat == "other" and call.kind != "show"]
    assert others == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert stage.texts() == ["x" * 10]


async def test_a_final_text_that_is_flooded_waits_as_often_as_it_must() -> None:
    stage = Stage()
    stage.platform.faults = [Fault(FloodWait(60)), Fault(FloodWait(3600)), Fault(FloodWait(5))]
    await stage.deliver(a_claim(), done("late"))
    assert stage.calls() == [(0, "late"), (60, "late"), (3660, "late"), (3665, "late")]
    assert stage.texts() == ["late"]


async def test_a_slow_platform_never_stops_the_engine() -> None:
    stage = Stage()
    stage.platform.seconds_per_call = 30.0
    steps = [step for _ in range(100) for step in (0.1, Text("x"))]
    await stage.deliver(a_claim(), *steps, done("x" * 100))
    assert stage.taken[99] - 1000 == pytest.approx(10)
    assert stage.calls() == [(0.1, "x"), (30.1, "x" * 100)]


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


async def test_cancelled_while_the_platform_answers_the_ledger_keeps_the_intent() -> None:
    stage, claim = Stage(), a_claim()
    stage.platform.seconds_per_call = 10.0

    async def cancel() -> None:
        task = asyncio.create_task(stage.start(claim, Text("Hel"), 60.0, done("Hello")))
        await stage.time.sleep(3.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await stage.time.run(cancel())
    assert [part.message for part in stage.ledger.of(claim)] == [None]


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
# Replies, files, and words for the asker alone


async def test_a_reply_takes_the_notices_place_and_stays() -> None:
    stage, claim = Stage(), a_claim()
    await stage.deliver(claim, Notice("wait"), 2.0, Reply("Done as told."), 2.0, done("", drafts=()))
    assert stage.texts() == ["Done as told."]
    assert len(stage.platform.messages) == 1
    stage.agree(claim)


async def test_a_reply_between_texts_stands_after_what_was_there() -> None:
    stage, claim = Stage(), a_claim()
    await stage.deliver(claim, Text("One"), 2.0, Reply("Aside."), 2.0, Text(" two"), 2.0, done("One two."))
    assert stage.texts() == ["One two.", "Aside."]
    stage.agree(claim)


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
    for steps in ((done("secret", private=True),), (Reply("secret", private=True), done(""))):
        with pytest.raises(PlatformError, match="asker alone"):
            await stage.deliver(in_group(a_claim()), *steps)
    assert stage.platform.messages == []


async def test_in_a_direct_chat_everything_is_private_already() -> None:
    stage = Stage(private_answers=False)
    await stage.deliver(a_claim(), done("secret", private=True))
    assert stage.texts() == ["secret"]
