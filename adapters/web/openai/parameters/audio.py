"""The forms that bring audio. Their fields are texts, so each type reads one."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from adapters.web.openai.forms import Upload
from adapters.web.openai.parameters.base import Body, refusal
from bot.languages import NAMES

ONE_LANGUAGE = "only one language can be chosen beforehand; without one it is found out"
NO_SPEAKERS = "speakers are not told apart"
NO_LOGPROBS = "log probabilities of single tokens are not known"
STREAMED = frozenset({None, "json", "text"})
"""Formats that ask for nothing that the events of a stream cannot say."""
MOST_SHOWN = 64
"""Characters of a wrong value that are said again."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_CODES = {name: code for code, name in NAMES.items()} | {code: code for code in NAMES} | {"jv": "jw"}
"""What Whisper calls Javanese is not its code in ISO 639-1."""


def _number(value: object) -> float:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise ValueError("it is no number")
    return float(value)


def _truth(value: object) -> bool:
    if not isinstance(value, str) or (truth := _TRUTH.get(value.lower())) is None:
        raise ValueError("it is neither true nor false")
    return truth


def _language(value: object) -> str:
    """Whisper's code."""
    if not isinstance(value, str) or (code := _CODES.get(value.strip().lower())) is None:
        raise ValueError(f"{str(value)[:MOST_SHOWN]!r} is no language: it must be specified in ISO-639-1 format")
    return code


def _file(value: object) -> Upload:
    if not isinstance(value, Upload):
        raise ValueError("it must bring a file, with a file name, and this is a text")  # noqa: TRY004 - pydantic's way
    return value


AudioFile = Annotated[
    Any,
    BeforeValidator(_file),
    WithJsonSchema({"type": "string", "format": "binary"}),
    Field(description="flac, mp3, mp4, mpeg, mpga, m4a, ogg, wav or webm, up to 25 MiB; its name does not matter."),
]
Name = Annotated[str, Field(min_length=1)]
Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
Temperature = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
Flag = Annotated[bool, BeforeValidator(_truth)]
Language = Annotated[str, BeforeValidator(_language)]


class AudioForm(Body):
    """What both endpoints take."""

    file: AudioFile
    model: Name
    prompt: str = Field(
        default="", description="Words that came before, or names: the model writes as they are written."
    )
    response_format: Format | None = None
    temperature: Temperature = Field(
        default=0.0, description="0: what cannot be trusted is decoded again, at 0.2, 0.4 and so on."
    )


class TranslationForm(AudioForm):
    """What is said in a file, in English."""


class TranscriptionForm(AudioForm):
    """What is said in a file."""

    language: Language | None = Field(default=None, description="ISO 639-1; left out, the model finds out.")
    languages: list[Language] = Field(default_factory=list, description="One, as `language`; several are refused.")
    keywords: list[str] = Field(default_factory=list, description="Told to the model before the prompt.")
    include: refusal(NO_LOGPROBS, []) = None  # type: ignore[valid-type]
    timestamp_granularities: list[Literal["word", "segment"]] = Field(
        default_factory=list, description="`word`, `segment` or both, with the format `verbose_json`."
    )
    stream: Flag = Field(default=False, description="With the formats `json` and `text`, by every model.")
    chunking_strategy: Literal["auto"] | None = Field(
        default=None, description="Recordings are cut where nobody speaks, in any case."
    )
    known_speaker_names: refusal(NO_SPEAKERS, []) = None  # type: ignore[valid-type]
    known_speaker_references: refusal(NO_SPEAKERS, []) = None  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _is_possible(self) -> TranscriptionForm:
        if self.timestamp_granularities and self.response_format != "verbose_json":
            raise ValueError("timestamp_granularities: only the format verbose_json has a place for them")
        if self.stream and self.response_format not in STREAMED:
            raise ValueError(f"response_format: a stream is json or text, and has no place for {self.response_format}")
        if len({self.language or code for code in self.languages} | set(self.languages)) > 1:
            raise ValueError(f"languages: {ONE_LANGUAGE}")
        return self


LISTS = frozenset(
    {"languages", "keywords", "include", "timestamp_granularities", "known_speaker_names", "known_speaker_references"}
)
"""Fields that may come more than once."""
