"""The ports: what each part may expect of the part behind a border. Every implementation passes tests/contract.

An adapter author writes `Adapter` and nothing else; delivery, splitting, pacing, permissions, commands and
persistence are the core's. A wish for one more optional hook is a sign that the thing belongs in the core.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from bot.generation import ChatMessage, ChatTemplate, Delta, Finish, Generation, PlainText, Prefill, Size, Usage
from bot.messages import (
    Attachment,
    Claim,
    Command,
    Conversation,
    ConversationKey,
    Destination,
    Event,
    Finished,
    GuildKey,
    GuildSettings,
    Limits,
    MessageRef,
    Outcome,
    Outgoing,
    Piece,
    Preview,
    SentPart,
    Settings,
    StoredMessage,
    Triage,
    Trigger,
    Typing,
)
from bot.records import Found, Node, PlatformCount, Reading, Thread
from bot.transcription import Audio, Detected, Segment, TranscribeOptions

Receive = Callable[[Event], Awaitable[None]]
"""Returns when the event is committed: only then may the adapter acknowledge it to its platform."""
Fetch = Callable[[Attachment], Awaitable[bytes]]
"""`Adapter.fetch` of the account that a message came to."""


class Adapter(Protocol):
    """One account on one platform."""

    name: str
    """The platform's name, as in `ConversationKey.platform`."""

    @property
    def limits(self) -> Limits:
        """What the platform can do, as far as is known by now. A plain attribute will do."""

    async def listen(self, receive: Receive) -> None:
        """Hear events until cancelled; makes an Event of each and nothing else."""

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """Send one message. Raises PlatformError: Barred if the person or the chat does not want the bot."""

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """Change a message of the bot's own. An edit that changes nothing is no error. Raises PlatformError.

        A file that it had goes: where an edit cannot do that, the adapter removes the message and raises MessageGone.
        """

    async def delete(self, message: MessageRef) -> None:
        """Remove a message of the bot's own; one that is gone is no error."""

    async def show(self, to: Destination, sign: Typing | Preview) -> None:
        """Give a sign of life or a streamed preview; may do nothing. Raises FloodWait, and no other PlatformError."""

    async def fetch(self, attachment: Attachment) -> bytes:
        """Load an attachment, within `limits.file_bytes`; also after a restart.

        Raises PlatformError: MessageGone if it is not there any more, TooLarge, Unreachable if it may come later.
        """

    async def publish(self, commands: Sequence[Command]) -> None:
        """Show the commands in the platform's menus."""


class Decode(Protocol):
    """The bytes of an audio file -> samples."""

    async def __call__(self, data: bytes, *, stated: float | None = None) -> Audio:
        """`stated`: the length in seconds as the file's platform knows it. Raises UnreadError, in words for people."""


class SpeechToText(Protocol):
    """Hears what is said."""

    def transcribe(
        self, audio: Audio, options: TranscribeOptions, *, model: str | None = None
    ) -> AsyncGenerator[Detected | Segment, None]:
        """The language, if anybody speaks, then the segments as they are found, in the order of time.

        `model`: another than the configured one. Closing the iterator ends the work with the window that is under way.
        Raises BadRequest for what the model cannot do (a language, a translation), EngineError.
        """


