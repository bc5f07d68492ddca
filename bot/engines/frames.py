"""llama-server's frames -> Prefill, Delta and Finish, with every generated id and no broken character.

Two habits of the server are put right here. It sends no frame for a token that leaves a character incomplete, so that
token's id never arrives: the next frame's counter tells how many are missing, and the text tells how they spell; their
log-probabilities are lost. And it
sends no text for what may be the beginning of a stop string, which is lost when the tokens run out at that moment.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from bot.errors import BadRequest, EngineError, TooLong
from bot.generation import Delta, Finish, Prefill, TokenLogprob, Usage

Logprobs = tuple[TokenLogprob, tuple[TokenLogprob, ...]]


AT_ONCE = 16
"""Frames that are read before others have their turn: with the most log-probabilities each is a fifth of a millisecond."""


class Vocabulary(Protocol):
    """What the spelling needs; `gguf.ModelFile` is one."""

    @property
    def end_ids(self) -> frozenset[int]:
        """The ids that end a turn."""

    @property
    def index(self) -> Mapping[bytes, int]:
        """Spelling -> id."""

    def token_bytes(self, index: int) -> bytes:
        """What a token adds to the text."""

    def named_bytes(self, index: int) -> bytes:
        """The same, but a control token's name."""


class Tokens(Vocabulary, Protocol):
    """What `Shown` needs."""

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The tokens that leave no text: name -> id."""


class Shown:
    """A Vocabulary of whose control tokens these stand in the text. The end of a turn never does."""

    def __init__(self, tokens: Tokens, names: Collection[str]) -> None:
        self._tokens = tokens
        found = {name: id_ for name in names if (id_ := tokens.special_ids.get(name)) is not None}
        self.names = frozenset(name for name, id_ in found.items() if id_ not in tokens.end_ids)
        self._shown = frozenset(found[name] for name in self.names)
        self.end_ids = tokens.end_ids

    @property
    def index(self) -> Mapping[bytes, int]:
        """Spelling -> id."""
        return self._tokens.index

    def token_bytes(self, index: int) -> bytes:
        """What a token adds to the text."""
        return self.named_bytes(index) if index in self._shown else self._tokens.token_bytes(index)

    def named_bytes(self, index: int) -> bytes:
        """The same, but any control token's name."""
        return self._tokens.named_bytes(index)


