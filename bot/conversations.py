"""Conversations: where they are, who speaks in them, and what is kept of them. Frozen values, standard library only.

`bot.messages` has these names too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Literal

# ---------------------------------------------------------------------------------------------------------------------
# Where and who


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """Where a conversation takes place: a chat, or a thread of it, as one bot account sees it.

    All four are the platform's own identifiers as text. `thread` is empty where a chat has no threads.
    """

    platform: str
    account: str
    chat: str
    thread: str = ""

    def __str__(self) -> str:
        """The form used in logs and on the command line: `platform/account/chat[/thread]`."""
        return "/".join(part for part in (self.platform, self.account, self.chat, self.thread) if part)


@dataclass(frozen=True, slots=True)
class GuildKey:
    """A guild (Discord's server: many chats, with members and roles of its own) as one bot account sees it."""

    platform: str
    account: str
    guild: str


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote a message. `id` is unique on its platform; `name` is what people see and is untrusted text."""

    id: str
    name: str
    is_bot: bool = False
    roles: frozenset[str] = frozenset()
    """The platform's role names or ids, where it has roles (Discord)."""
    guild: str = ""
    """The guild as whose member they write; empty where there is none."""
    manages: bool = False
    """They may change what holds for all of that guild (Discord's Manage Server)."""


class Role(StrEnum):
    """Who speaks in a prompt, in the terms of the OpenAI API."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that came with a message, not fetched yet. `reference` is what the adapter needs to fetch it later."""

    kind: Literal["voice", "audio", "image", "video", "file"]
    name: str
    media_type: str
    size: int | None
    """Bytes, as the platform states them; None if it does not."""
    reference: str
    duration: float | None = None
    """Seconds, as the platform states them."""
    data: bytes | None = field(default=None, repr=False, compare=False)
    """The file, from a face that has no place of its own for it: kept until it was read. `reference` is its SHA-256 then."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What is known of words that were spoken."""

    language: str
    """ISO 639-1."""
    duration: float
    """Seconds of the recording that could be heard."""


@dataclass(frozen=True, slots=True)
class Attached:
    """An attachment of a stored message, with what was read in it."""

    attachment: Attachment
    words: str | None = None
    """None as long as nothing was read."""
    unread: str = ""
    """Why nothing was read, or what of it is lost, in words for people; empty if nobody tried."""
    speech: Speech | None = None
    """Of a recording: then the words are what was said in it, and part of the message's text."""


# ---------------------------------------------------------------------------------------------------------------------
# What is kept


Transcripts = Literal["always", "asked", "never"]
"""Whether what was heard in a recording stands above its answer, is shown by /transcript, or neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A conversation's own settings; None means what the configuration says."""

    model: str | None = None
    persona: str | None = None
    system_prompt: str | None = None
    retention_days: int | None = None
    """0 = nothing is stored beyond the answer in progress."""
    transcripts: Transcripts | None = None


Trigger = Literal["mention", "always"]
"""What is answered in a guild: what is addressed to the bot, or everything that people say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuildSettings:
    """What holds in a guild; None means what the configuration says."""

    settings: Settings = field(default_factory=Settings)
    """For those of its conversations that have none of their own."""
    trigger: Trigger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation as the store knows it."""

    id: int
    key: ConversationKey
    direct: bool
    settings: Settings
    head: int | None
    """The id of the last message of the current line; None at the beginning and after /new."""
    first_day: date
    """The day on which the current line began; a chat template that prints the date is given this one."""
    title: str = ""
    """The name that its owner gave it; empty if none."""
    guild: str = ""
    """The guild that it is in; empty if none is known."""
    around: Settings = field(default_factory=Settings)
    """Its guild's settings, for what it has none of its own."""


class MessageState(StrEnum):
    """The states of a stored message."""

    PENDING = "pending"
    """A question that waits for its answer."""
    CONTEXT = "context"
    """Part of the history; not to be answered (group talk, or a question that expired)."""
    ANSWERED = "answered"
    """A question whose answer is closed."""
    FINAL = "final"
    """An assistant's, system's or tool's message: part of the history as it is."""
    STOPPED = "stopped"
    """An assistant's message that was stopped before its end."""
    COMMAND = "command"
    """A command or the word about it: kept for its owner, no part of the history."""


def with_speech(typed: str, attachments: tuple[Attached, ...]) -> str:
    """A message's text: what was typed, and what was said in its recordings."""
    said = [item.words for item in attachments if item.speech is not None and item.words]
    return "\n\n".join([typed, *said] if typed.strip() else said) if said else typed


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One node of a conversation's tree."""

    id: int
    parent: int | None
    role: Role
    text: str
    """As it was typed; behind that what was said in its recordings, once they were heard."""
    author: Author | None
    state: MessageState
    created_at: datetime
    event_id: str | None = None
    """The platform's message id, for messages that came from it."""
    model: str | None = None
    """The name and digest of the model that wrote it (`StoredMessage.token_ids` are valid for this one alone)."""
    token_ids: tuple[int, ...] | None = None
    """The ids that the model generated, without the end-of-turn id; they are kept and never encoded again."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    window_start: bool = False
    """The stored cut: a window on a path through this message begins here (the system message apart)."""
    attachments: tuple[Attached, ...] = ()
    """In the order in which the platform stated them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message of the assistant (or a tool round's message) before it has an id."""

    role: Role
    text: str
    parent: int | None
    """The message that it follows. For an ordinary answer that is the question."""
    state: MessageState = MessageState.FINAL
    model: str | None = None
    token_ids: tuple[int, ...] | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
