"""Attachments: who reads which, and what the prompt and the person hear of them."""

from __future__ import annotations

import asyncio
import unicodedata
from dataclasses import dataclass, replace

import structlog

from bot import documents, voice
from bot.errors import FloodWait, MessageGone, NothingToRead, PlatformError, Told, TooLarge, Unreachable, UnreadError
from bot.messages import Attached, Attachment, StoredMessage, with_speech
from bot.ports import Fetch, Store
from bot.records import Reading

log = structlog.get_logger(__name__)

FETCH_SECONDS = 60.0
"""A platform that takes longer for one file counts as away."""
GONE = "no longer there"
LONGEST_NAME = 80
"""Characters of a file's name that are shown: names in chats are rarely half as long."""
_UNITS = (("MiB", 2**20), ("KiB", 2**10))
_NOT_YET = {"image": "pictures are not understood yet", "video": "videos are not understood yet"}
"""By `Attachment.kind`, and by what a media type begins with. Of a video the sound is heard, where recordings are."""


@dataclass(frozen=True, slots=True)
class Readers:
    """What reads attachments."""

    fetch: Fetch
    max_document_bytes: int
    voice: voice.Voice | None = None
    """None: recordings are not heard."""
    seconds: float = FETCH_SECONDS


async def read(question: StoredMessage, store: Store, readers: Readers) -> StoredMessage:
    """The question with its attachments read, and that written down; what was read before is not read again.

    Raises Unreachable if the platform is away, or does not give a file within `Readers.seconds`; EngineError if the
    speech model fails.
    """
    missing = [(number, item) for number, item in enumerate(question.attachments) if item.words is None]
    if not missing:
        return question
    readings = [_as_before(item, await _read(number, item.attachment, readers)) for number, item in missing]
    await store.record_read(question.id, readings)
    items = list(question.attachments)
    for reading in readings:
        attachment, found = items[reading.number].attachment, reading.content
        words, speech = (found.words, found.speech) if found else (None, None)
        items[reading.number] = Attached(attachment, words, reading.unread, speech)
    heard = tuple(items[reading.number] for reading in readings)
    return replace(question, text=with_speech(question.text, heard), attachments=tuple(items))


def _as_before(item: Attached, again: Reading) -> Reading:
    """A file that is gone by now was not read for the reason that was found while it was there."""
    return replace(again, unread=item.unread) if again.unread == GONE and item.unread else again


def check(question: StoredMessage) -> None:
    """Raises Told if there is nothing in a message that a model could answer; NothingToRead if there never will be."""
    if question.text.strip() or any(item.words is not None for item in question.attachments):
        return
    if not question.attachments:
        raise NothingToRead("There is no text in this message, and text is all that I understand so far.")
    each = ", ".join(dict.fromkeys(_refused(item) for item in question.attachments))
    reasons = sorted({item.unread for item in question.attachments})
    kind = NothingToRead if all(_refusal(item.attachment) for item in question.attachments) else Told
    raise kind(f"I cannot read this: {each}.", detail=f"attachments not read: {', '.join(reasons)}")


def told(message: StoredMessage) -> str:
    """What a message says to the model: its text, then its documents, each under its name. The same at any time."""
    files = [item for item in message.attachments if item.speech is None]
    return "\n\n".join(part for part in (message.text, *map(_told, files)) if part) if files else message.text


def unread(message: StoredMessage) -> str:
    """A line for the person about each attachment that the model does not know, or not whole; empty if it knows all."""
    left = [item for item in message.attachments if item.words is None or item.unread]
    return "\n".join(f"[`{_name(item.attachment)}`: {_why(item)}]" for item in left)


def quote(message: StoredMessage) -> str:
    """What was heard in a message, as a quotation in Markdown; empty if nothing was."""
    said = with_speech("", message.attachments)
    return "\n".join(f"> {line}".rstrip() for line in said.splitlines())


def summary(message: StoredMessage) -> str:
    """A message's text with the names of what else came with it."""
    files = [item for item in message.attachments if item.speech is None]
    return " ".join([message.text, *(f"[{_name(item.attachment)}]" for item in files)]).strip()


def _refused(item: Attached) -> str:
    return f"`{_name(item.attachment)}` ({item.unread})" if item.attachment.name.strip() else item.unread


def _told(item: Attached) -> str:
    name = _name(item.attachment)
    if item.words is None:
        return f"[{name}: {_why(item)}]"
    return "File {}:\n{}".format(name, item.words.strip("\n"))


def _why(item: Attached) -> str:
    if item.words is not None:
        return item.unread
    return f"not read, {item.unread}" if item.unread else "not read"


async def _read(number: int, item: Attachment, readers: Readers) -> Reading:
    try:
        if voice.is_recording(item):
            if readers.voice is None:
                raise UnreadError(_NOT_YET["video"] if voice.is_video(item) else "voice messages are not heard here")
            content, lost = await readers.voice.hear(item, lambda: _load(item, readers))
            return Reading(number=number, content=content, unread=lost)
        if refusal := _refusal(item):
            raise UnreadError(refusal)
        documents.check_size(item.size or 0, readers.max_document_bytes)
        data = await _load(item, readers)
        # Large ones would keep the event loop.
        content = await asyncio.to_thread(documents.content, data, item, readers.max_document_bytes)
        return Reading(number=number, content=content)
    except UnreadError as error:
        return Reading(number=number, content=None, unread=str(error))


def _refusal(item: Attachment) -> str:
    """Why nobody reads such a file, by what its platform states; empty if somebody does."""
    if voice.is_recording(item):
        return ""
    family = item.media_type.partition("/")[0].strip().lower()
    if item.kind in _NOT_YET:
        return _NOT_YET[item.kind]
    return "" if documents.is_text(item) else _NOT_YET.get(family, documents.NO_TEXT)


async def _load(item: Attachment, readers: Readers) -> bytes:
    """Raises UnreadError; Unreachable for what may be over later."""
    try:
        async with asyncio.timeout(readers.seconds):
            return await readers.fetch(item)
    except TimeoutError as error:
        raise Unreachable(f"a file did not come within {readers.seconds:.0f} s") from error
    except FloodWait as error:
        raise Unreachable(str(error)) from error
    except Unreachable:
        raise
    except MessageGone as error:
        raise UnreadError(GONE) from error
    except TooLarge as error:
        raise UnreadError(f"larger than {_size(error.most)}") from error
    except PlatformError as error:
        log.warning("an attachment could not be loaded", error=type(error).__name__)
        log.debug("the platform's words about it", error=str(error))
        raise UnreadError("it could not be loaded") from error


def _size(number: int) -> str:
    """Bytes in words, rounded down: what is larger than these is larger than that."""
    whole = next((f"{number // unit} {name}" for name, unit in _UNITS if number >= unit), "")
    return whole or f"{number} bytes"


def _name(item: Attachment) -> str:
    """A file's name on one line, without control and format characters: it is as untrusted as its words."""
    line = " ".join(item.name.replace("`", "'").split())
    visible = "".join(char for char in line if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    return visible[:LONGEST_NAME].strip() or item.kind
