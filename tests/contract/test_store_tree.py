"""What the store promises about the tree of messages and its places, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date

import pytest

from bot.messages import AnswerState, ConversationKey, Draft, Finished, Migrated, Role, SentPart, Settings, Triage
from storage.store import SqlStore
from tests.contract.conftest import Clock
from tests.contract.talk import (
    CHAT,
    GROUP,
    THEN,
    answer,
    ask,
    claimed,
    finished,
    overhear,
    send,
    texts,
)


class TestTree:
    """Each question has its parent, resolved once, when it is claimed."""

    async def test_answers_follow_each_other_in_one_line(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        _, first = await answer(store, "eins")
        await ask(store, "2", "two")
        claim, second = await answer(store, "zwei")
        assert claim.question.parent == first
        assert await texts(store, second) == ["one", "eins", "two", "zwei"]
        assert (await store.conversation(CHAT)).head == second

    async def test_a_question_that_waits_follows_the_answer_before_it(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await ask(store, "2", "two")
        await answer(store, "eins")
        _, tip = await answer(store, "zwei")
        assert await texts(store, tip) == ["one", "eins", "two", "zwei"]

    async def test_a_reply_to_an_older_message_is_a_side_branch(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins", "m1")
        await ask(store, "2", "two")
        _, head = await answer(store, "zwei", "m2")
        await ask(store, "3", "aside", reply_to="m1")
        claim, side = await answer(store, "nebenbei")
        assert claim.side_branch
        assert await texts(store, side) == ["one", "eins", "aside", "nebenbei"]
        assert (await store.conversation(CHAT)).head == head

    async def test_a_reply_to_the_last_message_goes_on_with_the_line(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins", "m1")
        await ask(store, "2", "two", reply_to="m1")
        claim, tip = await answer(store, "zwei")
        assert not claim.side_branch
        assert (await store.conversation(CHAT)).head == tip

    async def test_a_reply_to_something_unknown_goes_on_with_the_line(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        _, first = await answer(store, "eins", "m1")
        await ask(store, "2", "two", reply_to="unknown")
        assert (await claimed(store)).question.parent == first

    async def test_group_talk_before_a_question_stands_before_it(self, store: SqlStore) -> None:
        await overhear(store, "1", "a")
        await overhear(store, "2", "b")
        await ask(store, "3", "what?", key=GROUP)
        await overhear(store, "4", "c")
        _, tip = await answer(store, "this")
        assert await texts(store, tip) == ["a", "b", "what?", "this"]
        await ask(store, "5", "and?", key=GROUP)
        _, tip = await answer(store, "that")
        assert await texts(store, tip) == ["a", "b", "what?", "this", "c", "and?", "that"]

    async def test_the_parent_stays_when_the_head_moves_before_a_second_attempt(
        self, store: SqlStore, clock: Clock
    ) -> None:
        await ask(store, "1", "one")
        _, first = await answer(store, "eins")
        await ask(store, "2", "/new")
        claim = await claimed(store, lease=60)
        await store.set_head(claim.conversation.id, None)
        clock.pass_(seconds=61)
        again = await claimed(store)
        assert again.question.parent == first
        assert again.conversation.head is None

    async def test_the_path_ends_at_the_stored_cut(self, store: SqlStore) -> None:
        for number in ("1", "2", "3"):
            await ask(store, number, number)
            claim = await claimed(store)
            cut = claim.question.id if number == "2" else None
            new = await store.close(
                claim, AnswerState.DONE, finished(f"to {number}", claim.question.id, window_start=cut)
            )
        history = await store.history(new[-1])
        assert [message.text for message in history] == ["2", "to 2", "3", "to 3"]
        assert [message.window_start for message in history] == [True, False, False, False]

    async def test_a_cut_newly_made_is_the_one_that_counts(self, store: SqlStore) -> None:
        tips = []
        for number in ("1", "2", "3"):
            await ask(store, number, number)
            claim = await claimed(store)
            new = await store.close(
                claim, AnswerState.DONE, finished(f"to {number}", claim.question.id, window_start=claim.question.id)
            )
            tips.append(new[-1])
        assert await texts(store, tips[2]) == ["3", "to 3"]
        assert await texts(store, tips[0]) == ["1", "to 1"]

    async def test_a_long_path_comes_whole_and_in_order(self, store: SqlStore) -> None:
        await ask(store, "0", "start")
        claim = await claimed(store)
        drafts = tuple(Draft(role=Role.TOOL, text=str(n), parent=claim.question.id) for n in range(600))
        done = Finished(outcome=AnswerState.DONE, text="", drafts=drafts)
        new = await store.close(claim, AnswerState.DONE, done)
        assert await texts(store, new[-1]) == ["start", *(str(n) for n in range(600))]

    async def test_no_tip_no_history(self, store: SqlStore) -> None:
        assert await store.history(None) == []
        assert await store.history(12345) == []


class TestConversations:
    """Places, their settings and the line."""

    async def test_a_conversation_is_made_once(self, store: SqlStore) -> None:
        first = await store.conversation(GROUP, direct=False)
        assert (first.key, first.direct, first.head, first.settings) == (GROUP, False, None, Settings())
        assert first.first_day == date(2026, 3, 1)
        assert await store.conversation(GROUP) == first

    async def test_many_at_once_make_one(self, store: SqlStore) -> None:
        places = await asyncio.gather(*(store.conversation(CHAT) for _ in range(10)))
        assert len({place.id for place in places}) == 1

    async def test_settings_are_replaced(self, store: SqlStore) -> None:
        place = await store.conversation(CHAT)
        await store.set_settings(place.id, Settings(model="big"))
        await store.set_settings(place.id, Settings(persona="pirate"))
        assert (await store.conversation(CHAT)).settings == Settings(persona="pirate")

    async def test_a_new_line_has_a_new_first_day(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins")
        clock.pass_(days=2)
        await ask(store, "2", "two")
        claim, _ = await answer(store, "zwei")
        assert claim.conversation.first_day == date(2026, 3, 1)
        await store.set_head(claim.conversation.id, None)
        clock.pass_(days=1)
        await ask(store, "3", "three")
        claim, tip = await answer(store, "drei")
        assert claim.conversation.first_day == date(2026, 3, 4)
        assert await texts(store, tip) == ["three", "drei"]
        assert (await store.conversation(CHAT)).first_day == date(2026, 3, 4)

    async def test_the_head_can_go_back(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        claim, first = await answer(store, "eins")
        await ask(store, "2", "two")
        await answer(store, "zwei")
        await store.set_head(claim.conversation.id, first)
        await ask(store, "3", "three")
        _, tip = await answer(store, "drei")
        assert await texts(store, tip) == ["one", "eins", "three", "drei"]

    async def test_the_head_of_another_conversation_is_refused(self, store: SqlStore) -> None:
        await ask(store, "1")
        _, tip = await answer(store)
        other = await store.conversation(GROUP)
        with pytest.raises(ValueError, match="is not in conversation"):
            await store.set_head(other.id, tip)

    async def test_threads_are_conversations_of_their_own(self, store: SqlStore) -> None:
        thread = ConversationKey("discord", "bot", "group", "another")
        await ask(store, "1", "one", key=GROUP)
        await answer(store, "eins")
        await ask(store, "2", "two", key=thread)
        _, tip = await answer(store, "zwei")
        assert await texts(store, tip) == ["two", "zwei"]

    async def test_waiting_answers_are_counted(self, store: SqlStore) -> None:
        await ask(store, "1")
        await ask(store, "2")
        await ask(store, "3", key=GROUP)
        await claimed(store)
        place = await store.conversation(CHAT)
        assert (await store.pending(), await store.pending(place.id)) == (3, 2)


class TestParts:
    """What is known of the platform's messages."""

    async def test_a_persons_message_and_the_bots_are_found(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        claim = await claimed(store)
        await send(store, claim, "m1", 0)
        await send(store, claim, "m2", 1)
        assert await store.find_sent(CHAT, "m1") is None
        new = await store.close(claim, AnswerState.DONE, finished("eins", claim.question.id))
        for message_id in ("m1", "m2"):
            found = await store.find_sent(CHAT, message_id)
            assert found is not None
            assert found.id == new[-1]
        asked = await store.find_sent(CHAT, "1")
        assert asked is not None
        assert asked.text == "one"
        assert await store.find_sent(GROUP, "m1") is None
        assert await store.find_sent(CHAT, "m3") is None

    async def test_a_dropped_part_is_not_known(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        claim = await claimed(store)
        await send(store, claim, "m1", 0)
        await send(store, claim, "m2", 1)
        await store.drop_part(claim, 0)
        clock.pass_(hours=1)
        assert [part.index for part in (await claimed(store)).parts] == [1]

    async def test_an_intent_can_be_renewed(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        claim = await claimed(store)
        await send(store, claim, "m1")
        await store.intend(claim, SentPart(index=0, nonce="again", message=None))
        clock.pass_(hours=1)
        assert (await claimed(store)).parts == (SentPart(index=0, nonce="again", message=None),)


class TestMigration:
    """A chat with a new id keeps its history."""

    MOVE = Migrated(key=CHAT, event_id="9", new_chat="new", sent_at=THEN)
    NEW = replace(CHAT, chat="new")

    async def test_the_history_follows(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins")
        await store.receive(self.MOVE, Triage.PENDING)
        # The new chat counts its messages from 1 again.
        await ask(store, "1", "two", key=self.NEW)
        claim, tip = await answer(store, "zwei")
        assert claim.event.key == self.NEW
        assert await texts(store, tip) == ["one", "eins", "two", "zwei"]
        assert (await store.receive(self.MOVE, Triage.PENDING)).duplicate

    async def test_what_was_said_there_before_comes_after(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins")
        await ask(store, "1", "two", key=self.NEW)
        await answer(store, "zwei")
        await ask(store, "2", "three", key=self.NEW)
        await store.receive(self.MOVE, Triage.PENDING)
        _, tip = await answer(store, "drei")
        assert await texts(store, tip) == ["one", "eins", "two", "zwei", "three", "drei"]
