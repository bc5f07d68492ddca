"""What does the OpenAI-compatible API cost, beside the servers of the same engine, and does it share the engine fairly?

Each server is a process of its own; this process has the clients. First the CPU of a streamed token that is not the
engine's: the scripted engine behind the whole of Hearth, less the same engine driven bare. Then requests per second and
the time to the first text of 1, 8 and 64 clients, in alternating pairs with llama.cpp's own server on the same weights
with the same parameters, and with llama-cpp-python's where `make rival` has installed it. Last a person at the terminal
while a program keeps 64 streams open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import api_fairness, random_model
from benchmarks.api_client import Round, ask_together, request_of
from benchmarks.api_servers import RIVAL, Driven, Kind, Server, Settings, bare_cpu, free_port, serving
from benchmarks.report import SCRATCH, Aim, Row, Table, milliseconds, percentile, run, scratch_directory
from benchmarks.script import WORDS
from benchmarks.throughput import ratios_of
from bot.config import EMBEDDED_CHAT_MODEL
from bot.engines import gguf, request_body
from bot.generation import Generation, Sampling

MICROSECONDS = 1e6
CPU_AIM, SPEED_AIM = Aim(50, "µs"), Aim(0.97, at_least=True)
LONG, SHORT = 512, 16
"""Tokens of the answers whose CPU is counted."""
CPU_TOKENS = 20_000
"""Of each run: a hundredth of a second is the clock's step."""
CPU_ROUNDS = 3
SLOTS = 9
"""Hearth keeps one back for whoever holds none, so that eight streams of one program run at the same time."""
WORDS_ASKED = 10
"""Short, because the question is about what surrounds the writing."""
TEMPERATURE, TOP_P = 0.7, 0.95
NEVER = -100


