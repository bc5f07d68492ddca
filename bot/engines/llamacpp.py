"""Chat on the CPU (or a GPU that llama.cpp knows): its continuous-batching server inside this process.

Token ids in, token ids out. The server's chat routes parse control tokens in users' text and are never used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import llguidance
import structlog

from bot import aside, constraints
from bot.config import ModelConfig
from bot.engines import gguf, guides, request_body
from bot.engines.frames import Frames, Shown, parse
from bot.engines.llama_server import FAILURES, TOKEN, Connection, Counters, Way, started
from bot.errors import EngineError
from bot.generation import Delta, Finish, Generation, PlainText, Prefill, Usage

log = structlog.get_logger(__name__)

BATCH = 64
"""Tokens per step of prefill. While a step lasts every other stream waits. The server notices a closed stream when it
reports a step, and by then has begun the next one, or after a second of a long one: a cancelled prompt costs the step
under way and at most one more of less than a second. 512 was measured 4 % faster, 32 was 15 % slower."""
LEAST_KV_BYTES = 2**30
"""The KV caches of all slots may take this, or as much as the weights if that is more, where the configuration names no
context length. llama.cpp writes to all of it at the start, so it is not only reserved."""
LEAST_CONTEXT, CONTEXT_STEP = 2048, 256
"""llama.cpp pads a slot's context to 256 tokens; under 2048 no conversation fits."""


class LlamaCppEngine:
    """A GGUF model as a ChatEngine. Made by `load`."""

    def __init__(
        self, name: str, file: gguf.ModelFile, context_length: int, connection: Connection, plain: PlainText
    ) -> None:
        self.name = file.called(name)
        self.control_strings = file.control_strings
        self.context_length = context_length
        self.template = file.template
        self.plain = plain
        self._file = file
        self._connection = connection

    @classmethod
    async def load(cls, name: str, config: ModelConfig, data_dir: Path) -> LlamaCppEngine:
        """Load the model; the process stands still meanwhile, because the library holds the GIL.

        Raises ModelError in one line that names the file.
        """
        file = await asyncio.to_thread(gguf.read, config.path)
        _ = file.template  # a model without one is refused before its weights are loaded
        context_length = context_for(file, config)
        way = Way(context_length=context_length, batch=BATCH)
        connection, (before, _) = await started(name, config, way, data_dir)
        log.info(
            "model loaded",
            model=name,
            architecture=file.architecture,
            context_length=context_length,
            slots=config.slots,
            kv_cache_mib=file.kv_bytes_per_token * context_length * config.slots // 2**20,
        )
        return cls(name, file, context_length, connection, file.plain(before=before))

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts -> ids in one call; control strings are parsed, no bos is added."""
        return await self._connection.encode(texts)

    def text_of(self, ids: Sequence[int]) -> str:
        """What ids spell, without control tokens."""
        return self._file.text_of(ids)

    async def stream(self, request: Generation) -> AsyncGenerator[Prefill | Delta | Finish, None]:
        """Generate; closing the iterator closes the connection, which ends the work at the server's next step."""
        size = TOKEN * len(request.prompt) + aside.amount(request.json_schema, request.grammar, most=aside.HUGE)
        work, large = size, aside.LARGE
        if request.is_constrained:  # what binds is compiled to be checked
            work, large = size + aside.amount_of_schemas(request.json_schema, request.grammar), 0
        tokens, body = await aside.run(work, lambda: self._body(request), large=large)
        if tokens == 0:  # llama-server would generate one
            yield Finish(reason="length", usage=Usage(prompt_tokens=len(request.prompt)))
            return
        shown = Shown(self._file, request.shows)
        body["preserved_tokens"] = sorted(shown.names)
        frames = Frames(shown, alternatives=request.sampling.logprobs)
        response = await self._connection.open("/completion", body, size)
        try:
            async for frame in parse(response.content.iter_any()):
                for event in frames.read(frame):
                    yield event
                    if isinstance(event, Finish):
                        return
            raise EngineError(detail="llama.cpp ended the stream without a word")
        except FAILURES as error:
            raise EngineError(detail=f"llama.cpp: {error}") from error
        finally:
            response.close()

    async def counters(self) -> Counters:
        """What the engine has computed since it was loaded."""
        return await self._connection.counters()

    async def aclose(self) -> None:
        """Free the model and the socket. Streams that still run end with EngineError."""
        await self._connection.aclose()

    def _body(self, request: Generation) -> tuple[int, dict[str, Any]]:
        """How many tokens may be generated, and what the server is asked. Raises TooLong, BadRequest."""
        vocabulary = len(self._file.tokens)
        tokens = request_body.room(request, self.context_length, vocabulary)
        if request.is_constrained:
            self._check(request)
        return tokens, request_body.body(request, tokens, context_length=self.context_length, vocabulary=vocabulary)

    def _check(self, request: Generation) -> None:
        """Raises BadRequest for a constraint that cannot be kept. Tokens are named between these signs, if at all."""
        names_tokens = request.grammar is not None and "<" in request.grammar
        constraints.check(request, self._guide if names_tokens else None)

    @cached_property
    def _guide(self) -> llguidance.LLTokenizer:
        """The vocabulary, as llama.cpp gives it to its own llguidance."""
        pieces = [self._file.named_bytes(i) for i in range(len(self._file.tokens))]
        special = self._file.special_ids.values()
        return guides.guide(pieces, special, self._file.end_ids or {len(pieces) - 1})


def context_for(file: gguf.ModelFile, config: ModelConfig) -> int:
    """Tokens per conversation.

    Each slot has a KV cache of its own for so many: with llama.cpp's shared one an overflow fails every stream that
    runs, and idle conversations lose their prefix. A configured length is kept, up to the model's own; otherwise it is
    the model's own, or what fits into the memory that LEAST_KV_BYTES tells of.
    """
    trained = file.context_length or LEAST_CONTEXT
    if config.context_length is not None:
        if config.context_length > trained:
            log.warning("context_length is more than the model has", configured=config.context_length, model=trained)
        return min(config.context_length, trained)
    budget = max(LEAST_KV_BYTES, file.size)
    fits = budget // max(1, file.kv_bytes_per_token * config.slots)
    return min(trained, max(LEAST_CONTEXT, fits // CONTEXT_STEP * CONTEXT_STEP))
