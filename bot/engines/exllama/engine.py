"""A model folder as a ChatEngine: text, checks and streams on the event loop; the GPU's work in the worker's thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from bot.config import ModelConfig
from bot.engines import request_body
from bot.engines.exllama.grammar import Grammars
from bot.engines.exllama.jobs import Job
from bot.engines.exllama.v2 import V2
from bot.engines.exllama.v3 import V3
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import ModelFolder, look
from bot.engines.exllama.worker import Backend, Die, Worker
from bot.engines.gguf import DIGEST_DIGITS
from bot.errors import EngineBroken
from bot.generation import Delta, Finish, Generation, Prefill, Usage

log = structlog.get_logger(__name__)


class Sized(Backend, Protocol):
    """A backend that tells, once it is loaded, what it has room for."""

    context_length: int
    slots: int


Make = Callable[[ModelFolder, ModelConfig, Vocabulary], Sized]
BACKENDS: dict[str, Make] = {"exllamav2": V2, "exllamav3": V3}


class ExllamaEngine:
    """A model on the GPU. Made by `load`."""

    def __init__(self, name: str, folder: ModelFolder, vocabulary: Vocabulary, backend: Sized, worker: Worker) -> None:
        self.name = f"{name}@{folder.digest[:DIGEST_DIGITS]}"
        self.control_strings = vocabulary.control_strings
        self.template = vocabulary.template
        self.context_length = backend.context_length
        self.slots = backend.slots
        """So many answers at once."""
        self._vocabulary = vocabulary
        self._size = min(vocabulary.size, int(folder.text_config.get("vocab_size") or vocabulary.size))
        """Ids are below this: some tokenizers have tokens that their model has not."""
        self.plain = replace(vocabulary.plain, size=self._size)
        self._grammars = Grammars(vocabulary)
        self._worker = worker
        self._closed = False

    @classmethod
    async def load(
        cls, name: str, config: ModelConfig, *, make: Make | None = None, die: Die | None = None
    ) -> ExllamaEngine:
        """Load a model folder. Raises ModelError in one line that names it, NoGpu if there is no GPU to use.

        `make`: another backend than the weights ask for.
        """
        folder = await asyncio.to_thread(look, config.path)
        vocabulary = await asyncio.to_thread(Vocabulary, folder)
        backend = (make or BACKENDS[folder.library(config.gpu.library)])(folder, config, vocabulary)
        worker = Worker(backend, name=name, stuck_after=config.gpu.step_timeout, die=die)
        try:
            await worker.start()
        except BaseException:
            await worker.aclose()
            raise
        _ = await asyncio.to_thread(lambda: folder.digest)
        engine = cls(name, folder, vocabulary, backend, worker)
        log.info(
            "model loaded",
            model=name,
            architecture=folder.architecture,
            weights=folder.quantisation,
            context_length=engine.context_length,
            slots=engine.slots,
        )
        return engine

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts -> ids; control strings are parsed, no bos is added."""
        return await asyncio.to_thread(self._vocabulary.encode, texts) if texts else []

    def text_of(self, ids: Sequence[int]) -> str:
        """What ids spell, without control tokens."""
        return self._vocabulary.decode(ids)

    async def stream(self, request: Generation) -> AsyncGenerator[Prefill | Delta | Finish, None]:
        """Generate; closing the iterator ends the work after the step that is under way."""
        if self._closed:
            raise EngineBroken(detail=f"{self.name} is closed")
        tokens = request_body.room(request, self.context_length, self._size)
        request_body.check_texts(request, self._size)
        matcher = await asyncio.to_thread(self._grammars.matcher, request) if request.is_constrained else None
        if tokens == 0:
            yield Finish(reason="length", usage=Usage(prompt_tokens=len(request.prompt)))
            return
        job = Job(request, tokens, matcher)
        self._worker.submit(job)
        try:
            async for event in job.events():
                yield event
        finally:
            self._worker.cancel(job)

    async def aclose(self) -> None:
        """Free the model. Streams that still run end with EngineError."""
        self._closed = True
        await self._worker.aclose()
