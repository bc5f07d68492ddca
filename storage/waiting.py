"""The queue of a conversation: which of its open answers is `ready` to be claimed, and which is stopped."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, exists, literal, not_, select, update

from bot.messages import AnswerState, ConversationKey
from storage.models import answers, messages
from storage.places import find
from storage.prepared import Prepared
from storage.transaction import Transaction
from storage.values import micros

_open = answers.alias("open_answers")
_begun = answers.alias("begun_answers")

_ADD = answers.insert().returning(answers.c.id)
_ADD_LAST = Prepared(
    answers.insert()
    .values(
        ready=not_(
            exists(
                select(literal(1)).where(
                    _open.c.conversation == bindparam("k_conversation"), _open.c.closed_at.is_(None)
                )
            )
        )
    )
    .returning(answers.c.id)
)
_PROMOTE = Prepared(
    update(answers)
    .where(
        answers.c.id
        == select(_open.c.id)
        .where(_open.c.conversation == bindparam("k_conversation"), _open.c.closed_at.is_(None))
        .order_by(_open.c.position, _open.c.id)
        .limit(1)
        .scalar_subquery(),
        not_(
            exists(
                select(literal(1)).where(
                    _begun.c.conversation == bindparam("k_conversation"), _begun.c.lease_until.is_not(None)
                )
            )
        ),
    )
    .values(ready=True)
)
_DEMOTE = (
    update(answers)
    .where(answers.c.conversation == bindparam("k_conversation"), answers.c.closed_at.is_(None), answers.c.ready)
    .values(ready=False)
)
_STOP = (
    update(answers)
    .where(
        answers.c.id
        == select(_open.c.id)
        .where(
            _open.c.conversation == bindparam("k_conversation"),
            _open.c.closed_at.is_(None),
            _open.c.received_at <= bindparam("k_before"),
        )
        .order_by(_open.c.lease_until.is_(None), _open.c.position, _open.c.id)
        .limit(1)
        .scalar_subquery()
    )
    .values(stopped=True)
    .returning(answers.c.id)
)
_STOP_OWN = _STOP.where(
    exists(select(literal(1)).where(messages.c.id == answers.c.question, messages.c.author_id == bindparam("k_asker")))
)


def add_last(transaction: Transaction, conversation: Any, question: int, position: int, **values: Any) -> int:
    """A new pending answer behind all others of its conversation."""
    row = {**_fresh(transaction, conversation, question, position), **values, "k_conversation": conversation.id}
    answer: int = transaction.execute(_ADD_LAST, row).scalar_one()
    return answer


def add_at(transaction: Transaction, conversation: Any, question: int, position: int, **values: Any) -> int:
    """A new pending answer in the place of another one, which is closed by now."""
    row = {**_fresh(transaction, conversation, question, position), **values}
    answer: int = transaction.execute(_ADD, row).scalar_one()
    transaction.execute(_DEMOTE, {"k_conversation": conversation.id})
    promote(transaction, conversation.id)
    return answer


def promote(transaction: Transaction, conversation: int) -> None:
    """Let the first open answer be claimed, unless one is in progress."""
    transaction.execute(_PROMOTE, {"k_conversation": conversation})


def stop(transaction: Transaction, key: ConversationKey, asker: str | None, before: datetime | None) -> int | None:
    """See `bot.ports.Store.stop`."""
    place = find(transaction, key)
    if place is None:
        return None
    statement = _STOP if asker is None else _STOP_OWN
    latest = transaction.now if before is None else micros(before)
    values = {"k_conversation": place.id, "k_asker": asker, "k_before": latest}
    return transaction.execute(statement, values).scalar()


def _fresh(transaction: Transaction, conversation: Any, question: int, position: int) -> dict[str, Any]:
    return {
        "conversation": conversation.id,
        "question": question,
        "platform": conversation.platform,
        "account": conversation.account,
        "position": position,
        "state": AnswerState.PENDING,
        "received_at": transaction.now,
    }
