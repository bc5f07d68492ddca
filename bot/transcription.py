"""The vocabulary of speech to text: sound on its way in, what is asked of it, what was heard. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

SAMPLE_RATE = 16_000
"""Samples per second: what Whisper hears, https://arxiv.org/abs/2212.04356 (section 2.2)."""
SAMPLE_BYTES = 2
"""Of a signed 16-bit sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Sound, decoded."""

    pcm: bytes | bytearray
    """Mono samples at SAMPLE_RATE, signed 16 bits in the machine's byte order."""
    damaged_after: float | None = None
    """Seconds from the start to where the file is damaged or breaks off; None if it is whole."""

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.pcm) / (SAMPLE_RATE * SAMPLE_BYTES)


class Task(StrEnum):
    """What becomes of the words, in the terms of Whisper."""

    TRANSCRIBE = "transcribe"
    """They are written as they were said."""
    TRANSLATE = "translate"
    """They are written in English."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeOptions:
    """What is asked of a transcription."""

    language: str | None = None
    """ISO 639-1, in lower case; None: the model finds out."""
    task: Task = Task.TRANSCRIBE
    prompt: str = ""
    """Words that came before, or names that may occur: the model writes in their style and spelling."""
    temperature: float = 0.0
    """0: what cannot be trusted is decoded again at higher and higher temperatures; otherwise this one alone."""
    words: bool = False
    """Tell when each word is said."""


@dataclass(frozen=True, slots=True)
class Detected:
    """The language that is spoken, told before the first segment."""

    language: str
    probability: float
    """1 where the language was given."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word in time. The text may begin with a space."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of speech. Times are seconds from the start of the audio."""

    start: float
    end: float
    text: str
    seek: int = 0
    """Where the window begins in which it was found, in steps of 10 ms of the speech that is left without the pauses."""
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    """At which it was decoded in the end."""
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0
    """Of the text's bytes under zlib: what repeats itself is high."""
    no_speech_prob: float = 0.0
    words: tuple[Word, ...] = field(default=())


def clock(seconds: float) -> str:
    """`0:12`, or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
