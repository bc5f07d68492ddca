"""What the store promises about questions that follow any message, and other answers to any, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from bot.messages import Action, ActionName, AnswerState, Triage
from bot.ports import Received
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore
from tests.contract.page import (
    GIVEN_UP,
    NOTHING,
    OTHER,
    PAGE,
    WORD,
    again,
    ask,
    choose,
    close,
    head,
    nodes,
    told,
    words,
)
from tests.contract.talk import ANN, THEN, answer, claimed, edited, finished, said


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
