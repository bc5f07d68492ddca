"""How soon is `hearth run` ready, and what does it hold in memory while nobody talks to it?

The real command in a process of its own, with the embedded model and an empty data directory, then once more on the same
directory. Ready is when /healthz on its socket answers with 200.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from benchmarks.report import Aim, Row, Table, percentile, run, scratch_directory
from bot.config import Config

STARTS = 5
REST = 2.0
"""Seconds until a process that has just started is idle."""
POLL = 0.005
DEADLINE = 60.0
SECONDS, MEMORY = Aim(3, "s"), Aim(300, "MB")
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Start:
    """One start. Memory in MB of 10^6 bytes, of the process and its children."""

    seconds: float
    resident: float
    proportional: float
    """Pages that are shared with other processes are divided by their number (PSS); without Linux the same as resident."""


@contextmanager
def hearth(data_dir: Path, *, port: int = 0) -> Iterator[psutil.Process]:
    """`hearth run` on a data directory, from its very start. `port`: the page's; for 0 the system chooses one."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_")}
    environ |= {"HEARTH_DATA_DIR": str(data_dir), "HEARTH_LOG__LEVEL": "warning", "HEARTH_WEB__PORT": str(port)}
    command = [sys.executable, "-m", "bot", "run"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(DEADLINE)


async def start(data_dir: Path) -> Start:
    """Start, wait until it is ready, let it come to rest, and stop it."""
    socket = Config(data_dir=data_dir).socket
    began = time.perf_counter()
    with hearth(data_dir) as process:
        await _ready(socket, process)
        seconds = time.perf_counter() - began
        await asyncio.sleep(REST)
        family = [process, *process.children(recursive=True)]
        resident = _megabytes(family, lambda one: one.memory_info().rss)
        proportional = _megabytes(family, lambda one: getattr(one.memory_full_info(), "pss", one.memory_info().rss))
    return Start(seconds, resident, proportional)


def _megabytes(family: list[psutil.Process], of: Callable[[psutil.Process], int]) -> float:
    return sum(of(one) for one in family) / MEGABYTE


async def _ready(socket: Path, process: psutil.Process) -> None:
    end = time.perf_counter() + DEADLINE
    async with aiohttp.ClientSession("http://hearth", connector=aiohttp.UnixConnector(str(socket))) as http:
        while time.perf_counter() < end:
            assert process.is_running() and process.status() != psutil.STATUS_ZOMBIE, "hearth run ended at once"
            try:
                async with http.get("/healthz") as response:
                    if response.ok:
                        return
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(POLL)
    raise AssertionError(f"not ready within {DEADLINE:.0f} s")


async def measure() -> AsyncIterator[Table]:
    """Several directories, two starts on each; one more before them, so that every file is in the page cache."""
    first, again = [], []
    with scratch_directory() as folder:
        await start(folder / "warm-up")
        for number in range(STARTS):
            first.append(await start(folder / str(number)))
            again.append(await start(folder / str(number)))
    rows = [
        _seconds("ready, first start (the database is made)", first),
        _seconds("ready, second start", again),
        _memory("idle memory, resident", [one.resident for one in again]),
        _memory("idle memory, proportional (PSS)", [one.proportional for one in again]),
    ]
    note = f"Medians and worst of {STARTS} starts, files in the page cache. Memory {REST:g} s after the second starts."
    yield Table("start: `hearth run` with the embedded model", ("worst", "median"), rows, [note])


def _seconds(what: str, starts: list[Start]) -> Row:
    times = [one.seconds for one in starts]
    median = percentile(times, 0.5)
    return Row(what, (f"{max(times):.2f} s", f"{median:.2f} s"), SECONDS, median)


def _memory(what: str, values: list[float]) -> Row:
    median = percentile(values, 0.5)
    return Row(what, (f"{max(values):.0f} MB", f"{median:.0f} MB"), MEMORY, median)


if __name__ == "__main__":
    run(measure())
