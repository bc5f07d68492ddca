"""What do Hearth's engine and queue cost in tokens per second? Beside the same library, driven bare.

Both run on the same weights with the same prompts, seeds, sampling, threads and context, in one process, in alternating
pairs. The rival is `xllamacpp.Server.handle_completions`, one thread for each stream, with the batch size that the library
has by default. Random weights in the shape of Qwen2 0.5B stand for a real model; with the embedded one, which
is a thousand times smaller, almost all that is measured is what surrounds the model.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import random_model
from benchmarks.report import SCRATCH, Aim, Row, Table, percentile, run, scratch_directory
from bot.config import EMBEDDED_CHAT_MODEL, ModelConfig, QueueConfig
from bot.engines import gguf, request_body
from bot.engines.llamacpp import LlamaCppEngine, context_for
from bot.engines.scheduler import Scheduler
from bot.generation import Finish, Generation, Sampling

PAIRS = 5
PROMPT = 32
"""Tokens; short, because the question is about writing."""
SLOTS = 8
CONTEXT = 1024
NEVER = -100.0
AIM = Aim(0.97, at_least=True)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, and how much it is to write."""

    name: str
    path: Path
    tokens: int
    """Of each stream."""
    threads: int | None
    """None: one for each core, as by default."""
    aim: Aim | None


Round = Callable[[Sequence[Generation]], Awaitable[float]]
"""Generates them all at the same time; seconds."""


def requests_of(file: gguf.ModelFile, seed: int, streams: int, tokens: int) -> list[Generation]:
    """Different prompts of random ordinary tokens. The end of the turn is forbidden, so each writes `tokens` tokens."""
    source = random.Random(seed)
    ordinary = sorted(file.index.values())
    sampling = Sampling(temperature=0.7, top_p=0.95, seed=seed, logit_bias=dict.fromkeys(file.end_ids, NEVER))
    prompts = [tuple(source.choices(ordinary, k=PROMPT)) for _ in range(streams)]
    return [Generation(prompt=prompt, max_tokens=tokens, sampling=sampling) for prompt in prompts]


def hearth(engine: LlamaCppEngine) -> Round:
    """Through the scheduler, as every answer goes."""
    scheduler = Scheduler(engine, QueueConfig(), slots=SLOTS)

    async def one(user: str, request: Generation) -> int:
        async with scheduler.ticket(user) as ticket:
            ends = [event async for event in ticket.stream(request) if isinstance(event, Finish)]
            return ends[0].usage.completion_tokens

    async def together(requests: Sequence[Generation]) -> float:
        began = time.perf_counter()
        counts = await asyncio.gather(*(one(f"user {n}", request) for n, request in enumerate(requests)))
        seconds = time.perf_counter() - began
        assert counts == [request.max_tokens for request in requests], f"{counts} tokens"
        return seconds

    return together


def bare(server: Any, vocabulary: int) -> Round:
    """The library's own call, streaming to a callback, in threads of its own."""
    pool = ThreadPoolExecutor(SLOTS)

    def one(request: Generation) -> int:
        chunks: list[dict[str, Any]] = []

        def keep(chunk: dict[str, Any]) -> None:  # any result but None would end the stream
            chunks.append(chunk)

        fields = request_body.body(request, request.max_tokens, context_length=CONTEXT, vocabulary=vocabulary)
        for ours in ("return_tokens", "return_progress", "response_fields"):
            del fields[ours]
        answer = server.handle_completions(fields, callback=keep)
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return _written(chunks)

    async def together(requests: Sequence[Generation]) -> float:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        counts = await asyncio.gather(*(loop.run_in_executor(pool, one, request) for request in requests))
        seconds = time.perf_counter() - began
        assert counts == [request.max_tokens for request in requests], f"{counts} tokens"
        return seconds

    return together


def _written(chunks: Sequence[dict[str, Any]]) -> int:
    """The tokens of an answer: the last chunk tells."""
    return int(chunks[-1]["usage"]["completion_tokens"])


