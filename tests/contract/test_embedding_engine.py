"""What every EmbeddingEngine promises, on the scripted one and on llama.cpp: an encoder, and a chat model pooled two ways."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.api import EmbeddingEngine
from bot.config import EMBEDDED_CHAT_MODEL, EMBEDDED_EMBEDDING_MODEL, ModelConfig
from bot.engines.embedding import MOST_INPUTS, LlamaCppEmbedding
from bot.errors import BadRequest, EngineError, TooLong
from bot.gguf_format import Pooling
from bot.testing import ScriptedEmbedding


@asynccontextmanager
async def scripted(folder: Path) -> AsyncIterator[EmbeddingEngine]:
    yield ScriptedEmbedding()


@asynccontextmanager
async def encoder(folder: Path) -> AsyncIterator[EmbeddingEngine]:
    async with loaded(EMBEDDED_EMBEDDING_MODEL, folder) as engine:
        yield engine


@asynccontextmanager
async def chat_model_by_mean(folder: Path) -> AsyncIterator[EmbeddingEngine]:
    async with loaded(EMBEDDED_CHAT_MODEL, folder) as engine:
        yield engine


@asynccontextmanager
async def chat_model_by_last(folder: Path) -> AsyncIterator[EmbeddingEngine]:
    async with loaded(EMBEDDED_CHAT_MODEL, folder, pooling="last") as engine:
        yield engine


@asynccontextmanager
async def loaded(path: Path, folder: Path, *, pooling: Pooling | None = None) -> AsyncIterator[LlamaCppEmbedding]:
    config = ModelConfig(path=path, kind="embedding", threads=1, slots=4, context_length=512, pooling=pooling)
    engine = await LlamaCppEmbedding.load("demo", config, folder)
    try:
        yield engine
    finally:
        await engine.aclose()


Make = Callable[[Path], Any]


@pytest.fixture(params=[scripted, encoder, chat_model_by_mean, chat_model_by_last], ids=lambda make: make.__name__)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EmbeddingEngine]:
    make: Make = request.param
    async with make(tmp_path) as engine:
        yield engine


async def whole(engine: EmbeddingEngine, text: str) -> tuple[int, ...]:
    """The ids of a text, with what the model wants around it."""
    [ids] = await engine.encode([text])
    return (*engine.plain.before, *ids, *engine.plain.after)


def close(one: array[float], other: array[float]) -> float:
    """The cosine: both have length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


class TestEmbeddingEngine:
    async def test_control_strings_are_one_token_each_and_nothing_is_put_around(self, engine: EmbeddingEngine) -> None:
        strings = sorted(engine.control_strings - {"[UNK]"})
        found = await engine.encode([*strings, "b", strings[0] + "b"])
        assert [len(ids) for ids in found[: len(strings)]] == [1] * len(strings)
        assert found[-1] == [*found[0], *found[-2]]
        assert engine.plain.added[found[0][0]] == strings[0]

    async def test_a_vector_has_length_one_and_all_dimensions(self, engine: EmbeddingEngine) -> None:
        [vector] = await engine.embed([await whole(engine, "How do I count?")])
        assert vector.typecode == "f"
        assert len(vector) == engine.dimensions
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)

    async def test_vectors_come_in_the_order_of_the_inputs_as_each_alone(self, engine: EmbeddingEngine) -> None:
        inputs = [await whole(engine, f"{'word ' * (n % 7)}number {n}") for n in range(40)]
        together = await engine.embed(inputs)
        for ids, vector in zip(inputs, together, strict=True):
            [alone] = await engine.embed([ids])
            assert close(alone, vector) > 0.999

    async def test_a_text_is_nearest_to_itself(self, engine: EmbeddingEngine) -> None:
        texts = ["hello there", "what is the weather", "count to ten"]
        one = await engine.embed([await whole(engine, text) for text in texts])
        other = await engine.embed([await whole(engine, text) for text in texts])
        for number, vector in enumerate(one):
            scores = [close(vector, candidate) for candidate in other]
            assert scores.index(max(scores)) == number

    async def test_many_callers_get_what_each_would_get_alone(self, engine: EmbeddingEngine) -> None:
        inputs = [await whole(engine, f"caller {n} asks") for n in range(24)]
        alone = await engine.embed(inputs)
        results = await asyncio.gather(*(engine.embed([ids] * (1 + n % 5)) for n, ids in enumerate(inputs)))
        for n, vectors in enumerate(results):
            assert len(vectors) == 1 + n % 5
            assert all(close(vector, alone[n]) > 0.999 for vector in vectors)

    async def test_nothing_gives_nothing(self, engine: EmbeddingEngine) -> None:
        assert await engine.embed([]) == []

    async def test_the_longest_input_fits_and_one_token_more_is_refused_with_the_numbers(
        self, engine: EmbeddingEngine
    ) -> None:
        [ids] = await engine.encode([" a" * engine.context_length])
        most = engine.context_length
        assert len(await engine.embed([ids[:most]])) == 1
        with pytest.raises(TooLong) as refused:
            await engine.embed([ids[:5], (*ids, *ids)[: most + 1]])
        assert f"Input 1 has {most + 1} tokens" in refused.value.words
        assert str(most) in refused.value.words.partition(";")[2]

    @pytest.mark.parametrize("ids", [[], [-1], [10**6]])
    async def test_what_the_model_does_not_have_is_refused_by_name(
        self, engine: EmbeddingEngine, ids: list[int]
    ) -> None:
        with pytest.raises(BadRequest, match="Input 1 ") as refused:
            await engine.embed([await whole(engine, "fine"), ids])
        assert refused.value.param == "input"

    async def test_a_batch_has_a_limit(self, engine: EmbeddingEngine) -> None:
        ids = await whole(engine, "x")
        with pytest.raises(BadRequest, match=f"There are {MOST_INPUTS + 1} inputs"):
            await engine.embed([ids] * (MOST_INPUTS + 1))

    async def test_a_call_can_be_cancelled_and_the_engine_goes_on(self, engine: EmbeddingEngine) -> None:
        ids = await whole(engine, "a text that is placed again and again")
        task = asyncio.create_task(engine.embed([ids] * MOST_INPUTS))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert len(await engine.embed([ids])) == 1

    async def test_a_closed_engine_says_so(self, engine: EmbeddingEngine) -> None:
        ids = await whole(engine, "late")
        await engine.aclose()
        with pytest.raises(EngineError):
            await engine.embed([ids])
        await engine.aclose()
