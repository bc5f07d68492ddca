"""The vocabulary of Hearth: the frozen values that every part passes to the next. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from bot.conversations import (  # noqa: F401 - the vocabulary is one, whichever of its two files a word is in
    Attached,
    Attachment,
    Author,
    Conversation,
    ConversationKey,
    Draft,
    GuildKey,
    GuildSettings,
    MessageState,
    Role,
    Settings,
    Speech,
    StoredMessage,
    Transcripts,
    Trigger,
    with_speech,
)
from bot.generation import Usage

# ---------------------------------------------------------------------------------------------------------------------
# Events: what an adapter hears. Unique by (platform, account, chat, event_id, revision).


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Somebody wrote something. Also a typed or slash command: the conversation manager's first step tells."""

    key: ConversationKey
    event_id: str
    """The platform's id of this message within its chat."""
    author: Author
    text: str
    sent_at: datetime
    """Aware, in UTC."""
    revision: int = 0
    direct: bool = False
    """Written to the bot alone: a private chat, or the terminal."""
    addressed: bool = False
    """Meant for the bot in a group, as the adapter sees it: a mention, a reply to the bot, a configured name."""
    reply_to: str | None = None
    """The platform's id of the message that this one replies to."""
    attachments: tuple[Attachment, ...] = ()
    interaction: str | None = None
    """The platform's token with which this event must be answered (Discord's interactions), if it has one."""
    can_reply_privately: bool = False
    """Whether the platform can show the answer to its asker alone although others are in the chat."""
    follows: int | None = None
    """The id of the stored message behind which this one goes, and with it the line; 0 begins a new line.

    For a face that knows those ids and shows branches: an edited question follows what the old one followed. None, and
    an id that is not (or no longer) in the conversation: the head.
    """
    opens: str = ""
    """The thread that an answer can open at this message (on Discord the message's own id): the adapter opens it with the
    first message that it sends there. Of use on the way in only, and not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A message has new text. `revision` is higher than any revision before (the platform's edit time in ms does)."""

    key: ConversationKey
    event_id: str
    revision: int
    author: Author
    text: str
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A message is gone from the platform."""

    key: ConversationKey
    event_id: str
    sent_at: datetime
    revision: int = -1
    """Apart from every revision of the message itself, so that both are remembered."""


class ActionName(StrEnum):
    """What a button under an answer, or /stop, asks for."""

    STOP = "stop"
    RETRY = "retry"
    CHOOSE = "choose"
    BRANCH = "branch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A button press, or /stop. Takes effect at once; it never queues behind the answer it is about."""

    key: ConversationKey
    event_id: str
    """The platform's id of the press itself (for /stop, of the message that says it)."""
    author: Author
    name: ActionName
    sent_at: datetime
    target: str | None = None
    """The platform's id of the message that the button is under; None means the conversation's current answer."""
    message: int | None = None
    """RETRY, instead of `target`: the id of the stored question or answer. The new answer becomes the line's end."""
    owner: bool = False
    """Whoever asks owns the bot or manages the guild, and may ask it of anybody's answer. Set on the way in."""
    choice: str = ""
    """CHOOSE: what stands behind "choose:" in the button's id."""
    interaction: str | None = None
    """As `Message` has it."""
    can_reply_privately: bool = False
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """A chat has a new id (Telegram's upgrade to a supergroup); its history follows."""

    key: ConversationKey
    event_id: str
    new_chat: str
    sent_at: datetime
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The bot is in a chat no more: it was removed, the chat was, or its only person there blocked it. What is kept of it goes.

    `event_id` is another one each time that it leaves. No event of a chat that only moved (`Migrated`).
    """

    key: ConversationKey
    """A chat with all its threads; or one thread, which alone goes then."""
    event_id: str
    sent_at: datetime
    guild: str = ""
    """All chats of this guild, and what was set there, go; `key` has the platform and the account then, and no chat."""
    revision: int = 0


Event = Message | Edited | Deleted | Action | Migrated | Left


class Triage(StrEnum):
    """What becomes of a message, decided before it is committed."""

    PENDING = "pending"
    """Addressed to the bot: will be answered."""
    CONTEXT = "context"
    """Group talk that the bot may know: kept, not answered."""
    IGNORED = "ignored"
    """Not stored."""


# ---------------------------------------------------------------------------------------------------------------------
# What is kept


@dataclass(frozen=True, slots=True)
class MessageRef:
    """A message that the bot has on a platform."""

    key: ConversationKey
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPart:
    """One platform message of an answer: the intent to send it is committed first, its id afterwards."""

    index: int
    """0 for the first message of the answer, 1 for the message it rolled over into, and so on."""
    nonce: str
    """Unique; given to the platform, which drops a second send with the same one if it can (Discord)."""
    message: MessageRef | None
    """None while the send was not acknowledged."""


class AnswerState(StrEnum):
    """The states of an answer, each committed before what follows it."""

    PENDING = "pending"
    CLAIMED = "claimed"
    STREAMING = "streaming"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    EXPIRED = "expired"


Outcome = Literal[AnswerState.DONE, AnswerState.STOPPED, AnswerState.FAILED, AnswerState.EXPIRED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right and the duty to answer one question, held by one worker until its lease ends."""

    id: int
    """The answer's id."""
    conversation: Conversation
    question: StoredMessage
    event: Message
    """The question as it came from the platform (its text as it is typed there now)."""
    attempt: int
    """1 for the first; committed before the work begins."""
    owner: str
    """The worker that holds the lease."""
    received_at: datetime
    parts: tuple[SentPart, ...] = ()
    """What was sent of this answer before, by an earlier attempt or by the answer that it replaces in place."""
    kept: Finished | None = None
    """The finished answer, if an earlier attempt got as far as that: it is delivered as it is."""
    retry: bool = False
    """Asked for by a retry: a new answer to a question that has one."""
    side_branch: bool = False
    """The question does not follow the head (a reply to an older message): its answer leaves the line alone."""
    stopped: bool = False
    """Somebody who may has asked to stop it, before this attempt."""
    path: tuple[StoredMessage, ...] | None = None
    """The history up to the question, as `Store.history` gives it, at the moment of the claim; None: to be asked for."""


