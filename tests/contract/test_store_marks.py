"""What the store tells of closed answers whose question is deleted: what stands of them, so that it can be marked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bot.messages import ActionName, AnswerState, Finished, MessageRef, SentPart, Triage
from bot.ports import Mark, Received
from storage.store import SqlStore
from tests.contract.conftest import Clock
from tests.contract.talk import (
    CHAT,
    GROUP,
    answer,
    ask,
    claimed,
    deleted,
    edited,
    finished,
    overhear,
    pressed,
    send,
    texts,
)


def stands(shown: str, *ids: str) -> Mark:
    return Mark(parts=tuple(MessageRef(CHAT, one) for one in ids), text=shown)


async def marks(store: SqlStore, event_id: str) -> tuple[Mark, ...]:
    """Of a deletion."""
    received = await store.receive(deleted(event_id), Triage.PENDING)
    assert received == Received(marks=received.marks)
    return received.marks


async def test_a_deleted_question_tells_what_stands_of_its_answer(store: SqlStore) -> None:
    await ask(store, "1", "one")
    claim = await claimed(store)
    for index, message_id in enumerate(("m1", "m2")):
        await send(store, claim, message_id, index)
    await store.close(claim, AnswerState.DONE, finished("eins", claim.question.id))
    assert await marks(store, "1") == (stands("eins", "m1", "m2"),)
    assert (await store.receive(deleted("1"), Triage.PENDING)).marks == (), "a deletion counts once"


async def test_what_stood_around_the_models_words_is_told_too(store: SqlStore) -> None:
    await ask(store, "1", "one")
    claim = await claimed(store)
    await send(store, claim, "m1")
    shown = replace(finished("eins", claim.question.id), text="> one\n\neins\n\n_(more)_")
    await store.close(claim, AnswerState.DONE, shown)
    assert await marks(store, "1") == (stands("> one\n\neins\n\n_(more)_", "m1"),)


async def test_what_stood_of_an_answer_goes_with_the_question_that_it_quotes(
    store: SqlStore, clock: Clock, database_url: str
) -> None:
    """However it goes: deleted on the platform, or by time."""
    tips = []
    for event_id in ("1", "2"):
        await ask(store, event_id, "one")
        claim = await claimed(store)
        clock.pass_(days=1)
        [tip] = await store.close(
            claim, AnswerState.DONE, replace(finished("eins", claim.question.id), text="> xyzzy\n\neins")
        )
        tips.append(tip)
    assert await kept(database_url) == 2
    await store.receive(deleted("2"), Triage.PENDING)
    assert await kept(database_url) == 1
    await store.expire(clock() - timedelta(hours=1), 1)
    assert await texts(store, tips[1]) == ["eins", "eins"], "only the question was old enough"
    assert await kept(database_url) == 0


async def kept(url: str) -> int:
    """In how many answers something is kept."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        count = (await connection.execute(text("SELECT count(*) FROM answers WHERE kept IS NOT NULL"))).scalar_one()
    await engine.dispose()
    return int(count)


async def test_every_answer_of_a_retried_question_is_told(store: SqlStore) -> None:
    await ask(store, "1", "one")
    await answer(store, "eins", "m1")
    await store.receive(pressed("p1", ActionName.RETRY, "m1"), Triage.PENDING)
    await answer(store, "uno", "m2")
    assert await marks(store, "1") == (stands("eins", "m1"), stands("uno", "m2"))


async def test_an_answer_that_a_command_asked_for_is_told(store: SqlStore) -> None:
    await ask(store, "1", "one")
    first, _ = await answer(store, "eins", "m1")
    await ask(store, "2", "/retry")
    claim = await claimed(store)
    await send(store, claim, "m2")
    await store.close(claim, AnswerState.DONE, finished("uno", first.question.id))
    assert await marks(store, "2") == (), "the command is not its question"
    assert await marks(store, "1") == (stands("eins", "m1"), stands("uno", "m2"))


async def test_of_an_edited_question_the_answer_that_took_the_messages_over_is_told(store: SqlStore) -> None:
    await ask(store, "1", "one")
    await answer(store, "eins", "m1")
    await store.receive(edited("1", "two"), Triage.PENDING)
    await answer(store, "zwei")
    assert await marks(store, "1") == (stands("zwei", "m1"),)


async def test_an_answer_without_words_of_its_own_is_not_told(store: SqlStore) -> None:
    """The word about a command, or a failure: nothing of it is in the history."""
    for outcome in (AnswerState.DONE, AnswerState.FAILED):
        await ask(store, str(outcome), "/help")
        claim = await claimed(store)
        await send(store, claim, f"m-{outcome}")
        await store.close(claim, outcome, Finished(outcome=outcome, text="Help.", moves_head=False))
        assert await marks(store, str(outcome)) == ()


async def test_an_answer_whose_last_message_was_not_acknowledged_is_not_told(store: SqlStore) -> None:
    await ask(store, "1", "one")
    claim = await claimed(store)
    await send(store, claim, "m1")
    part = SentPart(index=1, nonce="n", message=None)
    await store.intend(claim, part)
    await store.close(claim, AnswerState.DONE, finished("eins", claim.question.id))
    assert await marks(store, "1") == ()


async def test_group_talk_has_no_answer_to_mark(store: SqlStore) -> None:
    await overhear(store, "1")
    await ask(store, "2", key=GROUP, direct=False)
    await answer(store, "well", "m1")
    assert (await store.receive(deleted("1", key=GROUP), Triage.PENDING)).marks == ()
