"""Recordings: which attachments are one, and what is said in them. A video is one, too: its sound is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePath

from bot.errors import UnreadError
from bot.messages import Attachment, Speech
from bot.ports import Decode, SpeechToText
from bot.records import Content
from bot.transcription import Detected, Segment, TranscribeOptions, clock

READER = "speech"
"""How `Content.reader` begins; the model and the language follow, for another one hears other words."""
AT_ONCE = 3
"""So many recordings are in memory at once, or as many as are heard at once: while one is heard the next is loaded."""
MEBIBYTE = 2**20
_SUFFIXES = {
    "audio": frozenset({"aac", "amr", "flac", "m4a", "mp3", "mpga", "oga", "ogg", "opus", "wav"}),
    "video": frozenset({"3gp", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "webm"}),
}
"""Of names; a file without a media type of its own is one by its name."""
_TYPESCRIPT = "video/mp2t"
"""What TypeScript is by its suffix; the streams that are rightly called so are not read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a recording may be."""

    seconds: float
    bytes: int


def is_recording(item: Attachment) -> bool:
    """Whether an attachment has sound, by what its platform states."""
    return _family(item) in _SUFFIXES


def is_video(item: Attachment) -> bool:
    """Whether there are pictures beside the sound, by what its platform states."""
    return _family(item) == "video"


def _family(item: Attachment) -> str:
    """`audio`, `video`, or something else."""
    if item.kind != "file":
        return "audio" if item.kind == "voice" else item.kind
    media_type = item.media_type.partition(";")[0].strip().lower()
    family = media_type.partition("/")[0]
    if family in {"", "application"}:
        suffix = PurePath(item.name.strip().lower()).suffix[1:]
        return next((each for each, suffixes in _SUFFIXES.items() if suffix in suffixes), family)
    return "" if media_type == _TYPESCRIPT else family


class Voice:
    """Hears recordings.

    `language`: ISO 639-1; empty: the model finds out. `keep`: the recordings are kept, too. `workers`: so many are heard
    at once.
    """

    def __init__(
        self,
        decode: Decode,
        speech: SpeechToText,
        limits: Limits,
        *,
        model: str = "",
        language: str = "",
        keep: bool = False,
        workers: int = 1,
    ) -> None:
        self._decode = decode
        self._speech = speech
        self._limits = limits
        self._keep = keep
        self._reader = ":".join([READER, model, language])
        self._options = TranscribeOptions(language=language or None)
        self._places = asyncio.Semaphore(max(AT_ONCE, workers))

    async def hear(self, item: Attachment, load: Callable[[], Awaitable[bytes]]) -> tuple[Content, str]:
        """What is said in a recording, and what of it is lost, in words. Raises UnreadError, EngineError, and what `load` raises."""
        self._check_stated(item)
        async with self._places:  # before it is loaded: two hundred at once would fill the memory
            data = await load()
            # A video may be longer than its sound.
            audio = await self._decode(data, stated=None if is_video(item) else item.duration)
            language, words = "", []
            async with aclosing(self._speech.transcribe(audio, self._options)) as heard:
                async for each in heard:
                    match each:
                        case Detected():
                            language = each.language
                        case Segment():
                            words.append(each.text)
        text = "".join(words).strip()
        lost = "" if audio.damaged_after is None else f"the recording is damaged after {clock(audio.damaged_after)}"
        if not text:
            raise UnreadError(lost or "I understand no word in it")
        digest = await asyncio.to_thread(lambda: sha256(data).hexdigest())
        content = Content(
            hash=digest,
            reader=self._reader,
            media_type=item.media_type,
            size=len(data),
            words=text,
            speech=Speech(language, round(audio.duration, 2)),
            data=data if self._keep else None,
        )
        return content, lost

    def _check_stated(self, item: Attachment) -> None:
        """Raises UnreadError for what its platform says is too much."""
        if item.duration is not None and item.duration > self._limits.seconds + 1:
            raise UnreadError(f"longer than {clock(self._limits.seconds)}")
        if item.size is not None and item.size > self._limits.bytes:
            raise UnreadError(f"larger than {self._limits.bytes / MEBIBYTE:.0f} MiB")
