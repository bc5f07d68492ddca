"""llama.cpp in this process: its socket, its stops counted by its own counters, its parameters, and bad files."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from benchmarks.random_model import write as write_random_model
from bot.config import EMBEDDED_CHAT_MODEL, ModelConfig
from bot.engines import gguf
from bot.engines.llama_server import Listener
from bot.engines.llamacpp import BATCH, LlamaCppEngine, context_for
from bot.errors import EngineError, ModelError
from bot.generation import Delta, Finish, Generation, Prefill, Sampling
from tests.house import DEADLINE

QUESTION = "<|im_start|>user\nCount to 20.<|im_end|>\n<|im_start|>assistant\n"
GREEDY = Sampling(temperature=0)


@asynccontextmanager
async def loaded(path: Path, folder: Path, *, slots: int = 2) -> AsyncIterator[LlamaCppEngine]:
    config = ModelConfig(path=path, threads=1, slots=slots, context_length=2048)
    engine = await LlamaCppEngine.load("demo", config, folder)
    try:
        yield engine
    finally:
        await engine.aclose()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[LlamaCppEngine]:
    async with loaded(EMBEDDED_CHAT_MODEL, tmp_path) as engine:
        yield engine


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a billion random weights: slow enough to be caught in the middle."""
    return write_random_model(tmp_path_factory.mktemp("random"))


async def ids_of(engine: LlamaCppEngine, text: str) -> tuple[int, ...]:
    [ids] = await engine.encode([text])
    return tuple(ids)


async def deltas(engine: LlamaCppEngine, request: Generation) -> list[Delta]:
    return [event async for event in engine.stream(request) if isinstance(event, Delta)]


async def quiet(engine: LlamaCppEngine) -> None:
    """Returns when no stream is computed any more, and what the last one cost is counted: that comes a moment later."""
    async with asyncio.timeout(DEADLINE):
        before = None
        while (counted := await engine.counters()).running or counted != before:
            before = counted
            await asyncio.sleep(0.05)


async def stop_answer(engine: LlamaCppEngine, how: str, seed: int) -> int:
    """How many tokens were generated beyond those that had come when the stream was stopped."""
    request = Generation(prompt=tuple(range(1000, 1020)), max_tokens=2000, sampling=Sampling(seed=seed))
    before, seen, enough = await engine.counters(), 0, asyncio.Event()

    async def take() -> None:
        nonlocal seen
        async with aclosing(engine.stream(request)) as stream:
            async for event in stream:
                seen += isinstance(event, Delta)
                if seen == 5:
                    enough.set()
                    if how == "aclose":
                        return

    task, reached = asyncio.create_task(take()), asyncio.create_task(enough.wait())
    await asyncio.wait([task, reached], return_when=asyncio.FIRST_COMPLETED)
    assert reached.done(), task
    if how == "cancel":
        task.cancel()
    await asyncio.wait([task])
    await quiet(engine)
    return (await engine.counters()).generated - before.generated - seen


async def stop_prompt(engine: LlamaCppEngine, first: int) -> int:
    """How many tokens of a prompt were read beyond those reported when the stream was stopped."""
    before, processed = await engine.counters(), 0
    async with aclosing(engine.stream(Generation(prompt=tuple(range(first, first + 1500)), max_tokens=5))) as stream:
        async for event in stream:
            processed = event.processed if isinstance(event, Prefill) else processed
            if processed >= 2 * BATCH:
                break
    await quiet(engine)
    after = await engine.counters()
    assert after.generated == before.generated
    return after.prefilled - before.prefilled - processed


class TestStopping:
    """A starved machine brings news late, so that a stop comes late too: the best of three counts, and every one ends."""

    @pytest.mark.parametrize("how", ["aclose", "cancel"])
    async def test_a_stopped_answer_costs_at_most_two_more_tokens(
        self, random_model: Path, tmp_path: Path, how: str
    ) -> None:
        async with loaded(random_model, tmp_path) as engine:
            more = [await stop_answer(engine, how, seed) for seed in (1, 2, 3)]
        assert 0 <= min(more) <= 2
        assert max(more) <= 20

    async def test_a_stopped_prompt_costs_the_batch_under_way_and_at_most_one_more(
        self, random_model: Path, tmp_path: Path
    ) -> None:
        async with loaded(random_model, tmp_path) as engine:
            more = [await stop_prompt(engine, first) for first in (1000, 3000, 5000)]
        assert 0 <= min(more) <= 2 * BATCH
        assert max(more) <= 8 * BATCH

    async def test_closing_the_engine_ends_its_streams_with_a_word(self, engine: LlamaCppEngine) -> None:
        stream = engine.stream(Generation(prompt=await ids_of(engine, QUESTION), max_tokens=500))
        await anext(stream)
        await engine.aclose()
        with pytest.raises(EngineError):
            async for _ in stream:
                pass

    async def test_an_engine_may_be_closed_as_soon_as_it_is_loaded(self, tmp_path: Path) -> None:
        for _ in range(20):
            async with loaded(EMBEDDED_CHAT_MODEL, tmp_path) as engine:
                [path] = (tmp_path / "run").glob("engine-*.sock")
            assert not path.exists()
            with pytest.raises(EngineError):
                await engine.encode(["a"])

    @pytest.mark.parametrize("how", ["sys.exit(0)", "return"])
    def test_a_process_may_end_in_the_middle_of_a_stream(self, tmp_path: Path, how: str) -> None:
        program = f"""
            import asyncio, sys
            from pathlib import Path
            from bot.config import EMBEDDED_CHAT_MODEL, ModelConfig
            from bot.engines.llamacpp import LlamaCppEngine
            from bot.generation import Generation
            kept = []
            async def main():
                config = ModelConfig(path=EMBEDDED_CHAT_MODEL, threads=1, slots=2)
                engine = await LlamaCppEngine.load("demo", config, Path({str(tmp_path)!r}))
                stream = engine.stream(Generation(prompt=(1, 2, 3), max_tokens=1500))
                kept.extend((engine, stream))
                await anext(stream)
                {how}
            asyncio.run(main())
            """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], check=False, capture_output=True, timeout=DEADLINE
        )
        assert done.returncode == 0, done.stderr.decode()


