"""What the store promises about edits, deletions and presses, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.errors import LeaseLost
from bot.messages import ActionName, AnswerState, Finished, MessageRef, SentPart, Settings, Triage
from bot.ports import Received
from storage.store import SqlStore
from tests.contract.talk import (
    CHAT,
    GROUP,
    answer,
    ask,
    claimed,
    deleted,
    edited,
    finished,
    pressed,
    send,
    texts,
)


class TestEdits:
    """A changed text changes what was not answered, answers the last question anew, and else only the text."""

    async def test_a_waiting_question_is_replaced(self, store: SqlStore) -> None:
        await ask(store, "1", "helo")
        received = await store.receive(edited("1", "hello"), Triage.PENDING)
        assert received.superseded == ()
        assert not received.work
        claim = await claimed(store)
        assert (claim.event.text, claim.event.revision, claim.question.text) == ("hello", 5, "hello")
        assert await store.pending() == 1

    async def test_the_last_question_is_answered_anew_in_place(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        old, _ = await answer(store, "eins", "m1")
        received = await store.receive(edited("1", "two"), Triage.PENDING)
        assert (received.work, received.superseded) == (True, ())
        claim = await claimed(store)
        assert [part.message for part in claim.parts] == [MessageRef(CHAT, "m1")]
        assert claim.question.id == received.message != old.question.id
        new = await store.close(claim, AnswerState.DONE, finished("zwei", claim.question.id))
        assert await texts(store, new[-1]) == ["two", "zwei"]
        assert (await store.conversation(CHAT)).head == new[-1]
        found = await store.find_sent(CHAT, "m1")
        assert found is not None
        assert found.id == new[-1]

    async def test_a_question_being_answered_is_superseded(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await ask(store, "2", "next")
        old = await claimed(store)
        await send(store, old, "m1")
        received = await store.receive(edited("1", "two"), Triage.PENDING)
        assert received.superseded == (old.id,)
        assert received.work
        with pytest.raises(LeaseLost):
            await store.close(old, AnswerState.DONE, finished("eins", old.question.id))
        # The new answer has the old one's place in the order.
        claim, tip = await answer(store, "zwei")
        assert claim.event.text == "two"
        assert [part.message for part in claim.parts] == [MessageRef(CHAT, "m1")]
        assert await texts(store, tip) == ["two", "zwei"]
        await answer(store, "drei")
        assert await texts(store, (await store.conversation(CHAT)).head) == ["two", "zwei", "next", "drei"]

    async def test_a_part_that_was_being_sent_during_an_edit_is_known_to_the_new_answer(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        old = await claimed(store)
        await store.intend(old, SentPart(index=0, nonce="n", message=None))
        await store.receive(edited("1", "two"), Triage.PENDING)
        await store.record_sent(old, SentPart(index=0, nonce="n", message=MessageRef(CHAT, "m1")))
        assert [part.message for part in (await claimed(store)).parts] == [MessageRef(CHAT, "m1")]

    async def test_an_older_message_changes_its_text_only(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins")
        await ask(store, "2", "two")
        _, tip = await answer(store, "zwei")
        received = await store.receive(edited("1", "uno"), Triage.PENDING)
        assert (received.work, received.superseded) == (False, ())
        assert await texts(store, tip) == ["uno", "eins", "two", "zwei"]

    async def test_while_another_question_is_answered_the_text_changes_only(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins")
        await ask(store, "2", "two")
        claim = await claimed(store)
        assert not (await store.receive(edited("1", "uno"), Triage.PENDING)).work
        new = await store.close(claim, AnswerState.DONE, finished("zwei", claim.question.id))
        assert await texts(store, new[-1]) == ["uno", "eins", "two", "zwei"]

    async def test_equal_text_is_nothing(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        _, tip = await answer(store, "eins")
        assert await store.receive(edited("1", "one"), Triage.PENDING) == Received()
        assert await store.pending() == 0
        assert (await store.conversation(CHAT)).head == tip

    async def test_the_same_and_a_late_revision_are_duplicates(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await store.receive(edited("1", "three", 9), Triage.PENDING)
        assert (await store.receive(edited("1", "three", 9), Triage.PENDING)).duplicate
        assert (await store.receive(edited("1", "two", 7), Triage.PENDING)).duplicate
        assert (await claimed(store)).event.text == "three"

    async def test_a_message_read_back_with_a_later_text_is_an_edit(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        assert not (await ask(store, "1", "two", revision=5)).work
        assert (await claimed(store)).event.text == "two"
        assert await store.pending() == 1

    async def test_an_edit_of_something_unknown_is_nothing(self, store: SqlStore) -> None:
        assert await store.receive(edited("1", "one"), Triage.PENDING) == Received()
        await ask(store, "2")
        assert await store.receive(edited("1", "one"), Triage.PENDING) == Received()
        assert (await ask(store, "1", "zero")).work

    async def test_who_may_not_talk_any_more_changes_the_text_only(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        _, tip = await answer(store, "eins", "m1")
        received = await store.receive(edited("1", "two"), Triage.CONTEXT)
        assert (received.work, received.superseded) == (False, ())
        assert await texts(store, tip) == ["two", "eins"]
        assert await store.pending() == 0

    async def test_nor_does_that_end_an_answer_in_progress(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        claim = await claimed(store)
        assert (await store.receive(edited("1", "two"), Triage.CONTEXT)).superseded == ()
        new = await store.close(claim, AnswerState.DONE, finished("eins", claim.question.id))
        assert await texts(store, new[-1]) == ["two", "eins"]
        assert (await store.receive(edited("1", "two"), Triage.CONTEXT)).duplicate


class TestCommandsThatBecomeQuestions:
    """A mistyped command is corrected into a question by an edit; the word about it gives way to the answer."""

    async def command(self, store: SqlStore, event_id: str, **more: Any) -> None:
        await ask(store, event_id, "/hello", **more)
        claim = await claimed(store)
        await send(store, claim, f"word {event_id}")
        word = Finished(outcome=AnswerState.DONE, text="There is no command /hello.", moves_head=False)
        await store.close(claim, AnswerState.DONE, word)

    async def test_it_is_answered_where_the_word_about_it_stands(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins")
        await self.command(store, "2")
        assert (await store.receive(edited("2", "hello"), Triage.PENDING)).work
        claim, tip = await answer(store, "well")
        assert [part.message for part in claim.parts] == [MessageRef(CHAT, "word 2")]
        assert await texts(store, tip) == ["one", "eins", "hello", "well"]
        assert (await store.conversation(CHAT)).head == tip

    async def test_also_if_nothing_was_said_before(self, store: SqlStore) -> None:
        await self.command(store, "1")
        await store.receive(edited("1", "hello"), Triage.PENDING)
        _, tip = await answer(store, "well")
        assert await texts(store, tip) == ["hello", "well"]

    async def test_a_reply_to_an_older_message_stays_beside_the_line(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins", "m1")
        await ask(store, "2", "two")
        _, head = await answer(store, "zwei")
        await self.command(store, "3", reply_to="m1")
        await store.receive(edited("3", "hello"), Triage.PENDING)
        claim, side = await answer(store, "well")
        assert claim.side_branch
        assert await texts(store, side) == ["one", "eins", "hello", "well"]
        assert (await store.conversation(CHAT)).head == head

    async def test_another_command_is_not_run_by_an_edit(self, store: SqlStore) -> None:
        await self.command(store, "1")
        assert not (await store.receive(edited("1", " /help"), Triage.PENDING)).work

    async def test_after_other_talk_the_text_changes_only(self, store: SqlStore) -> None:
        await self.command(store, "1")
        await ask(store, "2", "waits")
        assert not (await store.receive(edited("1", "hello"), Triage.PENDING)).work
        assert (await claimed(store)).event.text == "waits"

    async def test_a_command_that_moved_the_line_is_left_alone(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins")
        await self.command(store, "2")
        await store.set_head((await store.conversation(CHAT)).id, None)
        assert not (await store.receive(edited("2", "hello"), Triage.PENDING)).work


class TestDeletions:
    """What is gone from the platform goes here; the rest of the tree stays connected."""

    async def test_a_waiting_question_goes_with_its_answer(self, store: SqlStore) -> None:
        await ask(store, "1")
        await ask(store, "2")
        assert await store.receive(deleted("1"), Triage.PENDING) == Received()
        assert await store.pending() == 1
        assert (await claimed(store)).event.event_id == "2"

    async def test_a_question_being_answered_is_superseded(self, store: SqlStore) -> None:
        await ask(store, "1")
        await ask(store, "2")
        claim = await claimed(store)
        await send(store, claim, "m1")
        received = await store.receive(deleted("1"), Triage.PENDING)
        assert received == Received(superseded=(claim.id,), orphans=(MessageRef(CHAT, "m1"),))
        with pytest.raises(LeaseLost):
            await store.close(claim, AnswerState.DONE, finished("eins", claim.question.id))
        assert (await claimed(store)).event.event_id == "2"

    async def test_what_was_half_sent_of_an_answer_that_waits_again_is_orphaned(self, store: SqlStore) -> None:
        await ask(store, "1")
        claim = await claimed(store)
        await send(store, claim, "m1")
        await send(store, claim, "m2", 1)
        await store.intend(claim, SentPart(index=2, nonce="n", message=None))
        await store.release(claim)
        received = await store.receive(deleted("1"), Triage.PENDING)
        assert received == Received(orphans=(MessageRef(CHAT, "m1"), MessageRef(CHAT, "m2")))

    async def test_what_a_new_answer_took_over_is_not_orphaned_with_the_old_one(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await send(store, await claimed(store), "m1")
        assert (await store.receive(edited("1", "two"), Triage.PENDING)).orphans == ()

    async def test_the_answer_of_a_deleted_question_stays(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins", "m1")
        await ask(store, "2", "two")
        _, tip = await answer(store, "zwei")
        await store.receive(deleted("1"), Triage.PENDING)
        assert await texts(store, tip) == ["eins", "two", "zwei"]
        found = await store.find_sent(CHAT, "m1")
        assert found is not None
        assert found.text == "eins"

    async def test_every_version_of_an_edited_question_goes(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        old, first = await answer(store, "eins")
        await store.receive(edited("1", "two"), Triage.PENDING)
        _, tip = await answer(store, "zwei")
        await store.receive(deleted("1"), Triage.PENDING)
        assert await texts(store, tip) == ["zwei"]
        assert await texts(store, first) == ["eins"]
        assert await store.history(old.question.id) == []

    async def test_nothing_brings_a_deleted_message_back(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await store.receive(deleted("1"), Triage.PENDING)
        assert (await store.receive(deleted("1"), Triage.PENDING)).duplicate
        assert (await ask(store, "1", "one")).duplicate
        assert (await ask(store, "1", "one", revision=7)).duplicate
        assert (await store.receive(edited("1", "two", 9), Triage.PENDING)).duplicate
        assert await store.pending() == 0

    async def test_a_deletion_of_something_unknown_is_nothing(self, store: SqlStore) -> None:
        assert await store.receive(deleted("1"), Triage.PENDING) == Received()


class TestActions:
    """Presses are committed once; a retry makes a sibling answer."""

    async def test_a_press_counts_once(self, store: SqlStore) -> None:
        assert await store.receive(pressed("p1", ActionName.STOP), Triage.PENDING) == Received()
        assert await store.receive(pressed("p1", ActionName.STOP), Triage.PENDING) == Received(duplicate=True)

    async def test_a_choice_is_only_remembered(self, store: SqlStore) -> None:
        await ask(store, "1")
        await answer(store, "well", "m1")
        choice = replace(pressed("p1", ActionName.CHOOSE, "m1"), choice="keep:7")
        assert await store.receive(choice, Triage.PENDING) == Received()
        assert await store.receive(choice, Triage.PENDING) == Received(duplicate=True)
        assert await store.pending() == 0
        assert (await store.conversation(CHAT)).settings == Settings()

    @pytest.mark.parametrize("target", ["m1", None])
    async def test_a_retry_answers_the_last_question_again(self, store: SqlStore, target: str | None) -> None:
        await ask(store, "1", "one")
        first, tip = await answer(store, "eins", "m1")
        received = await store.receive(pressed("p1", ActionName.RETRY, target), Triage.PENDING)
        assert received == Received(message=first.question.id, work=True)
        claim = await claimed(store)
        assert (claim.retry, claim.side_branch, claim.parts) == (True, False, ())
        assert claim.question.id == first.question.id
        new = await store.close(claim, AnswerState.DONE, finished("uno", claim.question.id))
        assert await texts(store, new[-1]) == ["one", "uno"]
        assert await texts(store, tip) == ["one", "eins"]
        assert (await store.conversation(CHAT)).head == new[-1]

    async def test_a_retry_of_an_older_answer_leaves_the_line_alone(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins", "m1")
        await ask(store, "2", "two")
        _, head = await answer(store, "zwei", "m2")
        await store.receive(pressed("p1", ActionName.RETRY, "m1"), Triage.PENDING)
        claim, side = await answer(store, "uno")
        assert claim.side_branch
        assert await texts(store, side) == ["one", "uno"]
        assert (await store.conversation(CHAT)).head == head

    async def test_a_second_press_while_the_first_waits_makes_no_second_answer(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins", "m1")
        assert (await store.receive(pressed("p1", ActionName.RETRY, "m1"), Triage.PENDING)).work
        assert not (await store.receive(pressed("p2", ActionName.RETRY, "m1"), Triage.PENDING)).work
        assert await store.pending() == 1

    async def test_a_retry_waits_its_turn(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins", "m1")
        await ask(store, "2", "two")
        await store.receive(pressed("p1", ActionName.RETRY, "m1"), Triage.PENDING)
        first, _ = await answer(store, "zwei")
        assert first.event.text == "two"
        second, _ = await answer(store, "uno")
        assert second.event.text == "one"

    async def test_a_failed_question_can_be_retried(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        claim = await claimed(store)
        await send(store, claim, "m1")
        await store.close(claim, AnswerState.FAILED, Finished(outcome=AnswerState.FAILED, text="Sorry."))
        assert (await store.receive(pressed("p1", ActionName.RETRY, "m1"), Triage.PENDING)).work
        _, tip = await answer(store, "eins")
        assert await texts(store, tip) == ["one", "eins"]

    async def test_a_retry_where_nothing_was_said_is_nothing(self, store: SqlStore) -> None:
        assert await store.receive(pressed("p1", ActionName.RETRY), Triage.PENDING) == Received()
        await store.conversation(CHAT)
        assert await store.receive(pressed("p2", ActionName.RETRY, "m9"), Triage.PENDING) == Received()


class TestInAThreadThatWasOpened:
    """A question was asked in a channel and is answered in a thread: what becomes of it there comes with the channel's key."""

    THREAD = replace(GROUP, thread="1")
    CHANNEL = replace(GROUP, thread="")

    async def test_an_edit_finds_it(self, store: SqlStore) -> None:
        await ask(store, "1", "one", key=self.THREAD)
        received = await store.receive(edited("1", "two", key=self.CHANNEL), Triage.PENDING)
        assert not received.work
        claim = await claimed(store)
        assert (claim.event.text, claim.event.key) == ("two", self.THREAD)
        assert (await store.receive(edited("1", "two", key=self.CHANNEL), Triage.PENDING)).duplicate

    @pytest.mark.parametrize("channel", [False, True], ids=["no conversation there", "another conversation there"])
    async def test_an_edit_of_an_answered_one_is_answered_in_its_place(self, store: SqlStore, channel: bool) -> None:
        await ask(store, "1", "one", key=self.THREAD)
        await answer(store, "eins", "m1")
        if channel:
            await ask(store, "2", "elsewhere", key=self.CHANNEL)
            await answer(store, "anderswo", "m2")
        received = await store.receive(edited("1", "two", key=self.CHANNEL), Triage.PENDING)
        assert received.work
        claim = await claimed(store)
        assert claim.event.key == self.THREAD
        assert [part.message for part in claim.parts] == [MessageRef(self.THREAD, "m1")]

    async def test_a_text_changes_for_who_may_not_talk_any_more(self, store: SqlStore) -> None:
        await ask(store, "1", "one", key=self.THREAD)
        await answer(store)
        await store.receive(edited("1", "two", key=self.CHANNEL), Triage.CONTEXT)
        found = await store.find_sent(self.CHANNEL, "1")
        assert found is not None
        assert found.text == "two"
        assert await store.pending() == 0

    async def test_a_deletion_finds_it(self, store: SqlStore) -> None:
        await ask(store, "1", "one", key=self.THREAD)
        claim = await claimed(store)
        await send(store, claim, "m1")
        received = await store.receive(deleted("1", key=self.CHANNEL), Triage.PENDING)
        assert received.superseded == (claim.id,)
        assert received.orphans == (MessageRef(self.THREAD, "m1"),)
        assert await store.find_sent(self.CHANNEL, "1") is None
        assert (await store.receive(deleted("1", key=self.CHANNEL), Triage.PENDING)).duplicate

    async def test_the_question_again_is_a_duplicate_wherever_it_is_put(self, store: SqlStore) -> None:
        """As when it is read back after a pause, and the configuration has changed meanwhile."""
        await ask(store, "1", "one", key=self.THREAD)
        assert (await ask(store, "1", "one", key=self.CHANNEL)).duplicate
        assert await store.pending() == 1
