"""Receive: an event's whole effect, in the transaction that remembers the event."""

from __future__ import annotations

from itertools import chain
from typing import Any

from sqlalchemy import bindparam, func, select

from bot.messages import (
    Action,
    ActionName,
    Deleted,
    Edited,
    Event,
    GuildKey,
    Left,
    Message,
    MessageState,
    Migrated,
    Role,
    Triage,
)
from bot.ports import Received, Refusal
from storage import attachments, editing, guilds
from storage.branching import branch
from storage.migrating import migrate_chat
from storage.models import answers, events, messages
from storage.places import adopt, answer_at, find_by_id, find_with_event, obtain, places_in, question_of
from storage.prepared import Prepared
from storage.removal import remove
from storage.standing import marks
from storage.threads import delete_conversation
from storage.transaction import Transaction
from storage.values import ID_LIMIT, pack_event
from storage.waiting import add_last

_ADD_MESSAGE = Prepared(messages.insert().returning(messages.c.id))
_REMEMBER = Prepared(events.insert())
_OPEN = (
    select(answers.c.id)
    .where(answers.c.question == bindparam("k_question"), answers.c.closed_at.is_(None))
    .order_by(answers.c.id)
)
_HERE = select(messages.c.id, messages.c.answer, messages.c.role, messages.c.state, messages.c.placed).where(
    messages.c.id == bindparam("k_id"), messages.c.conversation == bindparam("k_conversation")
)
_WHERE = select(messages.c.conversation).where(messages.c.id == bindparam("k_id"))
_ASKER = select(messages.c.author_id).where(messages.c.id == bindparam("k_id"))
_LAST_ID = select(func.max(messages.c.id))
GONE = -1
"""`Deleted.revision`."""


def receive(transaction: Transaction, event: Event, triage: Triage) -> Received:
    """See `bot.ports.Store.receive`."""
    if triage is Triage.IGNORED:
        return Received()
    match event:
        case Message():
            return _message(transaction, event, triage)
        case Edited():
            return _edited(transaction, event, triage)
        case Deleted():
            return _deleted(transaction, event)
        case Action():
            return _action(transaction, event)
        case Migrated() | Left():
            return _of_the_chat(transaction, event)


def _message(transaction: Transaction, event: Message, triage: Triage) -> Received:
    conversation, known = find_with_event(transaction, event)
    if conversation is None:
        conversation = obtain(transaction, event.key, direct=event.direct)
    if known:
        return _again(transaction, event, triage, known, conversation)
    if not event.direct:
        conversation = guilds.belong(transaction, conversation, event.author.guild)
    if triage is Triage.CONTEXT and guilds.days_of(transaction, conversation) == 0:
        _remember(transaction, event, None)
        return Received()
    if event.direct:
        adopt(transaction, conversation, event.author.id)
    pending = triage is Triage.PENDING
    message: int = transaction.execute(
        _ADD_MESSAGE,
        {
            "conversation": conversation.id,
            "role": Role.USER,
            "state": MessageState.PENDING if pending else MessageState.CONTEXT,
            "created_at": transaction.now,
            "author_id": event.author.id,
            "author_name": event.author.name,
            "event_id": event.event_id,
            "event": pack_event(event),
            "text": event.text,
            "attached": bool(event.attachments),
        },
    ).scalar_one()
    if event.attachments:
        attachments.add(transaction, message, event.attachments)
    if pending:
        add_last(transaction, conversation, message, message, leads=event.follows is not None)
    _remember(transaction, event, message)
    return Received(message=message, work=pending)


def _again(
    transaction: Transaction, event: Message | Edited, triage: Triage, known: dict[int, int | None], place: Any
) -> Received:
    """An event of a message that was received before: a duplicate, late, or with new text."""
    if GONE in known or event.revision <= max(known):
        return Received(duplicate=True)
    message = max((one for one in known.values() if one is not None), default=None)
    if triage is Triage.CONTEXT:
        received = editing.change(transaction, event, message)
    else:
        received = editing.revise(transaction, event, message, place)
    _remember(transaction, event, received.message or message)
    return received


def _edited(transaction: Transaction, event: Edited, triage: Triage) -> Received:
    place, known = _find_said(transaction, event)
    return _again(transaction, event, triage, known, place) if place is not None and known else Received()


