"""How long does a person wait for the first words while one program keeps 64 streams open? The last table of `api`.

The person asks through the console's socket, so through the inbox, the dispatcher and the same queue; each question is a
conversation of its own. A step is the time between two tokens of one of the program's streams.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.console.client import Client as Console
from benchmarks.api_client import Client, request_of
from benchmarks.api_servers import Server, Settings, free_port, serving
from benchmarks.report import Aim, Row, Table, milliseconds, percentile, run, scratch_directory
from benchmarks.script import WORDS
from bot.engines import gguf

SLOTS = 9
STREAMS = 64
STREAM_TOKENS = 900
"""Longer than the flood lasts."""
QUESTIONS = 7
TIMES = 2
"""So many times an idle engine's time may be taken, and a step more."""
SETTLED = 10.0
"""Seconds until every slot that the program gets is writing."""
NEVER = -100


async def first_text(console: Console, number: int) -> float:
    """Seconds from a question to the first words of its answer, which is then waited for. No two are alike, nor cached."""
    words = WORDS.split()
    question = " ".join([*words[number:], *words[:number]])
    began, seconds = time.perf_counter(), 0.0
    async for state in console.ask(uuid.uuid4().hex, question):
        if state["text"] and not seconds:
            seconds = time.perf_counter() - began
        assert not state["failed"], state["text"]
    return seconds


@asynccontextmanager
async def flooded(server: Server, ends: frozenset[int]) -> AsyncIterator[list[Client]]:
    """A program with 64 streams, within the block; those that are written first come first."""
    clients = [Client(server.port) for _ in range(STREAMS)]
    body = {"model": "default", "stream": True, "max_tokens": STREAM_TOKENS, "temperature": 0.7}
    body["logit_bias"] = {str(end): NEVER for end in ends}
    asked = []
    try:
        for number, client in enumerate(clients):
            message = {"role": "user", "content": f"{number}: {WORDS}"}
            asked.append(asyncio.create_task(client.ask(request_of(server.port, {**body, "messages": [message]}))))
        await asyncio.sleep(SETTLED)
        yield clients
    finally:
        for client in clients:
            client.close()
        await asyncio.gather(*asked, return_exceptions=True)


async def table(model: Path) -> Table:
    """An idle engine's first words, then those beside the flood."""
    ends = gguf.read(model).end_ids
    with scratch_directory() as folder:
        settings = Settings(port=free_port(), slots=SLOTS, path=str(model), data_dir=str(folder))
        async with serving("hearth", settings) as server, Console(server.console) as console:
            await first_text(console, 0)
            idle = [await first_text(console, number) for number in range(1, QUESTIONS + 1)]
            async with flooded(server, ends) as clients:
                busy = [await first_text(console, QUESTIONS + number) for number in range(1, QUESTIONS + 1)]
                writing = [client for client in clients if client.times]
                gaps = [
                    late - early
                    for client in writing
                    for early, late in zip(client.times, client.times[1:], strict=False)
                ]
    step, alone, beside = percentile(gaps, 0.5), percentile(idle, 0.5), percentile(busy, 0.5)
    limit = Aim(round((TIMES * alone + step) * 1000), "ms")
    rows = [
        Row("idle engine", (milliseconds(max(idle)), milliseconds(alone))),
        Row("a step beside the flood", (milliseconds(max(gaps)), milliseconds(step))),
        Row(
            f"beside {STREAMS} streams of one program",
            (milliseconds(max(busy)), milliseconds(beside)),
            limit,
            beside * 1000,
        ),
    ]
    note = (
        f"{QUESTIONS} questions each, at the console, on the 0.5B model with {SLOTS} slots, of which the program had {len(writing)}. "
        f"The aim is {TIMES} times the idle engine's and a step."
    )
    return Table("api: a person's first words beside a flood", ("worst", "median"), rows, [note])


if __name__ == "__main__":
    from benchmarks import random_model
    from benchmarks.report import SCRATCH

    async def alone() -> AsyncIterator[Table]:
        """This table only."""
        yield await table(random_model.write(SCRATCH))

    run(alone())
