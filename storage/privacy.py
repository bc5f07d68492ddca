"""What people may ask to be removed, and what time removes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, bindparam, cast, delete, exists, literal, select, update

from bot.api import person_caller
from bot.messages import Settings
from bot.ports import Forgotten
from storage import api_kept, api_usage, guilds
from storage.models import answers, conversations, events, messages, pairings, usage
from storage.places import today, versions_of
from storage.removal import remove, vacate
from storage.transaction import Scrub, Transaction
from storage.values import DAY, chunks, micros

BATCH = 500
"""Rows that one transaction of `expire` removes: others wait for it some tens of milliseconds, not seconds."""
ROUND = 20 * BATCH
"""Rows that one look for old ones finds, so that memory stays small."""
WATERMARK_DAYS = 90
"""How long a received event is remembered after its content is gone; platforms redeliver within days."""

_TALK = exists(select(literal(1)).where(messages.c.conversation == conversations.c.id))
_EVENT = tuple(events.primary_key.columns)
_REMOVE_EVENT = delete(events).where(*(column == bindparam(f"k_{column.name}") for column in _EVENT))


def forget_message(transaction: Transaction, message: int) -> Forgotten:
    """See `bot.ports.Store.forget_message`."""
    versions = versions_of(transaction, message)
    return remove(transaction, versions | _said(transaction, versions))


def forget_person(transaction: Transaction, platform: str, author: str, but: int | None) -> Forgotten:
    """See `bot.ports.Store.forget_person`."""
    places = places_of(transaction, platform, author)
    theirs = messages_of(transaction, platform, author, places)
    if but is not None:
        theirs.discard(transaction.execute(select(answers.c.question).where(answers.c.id == but)).scalar() or 0)
    removed = remove(transaction, theirs)
    blank = {"person": None, "title": "", **asdict(Settings())}
    for chunk in chunks(places):
        transaction.execute(
            update(conversations).where(conversations.c.id.in_(chunk)).values(**blank, first_day=today(transaction))
        )
    vacate(transaction, places)
    transaction.execute(delete(usage).where(usage.c.platform == platform, usage.c.author == author))
    transaction.execute(delete(pairings).where(pairings.c.platform == platform, pairings.c.person == author))
    if (caller := person_caller(platform, author)) is not None:
        api_usage.forget(transaction, caller)
        api_kept.forget(transaction, caller)
    # With `but` there is more to remove in a moment: the file is cleaned once, when that answer is closed.
    transaction.scrub = Scrub.FILE if but is None else Scrub.LOG
    return removed


def places_of(transaction: Transaction, platform: str, author: str) -> list[int]:
    """A person's direct conversations."""
    own = select(conversations.c.id).where(conversations.c.platform == platform, conversations.c.person == author)
    return list(transaction.execute(own).scalars())


def messages_of(transaction: Transaction, platform: str, author: str, places: Iterable[int]) -> set[int]:
    """What a person wrote, what was answered to that, and everything in their direct conversations, `places`."""
    wrote = (
        select(messages.c.id)
        .join(conversations, conversations.c.id == messages.c.conversation)
        .where(messages.c.author_id == author, conversations.c.platform == platform)
    )
    theirs = set(transaction.execute(wrote).scalars())
    theirs.update(_said(transaction, theirs))
    for chunk in chunks(places):
        theirs.update(transaction.execute(select(messages.c.id).where(messages.c.conversation.in_(chunk))).scalars())
    return theirs


def expired(transaction: Transaction, now: datetime, default_days: int) -> list[int]:
    """Messages older than their conversation's retention, but for questions that wait for their answer."""
    moment = micros(now)
    days = cast(guilds.retention(default_days), BigInteger)
    waits = exists(select(literal(1)).where(answers.c.question == messages.c.id, answers.c.closed_at.is_(None)))
    old = (
        select(messages.c.id)
        .join_from(conversations, messages, messages.c.conversation == conversations.c.id)
        .where(messages.c.created_at < moment - days * DAY, ~waits)
        .limit(ROUND)
    )
    return list(transaction.execute(old).scalars())


def expired_events(transaction: Transaction, now: datetime) -> list[dict[str, Any]]:
    """The keys of events that were received long ago and whose content is gone."""
    content = exists(select(literal(1)).where(messages.c.id == events.c.message))
    old = select(*_EVENT).where(events.c.seen_at < micros(now) - WATERMARK_DAYS * DAY, ~content).limit(ROUND)
    return [{f"k_{name}": value for name, value in row.items()} for row in transaction.execute(old).mappings()]


def emptied(transaction: Transaction, now: datetime, default_days: int) -> list[int]:
    """Conversations that have a title and no message, and are older than their retention."""
    days = cast(guilds.retention(default_days), BigInteger)
    old = select(conversations.c.id).where(
        conversations.c.title != "", ~_TALK, conversations.c.created_at < micros(now) - days * DAY
    )
    return list(transaction.execute(old.limit(ROUND)).scalars())


def remove_titles(transaction: Transaction, ids: list[int]) -> None:
    """Remove the titles of a batch of what `emptied` found, unless somebody has gone on there."""
    transaction.execute(update(conversations).where(conversations.c.id.in_(ids), ~_TALK).values(title=""))


def remove_expired(transaction: Transaction, ids: list[int]) -> Forgotten:
    """Remove a batch of what `expired` found; what it leaves in the file is scrubbed at the end of all batches."""
    removed = remove(transaction, ids)
    transaction.scrub = Scrub.NOTHING
    return removed


def scrub(transaction: Transaction) -> None:
    """Have the file cleaned."""
    transaction.scrub = Scrub.FILE


def remove_events(transaction: Transaction, keys: list[dict[str, Any]]) -> None:
    """Forget that these were received."""
    transaction.execute(_REMOVE_EVENT, keys)


def _said(transaction: Transaction, questions: Iterable[int]) -> set[int]:
    """What answers to these questions added to the tree."""
    said: set[int] = set()
    for chunk in chunks(questions):
        asked = select(answers.c.id).where(answers.c.question.in_(chunk))
        # An answer that a command asked for hangs under the question but belongs to the command.
        under = select(messages.c.answer).where(messages.c.parent.in_(chunk), messages.c.answer.is_not(None))
        mine = {*transaction.execute(asked).scalars(), *transaction.execute(under).scalars()}
        for part in chunks(mine):
            said.update(transaction.execute(select(messages.c.id).where(messages.c.answer.in_(part))).scalars())
    return said
