"""Whether ExLlamaV2 and V3 are right on this GPU: the project's own model through every way of loading it."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Literal

from benchmarks import gpu_models
from benchmarks.report import SCRATCH, Aim, Row, Table
from bot.config import GpuConfig, ModelConfig
from bot.engines.exllama.engine import ExllamaEngine
from bot.errors import EngineError, HearthError
from bot.generation import Delta, Finish, Generation, Sampling
from bot.messages import Role
from bot.prompt import PromptBuilder, Turn
from tests.attacks import bank

Library = Literal["exllamav2", "exllamav3"]

DAY = date(2026, 3, 14)
QUESTIONS = (
    *("Hello.", "Good morning.", "Count to 10.", "Count to 20.", "What is 2 + 3?", "What is 7 + 8?", "What is 9 + 9?"),
    *(
        "My name is Ada.",
        "What is my name?",
        "Thank you.",
        "Goodbye.",
        "Who are you?",
        "What can you do?",
        "Good night.",
    ),
    *("What is the capital of France?", "Repeat: red green blue.", "Count to 5.", "What is 1 + 1?", "Wie geht es dir?"),
    "What is Hearth?",
)
ANSWER = 60
"""Tokens."""
SWAPS = 5
MEBIBYTE = 2**20
ALL, NONE = Aim(20, at_least=True), Aim(0)
GROWTH = Aim(64, "MiB")


async def load(path: Path, library: Library, **gpu: Any) -> ExllamaEngine:
    """The project's model, or another of its size."""
    config = ModelConfig(path=path, slots=8, context_length=2048, gpu=GpuConfig(library=library, **gpu))
    return await ExllamaEngine.load(library, config)


async def prompts(engine: ExllamaEngine) -> list[tuple[int, ...]]:
    """The questions as the model's template writes them."""
    builder = PromptBuilder(engine)
    turns = [[Turn(Role.SYSTEM, "You are Hearth."), Turn(Role.USER, question)] for question in QUESTIONS]
    return [(await builder.build(each, day=DAY, max_tokens=ANSWER)).ids for each in turns]


async def written(engine: ExllamaEngine, prompt: tuple[int, ...]) -> list[int]:
    """The greedy answer's ids."""
    request = Generation(prompt=prompt, max_tokens=ANSWER, sampling=Sampling(temperature=0))
    return [id_ async for event in engine.stream(request) if isinstance(event, Delta) for id_ in event.token_ids]


def reference(asked: list[tuple[int, ...]]) -> list[list[int]] | None:
    """What transformers writes, greedily, in float32 on the CPU; None if it is not installed."""
    try:
        from transformers import AutoModelForCausalLM
    except ImportError:
        return None
    import torch

    model = AutoModelForCausalLM.from_pretrained(str(gpu_models.DEMO), dtype=torch.float32)
    ends = [1277, 1279]
    answers = []
    for prompt in asked:
        ids = torch.tensor([prompt])
        out = model.generate(ids, max_new_tokens=ANSWER, do_sample=False, eos_token_id=ends, pad_token_id=1277)
        new = out[0, len(prompt) :].tolist()
        answers.append(new[: next((n for n, id_ in enumerate(new) if id_ in ends), len(new))])
    return answers


async def same(path: Path, library: Library, expected: list[list[int]], **gpu: Any) -> int:
    """How many answers are as expected: one after the other, then all at once."""
    engine = await load(path, library, **gpu)
    try:
        asked = await prompts(engine)
        alone = [await written(engine, prompt) for prompt in asked]
        together = await asyncio.gather(*(written(engine, prompt) for prompt in asked))
        return sum(one == each == other for one, each, other in zip(alone, together, expected, strict=True))
    finally:
        await engine.aclose()


async def forged(engine: ExllamaEngine) -> int:
    """Control tokens that the attack bank put into prompts."""
    builder = PromptBuilder(engine)

    async def controls(text: str) -> int:
        turns = [Turn(Role.SYSTEM, text[:200]), Turn(Role.USER, text[:200]), Turn(Role.USER, text[:200])]
        ids = (await builder.build(turns, day=DAY, max_tokens=10)).ids
        return sum(id_ >= 1277 for id_ in ids)

    plain = await controls("word")
    return sum([abs(await controls(text) - plain) for text in bank.attacks()])