def start_bare(subject: Subject, context_length: int, folder: Path) -> Any:
    """The library's server with its own defaults, but for what must be equal."""
    import xllamacpp  # the engine has set OMP_WAIT_POLICY by now, which counts for both

    params = xllamacpp.CommonParams()
    params.model.path = str(subject.path)
    params.n_parallel = SLOTS
    params.n_ctx = context_length * SLOTS
    if subject.threads is not None:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = subject.threads
    params.fit_params = params.ui = False
    params.cache_ram_mib = ModelConfig(path=subject.path).prompt_cache_mib
    params.hostnames = [str(folder / "bare.sock")]
    params.verbosity = 1
    return xllamacpp.Server(params)


async def compare(subject: Subject, file: gguf.ModelFile, rounds: Sequence[Round], streams: int) -> Row:
    """PAIRS pairs; each side goes first in every other one."""
    for generate in rounds:
        await generate(requests_of(file, 0, streams, 8))
    seconds: list[list[float]] = [[], []]
    processor: list[list[float]] = [[], []]
    for seed in range(1, PAIRS + 1):
        for side in (0, 1) if seed % 2 else (1, 0):
            began = time.process_time()
            seconds[side].append(await rounds[side](requests_of(file, seed, streams, subject.tokens)))
            processor[side].append(time.process_time() - began)
    ratios, of_processor = ratios_of(seconds), ratios_of(processor)
    speeds = [streams * subject.tokens / percentile(side, 0.5) for side in seconds]
    ratio = percentile(ratios, 0.5)
    figures = (
        *(f"{speed:.1f}" for speed in speeds),
        f"{percentile(of_processor, 0.5):.3f}",
        f"{min(ratios):.3f} to {max(ratios):.3f}",
        f"{ratio:.3f}",
    )
    what = f"{subject.name}, {streams} stream{'s' if streams > 1 else ''}"
    return Row(what, figures, subject.aim, ratio)


def ratios_of(pairs: Sequence[Sequence[float]]) -> list[float]:
    """What the bare library took over what Hearth took, for each pair: as the speeds are to each other."""
    return [bare / ours for ours, bare in zip(*pairs, strict=True)]


async def run_subject(subject: Subject, folder: Path) -> list[Row]:
    """One stream, then eight."""
    config = ModelConfig(path=subject.path, context_length=CONTEXT, slots=SLOTS, threads=subject.threads)
    file = gguf.read(subject.path)
    engine = await LlamaCppEngine.load(subject.name, config, folder)
    try:
        server = start_bare(subject, context_for(file, config), folder)
        rounds = [hearth(engine), bare(server, len(file.tokens))]
        return [await compare(subject, file, rounds, streams) for streams in (1, SLOTS)]
    finally:
        await engine.aclose()


async def measure() -> AsyncIterator[Table]:
    """The large model, then the embedded one."""
    large = Subject("0.5B", random_model.write(SCRATCH), tokens=64, threads=None, aim=AIM)
    embedded = Subject("embedded", EMBEDDED_CHAT_MODEL, tokens=256, threads=1, aim=None)
    rows: list[Row] = []
    for subject in (large, embedded):
        with scratch_directory() as folder:
            rows += await run_subject(subject, folder)
    columns = ("Hearth, tokens/s", "bare, tokens/s", "by CPU time", "ratios", "median ratio")
    note = (
        f"{PAIRS} pairs. Prompts of {PROMPT} tokens; {large.tokens} tokens written by each stream of the 0.5B model, "
        f"{embedded.tokens} of the embedded one. Times are of whole requests, the reading of the prompts included. "
        "Ratios are of speed, Hearth over bare; by CPU time they are what remains when others use the machine."
    )
    yield Table("throughput: LlamaCppEngine and Scheduler beside xllamacpp alone", columns, rows, [note])


if __name__ == "__main__":
    run(measure())
