"""How long does the event loop keep others waiting while eight answers are written?

The whole Hearth as `hearth run` composes it, with a platform in memory and random weights in the shape of Qwen2 0.5B.
Lag is how much later than asked for a task is woken that sleeps 5 ms at a time. Beside it the same on an idle loop: what
the timer, the machine and whoever else uses it make of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from benchmarks import random_model
from benchmarks.report import SCRATCH, Aim, Row, Table, milliseconds, percentile, run, scratch_directory
from benchmarks.script import WORDS
from bot.app import App, running
from bot.config import Config
from bot.messages import Author, ConversationKey, Limits, Message
from bot.testing import MemoryAdapter

STREAMS, TOKENS = 8, 96
PROBE = 0.005
IDLE_SECONDS = 10.0
ACCOUNT = "bench"
EDITS = Limits(text=2000, seconds_per_call=1.0, burst=3)
"""A chat platform's usual pace of edits."""
AIM = Aim(20, "ms")


@asynccontextmanager
async def probing() -> AsyncIterator[list[float]]:
    """Collects the lag of the loop within the block, in seconds, one value for each 5 ms."""
    lags: list[float] = []

    async def probe() -> None:
        while True:
            due = time.perf_counter() + PROBE
            await asyncio.sleep(PROBE)
            lags.append(max(0.0, time.perf_counter() - due))

    task = asyncio.create_task(probe())
    try:
        yield lags
    finally:
        task.cancel()


async def answer_all(app: App, platform: MemoryAdapter) -> None:
    """Ask in eight conversations at once, and wait for the answers."""
    words = WORDS.split()
    for number in range(STREAMS):
        question = Message(
            key=ConversationKey(platform.name, ACCOUNT, f"chat-{number}"),
            event_id=f"question-{number}",
            author=Author(f"person-{number}", "Ada"),
            text=" ".join(words[number:] + words[:number]),
            sent_at=datetime.now(UTC),
            direct=True,
        )
        await platform.say(question)
    while await app.store.pending():
        await asyncio.sleep(0.5)


async def measure() -> AsyncIterator[Table]:
    """Idle, then busy."""
    model = random_model.write(SCRATCH)
    with scratch_directory() as folder:
        config = Config.model_validate(
            {
                "data_dir": folder,
                "chat": {"max_tokens": TOKENS},
                "models": {"default": {"path": model, "context_length": 1024, "slots": STREAMS}},
                "permissions": {"allow": ["memory:*"]},
            }
        )
        platform = MemoryAdapter(limits=EDITS)
        async with running(config, adapters=[(ACCOUNT, platform)]) as app:
            async with probing() as idle:
                await asyncio.sleep(IDLE_SECONDS)
            began = time.perf_counter()
            async with probing() as busy:
                await answer_all(app, platform)
            seconds = time.perf_counter() - began
    rows = [_row("idle", idle, None), _row(f"{STREAMS} answers being written", busy, AIM)]
    calls = len([call for call in platform.calls if call.kind != "show"])
    note = (
        f"{STREAMS} answers of up to {TOKENS} tokens in {seconds:.0f} s, delivered in {calls} sends and edits; "
        f"{len(busy)} probes. The aim is about the 99th percentile."
    )
    yield Table("loop_lag: lag of the event loop", ("p50", "max", "p99"), rows, [note])


def _row(what: str, lags: Sequence[float], aim: Aim | None) -> Row:
    p99 = percentile(lags, 0.99)
    figures = (percentile(lags, 0.5), max(lags), p99)
    return Row(what, tuple(map(milliseconds, figures)), aim, p99 * 1000)


if __name__ == "__main__":
    run(measure())
