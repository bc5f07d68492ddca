"""What do ExLlamaV2 and V3 behind Hearth's thread cost on a GPU, and are they right? Sets itself up; needs an NVIDIA GPU.

    python -m benchmarks.gpu [exllamav2] [exllamav3]

Compiles what is not compiled yet, makes its models (16 GB of random weights, then quantised ones; kept under .cache), and
prints tables. The rival is the library's own generator, driven bare: its jobs, its loop, in the same thread, over the
same loaded model and cache, in alternating pairs. A check that fails, or a model that cannot be made, is told and passed over.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from benchmarks import gpu_checks, gpu_models
from benchmarks.loop_lag import probing
from benchmarks.report import Aim, Row, Table, describe_machine, milliseconds, percentile, run
from bot.config import GpuConfig, ModelConfig, QueueConfig
from bot.engines.exllama import build, report
from bot.engines.exllama.engine import ExllamaEngine
from bot.engines.exllama.jobs import Job
from bot.engines.scheduler import Scheduler
from bot.errors import EngineError, HearthError
from bot.generation import Delta, Finish, Generation, Sampling

Library = Literal["exllamav2", "exllamav3"]

STREAMS = (1, 4, 8, 16)
SLOTS = 16
TOKENS, PROMPT = 128, 64
PAIRS = 3
CONTEXT = 4096
WORDS = 1270
"""Ordinary tokens of the project's tokenizer, which the large models have too."""
TEMPERATURE, TOP_P = 0.7, 0.95
AIMS = {("exllamav2", 1): Aim(0.97, at_least=True), ("exllamav3", 8): Aim(0.9, at_least=True)}
LAG = Aim(20, "ms")
STEPS = Aim(2, "steps")
"""A cancel waits for the step under way, and the generator is asked after the next."""


@asynccontextmanager
async def opened(path: Path, library: Library) -> AsyncIterator[ExllamaEngine]:
    """The engine over a model folder. No token ends an answer, so that every one has its length."""
    gpu = GpuConfig(library=library, step_timeout=3600.0)  # the bare generator's whole run is one step of the thread
    config = ModelConfig(path=path, slots=SLOTS, context_length=CONTEXT, gpu=gpu)
    engine = await ExllamaEngine.load(library, config)
    engine._vocabulary.end_ids = frozenset()
    backend_of(engine)._ends = []
    try:
        yield engine
    finally:
        await engine.aclose()


def backend_of(engine: ExllamaEngine) -> Any:
    """What is behind the port."""
    return engine._worker._backend


