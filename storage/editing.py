"""A message has new text: it is replaced, answered anew in place, or changed only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, exists, literal, select, update

from bot.messages import AnswerState, Edited, Message, MessageState
from bot.ports import Received
from storage.models import answers, messages, sent_parts
from storage.places import find_by_id, question_of
from storage.transaction import Transaction
from storage.values import clean, revised
from storage.waiting import add_at

_MESSAGE = select(messages).where(messages.c.id == bindparam("k_id"))
_OPEN_ANSWER = (
    select(answers)
    .where(answers.c.question == bindparam("k_question"), answers.c.closed_at.is_(None))
    .order_by(answers.c.id.desc())
    .limit(1)
)
_LAST_ANSWER = (
    select(answers).where(answers.c.question == bindparam("k_question")).order_by(answers.c.id.desc()).limit(1)
)
_ANSWER = select(answers).where(answers.c.id == bindparam("k_id"))
_BUSY = select(
    exists(
        select(literal(1)).where(
            answers.c.conversation == bindparam("k_conversation"), answers.c.lease_until.is_not(None)
        )
    )
)


def revise(transaction: Transaction, event: Message | Edited, message: int | None, place: Any) -> Received:
    """The effect of a new text. `Received.message` is the message that holds it, if anything changed."""
    row = None if message is None else transaction.execute(_MESSAGE, {"k_id": message}).first()
    if row is None or row.text == clean(event.text):
        return Received()
    if row.conversation != place.id:
        place = find_by_id(transaction, row.conversation)
    answer = transaction.execute(_OPEN_ANSWER, {"k_question": row.id}).first()
    if answer is not None and answer.lease_until is None:
        _change(transaction, event, row)
        transaction.execute(update(answers).where(answers.c.id == answer.id).values(kept=None))
        return Received(message=row.id)
    if answer is not None:
        return _replace(transaction, event, row, answer, place)
    replaced = _answer_at_head(transaction, row, place)
    if replaced is None:
        _change(transaction, event, row)
        return Received(message=row.id)
    return _replace(transaction, event, row, replaced, place)


def _change(transaction: Transaction, event: Message | Edited, row: Any) -> None:
    changed = {"text": event.text, "event": revised(row.event, event.revision)}
    transaction.execute(update(messages).where(messages.c.id == row.id).values(**changed))


def _answer_at_head(transaction: Transaction, question: Any, place: Any) -> Any:
    """The answer to a question if it is the last one: the head is its answer, or is itself and had none worth keeping.

    None if another answer is being made, because that one follows the head.
    """
    if place.head is None or transaction.execute(_BUSY, {"k_conversation": place.id}).scalar():
        return None
    if place.head == question.id:
        return transaction.execute(_LAST_ANSWER, {"k_question": question.id}).first()
    head = transaction.execute(_MESSAGE, {"k_id": place.head}).one()
    if head.answer is None or question_of(transaction, head.answer) != question.id:
        return None
    return transaction.execute(_ANSWER, {"k_id": head.answer}).first()


def _replace(transaction: Transaction, event: Message | Edited, row: Any, answer: Any, place: Any) -> Received:
    """A new branch beside the question, to be answered where the old answer stands on the platform."""
    copied = ("conversation", "parent", "role", "author_id", "author_name", "event_id")
    values: dict[str, Any] = {name: getattr(row, name) for name in copied}
    values |= {"state": MessageState.PENDING, "placed": True, "created_at": transaction.now}
    values |= {"text": event.text, "event": revised(row.event, event.revision)}
    branch: int = transaction.execute(messages.insert().returning(messages.c.id), values).scalar_one()
    begun = answer.closed_at is None
    if begun:
        stopped = {"state": AnswerState.STOPPED, "closed_at": transaction.now, "lease_until": None, "kept": None}
        transaction.execute(update(answers).where(answers.c.id == answer.id).values(**stopped))
    answered = {"state": MessageState.ANSWERED}
    transaction.execute(
        update(messages).where(messages.c.id == row.id, messages.c.state == MessageState.PENDING).values(**answered)
    )
    side = answer.side_branch if begun else False
    anew = add_at(transaction, place, branch, answer.position, side_branch=side)
    transaction.execute(update(sent_parts).where(sent_parts.c.answer == answer.id).values(answer=anew))
    return Received(message=branch, superseded=(answer.id,) if begun else (), work=True)
