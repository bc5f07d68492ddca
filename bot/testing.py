"""Working fakes of the ports, for tests of Hearth and of adapters and engines by others. They keep every promise."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import cached_property

import jsonschema
import llguidance

from bot import constraints
from bot.engines import guides, request_body
from bot.errors import EngineBroken
from bot.generation import ChatTemplate, Delta, Finish, Generation, PlainText, Prefill, TokenLogprob, Usage
from bot.ports import ChatEngine
from bot.testing_embedding import ScriptedEmbedding
from bot.testing_platform import Call, Fault, MemoryAdapter, Posted, VirtualClock
from bot.testing_speech import ScriptedSpeech

__all__ = [
    "Call",
    "Fault",
    "MemoryAdapter",
    "Posted",
    "ScriptedEmbedding",
    "ScriptedEngine",
    "ScriptedSpeech",
    "ThrottledEngine",
    "VirtualClock",
    "echo",
]

_CLOSERS = '"}])'
"""What ends a piece of JSON soonest."""

StreamEvent = Prefill | Delta | Finish

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def echo(prompt: str) -> str:
    """The last user message of a ChatML prompt, said back."""
    asked = prompt.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]
    return f"You said: {asked}"


class ScriptedEngine:
    """A ChatEngine without a model: each byte is a token, and a function of the prompt's text writes the answer.

    Deterministic, also from one process to the next. It counts what a real engine would compute, reads the prompt in
    batches of `batch` tokens, remembers the last `slots` sequences as its cache, and writes one character at a time.
    """

    CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")
    """Their ids follow the 256 bytes. The last two are added but not special: they always stand in the text."""
    SPECIAL = 3
    """So many of them are special."""

    def __init__(
        self,
        answer: Callable[[str], str] = echo,
        *,
        name: str = "scripted@000000000000",
        context_length: int = 4096,
        batch: int = 64,
        slots: int = 8,
        seconds_per_batch: float = 0.0,
        seconds_per_token: float = 0.0,
        writes_controls: bool = False,
    ) -> None:
        """`writes_controls`: control strings in the answer are written as tokens; else they are spelled, as in a quotation."""
        self.name = name
        self.control_strings = frozenset(self.CONTROLS)
        self.context_length = context_length
        end, begin = "<|im_end|>", "<|endoftext|>"
        self.template = ChatTemplate(source=CHATML, bos_token=begin, eos_token=end)
        added = {256 + number: text for number, text in enumerate(self.CONTROLS)}
        self.plain = PlainText(size=256 + len(added), added=added, begins=256)
        self.answer = answer
        self.batch = batch
        self.seconds_per_batch = seconds_per_batch
        self.seconds_per_token = seconds_per_token
        self.requests: list[Generation] = []
        """Every request that was not refused."""
        self.active = 0
        """Streams that are running."""
        self.prefilled = self.cached = self.generated = 0
        """Tokens, over all requests."""
        self.stall_in_prefill = False
        """Set it, and streams stop after the first batch until `resume` is set."""
        self.stall_after: int | None = None
        """So many generated tokens, then streams stop until `resume` is set."""
        self.resume = asyncio.Event()
        self.fail_with: Exception | None = None
        """Raised by streams after `fail_after` generated tokens."""
        self.fail_after = 0
        self.closed = False
        self._writes_controls = writes_controls
        self._slots = slots
        self._bytes = [*(bytes([i]) for i in range(256)), *(control.encode() for control in self.CONTROLS)]
        self._sequences: list[tuple[int, ...]] = []

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """One id per byte, and one per control string."""
        return [self._encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The text that the ids stand for, control strings included."""
        return b"".join(map(self._bytes.__getitem__, ids)).decode("utf-8", "replace")

    def text_of(self, ids: Sequence[int]) -> str:
        """The text without control strings."""
        return bytes(i for i in ids if i < 256).decode("utf-8", "replace")

    async def stream(self, request: Generation) -> AsyncGenerator[StreamEvent, None]:
        """Read the prompt, then write the scripted answer."""
        if self.closed:
            raise EngineBroken(detail="the engine is closed")
        vocabulary = 256 + len(self.CONTROLS)
        left = request_body.room(request, self.context_length, vocabulary)
        if request.is_constrained:
            constraints.check(request, self._guide)
        request_body.body(request, left, context_length=self.context_length, vocabulary=vocabulary)
        self.requests.append(request)
        if left == 0:
            yield Finish(reason="length", usage=Usage(prompt_tokens=len(request.prompt)))
            return
        cached = self._known(request.prompt)
        self.active += 1
        written: list[int] = []
        try:
            async for prefill in self._prefill(request, cached):
                yield prefill
            pieces, whole = self._pieces(request, left)
            async for delta in self._write(pieces, request, written):
                yield delta
            ended = 1 if whole and len(written) < left else 0
            self.generated += ended
            usage = Usage(
                prompt_tokens=len(request.prompt), cached_tokens=cached, completion_tokens=len(written) + ended
            )
            yield Finish(reason="stop" if whole else "length", usage=usage)
        finally:
            self.active -= 1
            self._sequences = [*self._sequences, (*request.prompt, *written)][-self._slots :]

    async def aclose(self) -> None:
        """Refuse further requests."""
        self.closed = True

    def _encode(self, text: str) -> list[int]:
        for index, control in enumerate(self.CONTROLS):
            before, found, after = text.partition(control)
            if found:
                return [*self._encode(before), 256 + index, *self._encode(after)]
        return list(text.encode())

    def _known(self, prompt: tuple[int, ...]) -> int:
        """Length of the longest prefix in the cache; at least one token is always read, as with llama.cpp."""
        return min(len(prompt) - 1, max((_common(prompt, known) for known in self._sequences), default=0))

    async def _prefill(self, request: Generation, cached: int) -> AsyncGenerator[Prefill, None]:
        total, processed = len(request.prompt), cached
        self.cached += cached
        yield Prefill(processed, total, cached)
        while processed < total:
            await asyncio.sleep(self.seconds_per_batch)
            step = min(self.batch, total - processed)
            processed += step
            self.prefilled += step
            yield Prefill(processed, total, cached)
            if self.stall_in_prefill:
                await self.resume.wait()

    def _pieces(self, request: Generation, left: int) -> tuple[list[Delta], bool]:
        """The answer as far as it goes, a character or a control token at a time, and whether it ended by itself."""
        text = self.answer(self.decode(request.prompt))
        if request.json_schema is not None:
            text = _fitting(text, request.json_schema)
        ids = self._encode(text) if self._writes_controls else list(text.encode())
        ids = ids[: ids.index(self._end)] if self._end in ids else ids
        if request.regex is not None or request.grammar is not None:
            ids = self._kept(ids, request, left)
        pieces = _before(request.stop, list(self._spelled(ids, request.shows)))
        room = itertools.accumulate(len(piece.token_ids) for piece in pieces)
        cut = [piece for piece, used in zip(pieces, room, strict=True) if used <= left]
        return cut, len(cut) == len(pieces)

    def _spelled(self, ids: Sequence[int], shows: Collection[str]) -> Iterator[Delta]:
        at = 0
        while at < len(ids):
            id_ = ids[at]
            if id_ < 256:
                size = next((n for n, first in ((4, 0xF0), (3, 0xE0), (2, 0xC0)) if id_ >= first), 1)
                yield Delta(self.decode(ids[at : at + size]), tuple(ids[at : at + size]))
                at += size
                continue
            name = self.CONTROLS[id_ - 256]
            yield Delta(name if name in shows or id_ >= 256 + self.SPECIAL else "", (id_,))
            at += 1

    @cached_property
    def _guide(self) -> llguidance.LLTokenizer:
        return guides.guide(self._bytes, range(256, 256 + self.SPECIAL), {self._end})

    @property
    def _end(self) -> int:
        return 256 + self.CONTROLS.index(self.template.eos_token)

    def _kept(self, ids: list[int], request: Generation, left: int) -> list[int]:
        """The answer, if it keeps to the constraint; or else what of its beginning does, and something that ends it."""
        matcher = llguidance.LLMatcher(self._guide, constraints.compiled(request), log_level=0)
        kept = ids[: matcher.try_consume_tokens(ids)]
        while len(kept) <= left and not (matcher.is_error() or matcher.is_stopped()):
            mask = matcher.compute_bitmask()
            allowed = [id_ for id_ in range(len(self._bytes)) if mask[id_ // 8] >> id_ % 8 & 1]
            if self._end in allowed or not allowed:
                break
            kept.append(min(allowed, key=lambda id_: (chr(id_) not in _CLOSERS, chr(id_).isspace(), id_)))
            matcher.consume_token(kept[-1])
        return kept

    async def _write(
        self, pieces: Sequence[Delta], request: Generation, written: list[int]
    ) -> AsyncGenerator[Delta, None]:
        for piece in pieces:
            if self.stall_after is not None and len(written) >= self.stall_after:
                await self.resume.wait()
            if self.fail_with is not None and len(written) >= self.fail_after:
                raise self.fail_with
            await asyncio.sleep(self.seconds_per_token)
            written.extend(piece.token_ids)
            self.generated += len(piece.token_ids)
            if request.sampling.logprobs is None:
                yield piece
                continue
            certain = [TokenLogprob(i, self.decode([i]), 0.0, self._bytes[i], not piece.text) for i in piece.token_ids]
            logprobs = tuple((token, (token,) if request.sampling.logprobs else ()) for token in certain)
            yield replace(piece, logprobs=logprobs)


class ThrottledEngine:
    """Another engine, slowed down: `seconds` before each Delta. For tests that must catch an answer on its way."""

    def __init__(self, engine: ChatEngine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self.name = engine.name
        self.control_strings = engine.control_strings
        self.context_length = engine.context_length
        self.template = engine.template
        self.plain = engine.plain

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """As the other engine."""
        return await self._engine.encode(texts)

    def text_of(self, ids: Sequence[int]) -> str:
        """As the other engine."""
        return self._engine.text_of(ids)

    async def stream(self, request: Generation) -> AsyncGenerator[StreamEvent, None]:
        """As the other engine, slower."""
        async with aclosing(self._engine.stream(request)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    await asyncio.sleep(self._seconds)
                yield event

    async def aclose(self) -> None:
        """Free the other engine."""
        await self._engine.aclose()


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _before(stops: Sequence[str], pieces: list[Delta]) -> list[Delta]:
    """What comes before the first stop string; a control token's name that is cut is told without its id."""
    text = "".join(piece.text for piece in pieces)
    end = min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))
    ends = list(itertools.accumulate(len(piece.text) for piece in pieces))
    if end == len(text):
        return pieces
    left = [piece for piece, at in zip(pieces, ends, strict=True) if at <= end]
    rest = text[sum(len(piece.text) for piece in left) : end]
    return [*left, Delta(rest)] if rest else left


def _fitting(text: str, schema: Mapping[str, object]) -> str:
    """The text, if it is JSON of this schema, or else some JSON that is."""
    try:
        jsonschema.validate(json.loads(text), schema)
    except (ValueError, jsonschema.ValidationError):
        return json.dumps(_example(schema), ensure_ascii=False)
    return text


def _example(schema: Mapping[str, object]) -> object:
    """A small value of a plain schema: const, enum, or a type with its properties."""
    if "const" in schema:
        return schema["const"]
    choices = schema.get("enum")
    if isinstance(choices, Sequence):
        return choices[0]
    properties = schema.get("properties")
    kinds: dict[object, object] = {"string": "text", "integer": 1, "number": 1, "boolean": True, "array": []}
    if schema.get("type") == "object" and isinstance(properties, Mapping):
        return {key: _example(value) for key, value in properties.items()}
    return kinds.get(schema.get("type"), {} if schema.get("type") == "object" else None)
