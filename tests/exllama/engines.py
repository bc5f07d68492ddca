"""Engines over a scripted model, ready to answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest

from bot.config import GpuConfig, ModelConfig
from bot.engines.exllama.engine import ExllamaEngine
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import ModelFolder
from tests.exllama.script import COUNT, MODEL, Script

CONTEXT = 2048


def deadly(reason: str) -> None:
    """In place of the end of the process: no test is to come here."""
    raise AssertionError(reason)


Make = Callable[[ModelFolder, ModelConfig, Vocabulary], Any]


def _need(library: str) -> None:
    """`make test-exllama` runs where they are."""
    if not (find_spec("torch") and find_spec(library)):
        pytest.skip(f"PyTorch or {library} is not installed")


@asynccontextmanager
async def _loaded(
    make: Make, library: str, slots: int, context_length: int, gpu: dict[str, Any]
) -> AsyncIterator[ExllamaEngine]:
    config = ModelConfig(
        path=gpu.pop("path", MODEL), slots=slots, context_length=context_length, gpu=GpuConfig(library=library, **gpu)
    )
    engine = await ExllamaEngine.load("demo", config, make=make, die=deadly)
    try:
        yield engine
    finally:
        await engine.aclose()


@asynccontextmanager
async def loaded_v2(
    *,
    paged: bool = True,
    answer: str = COUNT,
    slots: int = 4,
    context_length: int = CONTEXT,
    backends: list[Any] | None = None,
    **gpu: Any,
) -> AsyncIterator[ExllamaEngine]:
    """exllamav2's own Python over a script; `backends` takes the backend, for those who look behind the port."""
    _need("exllamav2")
    from tests.exllama.model_v2 import ScriptedV2

    def make(found: ModelFolder, config: ModelConfig, vocabulary: Vocabulary) -> ScriptedV2:
        backend = ScriptedV2(found, config, vocabulary, Script(vocabulary, answer), paged=paged)
        if backends is not None:
            backends.append(backend)
        return backend

    async with _loaded(make, "exllamav2", slots, context_length, gpu) as engine:
        yield engine


@asynccontextmanager
async def loaded_v3(
    *,
    answer: str = COUNT,
    slots: int = 4,
    context_length: int = CONTEXT,
    backends: list[Any] | None = None,
    **gpu: Any,
) -> AsyncIterator[ExllamaEngine]:
    """exllamav3's, likewise."""
    _need("exllamav3")
    from tests.exllama.model_v3 import ScriptedV3

    def make(found: ModelFolder, config: ModelConfig, vocabulary: Vocabulary) -> ScriptedV3:
        backend = ScriptedV3(found, config, vocabulary, Script(vocabulary, answer))
        if backends is not None:
            backends.append(backend)
        return backend

    async with _loaded(make, "exllamav3", slots, context_length, gpu) as engine:
        yield engine
