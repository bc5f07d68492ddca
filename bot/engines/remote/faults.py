"""What a server's refusal means: whose fault it is, whether it may pass, and what is told of it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from bot.engines.remote import wire
from bot.errors import BadRequest, EngineBroken, EngineError, Told, TooLong

BUSY_WORDS = "The model has too much to do right now. Please ask again in a minute."
CLOSED_WORDS = "The model's server does not let me in; my owner finds the reason in the log."
LOST_WORDS = "The model's server does not know this model; my owner finds the reason in the log."
EXCERPT = 200
"""Characters of a server's words that the log gets."""

_CONTEXT = re.compile(
    r"context[ _-]?(?:length|size|window)|max_model_len|max_tokens must be at least 1|prompt is too long", re.IGNORECASE
)
"""How vLLM, SGLang, llama.cpp, tabbyAPI, LM Studio and the OpenAI API say that a prompt does not fit."""
_LENGTH = re.compile(r"context (?:length|size|window)\D{0,12}(\d{3,8})\b", re.IGNORECASE)
_SYSTEM = re.compile(r"system.{0,40}role|role.{0,40}system", re.IGNORECASE | re.DOTALL)
"""How templates without a system role refuse one: "System role not supported" (Gemma 2)."""
_CLOSED = frozenset({401, 402, 403})
_NOT_HERE = frozenset({*range(300, 400), 405, 501})
_PASSING = frozenset({408, 409, 425, 429})
"""Client errors that another try may heal: too slow, a conflict, too early, too many."""
_TOKEN = re.compile(r"[\w.-]{1,64}")


class Refusal(Exception):
    """A server said no. It does not leave this package: what does is the error that `Fault.told` gives."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.url}: {fault.status} {fault.kind}")
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A refusal: an HTTP status, or an error in the middle of a stream."""

    url: str
    status: int
    message: str = ""
    """The server's words, which may repeat somebody's: for the log at DEBUG alone, unless they are about the place."""
    kind: str = ""
    """The server's name for it."""
    wait: float | None = None
    """Seconds after which to come again, if the server says so."""

    @property
    def is_too_long(self) -> bool:
        """Whether the prompt does not fit the server's context."""
        return self.status != 429 and (self.status == 413 or _CONTEXT.search(f"{self.kind} {self.message}") is not None)

    @property
    def is_about_system(self) -> bool:
        """Whether the model's template has no system role."""
        return self.status in {400, 422, 500} and _SYSTEM.search(self.message) is not None

    @property
    def context_length(self) -> int | None:
        """The server's context length, if it tells it here."""
        found = _LENGTH.search(self.message)
        return int(found[1]) if found and self.is_too_long else None

    def told(self) -> Told:
        """The error for it."""
        what = f"{self.url}: {self.status} {self.kind}".strip()
        if self.is_too_long:
            return TooLong(detail=what)
        if self.status in _CLOSED or self.status == 404:
            words = LOST_WORDS if self.status == 404 else CLOSED_WORDS
            return EngineBroken(words, detail=f"{what}: {_excerpt(self.message)}")
        if self.status in _NOT_HERE:
            return EngineBroken(detail=f"{what}: this is not where a model is served")
        if 400 <= self.status < 500 and self.status not in _PASSING:
            return BadRequest("The model's server refuses this request.")
        return EngineError(BUSY_WORDS if self.status == 429 else None, detail=what)


def fault(url: str, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """A refusal as it came over HTTP."""
    return from_json(url, status, wire.parsed(body), wait=_seconds(headers.get("Retry-After", "")))


def from_json(url: str, status: int, answer: Any, *, wait: float | None = None) -> Fault:
    """The error object in any of its forms: nested, flat, FastAPI's `detail`, or a mere text."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if not isinstance(error, dict):
        error = {"message": error}
    code = error.get("code")
    if status < 300:  # in the middle of a stream
        status = code if isinstance(code, int) and 300 <= code < 600 else 500
    words = next((error[key] for key in ("message", "detail") if isinstance(error.get(key), str)), "")
    names = (value for value in (error.get("type"), code) if isinstance(value, str) and _TOKEN.fullmatch(value))
    return Fault(url=url, status=status, message=words, kind=" ".join(names), wait=wait)


def _seconds(text: str) -> float | None:
    """Retry-After (RFC 9110, section 10.2.3): seconds or a date. None for what is neither."""
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _excerpt(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * EXCERPT]).split())
    return line[:EXCERPT]