# ---------------------------------------------------------------------------------------------------------------------
# The way out


@dataclass(frozen=True, slots=True)
class Button:
    """A button under a message. `id` is stable, so that it works after a restart."""

    id: str
    """`stop:...`, `retry:...`, `branch:...` or `choose:...`, the name of its Action; at most 64 bytes of ASCII, as Telegram has it."""
    label: str
    group: str = ""
    """Buttons of one group are the alternatives of a choice, which has this title: a platform with selects makes one of them."""
    chosen: bool = False
    """The alternative that holds now. Where there are no selects, the label says so too."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that the bot sends."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """Text that the model has just written: the next piece of the answer, in Markdown."""

    text: str


@dataclass(frozen=True, slots=True)
class Quote(Text):
    """What was heard in the question's recording, above the answer: text that stays, but not the model's."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A passing word while there is no text yet ("place 3 in the queue"); the answer replaces it."""

    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole word of Hearth itself, not of the model: a command's result."""

    text: str
    files: tuple[File, ...] = ()
    private: bool = False
    """For the asker alone, where the platform can do that."""
    buttons: tuple[Button, ...] = ()
    """Left out where the platform has none: the text has to do without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last piece: how the answer ended, and what becomes part of the history."""

    outcome: Outcome
    text: str
    """The whole text as it is to stand on the platform."""
    drafts: tuple[Draft, ...] = ()
    """The messages to append, each the parent of the next; empty for commands and failures."""
    window_start: int | None = None
    """The id of the message at which the prompt's window was newly cut, if it was."""
    moves_head: bool = True
    """False for a side branch (a reply to an older message), which leaves the others' line alone."""
    private: bool = False
    files: tuple[File, ...] = ()
    buttons: tuple[Button, ...] = ()
    """Under the last message, in place of the usual ones; left out where the platform has none."""
    model: str = ""
    """The model that was asked; empty if none was."""
    usage: Usage = field(default_factory=Usage)
    """What it cost, counted also where nothing came of it."""
    erase: bool = False
    """Nothing of this question and answer is to stay in the store once it is closed (the word about /forgetme)."""
    unkept: bool = False
    """This question is not kept beyond its answer, as where retention is 0: there was nothing to read in it."""
    error: str = ""
    """The name of the error that the person was told, for those who count them; not kept."""


