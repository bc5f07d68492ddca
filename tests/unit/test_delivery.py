"""Delivery: one answer, from its pieces to what stands on the platform and in the ledger."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from adapters.delivery.pacing import Slot
from adapters.text import split, telegram_length
from bot.errors import FloodWait
from bot.messages import (
    AnswerState,
    Button,
    ConversationKey,
    Destination,
    Draft,
    Limits,
    Notice,
    Outcome,
    Outgoing,
    Preview,
    Role,
    Text,
    Typing,
)
from bot.metered import Metered
from bot.metrics import Metrics
from bot.testing import Fault, MemoryAdapter
from tests.staging import CHAT, Stage, a_claim, done, in_group

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
    assert [round(call.at - 1000, 3) for call in stage.platform.calls if call.kind == "show"] == [0.2, 4.2, 8.2]


async def test_text_that_comes_at_once_needs_no_typing_sign() -> None:
    stage = Stage()
    await stage.deliver(a_claim(), 0.1, Text("a"), 9.0, done("a b"))
    assert stage.shown() == []


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


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [
        (AnswerState.DONE, False),
        (AnswerState.STOPPED, False),
        (AnswerState.FAILED, True),
        (AnswerState.EXPIRED, True),
    ],
)
async def test_the_last_message_of_an_answer_that_failed_says_so_once_it_is_final(
    outcome: Outcome, failed: bool
) -> None:
    stage = Stage()
    await stage.deliver(a_claim(), Text("word " * 30), 5.0, done("word " * 30 + "\n\nIt failed.", outcome=outcome))
    first, last = stage.platform.messages
    assert {what.failed for what in first.states} == {False}
    assert [what.failed for what in last.states] == [False, failed]


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


async def test_under_an_answer_to_a_question_that_has_another_there_is_a_way_to_that() -> None:
    stage = Stage(buttons=True)
    await stage.deliver(a_claim(5, retry=True), done("Hello"))
    assert stage.platform.messages[0].now.buttons == (
        Button("retry:5", "Retry"),
        Button("branch:5", "Other answer"),
    )


async def test_a_command_that_asks_again_gives_that_way_too() -> None:
    stage, again = Stage(buttons=True), Draft(role=Role.ASSISTANT, text="Hello", parent=3)
    await stage.deliver(a_claim(5), done("Hello", drafts=(again,)))
    assert [button.id for button in stage.platform.messages[0].now.buttons] == ["retry:5", "branch:5"]


async def test_a_retry_that_failed_is_no_other_answer() -> None:
    stage = Stage(buttons=True)
    await stage.deliver(a_claim(5, retry=True), done("Sorry.", outcome=AnswerState.FAILED, drafts=()))
    assert [button.id for button in stage.platform.messages[0].now.buttons] == ["retry:5"]


async def test_a_full_message_has_no_button() -> None:
    stage = Stage(buttons=True)
    await stage.deliver(a_claim(5), Text("word " * 30), 5.0, done("word " * 30))
    assert [[b.id for b in what.buttons] for what in stage.platform.standing(CHAT)] == [[], ["retry:5"]]


async def test_a_command_has_no_retry_button() -> None:
    stage = Stage(buttons=True)
    await stage.deliver(a_claim(), done("The models are ...", drafts=()))
    assert stage.platform.standing(CHAT)[0].buttons == ()


async def test_an_answers_own_buttons_are_under_its_last_message_in_place_of_retry() -> None:
    stage, own = Stage(buttons=True), (Button("choose:model", "Model"), Button("choose:close", "Close"))
    await stage.deliver(a_claim(5), done("word " * 30, buttons=own))
    assert [(what.buttons, what.form) for what in stage.platform.standing(CHAT)] == [((), False), (own, True)]


async def test_where_there_are_no_buttons_an_answers_own_are_left_out() -> None:
    stage = Stage()
    await stage.deliver(a_claim(), done("Hello", buttons=(Button("choose:model", "Model"),)))
    [shown] = stage.platform.standing(CHAT)
    assert (shown.buttons, shown.form) == ((), False)


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


async def test_text_in_quick_succession_shares_previews_at_any_pace() -> None:
    stage = Stage(previews=True, seconds_per_call=0.001, burst=100)
    words = [step for n in range(50) for step in (Text(f"{n} "), 0.01)]
    await stage.deliver(a_claim(), *words, done("all"))
    previews = [round(call.at - 1000, 3) for call in stage.platform.calls if call.kind == "show"]
    assert previews == [0, 0.2, 0.4]


async def test_beside_others_an_answer_that_ends_at_once_is_not_previewed() -> None:
    """Calls are scarce: many chats share them. One that goes on is previewed like any other."""
    stage = Stage(previews=True)
    there = ConversationKey("memory", "bot", "there")
    async with asyncio.TaskGroup() as group:

        async def both() -> None:
            long = group.create_task(stage.start(a_claim(1), 5.0, Text("Hel"), 1.0, done("Hello")))
            short = group.create_task(stage.start(a_claim(2, there), 1.0, Text("Hi"), 0.01, done("Hi!")))
            await asyncio.gather(long, short)

        await stage.time.run(both())
    assert [sign for sign in stage.shown() if sign != Typing()] == [Preview("Hel")]
    assert stage.texts(there) == ["Hi!"]


async def test_a_full_message_is_sent_although_there_are_previews() -> None:
    stage = Stage(previews=True)
    await stage.deliver(a_claim(), Text("word " * 30), 5.0, done("word " * 30))
    assert stage.calls("edit") == []
    assert [at for at, _ in stage.calls("send")] == [0, 5]


async def test_there_are_no_previews_in_groups() -> None:
    stage = Stage(previews=True)
    await stage.deliver(in_group(a_claim()), Text("Hel"), 2.0, done("Hello"))
    assert stage.calls("edit") == [(2, "Hello")]


async def test_a_preview_says_which_question_it_answers() -> None:
    """Telegram's drafts are told apart by a number that the adapter makes of it."""
    shown: list[tuple[str | None, object]] = []

    class Noting(MemoryAdapter):
        async def show(self, to: Destination, sign: Typing | Preview) -> None:
            shown.append((to.reply_to, sign))

    stage = Stage(previews=True)
    stage.platform = Noting(limits=stage.platform.limits, clock=stage.time.now, sleep=stage.time.sleep)
    await stage.deliver(a_claim(5), Text("Hel"), 2.0, done("Hello"))
    assert ("q5", Preview("Hel")) in shown