class Ledger(Protocol):
    """What delivery writes down about an answer while it is sent. `Store` is one."""

    async def intend(self, claim: Claim, part: SentPart, finished: Finished | None = None) -> None:
        """Commit the intent to send a part, before it is sent; the answer is `streaming` from now on.

        Takes the place of what was written down at this index before (its message is gone, or was not acknowledged).
        `finished`: the finished answer, kept with it as by `keep`. Raises LeaseLost.
        """

    async def record_sent(self, claim: Claim, part: SentPart) -> None:
        """Commit the platform's id of a part, whoever holds the lease by now: what was sent was sent.

        If an edit gave the part to a new answer meanwhile, it is recorded there. Raises LeaseLost if nobody has it.
        """

    async def drop_part(self, claim: Claim, index: int) -> None:
        """Forget a part whose platform message was removed, or never came to be. Raises LeaseLost."""

    async def keep(self, claim: Claim, finished: Finished) -> None:
        """Commit the finished answer before its last delivery, so that a restart delivers the same words.

        Raises LeaseLost.
        """

    async def close(
        self, claim: Claim, outcome: Outcome, finished: Finished | None, sent: SentPart | None = None
    ) -> tuple[int, ...]:
        """End an answer: append its drafts, move the head, mark the question, count the usage. Returns the new ids.

        `sent`: the part that was sent last, recorded with it as by `record_sent`; where LeaseLost is raised it is not recorded.

        Without drafts the question is a command, no part of the history, if it is DONE or does not move the head; else
        (it failed, expired, or was stopped before the first word) it stays in the line as context. With drafts under
        another message than the question (/retry) the question is a command too. A side branch never moves the head;
        a question that `follows` another message is none, also if it stays without an answer.
        With retention 0, `Finished.unkept` or `Finished.erase` nothing of it
        stays, in the write-ahead log neither. Raises LeaseLost.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A closed answer that is to be marked on its platform."""

    parts: tuple[MessageRef, ...]
    """Its messages there, in their order."""
    text: str
    """Markdown: all that they show."""


class Deliver(Protocol):
    """Pieces become messages on a platform."""

    def paced(self, adapter: Adapter) -> Adapter:
        """The same adapter for what is said beside answers: its calls wait for their chat's turn, as the answers' do."""

    async def mark(self, adapter: Adapter, mark: Mark, words: str) -> None:
        """Put a short line under a closed answer and take its buttons away, by an edit of its last message.

        Where the line does not fit there, only the buttons go; where the answer stands otherwise than is known, nothing is changed.
        Raises PlatformError.
        """

    async def deliver(self, claim: Claim, adapter: Adapter, pieces: AsyncIterator[Piece]) -> Finished:
        """Send the pieces of one answer as they come, close the answer, and return the last piece.

        `claim.parts` are edited to completion before anything new is sent. The finished answer is kept before its last
        delivery, if anything of it is to stay. Raises PlatformError when the platform
        refuses the final text for good (Barred at the first call that says so), and whatever `pieces` and the ledger raise;
        then the answer is not closed.
        """


class Refusal(Enum):
    """Why the line does not go on from another answer."""

    NO_OTHER = auto()
    """There is none, or not any more."""
    NOT_YOURS = auto()
    """In a group that is for who asked, and for owners."""
    BUSY = auto()
    """An answer is being made there, or waits: it follows the line as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of an event."""

    duplicate: bool = False
    message: int | None = None
    """The id of the stored message, if one was stored or changed."""
    superseded: tuple[int, ...] = ()
    """Ids of answers that must stop, if they are being made: their question was edited or deleted."""
    orphans: tuple[MessageRef, ...] = ()
    """The bot's platform messages of a superseded answer that no other answer takes over: to be deleted there."""
    marks: tuple[Mark, ...] = ()
    """Closed answers that stay although their question was deleted: to be marked. Told once, so a process that is killed leaves them."""
    work: bool = False
    """There is a new answer to make."""
    goes_on: StoredMessage | None = None
    """BRANCH: the answer through which the line goes now."""
    refusal: Refusal | None = None
    """BRANCH: why it goes as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """Everything that is known of a person, as JSON-ready values."""

    data: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How much was removed."""

    messages: int
    """Messages of every kind: questions, what answers said, group talk."""
    answers: int
    """Answers, the waiting ones included."""
    superseded: tuple[int, ...] = ()
    """Ids of answers that must stop, if they are being made."""
    orphans: tuple[MessageRef, ...] = ()
    """The bot's platform messages of answers that were not closed: to be deleted there."""


Removed = Callable[[Forgotten], None]
"""Told after the removal, so that answers in progress stop and what was sent of them goes; must not block."""


