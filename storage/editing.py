"""A message has new text: it is replaced, answered anew in place, or changed only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, exists, literal, select, update

from bot.cleaning import clean
from bot.messages import AnswerState, Edited, Message, MessageState
from bot.ports import Received
from storage import attachments
from storage.models import answers, messages, sent_parts
from storage.places import find_by_id, question_of
from storage.transaction import Transaction
from storage.values import revised
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
_LATER = select(
    exists(
        select(literal(1)).where(
            messages.c.conversation == bindparam("k_conversation"),
            messages.c.created_at >= bindparam("k_created_at"),  # by the index
            messages.c.id > bindparam("k_id"),
        )
    )
)
COMMAND_SIGN = "/"
"""A text that begins with it may be a command: editing one into another runs nothing a second time."""


def change(transaction: Transaction, event: Message | Edited, message: int | None) -> Received:
    """A new text that is not answered anew. `Received.message` is the message that holds it, if anything changed."""
    row = _other_text(transaction, event, message)
    if row is None:
        return Received()
    _change(transaction, event, row)
    return Received(message=row.id)


def revise(transaction: Transaction, event: Message | Edited, message: int | None, place: Any) -> Received:
    """The effect of a new text. `Received.message` is the message that holds it, if anything changed."""
    row = _other_text(transaction, event, message)
    if row is None:
        return Received()
    if row.conversation != place.id:
        place = find_by_id(transaction, row.conversation)
    answer = transaction.execute(_OPEN_ANSWER, {"k_question": row.id}).first()
    if answer is not None and answer.lease_until is None:
        _change(transaction, event, row)
        transaction.execute(update(answers).where(answers.c.id == answer.id).values(kept=None, stopped=False))
        return Received(message=row.id)
    if answer is not None:
        return _replace(transaction, event, row, answer, place)
    replaced = _last_answer(transaction, event, row, place)
    if replaced is None:
        _change(transaction, event, row)
        return Received(message=row.id)
    return _replace(transaction, event, row, replaced, place)


def _other_text(transaction: Transaction, event: Message | Edited, message: int | None) -> Any:
    """The stored message, if it is there and its text is another one."""
    row = None if message is None else transaction.execute(_MESSAGE, {"k_id": message}).first()
    return None if row is None or row.text == clean(event.text) else row


def _change(transaction: Transaction, event: Message | Edited, row: Any) -> None:
    changed = {"text": event.text, "event": revised(row.event, event.revision)}
    transaction.execute(update(messages).where(messages.c.id == row.id).values(**changed))


def _last_answer(transaction: Transaction, event: Message | Edited, question: Any, place: Any) -> Any:
    """The answer to a question if it is the last one.

    None if another answer is being made, because that one follows the head.
    """
    if transaction.execute(_BUSY, {"k_conversation": place.id}).scalar():
        return None
    if question.state == MessageState.COMMAND:
        return _last_command(transaction, event, question, place)
    return _answer_at_head(transaction, question, place)


def _last_command(transaction: Transaction, event: Message | Edited, question: Any, place: Any) -> Any:
    """The word about a (mistyped) command that is a question now, if nothing came after it."""
    since = {"k_conversation": question.conversation, "k_id": question.id, "k_created_at": question.created_at}
    if event.text.lstrip().startswith(COMMAND_SIGN) or transaction.execute(_LATER, since).scalar():
        return None
    answer = transaction.execute(_LAST_ANSWER, {"k_question": question.id}).first()
    return answer if answer is not None and (answer.side_branch or place.head == question.parent) else None


def _answer_at_head(transaction: Transaction, question: Any, place: Any) -> Any:
    """The head is a question's answer, or is itself and had none worth keeping."""
    if place.head is None:
        return None
    if place.head == question.id:
        return transaction.execute(_LAST_ANSWER, {"k_question": question.id}).first()
    head = transaction.execute(_MESSAGE, {"k_id": place.head}).one()
    if head.answer is None or question_of(transaction, head.answer) != question.id:
        return None
    return transaction.execute(_ANSWER, {"k_id": head.answer}).first()


def _replace(transaction: Transaction, event: Message | Edited, row: Any, answer: Any, place: Any) -> Received:
    """A new branch beside the question, to be answered where the old answer stands on the platform."""
    copied = ("conversation", "parent", "role", "author_id", "author_name", "event_id", "attached")
    values: dict[str, Any] = {name: getattr(row, name) for name in copied}
    values |= {"state": MessageState.PENDING, "placed": True, "created_at": transaction.now}
    values |= {"text": event.text, "event": revised(row.event, event.revision)}
    branch: int = transaction.execute(messages.insert().returning(messages.c.id), values).scalar_one()
    if row.attached:
        attachments.copy(transaction, row.id, branch)
    begun = answer.closed_at is None
    if begun:
        stopped = {"state": AnswerState.STOPPED, "closed_at": transaction.now, "lease_until": None, "kept": None}
        transaction.execute(update(answers).where(answers.c.id == answer.id).values(**stopped))
    answered = {"state": MessageState.ANSWERED}
    transaction.execute(
        update(messages).where(messages.c.id == row.id, messages.c.state == MessageState.PENDING).values(**answered)
    )
    side = answer.side_branch if begun or row.state == MessageState.COMMAND else False
    leads = answer.leads and begun
    anew = add_at(transaction, place, branch, answer.position, side_branch=side, leads=leads)
    transaction.execute(update(sent_parts).where(sent_parts.c.answer == answer.id).values(answer=anew))
    return Received(message=branch, superseded=(answer.id,) if begun else (), work=True)
