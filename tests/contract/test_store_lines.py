"""What the store promises about a conversation's line and its branches, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date

import pytest

from bot.messages import (
    Action,
    ActionName,
    AnswerState,
    Attached,
    Claim,
    ConversationKey,
    Draft,
    Finished,
    MessageState,
    Role,
    Triage,
)
from bot.ports import Received
from bot.records import Node
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore
from tests.contract.talk import ANN, NOTES, THEN, WORDS, answer, claimed, edited, finished, reading, said, send, texts

PAGE = ConversationKey("web", "local", "ann", "one")
OTHER = replace(PAGE, thread="two")
NOTHING = Finished(outcome=AnswerState.FAILED, text="That went wrong.")
GIVEN_UP = replace(NOTHING, moves_head=False)
WORD = Finished(outcome=AnswerState.DONE, text="Here is help.", moves_head=False)


async def ask(
    store: SqlStore, text: str, follows: int | None = None, *, key: ConversationKey = PAGE, reply_to: str | None = None
) -> int:
    """A question on the page, known there by its text."""
    event = said(text, text, key=key, direct=True, follows=follows, reply_to=reply_to)
    received = await store.receive(event, Triage.PENDING)
    assert received.message is not None
    return received.message


async def told(store: SqlStore, text: str, words: str, follows: int | None = None) -> tuple[int, int]:
    """A question and its answer; returns the ids of both."""
    question = await ask(store, text, follows)
    _, tip = await answer(store, words)
    return question, tip


async def again(store: SqlStore, message: int | None, event: str = "again", *, key: ConversationKey = PAGE) -> Received:
    """The button for another answer."""
    action = Action(key=key, event_id=event, author=ANN, name=ActionName.RETRY, sent_at=THEN, message=message)
    return await store.receive(action, Triage.PENDING)


async def nodes(store: SqlStore, *, limit: int = 200, before: int | None = None) -> list[Node]:
    return await store.line((await store.conversation(PAGE)).id, limit=limit, before=before)


async def words(store: SqlStore, *, limit: int = 200, before: int | None = None) -> list[str]:
    return [node.message.text for node in await nodes(store, limit=limit, before=before)]


async def choose(store: SqlStore, message: int) -> None:
    await store.choose((await store.conversation(PAGE)).id, message)


async def head(store: SqlStore) -> int | None:
    return (await store.conversation(PAGE)).head


async def close(store: SqlStore, claim: Claim, text: str) -> int:
    new = await store.close(claim, AnswerState.DONE, finished(text, claim.question.id))
    return new[-1]


class TestLine:
    """The whole way from the root to the head, then what waits."""

    async def test_it_is_whole_although_a_prompt_begins_at_a_cut(self, store: SqlStore) -> None:
        await told(store, "one", "eins")
        await ask(store, "two")
        claim = await claimed(store)
        end = finished("zwei", claim.question.id, window_start=claim.question.id)
        await store.close(claim, AnswerState.DONE, end)
        assert await words(store) == ["one", "eins", "two", "zwei"]
        assert [node.outcome for node in await nodes(store)] == [None] * 4
        assert [node.siblings for node in await nodes(store)] == [(node.message.id,) for node in await nodes(store)]

    async def test_it_comes_in_pages(self, store: SqlStore) -> None:
        for number in range(5):
            await told(store, f"q{number}", f"a{number}")
        last = await nodes(store, limit=4)
        assert [node.message.text for node in last] == ["q3", "a3", "q4", "a4"]
        assert last[0].message.parent is not None
        older = await nodes(store, limit=3, before=last[0].message.id)
        assert [node.message.text for node in older] == ["a1", "q2", "a2"]
        oldest = await nodes(store, limit=200, before=older[0].message.id)
        assert [node.message.text for node in oldest] == ["q0", "a0", "q1"]
        assert oldest[0].message.parent is None
        assert await nodes(store, before=oldest[0].message.id) == []

    async def test_of_what_is_not_there_there_is_none(self, store: SqlStore) -> None:
        await ask(store, "elsewhere", key=OTHER)
        _, strange = await answer(store)
        _, tip = await told(store, "one", "eins")
        assert await store.line(12345) == []
        for before in (strange, tip + 1000, 0, -1, 2**70):
            assert await nodes(store, before=before) == []

    async def test_questions_that_wait_come_after_the_head_in_their_order(self, store: SqlStore) -> None:
        await told(store, "one", "eins")
        for text in ("two", "three", "four"):
            await ask(store, text)
        claim = await claimed(store)
        assert claim.question.text == "two"
        line = await nodes(store)
        assert [node.message.text for node in line] == ["one", "eins", "two", "three", "four"]
        assert [node.outcome for node in line[2:]] == [AnswerState.CLAIMED, AnswerState.PENDING, AnswerState.PENDING]
        assert [node.message.parent for node in line[1:]] == [line[0].message.id, line[1].message.id, None, None]
        assert [len(node.siblings) for node in line] == [1] * 5
        await send(store, claim, "m1")
        assert (await nodes(store))[2].outcome is AnswerState.STREAMING
        await store.release(claim)
        assert await words(store) == ["one", "eins", "two", "three", "four"]
        assert (await nodes(store))[2].outcome is AnswerState.PENDING

    async def test_what_waits_is_not_among_the_older_ones(self, store: SqlStore) -> None:
        _, tip = await told(store, "one", "eins")
        await ask(store, "two")
        assert await words(store, before=tip) == ["one"]

    async def test_a_command_is_on_it_only_while_it_waits(self, store: SqlStore) -> None:
        await told(store, "one", "eins")
        await ask(store, "/help")
        assert await words(store) == ["one", "eins", "/help"]
        claim = await claimed(store)
        assert await words(store) == ["one", "eins", "/help"]
        await store.close(claim, AnswerState.DONE, WORD)
        await told(store, "two", "zwei")
        assert await words(store) == ["one", "eins", "two", "zwei"]
        assert [len(node.siblings) for node in await nodes(store)] == [1] * 4

    @pytest.mark.parametrize("outcome", [AnswerState.FAILED, AnswerState.EXPIRED, AnswerState.STOPPED])
    async def test_how_a_question_ended_that_has_no_answer(self, store: SqlStore, outcome: AnswerState) -> None:
        await ask(store, "one")
        end = None if outcome is AnswerState.EXPIRED else replace(NOTHING, outcome=outcome)  # type: ignore[arg-type]
        await store.close(await claimed(store), outcome, end)  # type: ignore[arg-type]
        await told(store, "two", "zwei")
        line = await nodes(store)
        assert [node.message.text for node in line] == ["one", "two", "zwei"]
        assert [node.outcome for node in line] == [outcome, None, None]
        await again(store, line[0].message.id)
        assert (await nodes(store))[0].outcome is AnswerState.PENDING
        await answer(store, "eins")
        line = await nodes(store)
        assert [node.message.text for node in line] == ["one", "eins"]
        assert [node.outcome for node in line] == [None, None]

    async def test_a_question_that_was_given_up_is_not_on_it_although_it_is_answered_later(
        self, store: SqlStore
    ) -> None:
        """As in the history that a model is told."""
        await told(store, "one", "eins")
        await ask(store, "poison")
        claim = await claimed(store)
        await send(store, claim, "m1")
        await store.close(claim, AnswerState.FAILED, GIVEN_UP)
        action = Action(key=PAGE, event_id="p", author=ANN, name=ActionName.RETRY, sent_at=THEN, target="m1")
        await store.receive(action, Triage.PENDING)
        claim, tip = await answer(store, "better")
        await store.set_head(claim.conversation.id, tip)
        assert await words(store) == await texts(store, await head(store)) == ["one", "eins", "better"]

    async def test_an_answer_stopped_after_its_first_word_speaks_for_itself(self, store: SqlStore) -> None:
        await ask(store, "one")
        claim = await claimed(store)
        draft = Draft(role=Role.ASSISTANT, text="ei", parent=claim.question.id, state=MessageState.STOPPED)
        end = Finished(outcome=AnswerState.STOPPED, text="ei", drafts=(draft,))
        await store.close(claim, AnswerState.STOPPED, end)
        line = await nodes(store)
        assert [(node.message.text, node.message.state, node.outcome) for node in line] == [
            ("one", MessageState.ANSWERED, None),
            ("ei", MessageState.STOPPED, None),
        ]

    async def test_messages_bring_their_attachments(self, store: SqlStore) -> None:
        event = said("1", "look", key=PAGE, direct=True, attachments=(NOTES,))
        received = await store.receive(event, Triage.PENDING)
        assert (await nodes(store))[0].message.attachments == (Attached(NOTES),)
        await store.record_read(received.message or 0, [reading()])
        await answer(store)
        assert (await nodes(store))[0].message.attachments == (Attached(NOTES, WORDS),)

    async def test_after_a_new_beginning_it_is_empty(self, store: SqlStore) -> None:
        await told(store, "one", "eins")
        await store.set_head((await store.conversation(PAGE)).id, None)
        assert await nodes(store) == []
        await told(store, "two", "zwei")
        assert await words(store) == ["two", "zwei"]

    async def test_every_round_of_an_answer_is_on_it(self, store: SqlStore) -> None:
        await ask(store, "0")
        claim = await claimed(store)
        drafts = tuple(Draft(role=Role.TOOL, text=str(n), parent=claim.question.id) for n in range(1, 1200))
        await store.close(claim, AnswerState.DONE, Finished(outcome=AnswerState.DONE, text="", drafts=drafts))
        assert await words(store, limit=1200) == [str(n) for n in range(1200)]
        assert await words(store) == [str(n) for n in range(1000, 1200)]


class TestFollows:
    """A question may follow any message, and takes the line there."""

    async def test_an_edited_question_is_a_sibling_and_the_line_goes_through_it(self, store: SqlStore) -> None:
        _, first = await told(store, "one", "eins")
        old, old_answer = await told(store, "two", "zwei")
        await told(store, "three", "drei")
        new = await ask(store, "two!", first)
        claim, tip = await answer(store, "zwei!")
        assert (claim.question.id, claim.question.parent, claim.side_branch) == (new, first, False)
        line = await nodes(store)
        assert [node.message.text for node in line] == ["one", "eins", "two!", "zwei!"]
        assert [node.siblings for node in line[2:]] == [(old, new), (tip,)]
        assert await head(store) == tip
        await choose(store, old)
        assert await words(store) == ["one", "eins", "two", "zwei", "three", "drei"]
        assert [node.siblings for node in (await nodes(store))[2:4]] == [(old, new), (old_answer,)]

    async def test_the_first_question_is_edited_by_following_nothing(self, store: SqlStore, clock: Clock) -> None:
        old, _ = await told(store, "one", "eins")
        clock.pass_(days=2)
        new = await ask(store, "one!", 0)
        claim, tip = await answer(store, "eins!")
        assert (claim.question.parent, claim.conversation.first_day) == (None, date(2026, 3, 3))
        line = await nodes(store)
        assert [node.message.text for node in line] == ["one!", "eins!"]
        assert line[0].siblings == (old, new)
        place = await store.conversation(PAGE)
        assert (place.head, place.first_day) == (tip, date(2026, 3, 3))

    async def test_the_first_question_of_all_may_follow_nothing(self, store: SqlStore, clock: Clock) -> None:
        await store.conversation(PAGE)
        clock.pass_(days=2)
        await ask(store, "one", 0)
        claim, _ = await answer(store, "eins")
        assert claim.conversation.first_day == date(2026, 3, 3)
        assert (await store.conversation(PAGE)).first_day == date(2026, 3, 3)

    async def test_each_line_keeps_the_day_on_which_it_began(self, store: SqlStore, clock: Clock) -> None:
        one, eins = await told(store, "one", "eins")
        clock.pass_(days=2)
        await told(store, "new", "neu", 0)
        clock.pass_(days=2)
        await ask(store, "two", eins)
        claim = await claimed(store, lease=60)
        assert claim.conversation.first_day == date(2026, 3, 1)
        clock.pass_(days=1)
        claim = await claimed(store)
        assert (claim.attempt, claim.conversation.first_day) == (2, date(2026, 3, 1))
        await close(store, claim, "zwei")
        assert (await store.conversation(PAGE)).first_day == date(2026, 3, 1)
        await choose(store, (await nodes(store))[0].siblings[1])
        assert (await store.conversation(PAGE)).first_day == date(2026, 3, 3)
        assert await words(store) == ["new", "neu"]
        await choose(store, one)
        assert (await store.conversation(PAGE)).first_day == date(2026, 3, 1)

    @pytest.mark.parametrize("number", [-1, 12345, 2**63, 2**70])
    async def test_what_never_was_counts_as_the_head(self, store: SqlStore, number: int) -> None:
        _, first = await told(store, "one", "eins")
        await ask(store, "two", number)
        claim, _ = await answer(store, "zwei")
        assert claim.question.parent == first
        assert await words(store) == ["one", "eins", "two", "zwei"]

    async def test_and_so_does_what_is_elsewhere_gone_or_still_waiting(self, store: SqlStore) -> None:
        await ask(store, "elsewhere", key=OTHER)
        _, elsewhere = await answer(store)
        gone, _ = await told(store, "gone", "weg")
        await told(store, "one", "eins")
        await ask(store, "two", elsewhere)
        three = await ask(store, "three", gone)
        await store.forget_message(gone)
        waiting = await store.receive(said("four", "four", key=PAGE, follows=three + 1), Triage.PENDING)
        assert waiting.message == three + 1
        for text in ("zwei", "drei", "vier"):
            await answer(store, text)
        assert await words(store) == ["one", "eins", "two", "zwei", "three", "drei", "four", "vier"]

    async def test_in_place_of_a_command_it_follows_what_that_followed(self, store: SqlStore) -> None:
        _, first = await told(store, "one", "eins")
        command = await ask(store, "/help")
        await store.close(await claimed(store), AnswerState.DONE, WORD)
        await told(store, "two", "zwei")
        await ask(store, "two!", command)
        claim, _ = await answer(store, "zwei!")
        assert claim.question.parent == first
        assert await words(store) == ["one", "eins", "two!", "zwei!"]

    async def test_a_reply_counts_less(self, store: SqlStore) -> None:
        await ask(store, "one")
        _, first = await answer(store, "eins", "m1")
        await ask(store, "two")
        _, second = await answer(store, "zwei", "m2")
        await told(store, "three", "drei")
        await ask(store, "four", second, reply_to="m1")
        claim, _ = await answer(store, "vier")
        assert (claim.question.parent, claim.side_branch) == (second, False)
        assert first != second

    async def test_the_next_question_goes_on_behind_it(self, store: SqlStore) -> None:
        _, first = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        await ask(store, "two!", first)
        await ask(store, "three")
        await answer(store, "zwei!")
        await answer(store, "drei")
        assert await words(store) == ["one", "eins", "two!", "zwei!", "three", "drei"]

    async def test_the_line_goes_there_while_it_is_answered(self, store: SqlStore) -> None:
        _, first = await told(store, "one", "eins")
        old, _ = await told(store, "two", "zwei")
        new = await ask(store, "two!", first)
        await ask(store, "three")
        assert await words(store) == ["one", "eins", "two", "zwei", "two!", "three"]
        await claimed(store)
        line = await nodes(store)
        assert [node.message.text for node in line] == ["one", "eins", "two!", "three"]
        assert [node.outcome for node in line[2:]] == [AnswerState.CLAIMED, AnswerState.PENDING]
        assert line[2].siblings == (old, new)

    async def test_a_second_attempt_stands_where_the_first_stood(self, store: SqlStore, clock: Clock) -> None:
        _, first = await told(store, "one", "eins")
        _, second = await told(store, "two", "zwei")
        await ask(store, "two!", first)
        await claimed(store, lease=60)
        clock.pass_(seconds=61)
        assert await words(store) == ["one", "eins", "two!"]
        claim = await claimed(store)
        assert (claim.attempt, claim.question.parent, claim.side_branch) == (2, first, False)
        assert await head(store) == second
        tip = await close(store, claim, "zwei!")
        assert await head(store) == tip
        assert await words(store) == ["one", "eins", "two!", "zwei!"]

    async def test_also_after_a_drain(self, store: SqlStore) -> None:
        _, first = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        await ask(store, "two!", first)
        await store.release(await claimed(store))
        assert await words(store) == ["one", "eins", "two!"]
        await answer(store, "zwei!")
        assert await words(store) == ["one", "eins", "two!", "zwei!"]

    @pytest.mark.parametrize("outcome", [AnswerState.FAILED, AnswerState.EXPIRED, AnswerState.STOPPED])
    async def test_without_an_answer_it_is_the_lines_end(self, store: SqlStore, outcome: AnswerState) -> None:
        _, first = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        new = await ask(store, "two!", first)
        end = None if outcome is AnswerState.EXPIRED else replace(NOTHING, outcome=outcome)  # type: ignore[arg-type]
        await store.close(await claimed(store), outcome, end)  # type: ignore[arg-type]
        assert await head(store) == new
        assert await words(store) == ["one", "eins", "two!"]
        assert (await nodes(store))[-1].outcome is outcome
        await again(store, new)
        await answer(store, "zwei!")
        assert await words(store) == ["one", "eins", "two!", "zwei!"]

    async def test_what_was_given_up_leaves_the_line_as_it_was(self, store: SqlStore) -> None:
        """So does a command, whatever it follows."""
        _, first = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        for text, outcome, end in (("poison", AnswerState.FAILED, GIVEN_UP), ("/help", AnswerState.DONE, WORD)):
            await ask(store, text, first)
            await store.close(await claimed(store), outcome, end)  # type: ignore[arg-type]
            assert await words(store) == ["one", "eins", "two", "zwei"]

    async def test_its_answer_can_be_given_again_and_taken_back(self, store: SqlStore) -> None:
        _, first = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        new, tip = await told(store, "two!", "zwei!", first)
        await again(store, None)
        claim, other = await answer(store, "zwei?")
        assert (claim.question.id, claim.side_branch) == (new, False)
        assert (await nodes(store))[-1].siblings == (tip, other)
        await ask(store, "/undo")
        claim = await claimed(store)
        await store.set_head(claim.conversation.id, first)
        await store.close(claim, AnswerState.DONE, WORD)
        assert await words(store) == ["one", "eins"]
        await told(store, "three", "drei")
        assert await words(store) == ["one", "eins", "three", "drei"]

    async def test_a_command_for_another_answer_does_the_same(self, store: SqlStore) -> None:
        await told(store, "one", "eins")
        old, _ = await told(store, "two", "zwei")
        await told(store, "three", "drei")
        await ask(store, "/retry", old + 1)
        claim = await claimed(store)
        await store.close(claim, AnswerState.DONE, finished("zwei!", old))
        assert await words(store) == ["one", "eins", "two", "zwei!"]

    async def test_new_text_while_it_is_answered_takes_its_place(self, store: SqlStore) -> None:
        _, first = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        await ask(store, "two!", first)
        claim = await claimed(store)
        received = await store.receive(edited("two!", "two!!", key=PAGE), Triage.PENDING)
        assert received.superseded == (claim.id,)
        assert await words(store) == ["one", "eins", "two!!"]
        claim = await claimed(store)
        assert (claim.question.text, claim.question.parent, claim.side_branch) == ("two!!", first, False)
        await store.close(claim, AnswerState.FAILED, NOTHING)
        assert await words(store) == ["one", "eins", "two!!"]

    async def test_new_text_while_it_waits_changes_nothing_else(self, store: SqlStore) -> None:
        _, first = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        await ask(store, "two!", first)
        await store.receive(edited("two!", "two!!", key=PAGE), Triage.PENDING)
        await answer(store, "zwei!!")
        assert await words(store) == ["one", "eins", "two!!", "zwei!!"]

    async def test_new_text_of_the_line_it_left_is_a_change_only(self, store: SqlStore) -> None:
        _, first = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        await told(store, "two!", "zwei!", first)
        received = await store.receive(edited("two", "zwo", key=PAGE), Triage.PENDING)
        assert not received.work
        assert await words(store) == ["one", "eins", "two!", "zwei!"]

    async def test_if_it_is_forgotten_in_the_middle_the_line_is_as_before(self, store: SqlStore) -> None:
        _, first = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        new = await ask(store, "two!", first)
        await claimed(store)
        await store.forget_message(new)
        assert await words(store) == ["one", "eins", "two", "zwei"]

    async def test_where_nothing_is_kept_nothing_stays(self, open_store: OpenStore) -> None:
        store = await open_store(default_retention_days=0)
        assert await told_nothing(store, "one", None) == await told_nothing(store, "two", 0) == []
        assert await nodes(store) == []


async def told_nothing(store: SqlStore, text: str, follows: int | None) -> list[int]:
    await ask(store, text, follows)
    claim = await claimed(store)
    return list(await store.close(claim, AnswerState.DONE, finished("well", claim.question.id)))


class TestRetry:
    """Another answer to any message, by its stored id, takes the line with it."""

    @pytest.mark.parametrize("which", ["question", "answer"])
    async def test_an_older_answer_gets_a_sibling_and_the_line_goes_there(self, store: SqlStore, which: str) -> None:
        question, old = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        received = await again(store, question if which == "question" else old)
        assert received == Received(message=question, work=True)
        assert await words(store) == ["one", "eins", "two", "zwei"]
        assert (await nodes(store))[0].outcome is AnswerState.PENDING
        claim = await claimed(store)
        assert (claim.question.id, claim.retry, claim.side_branch) == (question, True, False)
        assert [(node.message.text, node.outcome) for node in await nodes(store)] == [("one", AnswerState.CLAIMED)]
        new = await close(store, claim, "uno")
        line = await nodes(store)
        assert [node.message.text for node in line] == ["one", "uno"]
        assert line[1].siblings == (old, new)
        await choose(store, old)
        assert await words(store) == ["one", "eins", "two", "zwei"]

    async def test_without_the_id_an_older_answer_gets_a_side_branch(self, store: SqlStore) -> None:
        await ask(store, "one")
        await answer(store, "eins", "m1")
        await told(store, "two", "zwei")
        action = Action(key=PAGE, event_id="p", author=ANN, name=ActionName.RETRY, sent_at=THEN, target="m1")
        await store.receive(action, Triage.PENDING)
        claim = await claimed(store)
        assert claim.side_branch
        assert await words(store) == ["one", "eins", "two", "zwei"]
        await close(store, claim, "uno")
        assert await words(store) == ["one", "eins", "two", "zwei"]

    async def test_one_that_waits_for_another_branch_is_not_on_the_line(self, store: SqlStore) -> None:
        _, eins = await told(store, "one", "eins")
        two, _ = await told(store, "two", "zwei")
        await told(store, "two!", "zwei!", eins)
        await again(store, two)
        assert await words(store) == ["one", "eins", "two!", "zwei!"]
        await answer(store, "zwo")
        assert await words(store) == ["one", "eins", "two", "zwo"]

    async def test_one_that_fails_leaves_the_line_as_it_was(self, store: SqlStore) -> None:
        _, old = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        await again(store, old)
        await store.close(await claimed(store), AnswerState.FAILED, NOTHING)
        line = await nodes(store)
        assert [node.message.text for node in line] == ["one", "eins", "two", "zwei"]
        assert [node.outcome for node in line] == [None] * 4

    async def test_a_second_attempt_does_the_same(self, store: SqlStore, clock: Clock) -> None:
        question, old = await told(store, "one", "eins")
        await told(store, "two", "zwei")
        await again(store, old)
        await claimed(store, lease=60)
        clock.pass_(seconds=61)
        claim = await claimed(store)
        assert (claim.question.id, claim.retry, claim.side_branch) == (question, True, False)
        await close(store, claim, "uno")
        assert await words(store) == ["one", "uno"]

    async def test_the_day_is_that_of_the_line_it_goes_to(self, store: SqlStore, clock: Clock) -> None:
        _, old = await told(store, "one", "eins")
        clock.pass_(days=2)
        await told(store, "new", "neu", 0)
        await again(store, old)
        claim, _ = await answer(store, "uno")
        assert claim.conversation.first_day == date(2026, 3, 1)
        assert (await store.conversation(PAGE)).first_day == date(2026, 3, 1)

    async def test_it_is_made_once(self, store: SqlStore) -> None:
        question, old = await told(store, "one", "eins")
        await again(store, old, "p1")
        assert (await again(store, old, "p1")).duplicate
        assert await again(store, old, "p2") == Received(message=question)
        waiting = await ask(store, "two")
        assert await again(store, waiting, "p3") == Received(message=waiting)
        assert await store.pending() == 2

    async def test_of_what_is_no_question_here_there_is_none(self, store: SqlStore) -> None:
        await ask(store, "elsewhere", key=OTHER)
        _, elsewhere = await answer(store)
        command = await ask(store, "/help")
        await store.close(await claimed(store), AnswerState.DONE, WORD)
        for number, message in enumerate((elsewhere, command, 12345, 0, -1, 2**70)):
            assert await again(store, message, f"p{number}") == Received()
        assert await store.pending() == 0


class TestChoose:
    """The line goes through the chosen message, to the newest leaf below it."""

    async def test_there_and_back(self, store: SqlStore) -> None:
        one, eins = await told(store, "one", "eins")
        two, zwei = await told(store, "two", "zwei")
        await told(store, "two!", "zwei!", eins)
        await told(store, "three", "drei", zwei)
        await told(store, "four", "vier", zwei)
        await choose(store, zwei)
        assert await words(store) == ["one", "eins", "two", "zwei", "four", "vier"]
        await choose(store, (await nodes(store))[2].siblings[1])
        assert await words(store) == ["one", "eins", "two!", "zwei!"]
        await choose(store, two)
        assert await words(store) == ["one", "eins", "two", "zwei", "four", "vier"]
        await told(store, "five", "funf", eins)
        await choose(store, one)
        assert await words(store) == ["one", "eins", "five", "funf"]

    async def test_the_next_question_goes_on_there(self, store: SqlStore) -> None:
        _, eins = await told(store, "one", "eins")
        two, _ = await told(store, "two", "zwei")
        await told(store, "two!", "zwei!", eins)
        await choose(store, two)
        await told(store, "three", "drei")
        assert await words(store) == ["one", "eins", "two", "zwei", "three", "drei"]

    async def test_commands_are_no_leaves(self, store: SqlStore) -> None:
        one, eins = await told(store, "one", "eins")
        command = await ask(store, "/help")
        await store.close(await claimed(store), AnswerState.DONE, WORD)
        await choose(store, one)
        assert await head(store) == eins
        with pytest.raises(ValueError, match="is not in conversation"):
            await choose(store, command)

    async def test_strange_messages_are_refused(self, store: SqlStore) -> None:
        await ask(store, "elsewhere", key=OTHER)
        _, elsewhere = await answer(store)
        _, tip = await told(store, "one", "eins")
        for strange in (elsewhere, 12345, 0, -1, 2**70):
            with pytest.raises(ValueError, match="is not in conversation"):
                await choose(store, strange)
        with pytest.raises(ValueError, match="is not in conversation"):
            await store.choose(12345, tip)
        assert await words(store) == ["one", "eins"]

    async def test_a_question_that_waits_for_its_place_changes_nothing(self, store: SqlStore) -> None:
        await told(store, "one", "eins")
        await ask(store, "two")
        waiting = await ask(store, "three")
        await choose(store, waiting)
        assert await words(store) == ["one", "eins", "two", "three"]

    async def test_an_answer_in_progress_does_not_take_the_line_back(self, store: SqlStore) -> None:
        _, eins = await told(store, "one", "eins")
        two, _ = await told(store, "two", "zwei")
        new = await ask(store, "two!", eins)
        claim = await claimed(store)
        await choose(store, two)
        assert await words(store) == ["one", "eins", "two", "zwei", "two!"]
        await close(store, claim, "zwei!")
        assert await words(store) == ["one", "eins", "two", "zwei"]
        await choose(store, new)
        assert await words(store) == ["one", "eins", "two!", "zwei!"]

    async def test_nor_does_one_that_fails(self, store: SqlStore) -> None:
        _, eins = await told(store, "one", "eins")
        two, zwei = await told(store, "two", "zwei")
        await ask(store, "two!", eins)
        claim = await claimed(store)
        await choose(store, two)
        await store.close(claim, AnswerState.FAILED, NOTHING)
        assert await head(store) == zwei

    async def test_unless_it_is_chosen_again(self, store: SqlStore) -> None:
        _, eins = await told(store, "one", "eins")
        two, _ = await told(store, "two", "zwei")
        new = await ask(store, "two!", eins)
        claim = await claimed(store)
        await choose(store, two)
        await choose(store, new)
        assert await words(store) == ["one", "eins", "two!"]
        await close(store, claim, "zwei!")
        assert await words(store) == ["one", "eins", "two!", "zwei!"]

    async def test_one_below_the_chosen_message_leads_on(self, store: SqlStore) -> None:
        one, eins = await told(store, "one", "eins")
        await ask(store, "two")
        claim = await claimed(store)
        await choose(store, one)
        assert await head(store) == eins
        assert await words(store) == ["one", "eins", "two"]
        await close(store, claim, "zwei")
        assert await words(store) == ["one", "eins", "two", "zwei"]

    async def test_the_very_first_question_can_be_chosen_while_it_is_answered(self, store: SqlStore) -> None:
        old, _ = await told(store, "one", "eins")
        new = await ask(store, "one!", 0)
        claim = await claimed(store)
        await choose(store, old)
        assert await words(store) == ["one", "eins", "one!"]
        await choose(store, new)
        assert await words(store) == ["one!"]
        await close(store, claim, "eins!")
        assert await words(store) == ["one!", "eins!"]
        assert (await nodes(store))[0].siblings == (old, new)

    async def test_another_answer_in_progress_is_left_by_choosing_the_old_one(self, store: SqlStore) -> None:
        one, eins = await told(store, "one", "eins")
        await again(store, one)
        claim = await claimed(store)
        assert await words(store) == ["one"]
        await choose(store, eins)
        assert await words(store) == ["one", "eins"]
        assert (await nodes(store))[0].outcome is AnswerState.CLAIMED
        await close(store, claim, "uno")
        assert await words(store) == ["one", "eins"]
        assert len((await nodes(store))[1].siblings) == 2


class TestAtOnce:
    """What happens at the same time takes turns."""

    async def test_the_line_leads_from_a_root_to_the_head_whoever_is_first(self, store: SqlStore) -> None:
        place = (await store.conversation(PAGE)).id
        one, eins = await told(store, "one", "eins")
        two, _ = await told(store, "two", "zwei")
        for turn in range(12):
            await ask(store, f"new {turn}", eins)
            claim = await claimed(store)
            await asyncio.gather(
                close(store, claim, f"neu {turn}"),
                store.choose(place, (one, two)[turn % 2]),
                store.line(place),
                again(store, eins, f"again {turn}"),
                store.set_title(place, f"Turn {turn}"),
            )
            await answer(store, f"uno {turn}")
            line = await nodes(store)
            assert [node.message.parent for node in line] == [None, *(node.message.id for node in line[:-1])]
            assert line[-1].message.id == await head(store)
            assert [node.outcome for node in line] == [None] * len(line)
        assert await store.pending() == 0
