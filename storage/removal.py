"""Removal of messages so that the rest of each tree stays connected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, exists, select, update

from bot.messages import MessageRef
from bot.ports import Forgotten
from storage import attachments
from storage.models import answers, conversations, events, messages, sent_parts
from storage.places import today
from storage.rows import part
from storage.standing import bare
from storage.transaction import Scrub, Transaction
from storage.values import chunks, veiled
from storage.waiting import promote

_REPARENT = (
    update(messages)
    .where(messages.c.id == bindparam("k_id"))
    .values(parent=bindparam("k_parent"), window_start=bindparam("k_window_start"))
)
_OPEN = select(answers.c.id, answers.c.lease_until).where(answers.c.closed_at.is_(None))
_KEPT_BY_MESSAGES = exists(select(messages.c.id).where(messages.c.answer == answers.c.id))
_DISSOLVE = (
    delete(conversations)
    .where(
        ~exists(select(messages.c.id).where(messages.c.conversation == conversations.c.id)),
    )
    .returning(conversations.c.platform, conversations.c.account, conversations.c.chat)
)
_VACATE = _DISSOLVE.where(conversations.c.direct)
_VEIL = (
    update(events)
    .where(
        *(events.c[name] == bindparam(f"k_{name}") for name in ("platform", "account", "chat")),
        # Another thread of the same chat may still have content.
        ~exists(
            select(conversations.c.id).where(
                *(conversations.c[name] == events.c[name] for name in ("platform", "account", "chat"))
            )
        ),
    )
    .values(chat=bindparam("k_veiled"))
)


@dataclass
class _Doomed:
    """A message on its way out."""

    parent: int | None
    window_start: bool
    answer: int | None
    conversation: int
    attached: bool


@dataclass
class _Ended:
    """Answers that go with their questions."""

    count: int = 0
    begun: list[int] = field(default_factory=list)
    sent: list[MessageRef] = field(default_factory=list)
    """Of those that were not closed."""


def remove(transaction: Transaction, ids: Iterable[int]) -> Forgotten:
    """Remove messages, and the answers that have nothing left to belong to.

    Children and heads go to the nearest ancestor that stays, and a stored cut moves on to the children. What was read in attachments goes with the last message that has
    them. An answer
    stays as long as one of its messages does, so that its platform messages are still known; an open one goes with
    its question.
    """
    doomed = _load(transaction, ids)
    if not doomed:
        return Forgotten(messages=0, answers=0)
    transaction.scrub = max(transaction.scrub, Scrub.LOG)
    ended = _release_answers(transaction, doomed)
    _reparent(transaction, doomed)
    _move_heads(transaction, doomed)
    attachments.drop(transaction, (message for message, one in doomed.items() if one.attached))
    for chunk in chunks(doomed):
        transaction.execute(delete(messages).where(messages.c.id.in_(chunk)))
    if ended.count:
        for conversation in {one.conversation for one in doomed.values()}:
            promote(transaction, conversation)
    return Forgotten(
        messages=len(doomed),
        answers=ended.count + _drop_empty(transaction, doomed),
        superseded=tuple(ended.begun),
        orphans=tuple(ended.sent),
    )


def drop_answers(transaction: Transaction, condition: ColumnElement[bool]) -> int:
    """Remove answers and what is known of their platform messages."""
    ids = list(transaction.execute(select(answers.c.id).where(condition)).scalars())
    for chunk in chunks(ids):
        transaction.execute(delete(sent_parts).where(sent_parts.c.answer.in_(chunk)))
        transaction.execute(delete(answers).where(answers.c.id.in_(chunk)))
    return len(ids)


def vacate(transaction: Transaction, places: Iterable[int]) -> None:
    """Remove a person's direct conversations in which nothing is left, and their names from the marks of events."""
    for chunk in chunks(places):
        _veil(transaction, transaction.execute(_VACATE.where(conversations.c.id.in_(chunk))).all())


def dissolve(transaction: Transaction, conversation: int) -> None:
    """Remove a conversation in which nothing is left, and the chat's name from the marks of events if it was the last."""
    transaction.scrub = max(transaction.scrub, Scrub.LOG)
    _veil(transaction, transaction.execute(_DISSOLVE.where(conversations.c.id == conversation)).all())


