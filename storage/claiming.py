"""Claim: which answer next, and where its question stands in the tree."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from bot.messages import AnswerState, Claim, Message, MessageState
from storage import attachments, guilds
from storage.models import answers, conversations, messages, sent_parts
from storage.places import answer_at, day_of_line, question_of, tip_of, today
from storage.prepared import Prepared
from storage.reading import short_path
from storage.remembered import UNREAD
from storage.rows import CONVERSATION, MESSAGE, Group, conversation, part, stored
from storage.transaction import Transaction
from storage.values import ID_LIMIT, time_of, unpack_event, unpack_finished

SECOND = 1_000_000
"""Microseconds."""

_talk = messages.alias("talk")
_WAITING_TALK = and_(
    _talk.c.conversation == bindparam("k_conversation"),
    ~_talk.c.placed,
    _talk.c.state == MessageState.CONTEXT.value,
    _talk.c.id < bindparam("k_question"),
)
_CHAIN = (
    select(_talk.c.id, func.lag(_talk.c.id, 1, bindparam("k_head")).over(order_by=_talk.c.id).label("before"))
    .where(_WAITING_TALK)
    .subquery("chain")
)
_PLACE_TALK = (
    update(messages)
    .where(messages.c.id == _CHAIN.c.id)
    .values(parent=_CHAIN.c.before, placed=True)
    .returning(messages.c.id)
    .execution_options(**UNREAD)
)
_PLACE = Prepared(
    update(messages).where(messages.c.id == bindparam("k_id")).values(parent=bindparam("k_parent"), placed=True)
)
_FOLLOWED = select(messages.c.id, messages.c.parent, messages.c.state).where(
    messages.c.id == bindparam("k_id"), messages.c.conversation == bindparam("k_conversation"), messages.c.placed
)
_MOVE_HEAD = update(conversations).where(conversations.c.id == bindparam("k_id")).values(head=bindparam("k_head"))
_BEGIN_LINE = (
    update(conversations).where(conversations.c.id == bindparam("k_id")).values(first_day=bindparam("k_first_day"))
)
_TAKE = Prepared(
    update(answers)
    .where(answers.c.id == bindparam("k_id"))
    .values(
        state=AnswerState.CLAIMED.value,
        ready=False,
        attempt=bindparam("k_attempt"),
        owner=bindparam("k_owner"),
        lease_until=bindparam("k_lease_until"),
        side_branch=bindparam("k_side_branch"),
    )
)
_PARTS = select(sent_parts).where(sent_parts.c.answer == bindparam("k_answer")).order_by(sent_parts.c.number)

_ANSWER = Group(
    (
        answers.c.id,
        answers.c.attempt,
        answers.c.kept,
        answers.c.retry,
        answers.c.side_branch,
        answers.c.leads,
        answers.c.stopped,
        answers.c.received_at,
        messages.c.placed,
        exists(select(literal(1)).where(sent_parts.c.answer == answers.c.id)).label("begun"),
        exists(
            select(literal(1)).where(
                _talk.c.conversation == answers.c.conversation,
                ~_talk.c.placed,
                _talk.c.state == MessageState.CONTEXT.value,
                _talk.c.id < answers.c.question,
            )
        ).label("talk"),
    ),
    start=0,
)
_CONVERSATION = Group(CONVERSATION, start=_ANSWER.end)
_QUESTION = Group(MESSAGE, start=_CONVERSATION.end)


def claims(
    transaction: Transaction,
    *,
    owner: str,
    lease: float,
    accounts: Collection[tuple[str, str]] | None,
    busy: Collection[int],
    most: int,
) -> list[Claim]:
    """See `bot.ports.Store.claims`."""
    taken: list[Claim] = []
    while len(taken) < most and not (taken and taken[-1].attempt > 1):
        passed = [*busy, *(one.conversation.id for one in taken)]
        # Who holds a lock already and waits for another may wait for somebody who waits for it.
        one = _claim(transaction, owner=owner, lease=lease, accounts=accounts, busy=passed, waits=not taken)
        if one is None:
            break
        taken.append(one)
    return taken


def _claim(
    transaction: Transaction,
    *,
    owner: str,
    lease: float,
    accounts: Collection[tuple[str, str]] | None,
    busy: Collection[int],
    waits: bool,
) -> Claim | None:
    """`waits`: for what another process has locked, where nothing else is left."""
    row = _next(transaction, accounts, busy, waits=waits)
    if row is None:
        return None
    answer, place, question = _ANSWER.of(row), _CONVERSATION.of(row), _QUESTION.of(row)
    attached = attachments.of(transaction, [question.id])[question.id] if question.attached else ()
    here = conversation(place, guilds.around(transaction, place))
    event = unpack_event(question.event, key=here.key, question=stored(question, attached), typed=question.text)
    side = _place(transaction, answer, place, question, event)
    if answer.leads and question.parent != place.head:
        # The head moves there when the answer is closed, and the conversation's first day with it.
        place.first_day = day_of_line(transaction, place, question.id)
    attempt = answer.attempt + 1
    transaction.execute(
        _TAKE,
        {
            "k_id": answer.id,
            "k_attempt": attempt,
            "k_owner": owner,
            "k_lease_until": transaction.now + int(lease * SECOND),
            "k_side_branch": side,
        },
    )
    wanted = answer.kept is None and not (answer.stopped or question.attached or question.text.startswith("/"))
    parts = tuple(map(part, transaction.execute(_PARTS, {"k_answer": answer.id}))) if answer.begun else ()
    asked = stored(question, attached)
    return Claim(
        id=answer.id,
        conversation=replace(here, head=place.head, first_day=place.first_day),
        question=asked,
        event=event,
        attempt=attempt,
        owner=owner,
        received_at=time_of(answer.received_at),
        parts=parts,
        kept=None if answer.kept is None else unpack_finished(answer.kept),
        retry=answer.retry,
        side_branch=side,
        stopped=answer.stopped,
        path=short_path(transaction, asked) if wanted else None,
    )


def _conditions(
    table: FromClause, lapsed: bool, some_accounts: bool
) -> tuple[list[ColumnElement[bool]], ColumnElement[Any]]:
    """Which answers may be claimed, and by what they are ordered."""
    wanted: list[ColumnElement[bool]] = [table.c.conversation.not_in(bindparam("k_busy", expanding=True))]
    if some_accounts:
        wanted.append(tuple_(table.c.platform, table.c.account).in_(bindparam("k_accounts", expanding=True)))
    if lapsed:
        return [*wanted, table.c.lease_until < bindparam("k_now")], table.c.lease_until
    return [*wanted, table.c.ready], table.c.position


_ROW = (
    select(*_ANSWER.columns, *_CONVERSATION.columns, *_QUESTION.columns)
    .join_from(answers, conversations, conversations.c.id == answers.c.conversation)
    .join(messages, messages.c.id == answers.c.question)
)


@cache
def _candidate(some_accounts: bool) -> Prepared:
    """The answer to claim, in one statement; nothing is locked."""

    def first(lapsed: bool) -> ScalarSelect[int]:
        one = answers.alias("lapsed" if lapsed else "waiting")
        wanted, order = _conditions(one, lapsed, some_accounts)
        return select(one.c.id).where(*wanted).order_by(order, one.c.id).limit(1).scalar_subquery()

    return Prepared(_ROW.where(answers.c.id == func.coalesce(first(True), first(False))))


@cache
def _this_one_locked() -> Select[Any]:
    """PostgreSQL: one answer and its conversation, locked; nothing if it is taken or held by another process."""
    free = or_(answers.c.lease_until < bindparam("k_now"), answers.c.ready)
    return _ROW.where(answers.c.id == bindparam("k_id"), free).with_for_update(
        of=(answers, conversations), skip_locked=True
    )


@cache
def _candidate_locked(lapsed: bool, some_accounts: bool, wait: bool) -> Select[Any]:
    """PostgreSQL: the answer to claim, of one of the two kinds; locked, with its conversation."""
    wanted, order = _conditions(answers, lapsed, some_accounts)
    statement = _ROW.where(*wanted).order_by(order, answers.c.id).limit(1)
    return statement.with_for_update(of=(answers, conversations), skip_locked=not wait)


def _next(
    transaction: Transaction, accounts: Collection[tuple[str, str]] | None, busy: Collection[int], *, waits: bool
) -> Any:
    values: dict[str, Any] = {"k_busy": list(busy), "k_now": transaction.now}
    if accounts is not None:
        values["k_accounts"] = list(accounts)
    found = transaction.execute(_candidate(accounts is not None), values).first()
    if found is None or not transaction.shared:
        return found
    taken = {"k_id": _ANSWER.of(found).id, "k_now": transaction.now}
    return transaction.execute(_this_one_locked(), taken).first() or _another(transaction, values, waits=waits)


def _another(transaction: Transaction, values: dict[str, Any], *, waits: bool) -> Any:
    """PostgreSQL: where another process was quicker."""
    for lapsed in (True, False):
        # Others' candidates are passed over; if only those are left, wait: the lock may be one of a mere moment.
        for wait in (False, True) if waits else (False,):
            if row := transaction.execute(_candidate_locked(lapsed, "k_accounts" in values, wait), values).first():
                return row
    return None


def _place(transaction: Transaction, answer: Any, place: Any, question: Any, event: Message) -> bool:
    """Give a question its parent, once, and bring `place` and `question` up to date. Returns whether it is a side branch."""
    if answer.placed:
        undecided = answer.retry and not answer.attempt and not answer.leads
        return _retries_older(transaction, place, question) if undecided else answer.side_branch
    if event.follows is None:
        parent = _replied_to(transaction, place, event)
        side = parent is not None and parent != place.head
    else:
        parent, side = _followed(transaction, place, event.follows), False
    if not side and (event.follows is None or parent == place.head):
        # On PostgreSQL talk may have come while the lock was waited for.
        parent = _place_talk(transaction, place, question) if answer.talk or transaction.shared else place.head
        if parent is None and place.first_day != today(transaction):
            place.first_day = today(transaction)
            transaction.execute(_BEGIN_LINE, {"k_id": place.id, "k_first_day": place.first_day})
    transaction.execute(_PLACE, {"k_id": question.id, "k_parent": parent})
    question.parent = parent
    return side


def _followed(transaction: Transaction, place: Any, follows: int) -> int | None:
    """What a question follows; the head if that is not there (any more). In place of a command: what that followed."""
    if follows == 0:
        return None
    head: int | None = place.head
    if not 0 < follows < ID_LIMIT:
        return head
    row = transaction.execute(_FOLLOWED, {"k_id": follows, "k_conversation": place.id}).first()
    if row is None:
        return head
    parent: int | None = row.parent if row.state == MessageState.COMMAND else row.id
    return parent


def _replied_to(transaction: Transaction, place: Any, event: Message) -> int | None:
    """The bot's message that this one replies to, in the same conversation."""
    answer = None if event.reply_to is None else answer_at(transaction, event.key, event.reply_to)
    tip = None if answer is None else tip_of(transaction, answer)
    if tip is None:
        return None
    here = select(messages.c.id).where(messages.c.id == tip, messages.c.conversation == place.id)
    return transaction.execute(here).scalar()


def _place_talk(transaction: Transaction, place: Any, question: Any) -> int | None:
    """Put the group talk that came before a question at the end of the line; returns the line's end."""
    values = {"k_conversation": place.id, "k_question": question.id, "k_head": place.head}
    placed = transaction.execute(_PLACE_TALK, values).scalars().all()
    if placed:
        place.head = max(placed)
        transaction.execute(_MOVE_HEAD, {"k_id": place.id, "k_head": place.head})
    head: int | None = place.head
    return head


def _retries_older(transaction: Transaction, place: Any, question: Any) -> bool:
    """Whether a retry is about another question than the last one."""
    if place.head is None or place.head == question.id:
        return False
    head = transaction.execute(select(messages.c.answer).where(messages.c.id == place.head)).scalar()
    return head is None or question_of(transaction, head) != question.id