async def parse(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a server-sent event stream. Raises EngineError for one that reports a failure."""
    rest = b""
    async for chunk in chunks:
        *events, rest = (rest + chunk).split(b"\n\n")
        for number, event in enumerate(events, 1):
            if not number % AT_ONCE:
                await asyncio.sleep(0)
            kind, _, payload = event.partition(b": ")
            if kind not in (b"data", b"error") or payload.strip() == b"[DONE]":
                continue
            frame = json.loads(payload)
            if kind == b"error" or "error" in frame:
                raise failure(frame.get("error", frame))
            yield frame


def failure(error: object) -> EngineError | BadRequest | TooLong:
    """The server's error object as ours."""
    values = error if isinstance(error, Mapping) else {"message": str(error)}
    message = str(values.get("message", ""))
    if values.get("type") == "exceed_context_size_error":
        return TooLong(detail=message)
    if values.get("code") == 400:  # llama-server's invalid_request_error
        return BadRequest(f"The engine refused the request: {message}")
    return EngineError(detail=f"llama.cpp: {message}")


class Frames:
    """The state of one generation's frames."""

    def __init__(self, vocabulary: Vocabulary, *, alternatives: int | None) -> None:
        self._vocabulary = vocabulary
        self._alternatives = alternatives
        self._predicted = 0
        self._held: list[int | None] = []
        """Ids whose text is not out yet; None for one that never arrived."""
        self._probabilities: list[Logprobs | None] = []
        """Of the held ids; None for those whose frame never arrived."""

    def read(self, frame: Mapping[str, Any]) -> Iterator[Prefill | Delta | Finish]:
        """What a frame means."""
        if frame.get("stop"):
            yield from self._end(frame)
        elif progress := frame.get("prompt_progress"):
            yield Prefill(progress["processed"], progress["total"], progress["cache"])
        else:
            yield self._tokens(frame)

    def _tokens(self, frame: Mapping[str, Any]) -> Delta:
        advance = frame["tokens_predicted"] - self._predicted
        self._predicted = frame["tokens_predicted"]
        ids = frame["tokens"][-advance:] if advance else []
        self._held += [None] * (advance - len(ids)) + ids
        told = [self._logprob(item) for item in frame.get("completion_probabilities", ())[-advance:]] if advance else []
        self._probabilities += [*[None] * (advance - len(told)), *told]
        if not frame["content"]:
            return Delta("")
        if not self._held or self._held[-1] not in self._vocabulary.end_ids:
            return self._release(frame["content"])
        end, probability = self._held.pop(), self._probabilities.pop()
        delta = self._release(frame["content"])
        self._held, self._probabilities = [end], [probability]  # kept back: the end of the turn, unless more follows
        return delta

    def _release(self, text: str) -> Delta:
        held, self._held = self._held, []
        probabilities, self._probabilities = self._probabilities, []
        ids = tuple(i for i in held if i is not None)
        if len(ids) < len(held):
            ids = spell(text.encode(), held, self._vocabulary)
        if self._alternatives is None:
            return Delta(text, ids)
        pairs = itertools.zip_longest(ids, probabilities[: len(ids)])
        return Delta(text, ids, tuple(known or (self._named(id_, None), ()) for id_, known in pairs))

    def _end(self, frame: Mapping[str, Any]) -> Iterator[Delta | Finish]:
        if frame.get("stop_type") == "eos" and self._held and self._held[-1] in self._vocabulary.end_ids:
            self._held.pop()
        if frame.get("stop_type") == "eos" and self._silent():
            yield self._release("")
        if frame.get("stop_type") == "limit":
            whole = self._held[: self._held.index(None)] if None in self._held else self._held
            self._held, self._probabilities = whole, self._probabilities[: len(whole)]
            text = b"".join(self._vocabulary.token_bytes(i) for i in whole if i is not None).decode("utf-8", "ignore")
            if text or self._silent():
                yield self._release(text)
        timings = frame.get("timings", {})
        usage = Usage(
            prompt_tokens=frame["tokens_evaluated"],
            cached_tokens=timings.get("cache_n", 0),
            completion_tokens=frame["tokens_predicted"],
        )
        yield Finish(
            reason="length" if frame.get("stop_type") == "limit" else "stop",
            usage=usage,
            prefill_seconds=timings.get("prompt_ms", 0.0) / 1000,
            decode_seconds=timings.get("predicted_ms", 0.0) / 1000,
        )

    def _silent(self) -> bool:
        """Whether control tokens are held and nothing else: no text comes that would release them."""
        return bool(self._held) and all(i is not None and not self._vocabulary.token_bytes(i) for i in self._held)

    def _logprob(self, item: Mapping[str, Any]) -> Logprobs:
        others = item.get("top_logprobs", ())[: self._alternatives]
        return self._named(item["id"], item["logprob"]), tuple(self._named(one["id"], one["logprob"]) for one in others)

    def _named(self, id_: int, logprob: float | None) -> TokenLogprob:
        raw = self._vocabulary.named_bytes(id_)
        silent = not self._vocabulary.token_bytes(id_)
        return TokenLogprob(id_, raw.decode("utf-8", "replace"), logprob, raw, silent)


def spell(text: bytes, pattern: Sequence[int | None], vocabulary: Vocabulary) -> tuple[int, ...]:
    """Ids that spell `text` and agree with `pattern`, whose None stand for one unknown id each; long tokens first.

    Where nothing fits (the model wrote bytes that are no UTF-8), the ids of the longest tokens that spell the text.
    """
    dead: set[tuple[int, int]] = set()

    def search(n: int, at: int) -> tuple[int, ...] | None:
        if n == len(pattern):
            return () if at == len(text) else None
        if (n, at) in dead:
            return None
        for token, end in _choices(text, at, pattern[n], vocabulary):
            if (rest := search(n + 1, end)) is not None:
                return (token, *rest)
        dead.add((n, at))
        return None

    found = search(0, 0)
    return _longest(text, vocabulary) if found is None else found


def _choices(text: bytes, at: int, known: int | None, vocabulary: Vocabulary) -> Iterator[tuple[int, int]]:
    if known is not None:
        piece = vocabulary.token_bytes(known)
        if text.startswith(piece, at):
            yield known, at + len(piece)
        return
    for end in range(len(text), at, -1):
        if (token := vocabulary.index.get(text[at:end])) is not None:
            yield token, end


def _longest(text: bytes, vocabulary: Vocabulary) -> tuple[int, ...]:
    ids: list[int] = []
    at = 0
    while at < len(text):
        token, at = next(_choices(text, at, None, vocabulary), (-1, at + 1))
        ids += [token] if token >= 0 else []
    return tuple(ids)