@dataclass(frozen=True, slots=True)
class Load:
    """So many clients, each with so many requests one after the other, for so many tokens each; the rounds of it."""

    clients: int
    requests: int
    tokens: int
    pairs: int
    aim: Aim | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, and what is asked of it."""

    name: str
    path: Path
    threads: int | None
    loads: Sequence[Load]
    others: Sequence[Load]
    """What llama-cpp-python is asked: one answer at a time."""


def bodies(port: int, load: Load, seed: int, own: dict[str, Any]) -> list[list[bytes]]:
    """A list of requests for each client, all of them different."""
    words = WORDS.split()[:WORDS_ASKED]
    lists = []
    for client in range(load.clients):
        asked = []
        for number in range(load.requests):
            at = (client * load.requests + number) % len(words)
            question = f"{seed} {client} {number}: {' '.join(words[at:] + words[:at])}"
            asked.append(
                request_of(
                    port,
                    {
                        "model": "default",
                        "messages": [{"role": "user", "content": question}],
                        "stream": True,
                        "stream_options": {"include_usage": True},
                        "max_tokens": load.tokens,
                        "temperature": TEMPERATURE,
                        "top_p": TOP_P,
                        "seed": seed,
                        **own,
                    },
                )
            )
        lists.append(asked)
    return lists


async def ask(server: Server, load: Load, seed: int, own: dict[str, Any]) -> Round:
    """A round. Every answer has its length, where the server tells it."""
    done = await ask_together(server.port, bodies(server.port, load, seed, own))
    assert {answer.tokens for answer in done.answers} <= {0, load.tokens}, "an answer ended early"
    return done


# --- CPU per token ---


async def cpu_table() -> Table:
    """The scripted engine behind the whole of Hearth, at one stream and at eight."""
    rows = []
    with scratch_directory() as folder:
        settings = Settings(port=free_port(), slots=SLOTS, data_dir=str(folder))
        async with serving("hearth", settings) as server:
            await ask(server, Load(8, 2, LONG, 1), 0, {})
            for streams in (1, 8):
                rows += await _cpu_rows(server, streams)
    note = (
        f"Medians of {CPU_ROUNDS} runs of {CPU_TOKENS} tokens, the kernel's work for a process included. An answer's own cost (the "
        f"request, its prompt, the count of its use) is in the first figure, spread over {LONG} tokens."
    )
    return Table("api: CPU of a streamed token", ("Hearth whole", "engine bare", "outside"), rows, [note])


async def _cpu_rows(server: Server, streams: int) -> list[Row]:
    whole: dict[int, list[float]] = {LONG: [], SHORT: []}
    bare: dict[int, list[float]] = {LONG: [], SHORT: []}
    for seed in range(CPU_ROUNDS):
        for tokens in (LONG, SHORT):
            answers = CPU_TOKENS // (LONG if tokens == LONG else SHORT * 8) // streams * streams
            before = server.cpu()
            await ask(server, Load(streams, answers // streams, tokens, 1), seed, {})
            whole[tokens].append((server.cpu() - before) / (answers * tokens))
            bare[tokens].append(bare_cpu(Driven(streams=streams, answers=answers, tokens=tokens)))
    figures = {tokens: (percentile(whole[tokens], 0.5), percentile(bare[tokens], 0.5)) for tokens in whole}
    outside = {tokens: both - engine for tokens, (both, engine) in figures.items()}
    # An answer costs a + b * tokens, and both lengths tell what a and b are.
    each = (outside[LONG] * LONG - outside[SHORT] * SHORT) / (LONG - SHORT)
    of_answer = (outside[SHORT] - each) * SHORT
    name = f"{streams} stream{'s' if streams > 1 else ''}"
    told = tuple(f"{seconds * MICROSECONDS:.1f} µs" for seconds in (*figures[LONG], outside[LONG]))
    return [
        Row(f"{name}, answers of {LONG} tokens: a token", told, CPU_AIM, outside[LONG] * MICROSECONDS),
        Row(f"{name}: a token more", ("", "", f"{each * MICROSECONDS:.1f} µs")),
        Row(f"{name}: an answer without its tokens", ("", "", milliseconds(of_answer))),
    ]


# --- requests per second, first text ---


async def scripted_table() -> Table:
    """Hearth alone: there is no other server of the scripted engine."""
    rows = []
    loads = (Load(1, 40, 64, 3), Load(8, 10, 64, 3), Load(64, 2, 64, 3))
    with scratch_directory() as folder:
        settings = Settings(port=free_port(), slots=65, data_dir=str(folder))
        async with serving("hearth", settings) as server:
            await ask(server, loads[1], 0, {})
            for load in loads:
                rounds = [await ask(server, load, seed, {}) for seed in range(1, load.pairs + 1)]
                rows.append(Row(_name("scripted engine", load), _figures(rounds)))
    note = "64 tokens each, as fast as they can be handed on; 65 slots."
    return Table("api: requests of the scripted engine", ("requests/s", "first text, p50", "p95"), rows, [note])


async def compare(subject: Subject) -> AsyncIterator[Row]:
    """Pair by pair; each side goes first in every other one."""
    own = {"logit_bias": {str(end): NEVER for end in gguf.read(subject.path).end_ids}}
    async with AsyncExitStack() as stack:
        hearth = await _started(stack, "hearth", subject)
        bare = await _started(stack, "llama.cpp", subject)
        for load in subject.loads:
            for row in await _pairs(subject, load, (hearth, bare), (own, own | _same_sampling()), "llama.cpp"):
                yield row
    if RIVAL.exists():
        async with AsyncExitStack() as stack:
            hearth = await _started(stack, "hearth", subject)
            other = await _started(stack, "llama-cpp-python", subject)
            for load in subject.others:
                for row in await _pairs(subject, load, (hearth, other), (own, own), "llama-cpp-python"):
                    yield row


async def _started(stack: AsyncExitStack, kind: Kind, subject: Subject) -> Server:
    folder = stack.enter_context(scratch_directory())
    settings = Settings(
        port=free_port(), slots=SLOTS, path=str(subject.path), threads=subject.threads, data_dir=str(folder)
    )
    return await stack.enter_async_context(serving(kind, settings))


def _same_sampling() -> dict[str, Any]:
    """llama.cpp's own names for what Hearth asks of it; by default it would cut more before it adds up."""
    request = Generation(prompt=(1,), max_tokens=1, sampling=Sampling(temperature=TEMPERATURE, top_p=TOP_P))
    fields = request_body.body(request, 1, context_length=2, vocabulary=2)
    return {name: fields[name] for name in ("samplers", "top_k", "min_p")}


