"""What the core gives -> the API's objects: whole ones, and the chunks of a stream. Pure."""

from __future__ import annotations

import codecs
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from bot.api import ApiEvent, Begun, CallPiece, Ended, ReasoningPiece, TextPiece, Used
from bot.generation import TokenLogprob, Usage

A_LOGPROB = 80
"""Characters that tell of one token, or of one in its place."""
LEAST_LOGPROB = -9999.0
"""What OpenAI writes for a token that could not come: JSON has no infinity."""

TokenLogprobs = tuple[tuple[TokenLogprob, tuple[TokenLogprob, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What every object of one answer says."""

    id: str
    created: int
    """Seconds since 1970."""
    model: str
    fingerprint: str


@dataclass
class _Call:
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)


@dataclass
class _Choice:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    """Those of each text."""
    reason: str | None = None


class Collected:
    """All choices of an answer, from its events."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self.size = 0
        """Characters of its JSON, roughly."""
        self.usage = Usage()
        self.reasoning_tokens = 0

    def feed(self, event: ApiEvent) -> None:
        """Take the next event."""
        if isinstance(event, Begun):
            return
        if isinstance(event, Used):
            self.usage, self.reasoning_tokens = event.usage, event.reasoning_tokens
            return
        choice = self._choices.setdefault(event.choice, _Choice())
        match event:
            case TextPiece(text=text, logprobs=logprobs):
                choice.text.append(text)
                choice.logprobs.append(logprobs)
                self.size += len(text) + A_LOGPROB * sum(1 + len(others) for _, others in logprobs)
            case ReasoningPiece(text=text):
                choice.reasoning.append(text)
                self.size += len(text)
            case CallPiece(name=name) if name:
                choice.calls.append(_Call(event.id, name, [event.arguments]))
            case CallPiece():
                choice.calls[event.number].arguments.append(event.arguments)
                self.size += len(event.arguments)
            case Ended(reason=reason):
                choice.reason = reason

    def chat(self, head: Head, *, logprobs: bool, legacy: bool) -> dict[str, Any]:
        """A chat.completion. `legacy`: a call is a function_call."""
        choices = [
            {
                "index": number,
                "message": _message(choice, legacy=legacy),
                "logprobs": {"content": _content_logprobs([*chain(*choice.logprobs)]), "refusal": None}
                if logprobs
                else None,
                "finish_reason": _reason(choice.reason, legacy=legacy),
            }
            for number, choice in sorted(self._choices.items())
        ]
        return {**_head(head, "chat.completion"), "choices": choices, "usage": usage(self.usage, self.reasoning_tokens)}

    def text(self, head: Head, *, logprobs: bool) -> dict[str, Any]:
        """A text_completion."""
        choices = [
            {
                "text": "".join(choice.text),
                "index": number,
                "logprobs": _text_logprobs(choice) if logprobs else None,
                "finish_reason": choice.reason,
            }
            for number, choice in sorted(self._choices.items())
        ]
        return {**_head(head, "text_completion"), "choices": choices, "usage": usage(self.usage, self.reasoning_tokens)}


class ChatChunks:
    """The chunks of a streamed chat completion, as JSON text."""

    def __init__(self, head: Head, *, usage: bool, legacy: bool) -> None:
        self._legacy = legacy
        self._usage = usage
        self._head = _head(head, "chat.completion.chunk")
        self._begun: set[int] = set()
        # A chunk with text alone is nearly every chunk, so its frame is written once.
        self._before = f'{json.dumps(self._head)[:-1]}, "choices": [{{"index": '
        self._after = '}, "logprobs": null, "finish_reason": null}]' + (', "usage": null}' if usage else "}")

    def feed(self, event: ApiEvent) -> Iterator[str]:
        """The chunks of the next event."""
        if isinstance(event, Begun):
            return
        if isinstance(event, Used):
            if self._usage:
                counted = usage(event.usage, event.reasoning_tokens)
                yield json.dumps({**self._head, "choices": [], "usage": counted})
            return
        if event.choice not in self._begun:
            self._begun.add(event.choice)
            yield self._chunk(event.choice, {"role": "assistant", "content": ""})
        match event:
            case TextPiece(choice, text, logprobs) if not logprobs:
                yield f'{self._before}{choice}, "delta": {{"content": {json.dumps(text)}{self._after}'
            case TextPiece(choice, text, logprobs):
                yield self._chunk(choice, {"content": text}, logprobs=logprobs)
            case ReasoningPiece(choice, text):
                yield self._chunk(choice, {"reasoning_content": text})
            case CallPiece(choice=choice):
                yield self._chunk(choice, self._call(event))
            case Ended(choice, reason):
                yield self._chunk(choice, {}, reason=_reason(reason, legacy=self._legacy))

    def _call(self, event: CallPiece) -> dict[str, Any]:
        function = {"name": event.name, "arguments": event.arguments} if event.name else {"arguments": event.arguments}
        if self._legacy:
            return {"function_call": function}
        begun = {"id": event.id, "type": "function"} if event.name else {}
        return {"tool_calls": [{"index": event.number, **begun, "function": function}]}

    def _chunk(
        self, choice: int, delta: Mapping[str, Any], *, reason: str | None = None, logprobs: TokenLogprobs = ()
    ) -> str:
        told = {"content": _content_logprobs(logprobs), "refusal": None} if logprobs else None
        one = {"index": choice, "delta": delta, "logprobs": told, "finish_reason": reason}
        return json.dumps({**self._head, "choices": [one], **({"usage": None} if self._usage else {})})


class TextChunks:
    """The chunks of a streamed text completion, as JSON text."""

    def __init__(self, head: Head, *, usage: bool, logprobs: bool) -> None:
        self._head = _head(head, "text_completion")
        self._usage = usage
        self._logprobs = logprobs
        self._told: defaultdict[int, TextLogprobs] = defaultdict(TextLogprobs)

    def feed(self, event: ApiEvent) -> Iterator[str]:
        """The chunks of the next event."""
        match event:
            case TextPiece(choice, text, logprobs):
                told = self._told[choice].feed(text, logprobs) if self._logprobs else None
                yield self._chunk({"text": text, "index": choice, "logprobs": told, "finish_reason": None})
            case Ended(choice, reason):
                yield self._chunk({"text": "", "index": choice, "logprobs": None, "finish_reason": reason})
            case Used() if self._usage:
                yield json.dumps({**self._head, "choices": [], "usage": usage(event.usage, event.reasoning_tokens)})

    def _chunk(self, choice: Mapping[str, Any]) -> str:
        return json.dumps({**self._head, "choices": [choice], **({"usage": None} if self._usage else {})})


def usage(used: Usage, reasoning: int = 0) -> dict[str, Any]:
    """The usage object."""
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class TextLogprobs:
    """The logprobs objects of one choice of a text completion."""

    def __init__(self) -> None:
        self._begin = 0

    def feed(self, text: str, tokens: TokenLogprobs) -> dict[str, Any]:
        """That of the next text: its tokens joined are the text.

        A token that a stop string cuts is told as far as it stands in the text, and what no token is known of as one
        without a log-probability. An offset counts characters; a token in the middle of one has that one's.
        """
        told = _no_logprobs()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        at = 0
        for number, (token, alternatives) in enumerate(tokens, 1):
            if at >= len(text):
                break
            size = len(decoder.decode(token.raw, final=number == len(tokens)))
            if (spelt := _whole(token)) is None:
                own = _spelt(token)
            else:
                at, size = at + size - len(spelt), len(spelt)  # what came before it was no whole character
                own = text[at : at + size]
            # The chosen token is always among them, so there may be one more than was asked for.
            top = {_spelt(other): _number(other.logprob) for other in (*alternatives, token)}
            self._add(told, own, at, _number(token.logprob), top if alternatives else None)
            at += size
        if at < len(text):
            self._add(told, text[at:], at, None, None)
        self._begin += len(text)
        return told

    def _add(
        self, told: dict[str, list[Any]], token: str, at: int, logprob: float | None, top: dict[str, Any] | None
    ) -> None:
        told["tokens"].append(token)
        told["token_logprobs"].append(logprob)
        told["top_logprobs"].append(top)
        told["text_offset"].append(self._begin + at)


def _text_logprobs(choice: _Choice) -> dict[str, Any]:
    """Those of a whole choice."""
    found, whole = TextLogprobs(), _no_logprobs()
    for text, logprobs in zip(choice.text, choice.logprobs, strict=True):
        for name, values in found.feed(text, logprobs).items():
            whole[name] += values
    return whole


def _no_logprobs() -> dict[str, list[Any]]:
    return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}


def _whole(token: TokenLogprob) -> str | None:
    """What a token spells; None if it is no whole characters."""
    try:
        return token.raw.decode()
    except UnicodeDecodeError:
        return None


def _spelt(token: TokenLogprob) -> str:
    """As OpenAI writes what is no whole character: `bytes:\\xe2\\x80`."""
    whole = _whole(token)
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.raw) if whole is None else whole


def _head(head: Head, kind: str) -> dict[str, Any]:
    return {
        "id": head.id,
        "object": kind,
        "created": head.created,
        "model": head.model,
        "system_fingerprint": head.fingerprint,
    }


def _message(choice: _Choice, *, legacy: bool) -> dict[str, Any]:
    text = "".join(choice.text)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not choice.calls else None,
        "refusal": None,
    }
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    functions = [{"name": call.name, "arguments": "".join(call.arguments)} for call in choice.calls]
    if functions and legacy:
        message["function_call"] = functions[0]
    elif functions:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": function}
            for call, function in zip(choice.calls, functions, strict=True)
        ]
    return message


def _reason(reason: str | None, *, legacy: bool) -> str | None:
    return "function_call" if legacy and reason == "tool_calls" else reason


def _content_logprobs(tokens: Sequence[tuple[TokenLogprob, tuple[TokenLogprob, ...]]]) -> list[dict[str, Any]]:
    return [{**_token(token), "top_logprobs": [_token(other) for other in others]} for token, others in tokens]


def _token(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": _number(token.logprob), "bytes": list(token.raw)}


def _number(logprob: float | None) -> float | None:
    """None where the engine does not tell it."""
    return None if logprob is None else max(logprob, LEAST_LOGPROB)
