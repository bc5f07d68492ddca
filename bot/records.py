"""What the store tells and is told beside messages: what was read of attachments; lists, lines, finds, counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from bot.messages import AnswerState, Conversation, Role, Speech, StoredMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was read in a file. Known by the file's bytes: however many messages bring them, they are read once."""

    hash: str
    """SHA-256 of the bytes, in hexadecimal."""
    reader: str
    """What read it: `text` for a text document, `speech:` with model and language for a recording."""
    media_type: str
    size: int
    """Bytes."""
    words: str
    speech: Speech | None = None
    """Of a recording."""
    data: bytes | None = field(default=None, repr=False)
    """The file itself, if it is to be kept beside its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What came of reading one attachment of a message."""

    number: int
    """Which of the message's attachments, counted from 0."""
    content: Content | None
    """None if nothing could be read."""
    unread: str = ""
    """Why not, or what of it is lost, in words for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """One of a person's conversations, as a list of them shows it."""

    conversation: Conversation
    last_at: datetime
    """When its last message came, or was written; of an empty one, when it was made."""
    opening: str
    """The first words that a person wrote or said in it, on one line, at most 80 characters; empty if there are none."""
    waiting: bool
    """An answer is waiting or in progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A message as part of a conversation's current line, which is one way through the tree."""

    message: StoredMessage
    siblings: tuple[int, ...]
    """Ids of the messages with the same parent and role, itself included, oldest first: the branches at this place."""
    outcome: AnswerState | None = None
    """Of a question: how its answer stands while it waits or is made, or how it ended if it left no words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A message that has the words that were looked for."""

    conversation: int
    thread: str
    """As in `ConversationKey.thread`."""
    title: str
    message: int
    role: Role
    at: datetime
    excerpt: str
    """The words around the first match, on one line, at most 160 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformCount:
    """How much there is of one bot account: numbers only, nobody's words."""

    platform: str
    account: str
    conversations: int
    messages: int
    people: int
    """Who wrote something that is kept."""
    waiting: int
    """Answers that are waiting or in progress."""
