"""Conversations as things that people have: a list of them, their settings and titles, how many there are, their end."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import bindparam, case, exists, func, literal, select, update

from bot.messages import Conversation, ConversationKey, MessageState, Role, Settings
from bot.ports import Forgotten
from bot.records import PlatformCount, Thread
from storage import guilds, rows
from storage.models import READ_IN, answers, attachments, contents, conversations, messages
from storage.places import adopt, find_by_id, obtain
from storage.removal import dissolve, remove
from storage.rows import CONVERSATION
from storage.transaction import Transaction
from storage.values import shortened, time_of

OPENING = 80
"""Characters of `Thread.opening`."""
_READ = 4 * OPENING
"""Characters that are read for it: there may be blanks among them."""
_LAST = (
    select(func.max(messages.c.created_at))
    .where(messages.c.conversation == conversations.c.id)
    .correlate(conversations)
    .scalar_subquery()
)
_SPOKEN = (
    select(func.substr(contents.c.words, 1, _READ))
    .join_from(
        attachments,
        contents,
        READ_IN,
    )
    .where(attachments.c.message == messages.c.id, contents.c.language.is_not(None))
    .order_by(attachments.c.number)
    .limit(1)
    .correlate(messages)
    .scalar_subquery()
)
_WORDS = case((messages.c.text != "", func.substr(messages.c.text, 1, _READ)), (messages.c.attached, _SPOKEN))
_OPENING = (
    select(_WORDS)
    .where(
        messages.c.conversation == conversations.c.id,
        messages.c.role == Role.USER.value,
        messages.c.state != MessageState.COMMAND.value,
        _WORDS.is_not(None),
    )
    .order_by(messages.c.created_at, messages.c.id)
    .limit(1)
    .correlate(conversations)
    .scalar_subquery()
)
_WAITING = exists(select(literal(1)).where(answers.c.conversation == conversations.c.id, answers.c.closed_at.is_(None)))
_OF_CHAT = select(*CONVERSATION, _LAST.label("last_at"), _OPENING.label("opening"), _WAITING.label("waiting")).where(
    *(conversations.c[name] == bindparam(f"k_{name}") for name in ("platform", "account", "chat"))
)
_ACCOUNT = (conversations.c.platform, conversations.c.account)
_PLACES = select(*_ACCOUNT, func.count().label("conversations")).group_by(*_ACCOUNT).order_by(*_ACCOUNT)
_TALK = (
    select(*_ACCOUNT, func.count().label("messages"), func.count(messages.c.author_id.distinct()).label("people"))
    .join_from(messages, conversations, conversations.c.id == messages.c.conversation)
    .group_by(*_ACCOUNT)
)
_QUEUES = (
    select(answers.c.platform, answers.c.account, func.count().label("waiting"))
    .where(answers.c.closed_at.is_(None))
    .group_by(answers.c.platform, answers.c.account)
)


def conversation(transaction: Transaction, key: ConversationKey, *, direct: bool, person: str | None) -> Conversation:
    """See `bot.ports.Store.conversation`."""
    place = obtain(transaction, key, direct=direct)
    if person is not None:
        adopt(transaction, place, person)
    return rows.conversation(place, guilds.around(transaction, place))


def threads(transaction: Transaction, platform: str, account: str, chat: str) -> list[Thread]:
    """See `bot.ports.Store.threads`."""
    found = [
        Thread(
            conversation=rows.conversation(row, guilds.around(transaction, row)),
            last_at=time_of(row.created_at if row.last_at is None else row.last_at),
            opening=shortened(row.opening or "", OPENING),
            waiting=row.waiting,
        )
        for row in transaction.execute(_OF_CHAT, {"k_platform": platform, "k_account": account, "k_chat": chat})
        if row.last_at is not None or row.title or rows.conversation(row, Settings()).settings != Settings()
    ]
    return sorted(found, key=lambda one: (one.last_at, one.conversation.id), reverse=True)


def set_settings(transaction: Transaction, conversation: int, settings: Settings) -> None:
    """See `bot.ports.Store.set_settings`."""
    changed = update(conversations).where(conversations.c.id == conversation).values(**asdict(settings))
    transaction.execute(changed)


def set_title(transaction: Transaction, conversation: int, title: str) -> None:
    """See `bot.ports.Store.set_title`."""
    transaction.execute(update(conversations).where(conversations.c.id == conversation).values(title=title))


def delete_conversation(transaction: Transaction, conversation: int) -> Forgotten:
    """See `bot.ports.Store.delete_conversation`."""
    if find_by_id(transaction, conversation) is None:
        return Forgotten(messages=0, answers=0)
    here = select(messages.c.id).where(messages.c.conversation == conversation)
    removed = remove(transaction, transaction.execute(here).scalars().all())
    dissolve(transaction, conversation)
    return removed


def overview(transaction: Transaction) -> list[PlatformCount]:
    """See `bot.ports.Store.overview`."""
    talk = {(row.platform, row.account): row for row in transaction.execute(_TALK)}
    queues = {(row.platform, row.account): row.waiting for row in transaction.execute(_QUEUES)}
    return [
        PlatformCount(
            platform=row.platform,
            account=row.account,
            conversations=row.conversations,
            messages=said.messages if (said := talk.get((row.platform, row.account))) else 0,
            people=said.people if said else 0,
            waiting=queues.get((row.platform, row.account), 0),
        )
        for row in transaction.execute(_PLACES)
    ]
