"""The script that is run on a GPU, over scripted models: it measures and checks what it says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_checks, gpu_models
from benchmarks.report import Aim
from bot.engines.exllama.engine import ExllamaEngine
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import look
from bot.errors import EngineError
from tests.exllama.engines import loaded_v2, loaded_v3
from tests.exllama.script import MODEL, Script

Open = Callable[..., AbstractAsyncContextManager[ExllamaEngine]]

both = pytest.mark.parametrize(
    ("opened", "library"), [(loaded_v2, "exllamav2"), (loaded_v3, "exllamav3")], ids=["v2", "v3"]
)


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "STREAMS", (1, 2))
    monkeypatch.setattr(gpu, "PAIRS", 1)
    monkeypatch.setattr(gpu, "TOKENS", 6)
    monkeypatch.setattr(gpu, "WORDS", 250)


@both
async def test_speed_and_waiting_are_measured(opened: Open, library: Any) -> None:
    async with opened(slots=4) as engine:
        engine._vocabulary.end_ids = frozenset()
        gpu.backend_of(engine)._ends = []
        rows = await gpu.speed(engine, library, "scripted")
        assert [row.what for row in rows] == [
            *("scripted, 1 at once", "scripted, 2 at once", "scripted, the worst of these lags")
        ]
        assert all(row.measured and row.measured > 0 for row in rows)
        slow = await gpu.latencies(engine, "scripted")
        assert [row.what.partition(": ")[2] for row in slow] == [
            *("first token after 64 tokens", "first token after 1024 tokens", "a cancel beside others; a step"),
        ]


@both
async def test_what_fails_in_the_engines_thread_is_told_to_whoever_measures(opened: Open, library: Any) -> None:
    async with opened(slots=4) as engine:
        with pytest.raises(EngineError, match="no result"):
            await gpu.in_the_thread(engine, lambda backend: int("no result"))
        [request] = gpu.requests_of(1, 1, tokens=3)
        engine._vocabulary.end_ids = frozenset()
        gpu.backend_of(engine)._ends = []
        await gpu.hearth(engine)([request])
        gpu.backend_of(engine)._generator.iterate = lambda: [{"eos": True, "stage": "error"}]
        gpu.backend_of(engine)._generator.num_remaining_jobs = iter((1, 0)).__next__
        with pytest.raises(EngineError, match="AssertionError"):
            await gpu.bare(engine, library)([request])


@both
async def test_every_check_is_made(opened: Open, library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the memory of a GPU that is not here, and the converter."""
    async with AsyncExitStack() as stack:

        async def load(path: Path, library: str, **more: Any) -> ExllamaEngine:
            return await stack.enter_async_context(opened(slots=8, answer="Hello, I am Hearth.", **more))

        async def no_growth(library: str) -> int:
            return 0

        script = Script(Vocabulary(look(MODEL)), "Hello, I am Hearth.")
        monkeypatch.setattr(gpu_checks, "QUESTIONS", gpu_checks.QUESTIONS[:4])
        monkeypatch.setattr(gpu_checks, "ALL", Aim(4, at_least=True))
        monkeypatch.setattr(gpu_checks, "load", load)
        monkeypatch.setattr(gpu_checks, "swapped", no_growth)
        monkeypatch.setattr(gpu_checks, "reference", lambda asked: [script.answer[:-1] for _ in asked])
        monkeypatch.setattr(gpu_models, "converted", no_converter)
        table = await gpu_checks.table(library)
    assert [(row.what, row.verdict) for row in table.rows if row.verdict == "NO" or row.figures == ("NO",)] == []
    assert len(table.rows) == 8
    assert table.notes == ["The library's converter failed on the project's model (not here)."]


def no_converter(*_: Any, **__: Any) -> Path:
    raise subprocess.CalledProcessError(1, "converter", output="not here")