class Notes(Protocol):
    """What an adapter has to know after a restart. `Store` is one."""

    async def notes(self, platform: str, account: str) -> dict[str, str]:
        """All that this account's adapter has noted, by name."""

    async def note(self, platform: str, account: str, changes: Mapping[str, str | None]) -> None:
        """Commit notes, in place of those of the same names; None removes one. They hold nothing that anybody wrote."""

    async def direct_chats(self, platform: str, account: str, *, limit: int) -> list[str]:
        """Ids of the chats with one person alone of which something is kept, the liveliest first."""


class Store(Ledger, Notes, Protocol):
    """The memory. Every method is one transaction; rows never leave the storage package.

    Every method raises DatabaseError if the database fails; then nothing of it is written and it may be tried again.
    NUL and lone surrogates, which no database holds, are U+FFFD in every text that comes back.
    """

    async def receive(self, event: Event, triage: Triage) -> Received:
        """Commit an event once: a duplicate by (platform, account, chat, event id, revision) changes nothing.

        Message, pending: a message and a pending answer. Message, context: a message. Ignored: nothing is stored.
        Edited: a waiting question's text is replaced; the last question (the head is its answer) gets a new branch
        and a pending answer that edits the old one's platform messages in place; an older message's text is changed
        only; equal text is nothing. Deleted: the message goes, and its answer if that is not begun.
        Edited with triage context (who wrote it may not talk any more) changes the text only.
        Action: RETRY makes a new pending answer (a sibling) to the question of `target`'s answer, or of the head, or to
        `Action.message`, whose new answer then moves the head wherever it stands. Where others are too, it is for who asked, and
        for owners.
        Action: BRANCH makes the line go through another answer to the question of `target`'s answer: through the next one, in the order of
        their making, after the one that it goes through now (else after that one), to the newest leaf below it. For who asked, and for
        owners; not while an answer is open there.
        Migrated: the conversations of the old chat get the new id.
        Left: every conversation of the chat (the thread's alone; of the guild, with what was set there) goes, as by `delete_conversation`;
        what the platform shows of answers in progress is left there, for it cannot be reached any more.
        A message whose author writes as a member of a guild tells in which one the conversation is.

        The text of a question that is being answered counts as the last one's: the answer in progress is closed as
        stopped and superseded, and the new one takes its place in the order. While another question is answered, an
        edit changes the text only. A Message that is known with a lower revision is an edit. An edit or deletion of
        what was never stored is nothing; nothing brings a deleted message back. Deletion of a question that is being
        answered supersedes the answer; what a closed answer said stays, and is to be marked (`Received.marks`).
        """

    async def claims(
        self,
        owner: str,
        *,
        lease: float,
        accounts: Collection[tuple[str, str]] | None = None,
        busy: Collection[int] = (),
        most: int,
    ) -> Iterable[Claim]:
        """Take the oldest waiting answers, up to `most`, each of a conversation in which none is in progress.

        An answer in progress whose lease has ended (its worker died) comes first, with `attempt` one higher. One that was attempted
        before is the last that is taken: whoever answers it may have to let the others end first.
        `accounts`: only questions of these (platform, bot account); None means of all. `busy` are ids of conversations to pass over. `lease`
        in seconds. The question's parent is resolved here, once: what it `follows`,
        the bot's message that it replies to, or the head; waiting context messages are put before it in the line.
        The head is on that talk from then on. Attempts are counted without end.
        The path to the question comes along where it is short and will surely be wanted.
        """

    async def stop(self, key: ConversationKey, *, asker: str | None, before: datetime | None = None) -> int | None:
        """Mark the current answer there to be stopped: the one in progress (also one whose worker died), else the next.

        `asker`: only if this author's question is answered; None means whoever asked. `before`: an answer that came to be
        later is not meant. A later claim of it has `stopped`
        set. Returns the answer's id; None if there is none that may be stopped.
        """

    async def is_open(self, key: ConversationKey, event_id: str) -> bool:
        """Whether an answer to this event is waiting or in progress."""

    async def answer_to(self, key: ConversationKey, event_id: str) -> StoredMessage | None:
        """What was last answered to this event, as far as it is kept: of commands and failures nothing is."""

    async def set_aside(self, claim: Claim, behind: int | None) -> None:
        """Let the question of an answer in progress stand behind another message, and leave the line alone; again, it changes nothing.

        Raises LeaseLost; ValueError for a message that is in no line of this conversation, and for the question itself.
        """

    async def extend(self, claim: Claim, *, lease: float) -> None:
        """Prolong the lease to `lease` seconds from now. Raises LeaseLost."""

    async def release(self, claim: Claim) -> None:
        """Give an answer back untouched, without counting the attempt (a drain); nothing if it was taken over."""

    async def record_read(self, message: int, readings: Sequence[Reading]) -> None:
        """Write down what was read of a message's attachments, or why nothing was; again, it changes nothing.

        What was read is kept once for all attachments with the same bytes, and goes with the last of their messages.
        A file that came as `Attachment.data` goes once it was read, also if nothing could be read in it.
        Nothing is written for a message that is gone, nor for an attachment that it does not have.
        """

    async def file(self, digest: str) -> bytes | None:
        """The bytes of a kept file by their SHA-256 (`Attachment.data`, `Content.data`); None if they are not kept (any more)."""

    async def history(self, tip: int | None) -> list[StoredMessage]:
        """The path from the last stored cut (or the root) to `tip`, oldest first. Empty for None.

        Commands are not on it. At most the last 5000 messages: nobody's cut is that far away. Every message that the
        store gives has its attachments, with what was read in them.
        """

    async def conversation(
        self, key: ConversationKey, *, direct: bool = True, person: str | None = None
    ) -> Conversation:
        """The conversation at this place; made if there is none.

        `person`: the author's id to whom a direct one belongs, so that its settings and title are that person's data
        before the first message says so.
        """

    async def find_conversation(self, key: ConversationKey) -> Conversation | None:
        """The conversation at this place, if there is one."""

    async def set_head(self, conversation: int, head: int | None) -> None:
        """Make another message the end of the current line, whose first day it then has; None begins a new one, today.

        Raises ValueError for a message of another conversation.
        """

    async def set_settings(self, conversation: int, settings: Settings) -> None:
        """Replace a conversation's settings."""

    async def guild(self, key: GuildKey) -> GuildSettings:
        """What is set for all of a guild. Where a conversation has nothing of its own, that holds in it: its retention too."""

    async def set_guild(self, key: GuildKey, settings: GuildSettings) -> None:
        """Replace a guild's settings."""

    async def trigger(self, key: GuildKey) -> Trigger | None:
        """What is answered in a guild. Costs nothing for one that was asked about lately; another process's change counts in a minute."""

    async def set_title(self, conversation: int, title: str) -> None:
        """Name a conversation. The name goes with it, and with the last of its messages that time removes."""

    async def threads(self, platform: str, account: str, chat: str) -> list[Thread]:
        """The conversations of a chat that have messages, a title or settings of their own, newest first."""

    async def line(self, conversation: int, *, limit: int = 200, before: int | None = None) -> list[Node]:
        """The current line, oldest first: its last `limit` messages, then the questions that wait, in their order.

        The whole line, from its root and not from a cut; there is more of it if the first node's message has a parent.
        `before`: only those `limit` messages that come before this one, on its own line; empty for a strange id.
        The line ends with the head; while an answer is made that will move the head, with that answer's question.
        What a long line costs depends on `limit` alone. Commands are not on it, except while they wait.
        """

    async def choose(self, conversation: int, message: int) -> None:
        """Make the current line go through a message, to the newest leaf below it.

        An answer in progress that is not below it becomes a side branch: it does not take the line back; one that is
        below it leads again. Of a message that still waits for its place nothing is changed. Raises ValueError for a
        message that is not in this conversation, and for a command.
        """

    async def delete_conversation(self, conversation: int) -> Forgotten:
        """Remove a conversation with all its messages, its settings and its title; redelivered events stay known."""

    async def search(self, platform: str, account: str, chat: str, words: str, *, limit: int = 50) -> list[Found]:
        """Messages on all branches of a chat's conversations that have every one of these words, newest first.

        What was read in the files that came with a message counts as its own words.
        A word counts wherever it occurs, also within another, in any case and in any of its Unicode spellings.
        Commands are left out. Nothing is found for no words.
        """

    async def overview(self) -> list[PlatformCount]:
        """How much there is, by platform and bot account. For owners: it counts every message."""

    async def find_sent(self, key: ConversationKey, message_id: str) -> StoredMessage | None:
        """The stored message that this platform message is, or is a part of."""

    async def pending(self, conversation: int | None = None) -> int:
        """How many answers are waiting or in progress."""

    async def count_today(self, platform: str, author: str) -> Usage:
        """What this person's answers have cost since midnight UTC."""

    async def usage(self, *, platform: str | None = None, author: str | None = None) -> list[dict[str, object]]:
        """Messages and tokens by day and model, newest first."""

    async def export(self, platform: str, author: str) -> Exported:
        """Everything of one person."""

    async def forget_message(self, message: int) -> Forgotten:
        """Remove a message, and the answer to it if it is a question; the rest of the tree stays connected."""

    async def forget_person(self, platform: str, author: str, *, but: int | None = None) -> Forgotten:
        """Remove everything of one person, from the write-ahead log too; redelivered events stay known.

        That is what they wrote, what was answered to it, their private conversations with their settings, their
        counters, their pairing, and their own use of the API. On SQLite no byte of it is left in the data directory;
        PostgreSQL reuses the space in its own time. `but`: the id of an answer in progress (the word about this very
        command), which `close` removes by `Finished.erase`; what cleans the file is done there, once. Raises
        DatabaseError also where all is removed but another program that reads the file keeps copies alive.
        """

    async def pair(self, platform: str, person: str) -> None:
        """Let a person in from now on, until `forget_person`; again, it changes nothing."""

    async def is_paired(self, platform: str, person: str) -> bool:
        """Whether a person was let in. Costs nothing for who was found lately; another process's removal counts in a minute."""

    async def expire(self, now: datetime, default_days: int) -> Forgotten:
        """Remove what is older than its conversation's (or the default) retention, in many small transactions.

        A title goes with its conversation's last message, a mark of an event after 90 days if its content is gone by then,
        what programs had kept (`bot.api.Kept`) after the default retention.
        """

    async def backup(self, target: Path) -> None:
        """Write a consistent copy while running (SQLite). Raises DatabaseError."""

    async def aclose(self) -> None:
        """Finish what is being written and let go of the database."""