async def test_previews_that_the_platform_refuses_give_way_to_edits_in_the_same_answer() -> None:
    class Refusing(MemoryAdapter):
        async def show(self, to: Destination, sign: Typing | Preview) -> None:
            await super().show(to, sign)
            if isinstance(sign, Preview):
                self.limits = replace(self.limits, previews=False)

    stage, claim = Stage(), a_claim()
    limits = replace(stage.platform.limits, previews=True)
    stage.platform = Refusing(limits=limits, clock=stage.time.now, sleep=stage.time.sleep)
    adapter = Metered(stage.platform, Metrics())
    steps = stage.pieces((Text("Hel"), 2.0, Text("lo"), 2.0, done("Hello!")))
    await stage.time.run(stage.delivery.deliver(claim, adapter, steps))
    assert [sign for sign in stage.shown() if sign != Typing()] == [Preview("Hel")]
    assert stage.calls() == [(1, "Hel"), (2, "Hello"), (4, "Hello!")]
    stage.agree(claim)


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


async def test_where_threads_have_a_pace_of_their_own_they_do_not_wait_for_each_other() -> None:
    stage = Stage(threads_apart=True)
    for number, thread in enumerate(("", "one", "two")):
        await stage.deliver(a_claim(number, key=replace(CHAT, thread=thread)), done("hello"))
    assert [at for at, _ in stage.calls()] == [0, 0, 0]


