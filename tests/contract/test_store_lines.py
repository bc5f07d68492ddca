"""What the store promises about a conversation's line and the choice between branches, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bot.messages import Action, ActionName, AnswerState, Attached, Draft, Finished, MessageState, Role, Triage
from storage.store import SqlStore
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
from tests.contract.talk import ANN, NOTES, THEN, WORDS, answer, claimed, finished, reading, said, send, texts


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