async def in_the_thread(engine: ExllamaEngine, work: Callable[[Any], object]) -> Any:
    """Run `work` with the backend in the engine's own thread, between two steps; its result. Raises EngineError."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def do(_: Job) -> None:
        try:
            result = work(backend_of(engine))
        except Exception as error:
            loop.call_soon_threadsafe(done.set_exception, EngineError(detail=repr(error)))
            raise
        loop.call_soon_threadsafe(done.set_result, result)

    nobody = Job(Generation(prompt=(1,), max_tokens=1), 1)
    engine._worker._command(do, nobody)
    return await done


def requests_of(seed: int, streams: int, *, prompt: int = PROMPT, tokens: int = TOKENS) -> list[Generation]:
    """Different prompts of random ordinary tokens."""
    source = random.Random(seed)
    return [
        Generation(
            prompt=tuple(source.randrange(1, WORDS) for _ in range(prompt)),
            max_tokens=tokens,
            sampling=Sampling(seed=seed + n, temperature=TEMPERATURE, top_p=TOP_P),
        )
        for n in range(streams)
    ]


def hearth(engine: ExllamaEngine) -> Callable[[Sequence[Generation]], Awaitable[float]]:
    """Through the scheduler, as every answer goes; seconds."""
    scheduler = Scheduler(engine, QueueConfig(), slots=SLOTS)

    async def one(user: str, request: Generation) -> None:
        async with scheduler.ticket(user) as ticket:
            ends = [event async for event in ticket.stream(request) if isinstance(event, Finish)]
            assert ends[0].usage.completion_tokens == request.max_tokens, ends

    async def together(requests: Sequence[Generation]) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(one(f"user {n}", request) for n, request in enumerate(requests)))
        return time.perf_counter() - began

    return together


def bare(engine: ExllamaEngine, library: Library) -> Callable[[Sequence[Generation]], Awaitable[float]]:
    """The library's jobs in the library's loop, with the same settings; seconds."""

    def job_of(backend: Any, request: Generation) -> Any:
        module, torch, sampling = backend._module, backend._torch, request.sampling
        common = {
            "input_ids": torch.tensor([request.prompt], dtype=torch.long),
            "max_new_tokens": request.max_tokens,
            "seed": sampling.seed,
        }
        if library == "exllamav3":
            return module.Job(**common, sampler=module.ComboSampler(temperature=TEMPERATURE, top_p=TOP_P))
        settings = module.generator.ExLlamaV2Sampler.Settings(
            temperature=TEMPERATURE, top_p=TOP_P, top_k=0, token_repetition_penalty=1.0
        )
        return module.generator.ExLlamaV2DynamicJob(**common, gen_settings=settings)

    async def together(requests: Sequence[Generation]) -> float:
        def work(backend: Any) -> float:
            jobs = [job_of(backend, request) for request in requests]
            results: list[Any] = []
            began = time.perf_counter()
            for job in jobs:
                backend._generator.enqueue(job)
            while backend._generator.num_remaining_jobs():
                results += backend._generator.iterate()
            seconds = time.perf_counter() - began
            ends = [result.get("new_tokens", result) for result in results if result["eos"]]
            assert ends == [request.max_tokens for request in requests], ends
            return seconds

        seconds: float = await in_the_thread(engine, work)
        return seconds

    return together


async def speed(engine: ExllamaEngine, library: Library, name: str) -> list[Row]:
    """Tokens per second beside the bare generator, and the event loop's lag meanwhile."""
    rounds = [hearth(engine), bare(engine, library)]
    rows = []
    worst = 0.0
    for streams in STREAMS:
        if streams > engine.slots:
            continue
        for generate in rounds:
            await generate(requests_of(0, streams, tokens=16))
        seconds: list[list[float]] = [[], []]
        lags: list[float] = []
        for seed in range(1, PAIRS + 1):
            for side in (0, 1) if seed % 2 else (1, 0):
                requests = requests_of(1000 * seed + 100 * side, streams)  # no prompt is known from the other side
                async with probing() as probe:
                    seconds[side].append(await rounds[side](requests))
                lags += probe if side == 0 else []
        speeds = [streams * TOKENS / percentile(side, 0.5) for side in seconds]
        ratio = percentile([rival / ours for ours, rival in zip(*seconds, strict=True)], 0.5)
        lag = percentile(lags, 0.99)
        worst = max(worst, lag)
        figures = (f"{speeds[0]:.1f}", f"{speeds[1]:.1f}", milliseconds(lag), f"{ratio:.3f}")
        rows.append(Row(f"{name}, {streams} at once", figures, AIMS.get((library, streams)), ratio))
    rows.append(Row(f"{name}, the worst of these lags", ("", "", milliseconds(worst), ""), LAG, worst * 1000))
    return rows


async def first_token(engine: ExllamaEngine, request: Generation) -> float:
    """Seconds to the first text or token."""
    began = time.perf_counter()
    stream = engine.stream(request)
    async for event in stream:
        if isinstance(event, Delta):
            break
    await stream.aclose()
    return time.perf_counter() - began


