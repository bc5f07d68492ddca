"""Embeddings: a GGUF model that places texts in a space, run by llama.cpp's server inside this process.

Token ids in, a vector for each text out. A call is handed on in small parts: the server notices that nobody waits any
more only when it is done with one, and between two of them the others' parts have their turn.
"""

from __future__ import annotations

import asyncio
import base64
import math
import sys
from array import array
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from bot import aside
from bot.config import ModelConfig
from bot.engines import gguf
from bot.engines.llama_server import FAILURES, TOKEN, Connection, Way, started
from bot.engines.llamacpp import BATCH, CONTEXT_STEP, LEAST_KV_BYTES
from bot.errors import BadRequest, EngineError, ModelError, TooLong
from bot.generation import PlainText
from bot.gguf_format import ENCODERS

log = structlog.get_logger(__name__)

Ids = Sequence[int]

MOST_CONTEXT = 8192
"""Tokens of an input where the configuration names no context length: as many as OpenAI's models take."""
BYTES_PER_SCORE = 8
"""Of each token of the vocabulary, for each token that a model which writes reads in one step: 1.2 MB for 152,000 were
measured."""
PART_INPUTS, PART_TOKENS = 16, 1024
"""Of one part, but for an input that is longer."""
MOST_INPUTS = 2048
"""Of one call, as OpenAI has it."""