def _deleted(transaction: Transaction, event: Deleted) -> Received:
    place, known = _find_said(transaction, event)
    if place is None or not known or GONE in known:
        return Received(duplicate=GONE in known)
    _remember(transaction, event, None)
    gone = sorted({message for message in known.values() if message is not None})
    stand = marks(transaction, gone)
    removed = remove(transaction, gone)
    return Received(superseded=removed.superseded, orphans=removed.orphans, marks=stand)


def _find_said(transaction: Transaction, event: Edited | Deleted) -> tuple[Any, dict[int, int | None]]:
    """As `find_with_event`, with the conversation of what was said: that may be in a thread which was opened for it."""
    place, known = find_with_event(transaction, event)
    said = max((one for one in known.values() if one is not None), default=None)
    if said is None:
        return place, known
    row = transaction.execute(_WHERE, {"k_id": said}).first()
    if row is None or (place is not None and place.id == row.conversation):
        return place, known
    return find_by_id(transaction, row.conversation), known


def _action(transaction: Transaction, event: Action) -> Received:
    place, known = find_with_event(transaction, event)
    if event.revision in known:
        return Received(duplicate=True)
    _remember(transaction, event, None)
    if event.name is ActionName.BRANCH:
        return Received(refusal=Refusal.NO_OTHER) if place is None else branch(transaction, event, place)
    if place is None or event.name is not ActionName.RETRY:
        return Received()
    question = _retried(transaction, event, place)
    if question is None or not _may_ask_again(transaction, event, place, question):
        return Received()
    if transaction.execute(_OPEN, {"k_question": question}).first() is not None:
        return Received(message=question)
    last: int = transaction.execute(_LAST_ID).scalar_one()
    add_last(transaction, place, question, last, retry=True, leads=event.message is not None)
    return Received(message=question, work=True)


def _may_ask_again(transaction: Transaction, event: Action, place: Any, question: int) -> bool:
    """In a group what somebody asked is theirs to ask again, for it counts as theirs."""
    if place.direct or event.owner:
        return True
    return bool(transaction.execute(_ASKER, {"k_id": question}).scalar() == event.author.id)


def _retried(transaction: Transaction, event: Action, place: Any) -> int | None:
    """The question that a retry is about, if it is there."""
    if event.message is not None:
        return _question(transaction, event.message, place)
    if event.target is not None:
        answer = answer_at(transaction, event.key, event.target)
        return None if answer is None else question_of(transaction, answer)
    if place.head is None:
        return None
    head = transaction.execute(select(messages.c.answer, messages.c.role).where(messages.c.id == place.head)).one()
    if head.answer is not None:
        return question_of(transaction, head.answer)
    return place.head if head.role == Role.USER else None


def _question(transaction: Transaction, message: int, place: Any) -> int | None:
    """A question of this conversation, by its own id or by that of its answer."""
    row = _asked(transaction, message, place)
    if row is not None and row.answer is not None:
        question = question_of(transaction, row.answer)
        row = None if question is None else _asked(transaction, question, place)
    if row is None or row.role != Role.USER or row.state == MessageState.COMMAND:
        return None
    return row.id if row.placed or row.state == MessageState.PENDING else None


def _asked(transaction: Transaction, message: int, place: Any) -> Any:
    if not 0 < message < ID_LIMIT:
        return None
    return transaction.execute(_HERE, {"k_id": message, "k_conversation": place.id}).first()


def _of_the_chat(transaction: Transaction, event: Migrated | Left) -> Received:
    _, known = find_with_event(transaction, event)
    if event.revision in known:
        return Received(duplicate=True)
    _remember(transaction, event, None)  # first: with the others, this mark loses the name of a chat that goes
    if isinstance(event, Migrated):
        migrate_chat(transaction, event.key, event.new_chat)
        return Received()
    if event.guild:
        guild = GuildKey(event.key.platform, event.key.account, event.guild)
        places = guilds.places_of(transaction, guild)
        guilds.remove(transaction, guild)
    else:
        places = places_in(transaction, event.key)
    ended = [delete_conversation(transaction, place).superseded for place in places]
    return Received(superseded=tuple(chain.from_iterable(ended)))


def _remember(transaction: Transaction, event: Event, message: int | None) -> None:
    transaction.execute(
        _REMEMBER,
        {
            "platform": event.key.platform,
            "account": event.key.account,
            "chat": event.key.chat,
            "event_id": event.event_id,
            "revision": event.revision,
            "message": message,
            "seen_at": transaction.now,
        },
    )
