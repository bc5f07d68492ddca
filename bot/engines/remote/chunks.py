"""The chunks of a streamed chat completion -> values; whatever else comes is refused without a look inside."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bot.engines.remote.faults import Refusal, from_json
from bot.errors import EngineError
from bot.generation import Usage

DONE = b"[DONE]"
MOST_TOKENS = 2**31
"""A usage of more is nonsense."""

_REASONING = ("reasoning_content", "reasoning")
"""Where servers put what a model thinks: vLLM, SGLang, llama.cpp and DeepSeek; newer vLLM, Ollama and OpenRouter."""
_ENDINGS: Mapping[str, Literal["stop", "length"]] = {"length": "length", "max_tokens": "length"}
_FAILED = frozenset({"abort", "error"})
"""How vLLM, SGLang and OpenRouter end an answer that they gave up."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """What one event of the stream says."""

    text: str = ""
    reasoning: int = 0
    """Characters of what the model thinks; they are left out of the text."""
    ending: Literal["stop", "length"] | None = None
    usage: Usage | None = None
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0


def parse(url: str, payload: bytes) -> Chunk:
    """An event's data. Raises Refusal for an error that the server reports, EngineError for rubbish."""
    try:
        frame = json.loads(payload)
    except (ValueError, RecursionError):
        raise _rubbish(url, "no JSON") from None
    if not isinstance(frame, dict):
        raise _rubbish(url, "no object")
    if frame.get("error") or frame.get("object") == "error":
        raise Refusal(from_json(url, 200, frame))
    choice = _choice(url, frame)
    delta = _object(url, choice, "delta")
    text = delta.get("content")
    if not isinstance(text, str | None):
        raise _rubbish(url, "content that is no text")
    timings = _object(url, frame, "timings")
    return Chunk(
        text=_SURROGATE.sub("\ufffd", text or ""),
        reasoning=max(len(words) if isinstance(words, str) else 0 for words in map(delta.get, _REASONING)),
        ending=_ending(url, choice.get("finish_reason")),
        usage=_usage(url, frame),
        prefill_seconds=_milliseconds(timings.get("prompt_ms")),
        decode_seconds=_milliseconds(timings.get("predicted_ms")),
    )


def _choice(url: str, frame: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = frame.get("choices")
    if not isinstance(choices, list | None):
        raise _rubbish(url, "choices that are no list")
    first = choices[0] if choices else {}
    if not isinstance(first, dict):
        raise _rubbish(url, "a choice that is no object")
    return first


def _object(url: str, owner: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = owner.get(key)
    if not isinstance(value, dict | None):
        raise _rubbish(url, f"{key} that is no object")
    return value or {}


def _ending(url: str, reason: object) -> Literal["stop", "length"] | None:
    """`length` is told from the other reasons; a name that we do not know is an end, too."""
    if reason is None or reason == "":
        return None
    if not isinstance(reason, str):
        raise _rubbish(url, "finish_reason that is no text")
    if reason in _FAILED:
        raise EngineError(detail=f"{url}: the server gave the answer up")
    return _ENDINGS.get(reason, "stop")


def _usage(url: str, frame: Mapping[str, Any]) -> Usage | None:
    if not frame.get("usage"):
        return None
    usage = _object(url, frame, "usage")
    prompt = _count(usage.get("prompt_tokens"))
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=min(cached, prompt),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_TOKENS else 0


def _milliseconds(value: object) -> float:
    return value / 1000 if isinstance(value, int | float) and 0 <= value < MOST_TOKENS else 0.0


def _rubbish(url: str, what: str) -> EngineError:
    return EngineError(detail=f"{url}: the stream holds {what}")
