"""Rows <-> the vocabulary. Rows never leave this package."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, bindparam

from bot.messages import (
    Attached,
    Conversation,
    ConversationKey,
    MessageRef,
    MessageState,
    Role,
    SentPart,
    Settings,
    StoredMessage,
    with_speech,
)
from storage.models import conversations, messages
from storage.values import time_of, unpack_author, unpack_ids

MESSAGE: tuple[Column[Any], ...] = (
    messages.c.id,
    messages.c.parent,
    messages.c.role,
    messages.c.text,
    messages.c.author_id,
    messages.c.author_name,
    messages.c.event,
    messages.c.state,
    messages.c.created_at,
    messages.c.event_id,
    messages.c.model,
    messages.c.token_ids,
    messages.c.prompt_tokens,
    messages.c.cached_tokens,
    messages.c.completion_tokens,
    messages.c.window_start,
    messages.c.attached,
)
"""What `stored` reads."""

CONVERSATION: tuple[Column[Any], ...] = tuple(conversations.c)

_ROLES = {role.value: role for role in Role}
_STATES = {state.value: state for state in MessageState}

KEY = ("platform", "account", "chat", "thread")


def at(key: ConversationKey) -> dict[str, str]:
    """The parameters of `HERE`."""
    return {"k_platform": key.platform, "k_account": key.account, "k_chat": key.chat, "k_thread": key.thread}


HERE: ColumnElement[bool] = and_(*(conversations.c[name] == bindparam(f"k_{name}") for name in KEY))
"""The conversation at a key."""


def stored(row: Any, attachments: tuple[Attached, ...] = ()) -> StoredMessage:
    """A row of MESSAGE; `attachments` are those of a row that is `attached`."""
    author = None if row.author_id is None else unpack_author(row.author_id, row.author_name, row.event)
    return StoredMessage(
        id=row.id,
        parent=row.parent,
        role=_ROLES[row.role],
        text=with_speech(row.text, attachments) if attachments else row.text,
        author=author,
        state=_STATES[row.state],
        created_at=time_of(row.created_at),
        event_id=row.event_id,
        model=row.model,
        token_ids=unpack_ids(row.token_ids),
        prompt_tokens=row.prompt_tokens,
        cached_tokens=row.cached_tokens,
        completion_tokens=row.completion_tokens,
        window_start=row.window_start,
        attachments=attachments,
    )


def conversation(row: Any, around: Settings) -> Conversation:
    """A row of CONVERSATION; `around`: what its guild says."""
    return Conversation(
        id=row.id,
        key=ConversationKey(row.platform, row.account, row.chat, row.thread),
        direct=row.direct,
        settings=Settings(
            model=row.model,
            persona=row.persona,
            system_prompt=row.system_prompt,
            retention_days=row.retention_days,
            transcripts=row.transcripts,
        ),
        head=row.head,
        first_day=row.first_day,
        title=row.title,
        guild=row.guild,
        around=around,
    )


def part(row: Any) -> SentPart:
    """A row of sent_parts."""
    if row.message_id is None:
        return SentPart(index=row.number, nonce=row.nonce, message=None)
    key = ConversationKey(row.platform, row.account, row.chat, row.thread)
    return SentPart(index=row.number, nonce=row.nonce, message=MessageRef(key, row.message_id))


class Group:
    """A run of columns in a joined row, read as a row of its own although names repeat."""

    def __init__(self, columns: Sequence[ColumnElement[Any]], *, start: int) -> None:
        self.columns = tuple(columns)
        self._start = start
        self.end = start + len(self.columns)
        self._names = tuple(str(column.key) for column in columns)

    def of(self, row: Sequence[Any]) -> SimpleNamespace:
        """The group's values by name; they may be changed to keep them up to date."""
        return SimpleNamespace(**dict(zip(self._names, row[self._start : self.end], strict=True)))