class Engine(Protocol):
    """A model that writes answers: what the queue and the manager need of it."""

    name: str
    """The alias and what tells the weights (a digest, or a server's name for them), as `StoredMessage.model` keeps it."""
    context_length: int

    def stream(self, request: Generation) -> AsyncGenerator[Prefill | Delta | Finish, None]:
        """Generate. `aclose()` of the iterator cancels and frees the compute. Raises EngineError, BadRequest, TooLong."""

    async def aclose(self) -> None:
        """Free the model."""


class ChatEngine(Engine, Protocol):
    """A model that continues token ids: `Generation.prompt`."""

    control_strings: frozenset[str]
    """Every added token of the vocabulary, special or not."""
    template: ChatTemplate
    plain: PlainText

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts -> token ids, no bos added. Control strings ARE parsed: bot.prompt decides what may hold them."""

    def text_of(self, ids: Sequence[int]) -> str:
        """What these ids spell, without control tokens; U+FFFD for bytes that are no character."""


class MessageEngine(Engine, Protocol):
    """A model that is given messages: `Generation.messages`. Template, tokens and the borders of roles are its server's."""

    async def size(self, messages: Sequence[ChatMessage], *, enough: int) -> Size:
        """The tokens of a prompt. One that is surely below `enough` is not counted exactly."""