Piece = Text | Notice | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where an answer goes."""

    key: ConversationKey
    reply_to: str | None = None
    """The platform's id of the question."""
    interaction: str | None = None
    asked_at: datetime | None = None
    """When the question was sent; an interaction's token is good for some minutes only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One platform message to send, or the new state of one."""

    text: str
    """Markdown, already within the platform's limit by `Limits.measure`."""
    final: bool = True
    """False while the text still grows."""
    buttons: tuple[Button, ...] = ()
    form: bool = False
    """A page of choices and not talk; it stays one when its buttons go.

    An edited command can make one out of talk, and talk out of one: where an edit cannot do that, the adapter removes the message and
    raises MessageGone.
    """
    files: tuple[File, ...] = ()
    private: bool = False
    nonce: str = ""
    plain: bool = False
    """Show the text letter by letter, its markup too: the platform has refused it as Markdown."""
    failed: bool = False
    """The answer failed or expired: these are Hearth's own words about that, after what the model had said."""
    notice: bool = False
    """A passing word of Hearth's own ("place 3 in the queue", "Stopping."): nothing that is kept."""


@dataclass(frozen=True, slots=True)
class Typing:
    """The bot is at work: the platform's typing sign."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A streamed preview of an answer that is not sent yet (Telegram's drafts). `Destination.reply_to` is the question."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a platform can do, as numbers."""

    text: int
    """The longest text of one message, in the unit of `measure`."""
    measure: Callable[[str], int] = len
    """Markdown -> length on the platform, after its markup is parsed."""
    seconds_per_call: float = 1.0
    """Sends and edits of one chat share one slot; this long between them."""
    group_seconds_per_call: float | None = None
    """The same for chats that are not direct, where the platform is stricter there; None: no difference."""
    burst: int = 1
    """So many calls may go at once after a rest."""
    threads_apart: bool = False
    """A thread has a pace of its own, and does not share its chat's."""
    previews: bool = False
    """Asked again during an answer: an adapter that finds them refused takes this back, and edits make up for it."""
    buttons: bool = False
    selects: bool = False
    """Buttons of a group are shown as one select: 25 alternatives in each, their labels of 100 characters."""
    files: bool = False
    code_files: bool = False
    """Long code is better read in a file than in messages: it is sent so, if the configuration says from what length on."""
    private_answers: bool = False
    guilds: bool = False
    """Chats are in guilds (`Author.guild`), whose settings some of their people manage."""
    file_bytes: int = 0
    """The largest attachment that `fetch` loads, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """An entry of a platform's command menu."""

    name: str
    help: str
    argument: str = ""
    """What follows the name, in the help text's words; empty for none."""
    changes: bool = False
    """What it is for changes what others see: in a group that is for owners, and others are only shown how it is."""
    translations: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The help in other languages, by their code (ISO 639-1)."""
    private: bool = False
    """Its answer is for the asker's eyes: in a group it says no more than that."""
    discreet: bool = False
    """Its answer is for the asker's eyes where that can be; elsewhere all see it."""
    manages: bool = False
    """About a guild, and of use only to those who may change what holds there: left out where there are no guilds."""
    on_message: bool = False
    """It can be about a message: it comes as a `Message` that says it and replies to that one (`reply_to`)."""
    menu_title: str = ""
    """What it is called in a menu of what can be done with a message."""
    brings_files: bool = False
    """Its message brings the files of the message that it replies to, if it has none of its own: that one may never have been kept."""
    suggestions: Callable[[], Sequence[str]] | None = field(default=None, compare=False)
    """What can follow the name, as it is now; None if that is free."""
