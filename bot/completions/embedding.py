"""Embeddings: texts or token ids of programs as vectors, in the order that they came."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from bot import aside
from bot.api import EmbeddingAsk
from bot.engines.embedding import shortened
from bot.engines.registry import LoadedEmbedding
from bot.errors import BadRequest

Ids = tuple[int, ...]


async def prompts(ask: EmbeddingAsk, loaded: LoadedEmbedding) -> list[Ids]:
    """The inputs as ids. Raises BadRequest, TooLong, RoleForgery."""
    most = loaded.engine.dimensions
    if ask.dimensions is not None and ask.dimensions > most:
        raise BadRequest(f"This model has {most} dimensions; {ask.dimensions} are more.", param="dimensions")
    return await loaded.texts.inputs(ask.inputs)


async def vectors(ask: EmbeddingAsk, found: Sequence[array[float]]) -> tuple[array[float], ...]:
    """As many dimensions of each as are asked for."""
    dimensions = ask.dimensions
    if dimensions is None or not found or dimensions == len(found[0]):
        return tuple(found)
    size = sum(map(len, found))
    return await aside.run(size, lambda: tuple(shortened(vector, dimensions) for vector in found))
