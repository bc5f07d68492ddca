"""What was heard, as people and programs read it: text, JSON, and subtitles. Pure.

The JSON objects are those of the OpenAI API: https://platform.openai.com/docs/api-reference/audio.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.languages import NAMES
from bot.transcription import Segment, Task

_ARROW = re.compile("--+>")
LEAST_SUBTITLE = 0.01
"""Seconds: players pass over one that ends when it begins."""


class Format(StrEnum):
    """How a transcript is written."""

    TEXT = "text"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """Everything that was heard in a recording."""

    segments: Sequence[Segment]
    language: str
    """ISO 639-1; empty if nobody speaks."""
    duration: float
    """Seconds of the recording."""
    task: Task = Task.TRANSCRIBE

    @property
    def text(self) -> str:
        """All words, on one line."""
        return "".join(segment.text for segment in self.segments).strip()


def written(transcript: Transcript, form: Format, *, words: bool = False) -> str:
    """A transcript in a format. `words`: in `verbose_json`, when each word is said; segments otherwise."""
    match form:
        case Format.TEXT:
            return transcript.text + "\n"
        case Format.JSON | Format.VERBOSE_JSON:
            return json.dumps(described(transcript, form, words=words), ensure_ascii=False) + "\n"
        case Format.SRT:
            cues = [f"{number}\n{_cue(one, ',')}\n" for number, one in enumerate(transcript.segments, 1)]
            return "\n".join(cues)
        case Format.VTT:
            return "\n".join(["WEBVTT\n", *(f"{_cue(one, '.', escape=True)}\n" for one in transcript.segments)])


def described(transcript: Transcript, form: Format, *, words: bool = False, segments: bool = True) -> dict[str, object]:
    """The object of `json` or `verbose_json`. `words`, `segments`: of which `verbose_json` tells when each is said."""
    if form is Format.JSON:
        return {"text": transcript.text}
    found: dict[str, object] = {
        "task": transcript.task.value,
        "language": NAMES.get(transcript.language, transcript.language),
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
    }
    if segments:
        found["segments"] = [_segment(number, segment) for number, segment in enumerate(transcript.segments)]
    if words:
        every = (word for segment in transcript.segments for word in segment.words)
        found["words"] = [
            {"word": word.text.strip(), "start": round(word.start, 3), "end": round(word.end, 3)} for word in every
        ]
    return found


def _segment(number: int, segment: Segment) -> dict[str, object]:
    return {
        "id": number,
        "seek": segment.seek,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _cue(segment: Segment, point: str, *, escape: bool = False) -> str:
    """Times and text. WebVTT reads `<` and `&` as markup (section 4.2.2), and `-->` ends a cue in both."""
    text = _ARROW.sub("->", " ".join(segment.text.split()))
    if escape:
        text = text.replace("&", "&amp;").replace("<", "&lt;")
    end = max(segment.end, segment.start + LEAST_SUBTITLE)
    return f"{_time(segment.start, point)} --> {_time(end, point)}\n{text}"


def _time(seconds: float, point: str) -> str:
    """`01:02:03.004`: https://www.w3.org/TR/webvtt1/#webvtt-timestamp."""
    millis = round(seconds * 1000)
    rest, millis = divmod(millis, 1000)
    minutes, rest = divmod(rest, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest:02}{point}{millis:03}"