async def _pairs(
    subject: Subject, load: Load, servers: Sequence[Server], own: Sequence[dict[str, Any]], rival: str
) -> list[Row]:
    rounds: list[list[Round]] = [[], []]
    processor: list[list[float]] = [[], []]
    for side in (0, 1):
        await ask(servers[side], Load(load.clients, 1, 4, 1), 0, own[side])
    for seed in range(1, load.pairs + 1):
        for side in (0, 1) if seed % 2 else (1, 0):
            before = servers[side].cpu()
            rounds[side].append(await ask(servers[side], load, seed, own[side]))
            processor[side].append(servers[side].cpu() - before)
    ratios = ratios_of([[one.seconds for one in side] for side in rounds])
    ratio, of_processor = percentile(ratios, 0.5), percentile(ratios_of(processor), 0.5)
    name = _name(subject.name, load)
    told = (f"{of_processor:.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}", f"{ratio:.3f}")
    return [
        Row(f"{name}: Hearth", (*_figures(rounds[0]), "", "", "")),
        Row(f"{name}: {rival}", (*_figures(rounds[1]), *told), load.aim, ratio),
    ]


def _name(subject: str, load: Load) -> str:
    return f"{subject}, {load.clients} client{'s' if load.clients > 1 else ''}"


def _figures(rounds: Sequence[Round]) -> tuple[str, str, str]:
    """Requests per second, and the time to the first text at p50 and p95."""
    first = [answer.first for one in rounds for answer in one.answers]
    speed = percentile([one.per_second for one in rounds], 0.5)
    return f"{speed:.3g}", milliseconds(percentile(first, 0.5)), milliseconds(percentile(first, 0.95))


async def comparison_table(subject: Subject) -> Table:
    """One model's."""
    rows = [row async for row in compare(subject)]
    columns = ("requests/s", "first text, p50", "p95", "by CPU time", "ratios", "median ratio")
    lengths = ", ".join(f"{load.clients} x {load.requests} of {load.tokens}" for load in subject.loads)
    others = ", ".join(f"{load.clients} x {load.requests} of {load.tokens}" for load in subject.others)
    notes = [
        (
            f"{SLOTS} slots each. Clients x answers of tokens: {lengths}; beside llama-cpp-python {others}. Ratios are of speed, Hearth "
            "over the other, pair by pair; by CPU time they are what remains when others use the machine. Of 64 clients Hearth "
            "serves eight at a time, because it keeps a slot back, and llama.cpp nine."
        ),
    ]
    if not RIVAL.exists():
        notes.append("llama-cpp-python was not asked: `make rival` installs it.")
    return Table(f"api: beside the engine's own server, {subject.name}", columns, rows, notes)


async def measure() -> AsyncIterator[Table]:
    """CPU, the scripted engine, the models, fairness."""
    large = Subject(
        "0.5B",
        random_model.write(SCRATCH),
        threads=None,
        loads=(Load(1, 1, 32, 5), Load(8, 2, 32, 5, SPEED_AIM), Load(64, 1, 8, 1)),
        others=(Load(1, 1, 32, 2), Load(8, 1, 16, 1)),
    )
    embedded = Subject(
        "embedded",
        EMBEDDED_CHAT_MODEL,
        threads=1,
        loads=(Load(1, 8, 64, 3), Load(8, 4, 64, 3), Load(64, 1, 64, 3)),
        others=(Load(1, 4, 64, 3), Load(8, 2, 64, 3), Load(64, 1, 16, 1)),
    )
    yield await cpu_table()
    yield await scripted_table()
    yield await comparison_table(large)
    yield await comparison_table(embedded)
    yield await api_fairness.table(large.path)


if __name__ == "__main__":
    run(measure())