async def test_the_pace_is_kept_from_one_answer_to_the_next() -> None:
    stage = Stage()
    await stage.deliver(a_claim(1), done("one"))
    await stage.deliver(a_claim(2), done("two"))
    assert stage.calls() == [(0, "one"), (1, "two")]


async def test_a_word_for_an_interactions_asker_alone_takes_no_turn_of_the_chat() -> None:
    """It must be the first answer to be private, and the platform waits for that one for seconds only."""
    stage = Stage(seconds_per_call=60.0)
    await stage.deliver(a_claim(1), done("one"))
    to = Destination(key=CHAT, interaction="token", asked_at=datetime.now(UTC))
    await stage.time.run(stage.delivery.paced(stage.platform).send(to, Outgoing(text="no", private=True)))
    assert stage.calls() == [(0, "one"), (0, "no")]


async def test_groups_have_a_pace_of_their_own_where_the_platform_has_one_for_them() -> None:
    steps = [step for _ in range(9) for step in (1.0, Text("x"))]
    stage = Stage(seconds_per_call=0.5, group_seconds_per_call=3.0)
    await stage.deliver(in_group(a_claim()), *steps, done("x" * 9))
    assert [at for at, _ in stage.calls()] == [1, 4, 7, 10]
    stage = Stage(seconds_per_call=0.5, group_seconds_per_call=3.0)
    await stage.deliver(a_claim(), *steps, done("x" * 9))
    assert [at for at, _ in stage.calls()] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    stage = Stage(seconds_per_call=0.5)
    await stage.deliver(in_group(a_claim()), *steps, done("x" * 9))
    assert len(stage.calls()) == 9


async def test_who_waits_for_the_slot_comes_before_who_only_tries() -> None:
    now = 0.0
    wake = asyncio.Event()
    slot = Slot(Limits(text=100, seconds_per_call=1.0), lambda: now, lambda _: wake.wait())
    assert slot.try_take()
    waiting = asyncio.create_task(slot.take())
    await asyncio.sleep(0)
    now = 1.0
    assert not slot.try_take()
    wake.set()
    await waiting
    now = 2.0
    assert slot.try_take()


async def test_a_burst_goes_at_once_after_a_rest() -> None:
    stage = Stage(burst=3)
    await stage.deliver(a_claim(), done("word " * 90))
    assert [at for at, _ in stage.calls("send")] == [0, 0, 0, 1, 2]


async def test_a_short_answer_is_one_call_while_others_are_under_way() -> None:
    stage, claim = Stage(), a_claim(1)
    other = a_claim(2, key=replace(CHAT, chat="other"))

    async def both() -> None:
        quick = stage.start(claim, Text("he"), 0.01, Text("llo"), 0.01, done("hello"))
        slow = stage.start(other, Text("he"), 0.01, Text("llo"), 1.0, done("hello"))
        await asyncio.gather(quick, slow)

    await stage.time.run(both())
    calls = [(call.key.chat, call.kind) for call in stage.platform.calls if call.kind != "show"]
    assert calls == [("chat", "send"), ("other", "send"), ("other", "edit")]


async def test_a_flooded_chat_holds_up_no_other_and_its_final_text_comes_when_it_may() -> None:
    stage, claim = Stage(), a_claim(1)
    other = a_claim(2, key=replace(CHAT, chat="other"))
    stage.platform.faults = [Fault(FloodWait(300), kind="edit", chat="chat")]
    steps = [step for _ in range(10) for step in (1.0, Text("x"))]

    async def both() -> None:
        await asyncio.gather(stage.start(claim, *steps, done("x" * 10)), stage.start(other, *steps, done("x" * 10)))

    await stage.time.run(both())
    flooded = [call.at - 1000 for call in stage.platform.calls if call.key.chat == "chat" and call.kind != "show"]
    assert flooded == pytest.approx([1.05, 2.05, 302.05])  # each waits a moment whether it is a short one
    others = [call.at - 1000 for call in stage.platform.calls if call.key.chat == "other" and call.kind != "show"]
    assert others == pytest.approx([n + 1.05 for n in range(10)])
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
