"""What the store promises about questions and their answers, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bot.errors import LeaseLost
from bot.generation import Usage
from bot.messages import (
    AnswerState,
    Attachment,
    Author,
    Button,
    Draft,
    File,
    Finished,
    MessageRef,
    MessageState,
    Role,
    SentPart,
    Settings,
    Triage,
)
from bot.ports import Received
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore
from tests.contract.talk import (
    CHAT,
    GROUP,
    answer,
    ask,
    claimed,
    edited,
    finished,
    overhear,
    said,
    send,
    texts,
)


class TestReceive:
    """An event is committed once, with its whole effect."""

    async def test_a_pending_message_makes_work(self, store: SqlStore) -> None:
        received = await ask(store, "1")
        assert received == Received(message=received.message, work=True)
        assert received.message is not None
        assert await store.pending() == 1

    async def test_a_duplicate_changes_nothing(self, store: SqlStore) -> None:
        await ask(store, "1", "first")
        assert await ask(store, "1", "second") == Received(duplicate=True)
        assert await store.pending() == 1
        assert (await claimed(store)).event.text == "first"

    async def test_a_duplicate_is_known_after_a_restart_too(self, open_store: OpenStore) -> None:
        first = await open_store()
        await ask(first, "1")
        await first.aclose()
        assert (await ask(await open_store(), "1")).duplicate

    async def test_the_same_id_in_another_chat_or_account_is_another_event(self, store: SqlStore) -> None:
        await ask(store, "1")
        for key in (replace(CHAT, chat="other"), replace(CHAT, account="bot2"), replace(CHAT, platform="discord")):
            assert (await ask(store, "1", key=key)).work
        assert (await ask(store, "1", key=replace(CHAT, thread="t"))).duplicate

    async def test_an_ignored_message_leaves_no_trace(self, store: SqlStore) -> None:
        assert await store.receive(said("1"), Triage.IGNORED) == Received()
        assert (await ask(store, "1")).work

    async def test_group_talk_is_kept_and_not_answered(self, store: SqlStore) -> None:
        received = await overhear(store, "1")
        assert received.message is not None
        assert not received.work
        assert await store.pending() == 0

    async def test_of_many_equal_receives_at_once_exactly_one_makes_work(self, store: SqlStore) -> None:
        received = await asyncio.gather(*(ask(store, "1") for _ in range(20)))
        assert sum(one.work for one in received) == 1
        assert sum(one.duplicate for one in received) == 19
        assert await store.pending() == 1

    async def test_many_receives_at_once_all_arrive(self, store: SqlStore) -> None:
        places = [replace(CHAT, chat=f"chat {number % 7}") for number in range(100)]
        received = await asyncio.gather(*(ask(store, str(n), key=key) for n, key in enumerate(places)))
        assert len({one.message for one in received}) == 100
        assert await store.pending() == 100

    async def test_the_event_comes_back_as_it_was(self, store: SqlStore) -> None:
        note = Attachment(
            kind="voice", name="v.ogg", media_type="audio/ogg", size=123, reference="file:7", duration=1.5
        )
        event = said(
            "1",
            by=Author("ann", "Ann", True, frozenset({"mod", "7"})),
            key=GROUP,
            addressed=True,
            reply_to="99",
            attachments=(note,),
            interaction="token",
            can_reply_privately=True,
            revision=3,
        )
        await store.receive(event, Triage.PENDING)
        claim = await claimed(store)
        assert claim.event == event
        assert claim.conversation.key == GROUP
        assert not claim.conversation.direct
        assert claim.question.author == event.author
        assert claim.question.event_id == "1"

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            ("a\x00b", "a\ufffdb"),
            ("a\ud800b", "a\ufffdb"),
            ("\ud83d\ude00", "\U0001f600"),
            ("\ufdd0 \u202e 'quoted' \\x00 %s :name", "\ufdd0 \u202e 'quoted' \\x00 %s :name"),
            ("", ""),
        ],
    )
    async def test_text_that_a_database_cannot_hold_is_replaced(self, store: SqlStore, sent: str, kept: str) -> None:
        await store.receive(said("id" + sent, sent, by=Author("u" + sent, sent)), Triage.PENDING)
        claim = await claimed(store)
        assert claim.event.text == kept
        assert claim.event.author.name == kept
        assert (await store.receive(said("id" + sent, sent), Triage.PENDING)).duplicate

    async def test_a_megabyte_of_text_is_kept_whole(self, store: SqlStore) -> None:
        text = "grüße " * 175_000
        await ask(store, "1", text)
        assert (await claimed(store)).question.text == text


class TestCallers:
    """What callers do does no harm to others."""

    async def test_a_cancelled_caller_takes_nobody_along(self, store: SqlStore) -> None:
        first, *rest = [asyncio.create_task(ask(store, str(number))) for number in range(10)]
        await asyncio.sleep(0)
        first.cancel()
        assert all(received.work for received in await asyncio.gather(*rest))
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await store.history(12345)) == []
        # Whether it was committed or not, the platform sends it again and it is there once.
        await ask(store, "0")
        assert await store.pending() == 10

    async def test_an_operation_that_fails_takes_nobody_along(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        lost = await claimed(store, lease=60)
        clock.pass_(seconds=61)
        await claimed(store)
        closing = store.close(lost, AnswerState.DONE, finished("no", lost.question.id))
        results = await asyncio.gather(
            ask(store, "2"), closing, ask(store, "3"), store.set_head(99, 99), ask(store, "3"), return_exceptions=True
        )
        assert [type(result) for result in results] == [Received, LeaseLost, Received, ValueError, Received]
        assert await store.pending() == 3

    async def test_what_was_begun_is_finished_before_the_store_closes(self, open_store: OpenStore) -> None:
        store = await open_store()
        receiving = [asyncio.create_task(ask(store, str(number))) for number in range(100)]
        await asyncio.sleep(0)
        await store.aclose()
        assert all(received.work for received in await asyncio.gather(*receiving))
        assert await (await open_store()).pending() == 100


class TestClaim:
    """In the order of arrival within a conversation, one at a time, under a lease."""

    async def test_nothing_waits(self, store: SqlStore) -> None:
        assert await store.claim("worker", lease=60) is None

    async def test_one_at_a_time_per_conversation_in_order(self, store: SqlStore) -> None:
        for number in ("1", "2", "3"):
            await ask(store, number)
        for number in ("1", "2", "3"):
            claim = await claimed(store)
            assert claim.event.event_id == number
            assert await store.claim("other", lease=60) is None
            await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))
        assert await store.claim("worker", lease=60) is None

    async def test_another_conversation_does_not_wait(self, store: SqlStore) -> None:
        await ask(store, "1")
        await ask(store, "2", key=GROUP)
        assert (await claimed(store)).event.event_id == "1"
        assert (await claimed(store)).event.event_id == "2"

    async def test_the_oldest_comes_first(self, store: SqlStore) -> None:
        for number in range(5):
            await ask(store, "1", key=replace(CHAT, chat=str(number)))
        assert [(await claimed(store)).event.key.chat for _ in range(5)] == ["0", "1", "2", "3", "4"]

    async def test_several_are_taken_at_once_each_of_another_conversation(self, store: SqlStore) -> None:
        for number in range(5):
            for event in ("1", "2"):
                await ask(store, event, key=replace(CHAT, chat=str(number)))
        busy = (await store.conversation(replace(CHAT, chat="1"))).id
        first = list(await store.claims("worker", lease=60, busy=[busy], most=2))
        assert [(c.event.key.chat, c.event.event_id, c.attempt) for c in first] == [("0", "1", 1), ("2", "1", 1)]
        assert [c.event.key.chat for c in await store.claims("worker", lease=60, most=9)] == ["1", "3", "4"]
        assert list(await store.claims("worker", lease=60, most=9)) == []
        assert list(await store.claims("worker", lease=60, accounts=[], most=9)) == []

    async def test_one_that_was_attempted_before_is_the_last_of_several(self, store: SqlStore, clock: Clock) -> None:
        for number in range(4):
            await ask(store, "1", key=replace(CHAT, chat=str(number)))
        await store.claims("died", lease=1, most=2)
        clock.pass_(seconds=2)
        taken = [list(await store.claims("worker", lease=60, most=9)) for _ in range(3)]
        assert [[(c.event.key.chat, c.attempt) for c in some] for some in taken] == [
            [("0", 2)],
            [("1", 2)],
            [("2", 1), ("3", 1)],
        ]

    async def test_busy_conversations_and_other_accounts_are_passed_over(self, store: SqlStore) -> None:
        await ask(store, "1")
        await ask(store, "2", key=GROUP)
        busy = (await store.conversation(CHAT)).id
        mine, others = ("telegram", "bot"), [("telegram", "other"), ("discord", "other"), ("other", "bot")]
        assert await store.claim("worker", lease=60, busy=[busy], accounts=[mine]) is None
        assert await store.claim("worker", lease=60, accounts=[]) is None
        assert await store.claim("worker", lease=60, accounts=others) is None
        claim = await store.claim("worker", lease=60, busy=[busy], accounts=[mine, ("discord", "bot")])
        assert claim is not None
        assert claim.event.event_id == "2"

    async def test_an_answer_left_behind_waits_for_its_own_account(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        await claimed(store, lease=10)
        clock.pass_(seconds=11)
        assert await store.claim("other", lease=60, accounts=[("telegram", "other")]) is None
        assert await store.claim("other", lease=60, accounts=[("telegram", "bot")]) is not None

    async def test_of_many_workers_one_gets_it(self, store: SqlStore, open_store: OpenStore, database_url: str) -> None:
        stores = [store] if database_url.startswith("sqlite") else [store, await open_store(), await open_store()]
        for number in range(20):
            await ask(store, str(number), key=replace(CHAT, chat=str(number % 10)))
        claims = await asyncio.gather(*(one.claim(f"worker {n}", lease=60) for n in range(10) for one in stores))
        got = [claim for claim in claims if claim is not None]
        assert sorted(claim.event.event_id for claim in got) == [str(number) for number in range(10)]

    async def test_a_lapsed_lease_is_taken_over_first_with_what_was_sent(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        first = await claimed(store, lease=60)
        await send(store, first, "m1")
        await store.intend(first, SentPart(index=1, nonce="n1", message=None))
        await store.keep(first, finished("well", first.question.id))
        await ask(store, "2", key=GROUP)
        clock.pass_(seconds=61)
        second = await claimed(store, "other")
        assert (second.id, second.attempt, second.owner) == (first.id, 2, "other")
        assert second.parts == (
            SentPart(index=0, nonce=f"{first.id}-0", message=MessageRef(CHAT, "m1")),
            SentPart(index=1, nonce="n1", message=None),
        )
        assert second.kept == finished("well", first.question.id)
        assert (await claimed(store)).event.event_id == "2"

    async def test_attempts_are_counted_without_end(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        for attempt in (1, 2, 3, 4, 5):
            assert (await claimed(store, lease=1)).attempt == attempt
            clock.pass_(seconds=2)

    async def test_an_extended_lease_holds(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        claim = await claimed(store, lease=60)
        clock.pass_(seconds=50)
        await store.extend(claim, lease=60)
        clock.pass_(seconds=50)
        assert await store.claim("other", lease=60) is None

    async def test_who_lost_the_lease_can_do_nothing_more(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        lost = await claimed(store, "worker", lease=60)
        clock.pass_(seconds=61)
        # The same owner, a later attempt: the number of the attempt tells them apart.
        held = await claimed(store, "worker")
        part = SentPart(index=0, nonce="n", message=None)
        for attempt in (
            store.extend(lost, lease=60),
            store.intend(lost, part),
            store.drop_part(lost, 0),
            store.record_sent(lost, part),
            store.keep(lost, finished("no", lost.question.id)),
            store.close(lost, AnswerState.DONE, finished("no", lost.question.id)),
        ):
            with pytest.raises(LeaseLost):
                await attempt
        new = await store.close(held, AnswerState.DONE, finished("yes", held.question.id))
        assert await texts(store, new[-1]) == ["hello", "yes"]

    async def test_a_released_answer_is_as_before(self, store: SqlStore) -> None:
        await ask(store, "1")
        await ask(store, "2")
        await store.release(await claimed(store))
        claim = await claimed(store, "other")
        assert (claim.event.event_id, claim.attempt) == ("1", 1)

    async def test_the_claim_brings_the_settings_of_now(self, store: SqlStore) -> None:
        await ask(store, "1")
        mine = Settings(model="big", persona="pirate", system_prompt="Arr.", retention_days=7, transcripts="asked")
        await store.set_settings((await store.conversation(CHAT)).id, mine)
        assert (await claimed(store)).conversation.settings == mine


class TestClose:
    """How an answer ends, and what it leaves."""

    async def test_what_the_model_wrote_is_kept_with_its_tokens(self, store: SqlStore) -> None:
        await ask(store, "1")
        _, tip = await answer(store, "well")
        message = (await store.history(tip))[-1]
        assert (message.role, message.text, message.state) == (Role.ASSISTANT, "well", MessageState.FINAL)
        assert (message.model, message.token_ids) == ("tiny@1", (1, 70000, 3))
        assert (message.prompt_tokens, message.cached_tokens, message.completion_tokens) == (10, 4, 3)
        assert message.author is None
        question = (await store.history(tip))[0]
        assert question.state is MessageState.ANSWERED

    async def test_tool_rounds_stand_in_one_line(self, store: SqlStore) -> None:
        await ask(store, "1", "weather?")
        claim = await claimed(store)
        drafts = (
            Draft(role=Role.ASSISTANT, text="call", parent=claim.question.id, completion_tokens=2),
            Draft(role=Role.TOOL, text="sunny", parent=None),
            Draft(role=Role.ASSISTANT, text="It is sunny.", parent=None, model="tiny@1", completion_tokens=5),
        )
        await send(store, claim, "m1")
        done = Finished(outcome=AnswerState.DONE, text="It is sunny.", drafts=drafts)
        new = await store.close(claim, AnswerState.DONE, done)
        assert len(new) == 3
        assert await texts(store, new[-1]) == ["weather?", "call", "sunny", "It is sunny."]
        found = await store.find_sent(CHAT, "m1")
        assert found is not None
        assert found.id == new[-1]

    async def test_a_second_close_finds_the_lease_gone(self, store: SqlStore) -> None:
        await ask(store, "1")
        claim, _ = await answer(store)
        with pytest.raises(LeaseLost):
            await store.close(claim, AnswerState.DONE, finished("again", claim.question.id))
        assert await store.pending() == 0

    async def test_a_command_is_no_part_of_the_history(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        _, head = await answer(store, "eins")
        await ask(store, "2", "/help")
        claim = await claimed(store)
        word = Finished(outcome=AnswerState.DONE, text="These are ...", moves_head=False)
        assert await store.close(claim, AnswerState.DONE, word) == ()
        assert (await store.conversation(CHAT)).head == head
        await ask(store, "3", "two")
        _, tip = await answer(store, "zwei")
        assert await texts(store, tip) == ["one", "eins", "two", "zwei"]

    async def test_a_command_that_answers_an_older_question_hangs_the_answer_under_that(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        first, _ = await answer(store, "eins")
        await ask(store, "2", "/retry")
        claim = await claimed(store)
        new = await store.close(claim, AnswerState.DONE, finished("uno", first.question.id))
        assert await texts(store, new[-1]) == ["one", "uno"]
        assert (await store.conversation(CHAT)).head == new[-1]

    @pytest.mark.parametrize("outcome", [AnswerState.FAILED, AnswerState.EXPIRED])
    async def test_a_question_without_an_answer_stays_as_context(self, store: SqlStore, outcome: AnswerState) -> None:
        await ask(store, "1", "lost")
        claim = await claimed(store)
        assert await store.close(claim, outcome, None) == ()  # type: ignore[arg-type]
        await ask(store, "2", "two")
        _, tip = await answer(store, "zwei")
        history = await store.history(tip)
        assert [message.text for message in history] == ["lost", "two", "zwei"]
        assert history[0].state is MessageState.CONTEXT

    async def test_a_stopped_answer_is_kept_as_far_as_it_came(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        claim = await claimed(store)
        draft = Draft(role=Role.ASSISTANT, text="ei", parent=claim.question.id, state=MessageState.STOPPED)
        stopped = Finished(outcome=AnswerState.STOPPED, text="ei", drafts=(draft,))
        new = await store.close(claim, AnswerState.STOPPED, stopped)
        assert [m.state for m in await store.history(new[-1])] == [MessageState.ANSWERED, MessageState.STOPPED]
        assert (await store.conversation(CHAT)).head == new[-1]

    async def test_an_answer_kept_comes_back_as_it_was(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        claim = await claimed(store)
        done = replace(
            finished("well \U0001f600", claim.question.id, window_start=claim.question.id),
            private=True,
            moves_head=False,
            erase=True,
            usage=Usage(prompt_tokens=7, cached_tokens=6, completion_tokens=5),
            buttons=(Button("choose:model", "Model: grün"), Button("choose:close", "Close")),
            files=(File("a.bin", "application/octet-stream", bytes(range(256))),),
        )
        await store.keep(claim, done)
        clock.pass_(hours=1)
        assert (await claimed(store)).kept == done

    async def test_the_usage_is_counted_by_day_person_and_model(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        await answer(store)
        await ask(store, "2", key=GROUP, by=Author("ben", "Ben"))
        await answer(store)
        clock.pass_(days=1)
        await ask(store, "3")
        await answer(store)
        await ask(store, "4")
        await answer(store)
        assert await store.count_today("telegram", "ann") == Usage(
            prompt_tokens=20, cached_tokens=8, completion_tokens=6
        )
        assert await store.count_today("telegram", "ben") == Usage()
        row = {"model": "tiny@1", "messages": 1, "prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 3}
        assert await store.usage(platform="discord") == [{"day": "2026-03-01", **row}]
        assert [(d["day"], d["messages"]) for d in await store.usage()] == [("2026-03-02", 2), ("2026-03-01", 2)]
        assert [d["messages"] for d in await store.usage(platform="telegram", author="ann")] == [2, 1]

    @pytest.mark.parametrize("outcome", [AnswerState.STOPPED, AnswerState.FAILED])
    async def test_what_was_computed_is_counted_although_nothing_came_of_it(
        self, store: SqlStore, clock: Clock, outcome: AnswerState
    ) -> None:
        await ask(store, "1")
        await claimed(store, lease=1)
        clock.pass_(seconds=2)
        cost = Usage(prompt_tokens=900, cached_tokens=100, completion_tokens=2)
        end = Finished(outcome=outcome, text="", model="tiny@1", usage=cost)  # type: ignore[arg-type]
        claim = await claimed(store)
        await store.keep(claim, end)
        assert await store.close(claim, end.outcome, end) == ()
        assert await store.count_today("telegram", "ann") == cost
        assert [(row["model"], row["messages"]) for row in await store.usage()] == [("tiny@1", 1)]

    async def test_what_no_model_was_asked_for_costs_nothing(self, store: SqlStore) -> None:
        await ask(store, "1", "/help")
        word = Finished(outcome=AnswerState.DONE, text="These are ...", moves_head=False)
        await store.close(await claimed(store), AnswerState.DONE, word)
        assert await store.usage() == []

    async def test_with_retention_0_nothing_stays_but_the_mark_of_the_event(self, open_store: OpenStore) -> None:
        store = await open_store(default_retention_days=0)
        await overhear(store, "1")
        await ask(store, "2", key=GROUP)
        claim = await claimed(store)
        await send(store, claim, "m1")
        assert await store.close(claim, AnswerState.DONE, finished("well", claim.question.id)) == ()
        assert await store.history(claim.question.id) == []
        assert await store.find_sent(GROUP, "m1") is None
        assert await store.find_sent(GROUP, "2") is None
        assert (await store.conversation(GROUP)).head is None
        assert (await overhear(store, "1")).duplicate
        assert (await ask(store, "2", key=GROUP)).duplicate

    async def test_with_retention_0_what_it_said_before_its_edits_goes_too(self, open_store: OpenStore) -> None:
        store = await open_store(default_retention_days=0)
        await ask(store, "1", "one")
        olds = []
        for revision, text in ((5, "two"), (6, "three")):
            olds.append((await claimed(store)).question.id)
            await store.receive(edited("1", text, revision), Triage.PENDING)
        claim = await claimed(store)
        assert [await texts(store, old) for old in olds] == [["one"], ["two"]]
        await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))
        assert [await texts(store, one) for one in (*olds, claim.question.id)] == [[], [], []]
        assert (await store.receive(edited("1", "two", 5), Triage.PENDING)).duplicate

    async def test_a_conversations_own_retention_of_0_counts(self, store: SqlStore) -> None:
        place = await store.conversation(CHAT)
        await store.set_settings(place.id, Settings(retention_days=0))
        await ask(store, "1")
        claim = await claimed(store)
        assert await store.close(claim, AnswerState.DONE, finished("well", claim.question.id)) == ()
        assert await store.history(claim.question.id) == []