async def after_too_little_memory(engine: ExllamaEngine, expected: list[int]) -> bool:
    """An out-of-memory in a step fails the answer, and the next is right."""
    backend: Any = engine._worker._backend
    torch, prompt, before = backend._torch, (await prompts(engine))[0], backend._batch

    def fail() -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. (a test)")

    backend._generator.iterate = fail
    failed = False
    with suppress(EngineError):
        await written(engine, prompt)
        failed = True
    return not failed and await written(engine, prompt) == expected and backend._batch == max(1, before // 2)


async def swapped(library: Library) -> int:
    """MiB of GPU memory in use after the last of several loads and unloads, more than after the second."""
    import torch

    used = []
    for _ in range(SWAPS):
        engine = await load(gpu_models.DEMO, library)
        await written(engine, (await prompts(engine))[0])
        await engine.aclose()
        del engine
        free, total = torch.cuda.mem_get_info(0)
        used.append((total - free) // MEBIBYTE)
    return int(max(0, used[-1] - used[1]))


async def with_seed(engine: ExllamaEngine) -> bool:
    """The same seed gives the same again."""
    request = Generation(prompt=(await prompts(engine))[0], max_tokens=30, sampling=Sampling(temperature=1.5, seed=5))
    texts = []
    for _ in range(2):
        events = [event async for event in engine.stream(request)]
        assert isinstance(events[-1], Finish)
        texts.append("".join(event.text for event in events if isinstance(event, Delta)))
    return texts[0] == texts[1]


async def table(library: Library) -> Table:
    """Every check."""
    engine = await load(gpu_models.DEMO, library)
    notes: list[str] = []
    rows: list[Row] = []
    try:
        asked = await prompts(engine)
        expected = await asyncio.to_thread(reference, asked)
        if expected is None:
            notes.append(
                "transformers is not installed: the answers are compared with this library's own, one at a time."
            )
            expected = [await written(engine, prompt) for prompt in asked]
        count = await forged(engine)
        rows.append(Row("forged control tokens of the attack bank", (str(count),), NONE, count))
        rows.append(Row("the same again with the same seed", ("yes" if await with_seed(engine) else "NO",)))
        right = await after_too_little_memory(engine, expected[0])
        rows.append(Row("right after too little memory, with half the batch", ("yes" if right else "NO",)))
    finally:
        await engine.aclose()
    for name, path, gpu in _ways(library, notes):
        try:
            found = await same(path, library, expected, **gpu)
        except HearthError as error:
            notes.append(f"{name}: {error!r}.")
            found = 0
        aim = None if "converter" in name else ALL
        rows.append(Row(f"{name}: answers as transformers'", (f"{found} of {len(QUESTIONS)}",), aim, found))
    growth = await swapped(library)
    rows.append(Row(f"memory more after {SWAPS} loads than after 2", (f"{growth} MiB",), GROWTH, growth))
    return Table(f"gpu: is {library} right?", ("found",), rows, notes)


def _ways(library: Library, notes: list[str]) -> list[tuple[str, Path, dict[str, Any]]]:
    """Every way to load the project's model, those that can be made."""
    ways: list[tuple[str, Path, dict[str, Any]]] = [
        ("float16", gpu_models.DEMO, {}),
        ("8-bit cache", gpu_models.DEMO, {"cache_bits": 8}),
        ("guesses from what was written", gpu_models.DEMO, {"ngram_draft": True}),
        ("guesses of a draft model", gpu_models.DEMO, {"draft_model": gpu_models.DEMO}),
    ]
    try:
        made = gpu_models.converted(gpu_models.DEMO, SCRATCH / f"demo-{library}", library, bits=6.0)
        ways.append(("6 bits, by the library's converter", made, {}))
    except subprocess.CalledProcessError as error:
        notes.append(f"The library's converter failed on the project's model ({error.output}).")
    return ways
