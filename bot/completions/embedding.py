"""Embeddings: inputs as ids, a place in the queue, and vectors of the length that was asked for."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Sequence

from bot.api import EmbeddingAsk
from bot.engines.registry import LoadedEmbedding
from bot.errors import BadRequest
from bot.generation import Usage

Vectors = tuple[Sequence[float], ...]


async def embed(ask: EmbeddingAsk, loaded: LoadedEmbedding, *, user: str, most: int) -> tuple[Vectors, Usage]:
    """A vector for each input, and what reading them cost. Raises BadRequest, TooLong, RoleForgery, Busy, EngineError."""
    wanted = ask.dimensions or loaded.engine.dimensions
    if wanted > loaded.engine.dimensions:
        raise BadRequest(
            f"Invalid 'dimensions': this model's vectors have {loaded.engine.dimensions} numbers.", param="dimensions"
        )
    inputs = await loaded.texts.inputs(ask.inputs)
    async with loaded.scheduler.ticket(user, most=most) as ticket:
        vectors = await ticket.run(lambda: loaded.engine.embed(inputs))
    usage = Usage(prompt_tokens=sum(map(len, inputs)))
    if wanted < loaded.engine.dimensions:
        vectors = await asyncio.to_thread(lambda: [shortened(vector, wanted) for vector in vectors])
    return tuple(vectors), usage


def shortened(vector: array[float], dimensions: int) -> array[float]:
    """The first numbers, scaled to length 1 again."""
    first = vector[:dimensions]
    length = math.sqrt(sum(number * number for number in first))
    return array("f", (number / length for number in first)) if length else first
