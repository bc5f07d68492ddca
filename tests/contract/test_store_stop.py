"""What the store promises about stops, and about what is still open or was answered, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

from bot.messages import ActionName, AnswerState, Finished, Migrated, Role, Triage
from storage.store import SqlStore
from tests.contract.conftest import Clock
from tests.contract.talk import BEN, CHAT, GROUP, THEN, answer, ask, claimed, deleted, edited, finished, pressed


class TestStop:
    """A stop is committed: whoever takes the answer up later finds it."""

    async def test_the_answer_in_progress_is_stopped_before_those_that_wait(self, store: SqlStore) -> None:
        for number in ("1", "2"):
            await ask(store, number)
        claim = await claimed(store)
        assert not claim.stopped
        assert await store.stop(CHAT, asker=None) == claim.id
        await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))
        assert not (await claimed(store)).stopped

    async def test_it_is_found_although_an_older_question_waits_since_a_chat_moved(self, store: SqlStore) -> None:
        moved = replace(CHAT, chat="moved")
        await ask(store, "1")
        await ask(store, "1", key=moved)
        claim = await store.claim("worker", lease=60, busy=[(await store.conversation(CHAT)).id])
        assert claim is not None
        await store.receive(Migrated(key=CHAT, event_id="2", new_chat="moved", sent_at=THEN), Triage.PENDING)
        assert await store.stop(moved, asker=None) == claim.id

    async def test_what_was_asked_after_it_is_not_meant(self, store: SqlStore, clock: Clock) -> None:
        before = clock()
        clock.pass_(seconds=1)
        await ask(store, "1")
        claim = await claimed(store)
        assert await store.stop(CHAT, asker=None, before=before) is None
        assert await store.stop(CHAT, asker=None, before=clock()) == claim.id

    async def test_it_holds_for_the_next_attempt(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        claim = await claimed(store, lease=10)
        clock.pass_(seconds=11)
        assert await store.stop(CHAT, asker="ann") == claim.id
        assert (await claimed(store)).stopped

    async def test_it_holds_for_an_answer_that_was_given_back(self, store: SqlStore) -> None:
        await ask(store, "1")
        claim = await claimed(store)
        await store.stop(CHAT, asker="ann")
        await store.release(claim)
        assert (await claimed(store)).stopped

    async def test_where_none_is_in_progress_the_next_is_stopped(self, store: SqlStore) -> None:
        for number in ("1", "2"):
            await ask(store, number)
        answer = await store.stop(CHAT, asker="ann")
        first = await claimed(store)
        assert (first.id, first.event.event_id, first.stopped) == (answer, "1", True)

    async def test_anothers_answer_is_not_stopped(self, store: SqlStore) -> None:
        await ask(store, "1", key=GROUP, by=BEN)
        claim = await claimed(store)
        await ask(store, "2", key=GROUP)
        assert await store.stop(GROUP, asker="ann") is None
        assert await store.stop(GROUP, asker="ben") == claim.id

    async def test_where_nothing_is_answered_nothing_is_stopped(self, store: SqlStore) -> None:
        assert await store.stop(CHAT, asker=None) is None
        await ask(store, "1")
        await answer(store)
        assert await store.stop(CHAT, asker=None) is None
        assert await store.stop(GROUP, asker=None) is None

    async def test_a_new_text_is_not_stopped_with_the_old_one(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await store.stop(CHAT, asker="ann")
        await store.receive(edited("1", "two"), Triage.PENDING)
        assert not (await claimed(store)).stopped


class TestIsOpen:
    """Who waits for an answer may ask whether it will come."""

    async def test_an_event_is_open_from_its_coming_to_the_end_of_its_answer(self, store: SqlStore) -> None:
        assert not await store.is_open(CHAT, "1")
        await ask(store, "1")
        await ask(store, "2", key=GROUP)
        assert await store.is_open(CHAT, "1")
        assert not await store.is_open(CHAT, "2")
        claim = await claimed(store)
        assert await store.is_open(CHAT, "1")
        await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))
        assert not await store.is_open(CHAT, "1")

    async def test_what_was_removed_or_expired_is_not_open(self, store: SqlStore) -> None:
        for number in ("1", "2", "3"):
            await ask(store, number)
        await store.receive(deleted("1"), Triage.PENDING)
        assert not await store.is_open(CHAT, "1")
        await store.close(await claimed(store), AnswerState.EXPIRED, None)
        assert not await store.is_open(CHAT, "2")
        await store.forget_person("telegram", "ann")
        assert not await store.is_open(CHAT, "3")


class TestAnswerTo:
    """Who comes back for an answer that was closed meanwhile finds what is kept of it."""

    async def test_the_last_answer_to_an_event_is_found(self, store: SqlStore) -> None:
        assert await store.answer_to(CHAT, "1") is None
        await ask(store, "1")
        await ask(store, "1", key=GROUP)
        assert await store.answer_to(CHAT, "1") is None
        await answer(store, "well")
        await answer(store, "elsewhere")
        found = await store.answer_to(CHAT, "1")
        assert found is not None
        assert (found.role, found.text) == (Role.ASSISTANT, "well")
        await store.receive(pressed("2", ActionName.RETRY), Triage.PENDING)
        await answer(store, "better")
        again = await store.answer_to(CHAT, "1")
        assert again is not None
        assert again.text == "better"

    async def test_of_commands_failures_and_what_was_forgotten_nothing_is_kept(self, store: SqlStore) -> None:
        await ask(store, "1", "/help")
        word = Finished(outcome=AnswerState.DONE, text="/new begins anew", moves_head=False)
        await store.close(await claimed(store), AnswerState.DONE, word)
        await ask(store, "2")
        await store.close(await claimed(store), AnswerState.EXPIRED, None)
        await ask(store, "3")
        await answer(store, "well")
        await store.forget_person("telegram", "ann")
        assert [await store.answer_to(CHAT, number) for number in ("1", "2", "3")] == [None, None, None]
