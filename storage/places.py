"""Where things are: conversations by key, answers by the platform messages they are made of."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Row, Select, and_, bindparam, func, select, update

from bot.messages import ConversationKey, Event
from storage.models import answers, conversations, events, messages, sent_parts
from storage.prepared import Prepared
from storage.rows import CONVERSATION, HERE, KEY, at
from storage.transaction import Transaction, insert
from storage.values import time_of, veiled

_FIND = select(*CONVERSATION).where(HERE)
_SEEN = and_(
    *(events.c[name] == bindparam(f"k_{name}") for name in ("platform", "account", "event_id")),
    events.c.chat.in_((bindparam("k_chat"), bindparam("k_veiled"))),
)
_WITH_EVENT = (
    select(*CONVERSATION, events.c.revision, events.c.message).outerjoin_from(conversations, events, _SEEN).where(HERE)
)
_FIND_WITH_EVENT = Prepared(_WITH_EVENT, shared=_WITH_EVENT.with_for_update(of=conversations))
_EVENT = select(events.c.revision, events.c.message).where(_SEEN)
_FIND_BY_ID = select(*CONVERSATION).where(conversations.c.id == bindparam("k_id"))
_IN_CHAT = (
    select(conversations.c.id)
    .where(*(conversations.c[name] == bindparam(f"k_{name}") for name in KEY if name != "thread"))
    .order_by(conversations.c.id)
)
_PART = (
    select(sent_parts.c.answer)
    .where(
        sent_parts.c.message_id == bindparam("k_message_id"),
        sent_parts.c.chat == bindparam("k_chat"),
        sent_parts.c.platform == bindparam("k_platform"),
        sent_parts.c.account == bindparam("k_account"),
    )
    .order_by(sent_parts.c.answer.desc())
    .limit(1)
)
_ROOTS = select(messages.c.id).where(
    messages.c.conversation == bindparam("k_conversation"), messages.c.parent.is_(None), messages.c.placed
)
_TIP = select(func.max(messages.c.id)).where(messages.c.answer == bindparam("k_answer"))
_FIRST_PARENT = (
    select(messages.c.parent).where(messages.c.answer == bindparam("k_answer")).order_by(messages.c.id).limit(1)
)
_VERSIONS = (
    select(events.c.message)
    .select_from(messages)
    .join(conversations, conversations.c.id == messages.c.conversation)
    .join(
        events,
        and_(
            *(events.c[name] == conversations.c[name] for name in ("platform", "account", "chat")),
            events.c.event_id == messages.c.event_id,
        ),
    )
    .where(messages.c.id == bindparam("k_id"))
)
_QUESTION = select(answers.c.question).where(answers.c.id == bindparam("k_answer"))


def _root_time() -> Select[Any]:
    """From a message up to its root: one look-up by primary key for each on the way."""
    walked = (messages.c.id, messages.c.parent, messages.c.created_at)
    steps = select(*walked).where(messages.c.id == bindparam("k_id")).cte("line", recursive=True)
    steps = steps.union_all(select(*walked).join_from(steps, messages, messages.c.id == steps.c.parent))
    return select(steps.c.created_at).where(steps.c.parent.is_(None))


_ROOT_TIME = _root_time()


def today(transaction: Transaction) -> date:
    """The day in UTC."""
    return time_of(transaction.now).date()


def day_of_line(transaction: Transaction, place: Any, message: int) -> date:
    """The first day of the line on which a message is. Of the only line it is known; else it is that of its root."""
    if len(transaction.execute(_ROOTS.limit(2), {"k_conversation": place.id}).all()) < 2:
        day: date = place.first_day
        return day
    began: int = transaction.execute(_ROOT_TIME, {"k_id": message}).scalar_one()
    return time_of(began).date()


def find(transaction: Transaction, key: ConversationKey) -> Row[Any] | None:
    """The conversation at a place; locked until the end of the transaction where others run at the same time."""
    statement = _FIND.with_for_update() if transaction.shared else _FIND
    return transaction.execute(statement, at(key)).first()


def find_with_event(transaction: Transaction, event: Event) -> tuple[Row[Any] | None, dict[int, int | None]]:
    """The conversation of an event, and the revisions of it that were received: with the message each was stored as.

    Where the conversation's lock had to be waited for, a revision that came in the meantime is not seen: remembering
    the same one again is then refused by the database, and the transaction run again.
    """
    key = event.key
    values = {**at(key), "k_event_id": event.event_id, "k_veiled": veiled(key.platform, key.account, key.chat)}
    rows = transaction.execute(_FIND_WITH_EVENT, values).all()
    # Events are known by chat: one may be remembered although its thread has no conversation (any more).
    seen = rows or transaction.execute(_EVENT, values).all()
    known = {row.revision: row.message for row in seen if row.revision is not None}
    return (rows[0] if rows else None), known


def find_by_id(transaction: Transaction, conversation: int) -> Row[Any] | None:
    """The same by id."""
    statement = _FIND_BY_ID.with_for_update() if transaction.shared else _FIND_BY_ID
    return transaction.execute(statement, {"k_id": conversation}).first()


def places_in(transaction: Transaction, key: ConversationKey) -> list[int]:
    """The conversations of a whole chat, in an order in which two that lock them do not wait for each other; of a thread, its own."""
    if key.thread:
        place = find(transaction, key)
        return [] if place is None else [place.id]
    values = at(key)
    del values["k_thread"]
    return list(transaction.execute(_IN_CHAT, values).scalars())


def obtain(transaction: Transaction, key: ConversationKey, *, direct: bool) -> Row[Any]:
    """The conversation at a place; made if there is none."""
    row = find(transaction, key)
    if row is None:
        values = {name: getattr(key, name) for name in KEY}
        transaction.execute(
            insert(transaction, conversations)
            .values(**values, direct=direct, first_day=today(transaction), created_at=transaction.now)
            .on_conflict_do_nothing()
        )
        row = find(transaction, key)
        assert row is not None, "a conversation that was just made is there"
    return row


def adopt(transaction: Transaction, place: Any, person: str) -> None:
    """Note to whom a direct conversation belongs, if that is not known (any more)."""
    if place.direct and place.person is None:
        transaction.execute(update(conversations).where(conversations.c.id == place.id).values(person=person))


def answer_at(transaction: Transaction, key: ConversationKey, message_id: str) -> int | None:
    """The answer that this platform message is a part of."""
    values = {**at(key), "k_message_id": message_id}
    del values["k_thread"]
    return transaction.execute(_PART, values).scalar()


def tip_of(transaction: Transaction, answer: int) -> int | None:
    """The last message that an answer added to the tree."""
    return transaction.execute(_TIP, {"k_answer": answer}).scalar()


def versions_of(transaction: Transaction, message: int) -> set[int]:
    """A message with the branches that edits of it made."""
    found = {one for one in transaction.execute(_VERSIONS, {"k_id": message}).scalars() if one is not None}
    # After a chat's move its new numbers could be those of other messages.
    return {message, *(found if message in found else ())}


def question_of(transaction: Transaction, answer: int) -> int | None:
    """The message that an answer answers.

    That is the parent of its first message: where a command asked for the answer, `answers.question` is the command.
    """
    first = transaction.execute(_FIRST_PARENT, {"k_answer": answer}).first()
    if first is not None:
        parent: int | None = first.parent
        return parent
    return transaction.execute(_QUESTION, {"k_answer": answer}).scalar()
