"""What the store promises about steps that are one transaction, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.errors import LeaseLost
from bot.messages import AnswerState, MessageRef, SentPart
from storage.store import SqlStore
from tests.contract.conftest import Clock
from tests.contract.talk import CHAT, answer, ask, claimed, finished


async def test_an_intent_can_keep_the_finished_answer(store: SqlStore, clock: Clock) -> None:
    await ask(store, "1")
    first = await claimed(store, lease=60)
    part, end = SentPart(index=0, nonce="n", message=None), finished("well", first.question.id)
    await store.intend(first, part, end)
    clock.pass_(seconds=61)
    second = await claimed(store)
    assert (second.parts, second.kept) == ((part,), end)
    with pytest.raises(LeaseLost):
        await store.intend(first, replace(part, nonce="late"), end)
    clock.pass_(seconds=61)
    assert (await claimed(store)).parts == (part,)


async def test_the_end_can_record_the_last_part(store: SqlStore, clock: Clock) -> None:
    await ask(store, "1")
    lost = await claimed(store, lease=60)
    part = SentPart(index=0, nonce="n", message=None)
    await store.intend(lost, part)
    sent = replace(part, message=MessageRef(CHAT, "m1"))
    clock.pass_(seconds=61)
    held = await claimed(store)
    with pytest.raises(LeaseLost):
        await store.close(lost, AnswerState.DONE, finished("no", lost.question.id), sent)
    assert await store.find_sent(CHAT, "m1") is None
    new = await store.close(held, AnswerState.DONE, finished("yes", held.question.id), sent)
    found = await store.find_sent(CHAT, "m1")
    assert found is not None
    assert (found.id, found.text) == (new[-1], "yes")


async def test_the_claim_brings_the_history_of_an_ordinary_question(store: SqlStore, clock: Clock) -> None:
    await ask(store, "1")
    await answer(store)
    await ask(store, "2", "and now?")
    claim = await claimed(store, lease=1)
    assert [message.text for message in claim.path or ()] == ["hello", "well", "and now?"]
    assert list(claim.path or ()) == await store.history(claim.question.id)
    clock.pass_(seconds=2)
    claim = await claimed(store, lease=1)
    assert claim.path is not None
    await store.keep(claim, finished("well", claim.question.id))
    clock.pass_(seconds=2)
    claim = await claimed(store)
    assert claim.path is None  # nobody asks the model again
    await store.close(claim, AnswerState.DONE, claim.kept)
    await ask(store, "3", "/help")
    assert (await claimed(store)).path is None


async def test_a_long_history_is_asked_for(store: SqlStore) -> None:
    for number in range(50):
        await ask(store, str(number))
        claim, _ = await answer(store)
        assert claim.path is not None
    await ask(store, "50", "one more")
    claim = await claimed(store)
    assert claim.path is None
    assert len(await store.history(claim.question.id)) == 101
