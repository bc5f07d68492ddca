"""Engines over a scripted model, ready to answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.config import GpuConfig, ModelConfig
from bot.engines.exllama.engine import ExllamaEngine
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import ModelFolder
from tests.exllama.script import COUNT, MODEL, Script

CONTEXT = 2048


def deadly(reason: str) -> None:
    """In place of the end of the process: no test is to come here."""
    raise AssertionError(reason)


@asynccontextmanager
async def loaded_v2(
    folder: Path,
    *,
    paged: bool = True,
    answer: str = COUNT,
    slots: int = 4,
    context_length: int = CONTEXT,
    backends: list[Any] | None = None,
    **gpu: Any,
) -> AsyncIterator[ExllamaEngine]:
    """exllamav2's own Python over a script; `backends` takes the backend, for those who look behind the port."""
    from tests.exllama.model_v2 import ScriptedV2

    def make(found: ModelFolder, config: ModelConfig, vocabulary: Vocabulary) -> ScriptedV2:
        backend = ScriptedV2(found, config, vocabulary, Script(vocabulary, answer), paged=paged)
        if backends is not None:
            backends.append(backend)
        return backend

    config = ModelConfig(
        path=MODEL, slots=slots, context_length=context_length, gpu=GpuConfig(library="exllamav2", **gpu)
    )
    engine = await ExllamaEngine.load("demo", config, folder, make=make, die=deadly)
    try:
        yield engine
    finally:
        await engine.aclose()