class TestListener:
    async def test_nobody_gets_in_without_the_key(self, engine: LlamaCppEngine, tmp_path: Path) -> None:
        [path] = (tmp_path / "run").glob("engine-*.sock")
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        body = {"prompt": "Hello", "n_predict": 1}
        async with aiohttp.ClientSession("http://x", connector=aiohttp.UnixConnector(str(path))) as http:
            for route in ("/completion", "/v1/chat/completions", "/tokenize", "/slots/0?action=save"):
                async with http.post(route, json=body, headers={"Authorization": "Bearer guess"}) as response:
                    assert response.status == 401
            for route in ("/slots", "/metrics", "/props", "/"):
                async with http.get(route) as response:
                    assert response.status in (401, 404)

    async def test_the_socket_is_removed_at_the_end(self, tmp_path: Path) -> None:
        async with loaded(EMBEDDED_CHAT_MODEL, tmp_path):
            assert len(list((tmp_path / "run").glob("*.sock"))) == 1
        assert list((tmp_path / "run").iterdir()) == []

    async def test_a_dead_socket_is_cleared_away_and_a_living_one_is_not(self, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        folder.mkdir()
        with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as living:
            dead.bind(str(folder / "engine-dead.sock"))
            living.bind(str(folder / "engine-live.sock"))
            living.listen()
            dead.close()
            async with loaded(EMBEDDED_CHAT_MODEL, tmp_path):
                names = {path.name for path in folder.iterdir()}
                assert "engine-dead.sock" not in names
                assert "engine-live.sock" in names

    async def test_a_directory_without_room_for_a_socket_is_one_line_that_names_the_model(self, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("in the way")
        with pytest.raises(ModelError) as raised:
            async with loaded(EMBEDDED_CHAT_MODEL, tmp_path):
                pass
        assert str(raised.value).startswith(
            f"{EMBEDDED_CHAT_MODEL}: no socket for llama.cpp can be made in {tmp_path} ("
        )
        assert "\n" not in str(raised.value)

    def test_a_server_that_does_not_answer_is_waited_for_within_bounds(self, tmp_path: Path) -> None:
        listener = Listener(server=None, socket=tmp_path / "nobody.sock", key="")
        with pytest.raises(FileNotFoundError):
            listener.wait_until_it_answers(0.1)

    def test_a_server_that_answers_late_is_waited_for(self, tmp_path: Path) -> None:
        path = tmp_path / "late.sock"
        listener = Listener(server=None, socket=path, key="")
        with ThreadPoolExecutor(1) as pool, socket.socket(socket.AF_UNIX) as server:
            waiting = pool.submit(listener.wait_until_it_answers, DEADLINE)
            server.bind(str(path))
            server.listen()
            client, _ = server.accept()
            with client:
                assert client.recv(1000).startswith(b"GET /metrics ")
                client.sendall(b"H")
            assert waiting.result(DEADLINE) is None

    async def test_a_long_data_directory_is_no_obstacle(self, tmp_path: Path) -> None:
        async with loaded(EMBEDDED_CHAT_MODEL, tmp_path / ("long" * 30)) as engine:
            assert len(await ids_of(engine, "a")) == 1

    async def test_standard_error_is_left_as_it_was(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        async with loaded(EMBEDDED_CHAT_MODEL, tmp_path) as engine:
            await deltas(engine, Generation(prompt=await ids_of(engine, QUESTION), max_tokens=5))
        os.write(2, b"still here\n")
        assert capfd.readouterr().err == "still here\n"


class TestSampling:
    async def test_a_bias_forbids_and_forces(self, engine: LlamaCppEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        [first] = await deltas(engine, Generation(prompt=prompt, max_tokens=1, sampling=GREEDY))
        [never] = first.token_ids
        banned = Sampling(temperature=0, logit_bias={never: -100})
        assert (
            never not in (await deltas(engine, Generation(prompt=prompt, max_tokens=1, sampling=banned)))[0].token_ids
        )
        [other] = await ids_of(engine, "x")
        forced = Sampling(logit_bias={other: 100}, temperature=0)
        assert [d.text for d in await deltas(engine, Generation(prompt=prompt, max_tokens=3, sampling=forced))] == [
            "x"
        ] * 3

    async def test_the_frequency_penalty_counts_what_was_generated_alone(self, engine: LlamaCppEngine) -> None:
        prompt = await ids_of(engine, "1 " * 40 + QUESTION)
        plain = await deltas(engine, Generation(prompt=prompt, max_tokens=1, sampling=GREEDY))
        strict = Sampling(temperature=0, frequency_penalty=2.0, presence_penalty=2.0)
        assert await deltas(engine, Generation(prompt=prompt, max_tokens=1, sampling=strict)) == plain

    async def test_the_frequency_penalty_ends_repetition(self, engine: LlamaCppEngine) -> None:
        [repeated] = await ids_of(engine, "x")
        prompt = await ids_of(engine, QUESTION)
        bias = {repeated: 30.0}
        endless = Generation(prompt=prompt, max_tokens=60, sampling=Sampling(temperature=0, logit_bias=bias))
        assert {delta.text for delta in await deltas(engine, endless)} == {"x"}
        strict = Sampling(temperature=0, logit_bias=bias, frequency_penalty=2.0)
        penalised = await deltas(engine, Generation(prompt=prompt, max_tokens=60, sampling=strict))
        assert len({delta.text for delta in penalised}) > 1

    async def test_logprobs_are_the_models_own_whatever_the_sampling(self, engine: LlamaCppEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        plain = Sampling(temperature=0, logprobs=3)
        [delta] = await deltas(engine, Generation(prompt=prompt, max_tokens=1, sampling=plain))
        [(best, others)] = delta.logprobs
        assert best == others[0]
        assert len(others) == 3
        changed = Sampling(temperature=1.5, logprobs=3, logit_bias={best.token_id: -100}, top_p=0.5)
        [delta] = await deltas(engine, Generation(prompt=prompt, max_tokens=1, sampling=changed))
        [(chosen, others)] = delta.logprobs
        assert chosen.token_id != best.token_id
        assert others[0].token_id == best.token_id
        assert others[0].logprob == pytest.approx(best.logprob, abs=0.01)

    async def test_json_of_a_schema_is_on_one_line(self, engine: LlamaCppEngine) -> None:
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        request = Generation(
            prompt=await ids_of(engine, QUESTION),
            max_tokens=30,
            sampling=Sampling(seed=3, temperature=2.0),
            json_schema={**schema, "additionalProperties": False, "properties": {"n": {"const": 12}}},
        )
        assert "".join(delta.text for delta in await deltas(engine, request)) == '{"n": 12}'

    async def test_more_streams_than_slots_wait_for_each_other(self, engine: LlamaCppEngine) -> None:
        request = Generation(prompt=await ids_of(engine, QUESTION), max_tokens=10, sampling=GREEDY)

        async def finish() -> Finish:
            return [event async for event in engine.stream(request) if isinstance(event, Finish)][-1]

        ends = await asyncio.gather(*(finish() for _ in range(8)))
        assert {end.usage.completion_tokens for end in ends} == {10}


def _other_architecture(data: bytes) -> bytes:
    return data.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lhama", 1)


def _broken_weights(data: bytes) -> bytes:
    return data[:-4096] + b"\xff" * 4096


class TestBadFiles:
    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda data: data[: len(data) // 2], "is cut off"),
            (lambda data: b"not a model", "is no GGUF model file"),
            (_other_architecture, "lhama"),
            (_broken_weights, "invalid data"),
        ],
    )
    async def test_a_bad_file_is_one_line_and_a_good_one_loads_after_it(
        self, tmp_path: Path, damage: Callable[[bytes], bytes], words: str
    ) -> None:
        bad = tmp_path / "bad.gguf"
        bad.write_bytes(damage(EMBEDDED_CHAT_MODEL.read_bytes()))
        with pytest.raises(ModelError) as raised:
            async with loaded(bad, tmp_path):
                pass
        assert words in str(raised.value)
        assert str(raised.value).startswith(f"{bad}: ")
        assert "\n" not in str(raised.value)
        async with loaded(EMBEDDED_CHAT_MODEL, tmp_path) as engine:
            assert len(await ids_of(engine, "a")) == 1


class TestContextLength:
    def test_it_is_the_models_own_or_what_memory_allows(self, random_model: Path) -> None:
        file = gguf.read(random_model)
        assert file.kv_bytes_per_token == 24 * 2 * (64 + 64) * 2
        assert context_for(file, ModelConfig(path=random_model, slots=1)) == 32768
        assert context_for(file, ModelConfig(path=random_model, slots=8)) == 10752
        assert context_for(file, ModelConfig(path=random_model, slots=8, context_length=4096)) == 4096
        assert context_for(file, ModelConfig(path=random_model, context_length=10**6)) == 32768
