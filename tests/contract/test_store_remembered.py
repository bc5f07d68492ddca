"""What comes with a claim is what the database holds, whatever happened to what was read before (conftest compares them)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import create_async_engine

from bot.errors import DatabaseError
from bot.messages import AnswerState, Claim, Migrated, Triage
from storage.models import messages
from storage.reading import FEW, SHORT, short_path
from storage.store import SqlStore
from storage.transaction import Transaction
from tests.contract.talk import ANN, CHAT, GROUP, NOTES, THEN, answer, ask, claimed, edited, finished, overhear, reading

ROUNDS = 4


async def talk(store: SqlStore) -> list[Claim]:
    """Some rounds, of which a claim has told all but the last."""
    claims = []
    for number in range(ROUNDS):
        await ask(store, str(number), f"question {number}")
        claim, _ = await answer(store, f"answer {number}")
        assert claim.path is not None
        assert len(claim.path) == 2 * number + 1
        claims.append(claim)
    return claims


async def told(store: SqlStore) -> list[str]:
    """The history of one more question."""
    await ask(store, "last", "and now?")
    claim = await claimed(store)
    assert claim.path is not None
    return [message.text for message in claim.path]


def rounds(*numbers: int) -> list[str]:
    return [*(text for number in numbers for text in (f"question {number}", f"answer {number}")), "and now?"]


async def test_nothing_happened(store: SqlStore) -> None:
    await talk(store)
    assert await told(store) == rounds(0, 1, 2, 3)


async def test_a_question_was_edited(store: SqlStore) -> None:
    await talk(store)
    await store.receive(edited("1", "What?"), Triage.PENDING)
    assert (await told(store))[2:4] == ["What?", "answer 1"]


async def test_a_round_was_forgotten(store: SqlStore) -> None:
    claims = await talk(store)
    await store.forget_message(claims[1].question.id)
    assert await told(store) == rounds(0, 2, 3)


async def test_a_person_was_forgotten(store: SqlStore) -> None:
    await talk(store)
    await store.forget_person(CHAT.platform, ANN.id)
    assert await told(store) == rounds()


async def test_the_window_was_cut(store: SqlStore) -> None:
    claims = await talk(store)
    await ask(store, "cut", "question 4")
    claim = await claimed(store)
    end = finished("answer 4", claim.question.id, window_start=claims[2].question.id)
    await store.close(claim, AnswerState.DONE, end)
    assert await told(store) == rounds(2, 3, 4)


async def test_the_line_was_set_back_and_goes_on_elsewhere(store: SqlStore) -> None:
    claims = await talk(store)
    await store.set_head(claims[0].conversation.id, claims[2].question.parent)
    assert await told(store) == rounds(0, 1)


async def test_another_conversation_was_put_before_it(store: SqlStore) -> None:
    """A group became a supergroup while something was said in the new one."""
    moved = replace(CHAT, chat="moved")
    await ask(store, "early", "first here", key=moved)
    await answer(store, "welcome")
    await talk(store)
    await store.receive(Migrated(key=CHAT, event_id="m", new_chat="moved", sent_at=THEN), Triage.PENDING)
    await ask(store, "last", "and now?", key=moved)
    claim = await claimed(store)
    assert claim.path is not None
    assert len(claim.path) == 2 * ROUNDS + 3


async def test_documents_are_read_after_their_message_was_told(store: SqlStore) -> None:
    received = await ask(store, "notes", "this", attachments=(NOTES,))
    await answer(store)
    await ask(store, "more")
    await answer(store)
    assert received.message is not None
    await store.record_read(received.message, [reading("Buy a lamp.")])
    await ask(store, "last", "and now?")
    claim = await claimed(store)
    assert claim.path is not None
    assert [item.words for item in claim.path[0].attachments] == ["Buy a lamp."]


async def test_talk_of_others_came_between(store: SqlStore) -> None:
    for number in range(3):
        for place in range(3 * FEW):
            await overhear(store, f"{number}/{place}")
        await ask(store, str(number), key=GROUP)
        claim, _ = await answer(store)
        assert claim.path is not None
        assert len(claim.path) == (number + 1) * (3 * FEW + 2) - 1


async def test_a_path_of_the_greatest_length(store: SqlStore) -> None:
    for number in range(SHORT // 2):
        await ask(store, str(number))
        await answer(store)
    await ask(store, "one more")
    claim = await claimed(store)
    assert claim.path is None
    await store.close(claim, AnswerState.DONE, finished("!", claim.question.id, window_start=claim.question.id))
    assert await told(store) == ["hello", "!", "and now?"]


async def test_a_transaction_failed(store: SqlStore) -> None:
    """What it changed was taken back: nothing that it read counts."""
    claims = await talk(store)

    def fail(transaction: Transaction) -> None:
        transaction.execute(update(messages).where(messages.c.id == claims[0].question.id).values(text="never so"))
        path = short_path(transaction, claims[2].question)
        assert path is not None
        assert path[0].text == "never so"
        raise DatabaseError("the disk is full")

    with pytest.raises(DatabaseError, match="full"):
        await store._transactions.write(fail)
    assert await told(store) == rounds(0, 1, 2, 3)


async def test_another_program_has_written(store: SqlStore, database_url: str) -> None:
    claims = await talk(store)
    other = create_async_engine(database_url)
    async with other.begin() as connection:
        changed = update(messages).where(messages.c.id == claims[0].question.id).values(text="by hand")
        await connection.execute(changed)
    await other.dispose()
    assert (await told(store))[0] == "by hand"