async def latencies(engine: ExllamaEngine, name: str) -> list[Row]:
    """The first token after a new prompt and after a known one; a cancel; the lag of the loop."""
    rows = []
    for length in (PROMPT, 1024, 2048):
        if length + 8 > engine.context_length:
            continue
        times: list[list[float]] = [[], []]
        for seed in range(5):
            [request] = requests_of(5000 + 10 * length + seed, 1, prompt=length, tokens=4)
            for known in (0, 1):
                times[known].append(await first_token(engine, request))
        cold, cached = (milliseconds(percentile(each, 0.5)) for each in times)
        rows.append(Row(f"{name}: first token after {length} tokens", (cold, cached)))
    cancels, step = await cancelled(engine)
    ratio = percentile(cancels, 0.5) / step
    rows.append(
        Row(
            f"{name}: a cancel beside others; a step",
            (milliseconds(percentile(cancels, 0.5)), milliseconds(step)),
            STEPS,
            ratio,
        )
    )
    return rows


async def cancelled(engine: ExllamaEngine) -> tuple[list[float], float]:
    """How long until a closed stream has left the generator, five times; and how long a step of the rest takes."""
    streams = min(4, engine.slots)
    others = [asyncio.create_task(_through(engine, request)) for request in requests_of(7, streams - 1, tokens=1024)]
    backend, times, steps = backend_of(engine), list[float](), list[float]()
    for seed in range(5):
        [request] = requests_of(9000 + seed, 1, tokens=1024)
        stream = engine.stream(request)
        last = 0.0
        count = 0
        async for event in stream:
            now = time.perf_counter()
            if isinstance(event, Delta):
                steps += [now - last] if last else []
                last, count = now, count + 1
            if count == 12:
                break
        before, began = len(backend._running), time.perf_counter()
        await stream.aclose()
        while len(backend._running) >= before > 0 and time.perf_counter() - began < 10:
            await asyncio.sleep(0)
        times.append(time.perf_counter() - began)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return times, percentile(steps, 0.5)


async def _through(engine: ExllamaEngine, request: Generation) -> None:
    async for _ in engine.stream(request):
        pass


def models_of(library: Library) -> list[tuple[str, Callable[[], Path]]]:
    """What is measured: the same shape plain and quantised."""
    kind = {"exllamav2": "EXL2", "exllamav3": "EXL3"}[library]
    return [("8B float16", gpu_models.plain), (f"8B {kind} 4 bits", lambda: gpu_models.quantised(library))]


async def measure(libraries: Sequence[Library]) -> AsyncIterator[Table]:
    """Everything, library by library."""
    for library in libraries:
        if not build.is_ready(library):
            print(f"compiling {library}: {build.expected(library)}", flush=True)
            print(f"compiled in {build.build(library):.0f} s", flush=True)
        yield await gpu_checks.table(library)
        rows: list[Row] = []
        slow: list[Row] = []
        notes: list[str] = []
        for name, make in models_of(library):
            try:
                path = await asyncio.to_thread(make)
            except (subprocess.CalledProcessError, OSError, RuntimeError) as error:
                notes.append(f"{name}: cannot be made ({getattr(error, 'output', None) or error}).")
                continue
            try:
                async with opened(path, library) as engine:
                    rows += await speed(engine, library, name)
                    slow += await latencies(engine, name)
            except (HearthError, AssertionError) as error:  # it does not fit, or a step failed
                notes.append(f"{name}: {error!r}.")
        columns = ("Hearth, tokens/s", "bare, tokens/s", "loop lag, p99", "median ratio")
        yield Table(f"gpu: {library} behind Hearth beside its own generator", columns, rows, notes)
        yield Table(f"gpu: {library}, waiting", ("new prompt, or a cancel", "known prompt, or a step"), slow)


if __name__ == "__main__":
    wanted: list[Library] = [name for name in build.MODULES if not sys.argv[1:] or name in sys.argv[1:]]
    print(describe_machine(), report.gpu(), sep="\n", end="\n\n", flush=True)
    run(measure(wanted))
