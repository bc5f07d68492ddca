"""A working fake of the port SpeechToText, shipped with the others in bot.testing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from bot.errors import BadRequest
from bot.transcription import SAMPLE_BYTES, SAMPLE_RATE, Audio, Detected, Segment, Task, TranscribeOptions, Word

WINDOW_SECONDS = 30.0
LEAST_SECONDS = 0.3
QUIET = 200
"""Of 32767: no sample of silence is louder."""
LANGUAGES = ("en", "de")


def seconds(audio: Audio) -> Sequence[str]:
    """What is heard if nothing else is said: how long it is."""
    return [f" {audio.duration:.0f} seconds"]


class ScriptedSpeech:
    """A SpeechToText without a model: a function of the audio says what is heard, a segment in each window.

    Nothing is heard in silence, nor in less than 0.3 s. `heard` counts transcriptions, `windows` what was computed.
    """

    def __init__(self, words: Callable[[Audio], Sequence[str]] = seconds, *, seconds_per_window: float = 0.0) -> None:
        self.words = words
        self.heard = 0
        self.windows = 0
        self._seconds_per_window = seconds_per_window

    async def transcribe(
        self, audio: Audio, options: TranscribeOptions, *, model: str | None = None
    ) -> AsyncGenerator[Detected | Segment, None]:
        """See bot.ports.SpeechToText."""
        if options.language not in {None, *LANGUAGES}:
            raise BadRequest(f"The speech model does not know the language {options.language!r}.", param="language")
        self.heard += 1
        samples = memoryview(audio.pcm).cast("h")
        if audio.duration < LEAST_SECONDS or max(samples) <= QUIET:
            return
        yield Detected(options.language or LANGUAGES[0], 1.0)
        for number, text in enumerate(self.words(audio)):
            await asyncio.sleep(self._seconds_per_window)
            self.windows += 1
            yield self._segment(text, number, audio, options)

    def _segment(self, text: str, number: int, audio: Audio, options: TranscribeOptions) -> Segment:
        start = min(number * WINDOW_SECONDS, audio.duration)
        end = min(start + WINDOW_SECONDS, audio.duration)
        said = text.upper() if options.task is Task.TRANSLATE else text
        words = tuple(Word(start, end, f" {word}", 1.0) for word in said.split()) if options.words else ()
        return Segment(start=start, end=end, text=said, words=words)


def loud(duration: float) -> Audio:
    """A sound of so many seconds."""
    return Audio(pcm=(1000).to_bytes(SAMPLE_BYTES, "little", signed=True) * round(duration * SAMPLE_RATE))