class LlamaCppEmbedding:
    """A GGUF model as an EmbeddingEngine. Made by `load`."""

    def __init__(
        self, name: str, file: gguf.ModelFile, way: Way, connection: Connection, plain: PlainText, *, slots: int
    ) -> None:
        self.name = file.called(name)
        self.control_strings = file.control_strings
        self.context_length = way.context_length
        self.dimensions = file.dimensions
        self.plain = plain
        self._connection = connection
        self._room = _Room(way.shared or way.context_length, slots)

    @classmethod
    async def load(cls, name: str, config: ModelConfig, data_dir: Path) -> LlamaCppEmbedding:
        """Load the model; the process stands still meanwhile, because the library holds the GIL.

        Raises ModelError in one line that names the file.
        """
        file = await asyncio.to_thread(gguf.read, config.path)
        way = way_for(file, config)
        connection, around = await started(name, config, way, data_dir)
        engine = cls(name, file, way, connection, file.plain(*around), slots=config.slots)
        try:
            [vector] = await engine.embed([[*around[0], *around[1]] or [0]])
        except (EngineError, BadRequest) as error:
            await engine.aclose()
            raise ModelError(f"{config.path}: makes no embeddings ({error})") from error
        except BaseException:
            await engine.aclose()
            raise
        engine.dimensions = len(vector)
        log.info(
            "model loaded",
            model=name,
            architecture=file.architecture,
            context_length=way.context_length,
            dimensions=len(vector),
            pooling=way.pooling,
        )
        return engine

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts -> ids in one call; control strings are parsed, and nothing is put around."""
        return await self._connection.encode(texts)

    async def embed(self, inputs: Sequence[Ids]) -> list[array[float]]:
        """A vector of length 1 for each input, in their order; a call that is cancelled ends with its present part."""
        await aside.run(sum(map(len, inputs)), lambda: check(inputs, self.context_length, self.plain.size))
        vectors: list[array[float]] = []
        for part in _parts(inputs, min(PART_TOKENS, self._room.tokens)):
            async with self._room.take(sum(map(len, part))):
                vectors += await self._part(part)
        return vectors

    async def aclose(self) -> None:
        """Free the model and the socket. Calls that still run end with EngineError."""
        await self._connection.aclose()

    async def computed(self) -> int:
        """Tokens read since the load."""
        return (await self._connection.counters()).prefilled

    async def _part(self, inputs: Sequence[Ids]) -> list[array[float]]:
        body = {"input": [list(ids) for ids in inputs], "encoding_format": "base64"}
        size = TOKEN * sum(map(len, inputs))
        async with await self._connection.open("/v1/embeddings", body, size) as response:
            try:
                text = await response.read()
                vectors = await aside.run(len(text), lambda: _vectors(text))
            except FAILURES as error:
                raise EngineError(detail=f"llama.cpp: {error}") from error
        if len(vectors) != len(inputs):
            raise EngineError(detail=f"llama.cpp made {len(vectors)} vectors of {len(inputs)} texts")
        return vectors


def check(inputs: Sequence[Ids], context_length: int, vocabulary: int) -> None:
    """Raises BadRequest, and TooLong with the numbers, for inputs that no engine of this vocabulary can place."""
    if len(inputs) > MOST_INPUTS:
        raise BadRequest(f"There are {len(inputs)} inputs; {MOST_INPUTS} are the most.", param="input")
    for number, ids in enumerate(inputs):
        if not ids:
            raise BadRequest(f"Input {number} is empty.", param="input")
        if len(ids) > context_length:
            raise TooLong(f"Input {number} has {len(ids)} tokens; this model's context is {context_length}.")
        if min(ids) < 0 or max(ids) >= vocabulary:
            raise BadRequest(f"Input {number} has token ids that this model does not have.", param="input")


class _Room:
    """The context that all inputs under way share. Whoever comes first goes first."""

    def __init__(self, tokens: int, slots: int) -> None:
        self.tokens = tokens
        self._slots = slots
        self._taken: list[int] = []
        self._line = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def take(self, tokens: int) -> AsyncIterator[None]:
        """Waits for room for a part of so many tokens, which is its own within the block."""
        async with self._line:
            while len(self._taken) >= self._slots or sum(self._taken) + tokens > self.tokens:
                self._freed.clear()
                await self._freed.wait()
            self._taken.append(tokens)
        try:
            yield
        finally:
            self._taken.remove(tokens)
            self._freed.set()


def way_for(file: gguf.ModelFile, config: ModelConfig) -> Way:
    """How the model is run.

    The longest input is what is configured, up to the model's own context; otherwise that, within MOST_CONTEXT and what
    memory allows. Models that write have a KV cache for it, which all inputs under way share: for one of the longest,
    or for as many as there are slots if LEAST_KV_BYTES hold them. Where their last token tells the place, an input is
    read in steps as a prompt is; in every other way it takes one step, for each of whose tokens they compute all of
    their vocabulary as well.
    """
    pooling = config.pooling or file.pooling or "mean"
    trained = file.context_length or MOST_CONTEXT
    if file.architecture in ENCODERS:
        length = min(trained, config.context_length or MOST_CONTEXT)
        return Way(context_length=length, batch=length, pooling=pooling, shared=length * config.slots)
    most = MOST_CONTEXT
    if pooling != "last":
        fits = LEAST_KV_BYTES // (len(file.tokens) * BYTES_PER_SCORE)
        most = min(most, max(CONTEXT_STEP, fits // CONTEXT_STEP * CONTEXT_STEP))
    length = min(trained, config.context_length or most)
    at_once = LEAST_KV_BYTES // max(1, file.kv_bytes_per_token * length)
    return Way(
        context_length=length,
        batch=BATCH if pooling == "last" else length,
        pooling=pooling,
        shared=length * max(1, min(at_once, config.slots)),
    )


def shortened(vector: Sequence[float], dimensions: int) -> array[float]:
    """The first numbers of a vector, scaled to length 1 again."""
    kept = array("f", vector[:dimensions])
    length = math.hypot(*kept)
    return array("f", (value / length for value in kept)) if length else kept


def _vectors(text: bytes) -> list[array[float]]:
    """Of an answer, in the order of what was asked. Raises EngineError, and what FAILURES has."""
    answer = aside.parsed(text)
    ordered = sorted(answer["data"], key=lambda item: int(item["index"]))
    return [_vector(item["embedding"]) for item in ordered]


def _vector(text: str) -> array[float]:
    """Raises EngineError for what is no place: weights that are nonsense give such."""
    vector = array("f")
    vector.frombytes(base64.b64decode(text))
    if sys.byteorder == "big":
        vector.byteswap()
    length = math.hypot(*vector)
    if not (math.isfinite(length) and length > 0):
        raise EngineError(detail="the model's numbers are none")
    return vector


def _parts(inputs: Sequence[Ids], most: int) -> Iterator[Sequence[Ids]]:
    """In their order, of at most so many tokens each, but for an input that is longer."""
    begin = tokens = 0
    for end, ids in enumerate(inputs):
        if end > begin and (end - begin == PART_INPUTS or tokens + len(ids) > most):
            yield inputs[begin:end]
            begin, tokens = end, 0
        tokens += len(ids)
    if begin < len(inputs):
        yield inputs[begin:]
