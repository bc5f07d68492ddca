"""A conversation's current line: one way through its tree, with the branches beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Select, and_, bindparam, literal, select, update

from bot.messages import AnswerState, MessageState, Role
from bot.records import Node
from storage import attachments
from storage.models import answers, conversations, messages
from storage.places import day_of_line, find_by_id, today
from storage.rows import MESSAGE
from storage.transaction import Transaction
from storage.values import ID_LIMIT, chunks

_HERE = and_(messages.c.id == bindparam("k_id"), messages.c.conversation == bindparam("k_conversation"))
_PLACED = select(messages.c.parent, messages.c.state, messages.c.placed).where(_HERE)
_HEAD = select(conversations.c.head).where(conversations.c.id == bindparam("k_conversation"))
_OPEN = (
    select(
        answers.c.id,
        answers.c.question,
        answers.c.state,
        answers.c.side_branch,
        answers.c.retry,
        answers.c.attempt,
        messages.c.placed,
        messages.c.state.label("question_state"),
    )
    .join_from(answers, messages, messages.c.id == answers.c.question)
    .where(answers.c.conversation == bindparam("k_conversation"), answers.c.closed_at.is_(None))
    .order_by(answers.c.lease_until.is_(None), answers.c.position, answers.c.id)
)
"""What is answered, then what waits, in the order in which it is claimed."""
_COUNTED = messages.c.state != MessageState.COMMAND.value
_BRANCHES = select(messages.c.id, messages.c.parent, messages.c.role).where(_COUNTED).order_by(messages.c.id)
_CHILDREN = _BRANCHES.where(messages.c.parent.in_(bindparam("k_parents", expanding=True)))
_ROOTS = _BRANCHES.where(
    messages.c.conversation == bindparam("k_conversation"), messages.c.parent.is_(None), messages.c.placed
)
_ENDED = (
    select(answers.c.question, answers.c.state)
    .where(answers.c.question.in_(bindparam("k_questions", expanding=True)), answers.c.closed_at.is_not(None))
    .order_by(answers.c.id)
)
# Not a recursive query: PostgreSQL, as long as it has no statistics, would walk through the table for each level.
_TREE = select(messages.c.id, messages.c.parent, messages.c.state).where(
    messages.c.conversation == bindparam("k_conversation"), messages.c.placed, _COUNTED
)
_SIDE = update(answers).where(answers.c.id == bindparam("k_id")).values(side_branch=bindparam("k_side"))


def _path() -> Select[Any]:
    """From a message upwards, so many at most: one look-up by primary key for each."""
    walked = (messages.c.id, messages.c.parent)
    path = select(*walked, literal(1).label("depth")).where(messages.c.id == bindparam("k_tip"))
    steps = path.cte("path", recursive=True)
    steps = steps.union_all(
        select(*walked, steps.c.depth + 1)
        .join_from(steps, messages, messages.c.id == steps.c.parent)
        .where(steps.c.depth < bindparam("k_limit"))
    )
    return (
        select(*MESSAGE)
        .join_from(steps, messages, messages.c.id == steps.c.id)
        .where(_COUNTED)
        .order_by(steps.c.depth.desc())
    )


_PATH = _path()

Branches = dict[tuple[int | None, str], list[int]]
"""Ids by parent and role, oldest first."""


def line(transaction: Transaction, conversation: int, limit: int, before: int | None) -> list[Node]:
    """See `bot.ports.Store.line`."""
    here = {"k_conversation": conversation}
    if before is None:
        waiting = transaction.execute(_OPEN, here).all()
        tip = _tip(waiting) or transaction.execute(_HEAD, here).scalar()
    else:
        waiting = []
        after = _placed(transaction, conversation, before)
        tip = None if after is None else after.parent
    path = [] if tip is None else transaction.execute(_PATH, {"k_tip": tip, "k_limit": limit}).all()
    known = {row.id for row in path}
    asked = [one for one in waiting if one.question_state == MessageState.PENDING and one.question not in known]
    rows = [*path, *_messages(transaction, [one.question for one in asked])]
    branches = _branches(transaction, conversation, rows)
    outcomes = _outcomes(transaction, path, branches) | {one.question: AnswerState(one.state) for one in waiting}
    return [
        Node(
            message=message,
            siblings=_siblings(row, branches),
            outcome=outcomes.get(row.id),
        )
        for row, message in zip(rows, attachments.told(transaction, rows), strict=True)
    ]


def choose(transaction: Transaction, conversation: int, message: int) -> None:
    """See `bot.ports.Store.choose`. What it costs grows with the conversation: some 30 ms for 10,000 messages."""
    place = find_by_id(transaction, conversation)
    row = _placed(transaction, conversation, message)
    if place is None or row is None or row.state == MessageState.COMMAND:
        raise ValueError(f"message {message} is not in conversation {conversation}")
    if not row.placed:
        return
    below, head = _below(message, transaction.execute(_TREE, {"k_conversation": conversation}).all())
    head = head or row.parent
    _move(
        transaction, conversation, head, today(transaction) if head is None else day_of_line(transaction, place, head)
    )
    for one in transaction.execute(_OPEN, {"k_conversation": conversation}).all():
        if one.placed:
            transaction.execute(_SIDE, {"k_id": one.id, "k_side": one.question not in below})


def set_head(transaction: Transaction, conversation: int, head: int | None) -> None:
    """See `bot.ports.Store.set_head`."""
    if head is None:
        _move(transaction, conversation, None, today(transaction))
        return
    row = _placed(transaction, conversation, head)
    if row is None or not row.placed:
        raise ValueError(f"message {head} is not in conversation {conversation}")
    place = find_by_id(transaction, conversation)
    _move(transaction, conversation, head, day_of_line(transaction, place, head))


def _below(message: int, tree: Sequence[Any]) -> tuple[set[int], int | None]:
    """What is below a message, itself included, and the newest leaf there; questions that wait for an answer are none."""
    children: dict[int | None, list[Any]] = {}
    for row in tree:
        children.setdefault(row.parent, []).append(row)
    below, leaves = {message}, set()
    rest = [row for row in tree if row.id == message]
    while rest:
        row = rest.pop()
        next_ones = children.get(row.id, [])
        below.update(one.id for one in next_ones)
        rest += next_ones
        if row.state != MessageState.PENDING and all(one.state == MessageState.PENDING for one in next_ones):
            leaves.add(row.id)
    return below, max(leaves, default=None)


def _move(transaction: Transaction, conversation: int, head: int | None, day: date) -> None:
    changed = {"head": head, "first_day": day}
    transaction.execute(update(conversations).where(conversations.c.id == conversation).values(**changed))


def _placed(transaction: Transaction, conversation: int, message: int) -> Any:
    """Where a message of this conversation stands; None for a strange id."""
    if not 0 < message < ID_LIMIT:
        return None
    return transaction.execute(_PLACED, {"k_id": message, "k_conversation": conversation}).first()


def _tip(waiting: Sequence[Any]) -> int | None:
    """The question whose answer is being made, if the head will move there."""
    first = waiting[0] if waiting else None
    if first is None or not first.placed or first.side_branch:
        return None
    undecided = first.retry and not first.attempt
    return None if undecided else first.question


def _messages(transaction: Transaction, ids: Sequence[int]) -> list[Any]:
    """Rows of MESSAGE, in this order."""
    found = {
        row.id: row
        for chunk in chunks(ids)
        for row in transaction.execute(select(*MESSAGE).where(messages.c.id.in_(chunk)))
    }
    return [found[one] for one in ids if one in found]


def _branches(transaction: Transaction, conversation: int, rows: Sequence[Any]) -> Branches:
    """What stands beside these messages, and what answers those of them that are questions."""
    found: Branches = {}
    parents = {row.parent for row in rows} | {row.id for row in rows if row.role == Role.USER}
    for chunk in chunks(parents - {None}):
        for row in transaction.execute(_CHILDREN, {"k_parents": chunk}):
            found.setdefault((row.parent, row.role), []).append(row.id)
    if None in parents:
        for row in transaction.execute(_ROOTS, {"k_conversation": conversation}):
            found.setdefault((None, row.role), []).append(row.id)
    return found


def _siblings(row: Any, branches: Branches) -> tuple[int, ...]:
    """One that waits for its place has none; nor has one that another transaction has just removed."""
    beside = branches.get((row.parent, row.role), [])
    return tuple(beside) if row.id in beside else (row.id,)


def _outcomes(transaction: Transaction, path: Sequence[Any], branches: Branches) -> dict[int, AnswerState]:
    """How the answers ended that left no words."""
    said = {parent for parent, role in branches if role != Role.USER}
    silent = [row.id for row in path if row.role == Role.USER and row.id not in said]
    return {
        row.question: AnswerState(row.state)
        for chunk in chunks(silent)
        for row in transaction.execute(_ENDED, {"k_questions": chunk})
    }