def _veil(transaction: Transaction, gone: Iterable[Any]) -> None:
    for row in gone:
        chat = {"k_platform": row.platform, "k_account": row.account, "k_chat": row.chat}
        transaction.execute(_VEIL, {**chat, "k_veiled": veiled(row.platform, row.account, row.chat)})


def _load(transaction: Transaction, ids: Iterable[int]) -> dict[int, _Doomed]:
    columns = (
        messages.c.id,
        messages.c.parent,
        messages.c.window_start,
        messages.c.answer,
        messages.c.conversation,
        messages.c.attached,
    )
    doomed: dict[int, _Doomed] = {}
    for chunk in chunks(ids):
        for row in transaction.execute(select(*columns).where(messages.c.id.in_(chunk))):
            doomed[row.id] = _Doomed(row.parent, row.window_start, row.answer, row.conversation, row.attached)
    return doomed


def _release_answers(transaction: Transaction, doomed: dict[int, _Doomed]) -> _Ended:
    """Answers to doomed questions: those that are open or said nothing go, the others lose their question."""
    ended = _Ended()
    for chunk in chunks(doomed):
        asked = answers.c.question.in_(chunk)
        _note_open(transaction, asked, ended)
        ended.count += drop_answers(transaction, asked & (answers.c.closed_at.is_(None) | ~_KEPT_BY_MESSAGES))
        transaction.execute(update(answers).where(asked).values(question=None))
        bare(transaction, chunk)
    return ended


def _note_open(transaction: Transaction, asked: ColumnElement[bool], ended: _Ended) -> None:
    """Which answers are in progress, and what the platforms show of those that are not closed."""
    for chunk in chunks(rows := {row.id: row for row in transaction.execute(_OPEN.where(asked))}):
        ended.begun += sorted(answer for answer in chunk if rows[answer].lease_until is not None)
        sent = select(sent_parts).where(sent_parts.c.answer.in_(chunk), sent_parts.c.message_id.is_not(None))
        for row in transaction.execute(sent.order_by(sent_parts.c.answer, sent_parts.c.number)):
            if message := part(row).message:
                ended.sent.append(message)


def _drop_empty(transaction: Transaction, doomed: dict[int, _Doomed]) -> int:
    """Answers whose last message went."""
    wrote = sorted({one.answer for one in doomed.values() if one.answer is not None})
    return sum(
        drop_answers(transaction, answers.c.id.in_(chunk) & answers.c.closed_at.is_not(None) & ~_KEPT_BY_MESSAGES)
        for chunk in chunks(wrote)
    )


def _reparent(transaction: Transaction, doomed: dict[int, _Doomed]) -> None:
    moved: list[dict[str, Any]] = []
    for chunk in chunks(doomed):
        children = select(messages.c.id, messages.c.parent, messages.c.window_start).where(messages.c.parent.in_(chunk))
        for child in transaction.execute(children):
            if child.id not in doomed:
                parent, cut = _survivor(doomed, child.parent)
                moved.append({"k_id": child.id, "k_parent": parent, "k_window_start": child.window_start or cut})
    if moved:
        transaction.execute(_REPARENT, moved)


def _survivor(doomed: dict[int, _Doomed], message: int | None) -> tuple[int | None, bool]:
    """The nearest ancestor that stays, and whether a stored cut lay on the way to it."""
    cut = False
    while message is not None and (one := doomed.get(message)):
        cut = cut or one.window_start
        message = one.parent
    return message, cut


def _move_heads(transaction: Transaction, doomed: dict[int, _Doomed]) -> None:
    for chunk in chunks({one.conversation for one in doomed.values()}):
        rows = select(conversations.c.id, conversations.c.head).where(conversations.c.id.in_(chunk))
        for row in transaction.execute(rows).all():
            if row.head in doomed:
                head, _ = _survivor(doomed, row.head)
                changed: dict[str, Any] = {"head": head} if head else {"head": None, "first_day": today(transaction)}
                transaction.execute(update(conversations).where(conversations.c.id == row.id).values(**changed))
