"""Embeddings by llama.cpp in this process: what a stop costs, how a model is run, and files that make none."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.random_model import write as write_random_model
from bot.config import EMBEDDED_CHAT_MODEL, EMBEDDED_EMBEDDING_MODEL, ModelConfig
from bot.engines import gguf
from bot.engines.embedding import MOST_INPUTS, LlamaCppEmbedding, shortened, way_for
from bot.engines.llamacpp import BATCH
from bot.errors import ModelError
from bot.gguf_format import Pooling
from bot.prompt import TextPrompts
from tests.house import DEADLINE
from tests.unit.test_gguf import write


@asynccontextmanager
async def loaded(
    path: Path, folder: Path, *, pooling: Pooling | None = None, slots: int = 4, context_length: int | None = None
) -> AsyncIterator[LlamaCppEmbedding]:
    config = ModelConfig(
        path=path, kind="embedding", threads=1, slots=slots, pooling=pooling, context_length=context_length
    )
    engine = await LlamaCppEmbedding.load("demo", config, folder)
    try:
        yield engine
    finally:
        await engine.aclose()


@pytest.fixture(scope="module")
def random_file(tmp_path_factory: pytest.TempPathFactory) -> gguf.ModelFile:
    """Half a billion weights, of a vocabulary of 151,936 tokens."""
    return gguf.read(write_random_model(tmp_path_factory.mktemp("random")))


async def quiet(engine: LlamaCppEmbedding) -> int:
    """How many tokens were read by the time that no more are."""
    async with asyncio.timeout(DEADLINE):
        before = -1
        while (now := await engine.computed()) != before:
            before = now
            await asyncio.sleep(0.3)
    return now


async def test_a_stopped_call_costs_the_parts_under_way(tmp_path: Path) -> None:
    """And not its 2048 inputs: the server itself would go through all that it has been given."""
    async with loaded(EMBEDDED_EMBEDDING_MODEL, tmp_path, slots=8) as engine:
        ids = tuple(range(300, 350))
        before = await quiet(engine)
        task = asyncio.create_task(engine.embed([ids] * MOST_INPUTS))
        async with asyncio.timeout(DEADLINE):
            while await engine.computed() == before:
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        read_at_the_stop = await engine.computed()
        assert await quiet(engine) - read_at_the_stop <= 2 * 16 * len(ids)
        assert await engine.computed() < MOST_INPUTS * len(ids) / 2


async def test_a_short_call_does_not_wait_for_a_long_one(tmp_path: Path) -> None:
    async with loaded(EMBEDDED_EMBEDDING_MODEL, tmp_path, slots=1) as engine:
        long = asyncio.create_task(engine.embed([tuple(range(300, 400))] * MOST_INPUTS))
        await asyncio.sleep(0)
        assert len(await engine.embed([(5, 6, 7)])) == 1
        assert not long.done()
        long.cancel()
        await asyncio.wait([long])


async def test_the_event_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    """Whatever the machine does: no turn of the loop holds a good part of the work."""
    async with loaded(EMBEDDED_EMBEDDING_MODEL, tmp_path) as engine:
        began, spent = time.monotonic(), time.thread_time()
        found = await engine.embed([tuple(range(300, 330))] * MOST_INPUTS)
        assert len(found) == MOST_INPUTS
        assert time.thread_time() - spent < (time.monotonic() - began) / 2


async def test_pooling_is_what_the_file_says_or_the_configuration(tmp_path: Path) -> None:
    places = {}
    for pooling in ("mean", "last", "cls", None):
        async with loaded(EMBEDDED_CHAT_MODEL, tmp_path, pooling=pooling) as engine:
            [places[pooling]] = await engine.embed([(5, 6, 7, 8)])
    assert places[None] == places["mean"]
    assert len({tuple(place) for place in places.values()}) == 3


async def test_the_embedded_model_knows_words_that_mean_the_same(tmp_path: Path) -> None:
    async with loaded(EMBEDDED_EMBEDDING_MODEL, tmp_path) as engine:
        texts = ["I want to purchase an automobile.", "Where can one buy a car?", "The cat sleeps on the sofa."]
        one, same, other = await engine.embed(await TextPrompts(engine).inputs(texts))
        assert sum(a * b for a, b in zip(one, same, strict=True)) > sum(a * b for a, b in zip(one, other, strict=True))


async def test_a_listener_is_gone_with_its_model(tmp_path: Path) -> None:
    async with loaded(EMBEDDED_EMBEDDING_MODEL, tmp_path):
        assert len(list((tmp_path / "run").glob("engine-*.sock"))) == 1
    assert list((tmp_path / "run").iterdir()) == []


class TestBadFiles:
    async def test_what_llama_cpp_cannot_load_is_one_line_that_names_the_file(self, tmp_path: Path) -> None:
        path = write(tmp_path / "tiny.gguf", architecture="bert", template=None)
        with pytest.raises(ModelError) as raised:
            async with loaded(path, tmp_path):
                pass
        assert str(raised.value).startswith(f"{path}: llama.cpp cannot load this model (")
        assert "\n" not in str(raised.value)

    async def test_weights_that_are_nonsense_make_no_embeddings(self, tmp_path: Path) -> None:
        """Zeros: every text is at no place at all."""
        data = EMBEDDED_CHAT_MODEL.read_bytes()
        path = tmp_path / "zeros.gguf"
        path.write_bytes(data[:-3_000_000] + bytes(3_000_000))
        with pytest.raises(ModelError, match=r"zeros\.gguf: makes no embeddings"):
            async with loaded(path, tmp_path):
                pass
        assert list((tmp_path / "run").iterdir()) == []


class TestWay:
    """How long inputs may be, and how much memory they take."""

    def test_an_encoder_takes_its_own_context_and_as_many_at_once_as_there_are_slots(self) -> None:
        file = gguf.read(EMBEDDED_EMBEDDING_MODEL)
        way = way_for(file, ModelConfig(path=file.path, kind="embedding", slots=3))
        assert (way.context_length, way.batch, way.pooling, way.shared) == (2048, 2048, "mean", 3 * 2048)
        short = way_for(file, ModelConfig(path=file.path, kind="embedding", slots=1, context_length=512))
        assert (short.context_length, short.batch, short.shared) == (512, 512, 512)
        more = way_for(file, ModelConfig(path=file.path, kind="embedding", context_length=10**6))
        assert more.context_length == 2048

    def test_a_model_that_writes_shares_its_cache(self, random_file: gguf.ModelFile) -> None:
        """12 KiB a token: of 8192 tokens ten fit into a GiB. Its last token tells, so it reads in steps."""
        assert random_file.kv_bytes_per_token == 12 * 1024
        config = ModelConfig(path=random_file.path, kind="embedding", slots=8, pooling="last")
        way = way_for(random_file, config)
        assert (way.context_length, way.pooling, way.shared, way.batch) == (8192, "last", 8 * 8192, BATCH)
        many = way_for(random_file, config.model_copy(update={"slots": 64}))
        assert many.shared == 10 * 8192
        long = way_for(random_file, config.model_copy(update={"slots": 64, "context_length": 32768}))
        assert (long.context_length, long.shared) == (32768, 2 * 32768)

    def test_where_all_tokens_tell_memory_bounds_the_longest_input(self, random_file: gguf.ModelFile) -> None:
        """1.2 MB for each token that is read in one step, so that 768 fit into a GiB; who configures more has more."""
        config = ModelConfig(path=random_file.path, kind="embedding", slots=8)
        way = way_for(random_file, config)
        assert (way.context_length, way.pooling, way.batch, way.shared) == (768, "mean", 768, 8 * 768)
        more = way_for(random_file, config.model_copy(update={"context_length": 4096}))
        assert (more.context_length, more.batch) == (4096, 4096)


def test_the_first_numbers_have_length_one_again() -> None:
    assert list(shortened([0.6, 0.0, 0.8], 2)) == [1.0, 0.0]
    assert math.hypot(*shortened([0.5, 0.5, 0.5, 0.5], 3)) == pytest.approx(1)
    assert list(shortened([0.0, 1.0], 1)) == [0.0]
