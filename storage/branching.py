"""Branches: the line goes on from another answer to the same question; a question leaves the line alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, bindparam, exists, literal, select, update

from bot.messages import Action, Claim, MessageState, Role
from bot.ports import Received, Refusal
from storage import attachments
from storage.closing import MINE, mine
from storage.lines import choose
from storage.models import answers, messages
from storage.places import answer_at, question_of
from storage.prepared import Prepared
from storage.rows import MESSAGE
from storage.transaction import Transaction

_ASKED = select(messages.c.author_id).where(
    messages.c.id == bindparam("k_id"), messages.c.conversation == bindparam("k_conversation")
)
_ANSWERS = (
    select(messages.c.id, messages.c.answer)
    .where(
        messages.c.parent == bindparam("k_question"),
        messages.c.answer.is_not(None),
        messages.c.role != Role.USER.value,
    )
    .order_by(messages.c.id)
)
_OPEN = select(
    exists(
        select(literal(1)).where(answers.c.conversation == bindparam("k_conversation"), answers.c.closed_at.is_(None))
    )
)
_PLACED = select(messages.c.id).where(
    messages.c.id == bindparam("k_id"),
    messages.c.conversation == bindparam("k_conversation"),
    messages.c.placed,
    messages.c.state != MessageState.COMMAND.value,
)
_ASIDE = Prepared(update(answers).where(MINE).values(side_branch=True))
_STAND = update(messages).where(messages.c.id == bindparam("k_id")).values(parent=bindparam("k_parent"))
_MESSAGE = select(*MESSAGE).where(messages.c.id == bindparam("k_id"))


def _on_the_line() -> Select[Any]:
    """From the head upwards to what stands below a question: one look-up by primary key for each on the way."""
    walked = (messages.c.id, messages.c.parent)
    steps = select(*walked).where(messages.c.id == bindparam("k_head")).cte("line", recursive=True)
    steps = steps.union_all(
        select(*walked)
        .join_from(steps, messages, messages.c.id == steps.c.parent)
        .where(steps.c.parent != bindparam("k_question"))
    )
    return select(steps.c.id).where(steps.c.parent == bindparam("k_question"))


_ON_THE_LINE = _on_the_line()


def branch(transaction: Transaction, event: Action, place: Any) -> Received:
    """Move the head to the end of the answer after the one that the line goes through, the first after the last."""
    answer = None if event.target is None else answer_at(transaction, event.key, event.target)
    question = None if answer is None else question_of(transaction, answer)
    asked = _first(transaction, _ASKED, k_id=question, k_conversation=place.id)
    if asked is None:
        return Received(refusal=Refusal.NO_OTHER)
    if not (place.direct or event.owner or asked.author_id == event.author.id):
        return Received(refusal=Refusal.NOT_YOURS)
    rows = transaction.execute(_ANSWERS, {"k_question": question}).all()
    if len(rows) < 2:
        return Received(refusal=Refusal.NO_OTHER)
    if transaction.execute(_OPEN, {"k_conversation": place.id}).scalar():
        return Received(refusal=Refusal.BUSY)
    now = _first(transaction, _ON_THE_LINE, k_head=place.head, k_question=question)
    ids = [row.id for row in rows]
    here = now.id if now is not None and now.id in ids else next(row.id for row in rows if row.answer == answer)
    other = ids[(ids.index(here) + 1) % len(ids)]
    choose(transaction, place.id, other)
    row = transaction.execute(_MESSAGE, {"k_id": other}).one()
    return Received(goes_on=attachments.told(transaction, [row])[0])


def set_aside(transaction: Transaction, claim: Claim, behind: int | None) -> None:
    """See `bot.ports.Store.set_aside`."""
    mine(transaction, _ASIDE, claim)
    question, place = claim.question.id, claim.conversation.id
    if behind is not None:
        there = _first(transaction, _PLACED, k_id=behind, k_conversation=place)
        if there is None or behind == question:
            raise ValueError(f"message {behind} is in no line of conversation {place}")
    transaction.execute(_STAND, {"k_id": question, "k_parent": behind})


def _first(transaction: Transaction, statement: Select[Any], **values: int | None) -> Any:
    """The first row; None where one of the values is."""
    return None if None in values.values() else transaction.execute(statement, values).first()
