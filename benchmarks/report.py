"""What every benchmark shares: figures beside aims, as Markdown tables, and the machine they were taken on."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import structlog

SCRATCH = Path(__file__).parent.parent / ".cache" / "benchmarks"
"""On the checkout's own disk, because a commit's time is the disk's; temporary directories are in memory on many machines."""
PACKAGES = ("xllamacpp", "SQLAlchemy", "aiosqlite", "psycopg", "aiohttp")


@dataclass(frozen=True, slots=True)
class Aim:
    """A limit that a figure is to keep."""

    limit: float
    unit: str = ""
    at_least: bool = False
    """The figure is to be this or more; otherwise this or less."""

    def met(self, figure: float) -> bool:
        """Whether the figure keeps it."""
        return figure >= self.limit if self.at_least else figure <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit and ' '}{self.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: what was measured, the figures by column, and what is aimed at of the last one."""

    what: str
    figures: tuple[str, ...]
    aim: Aim | None = None
    measured: float | None = None
    """The figure that the aim is about, before it was rounded for the table."""

    @property
    def verdict(self) -> str:
        """Whether the aim is met; nothing without one."""
        if self.aim is None or self.measured is None:
            return ""
        return "yes" if self.aim.met(self.measured) else "NO"


@dataclass(frozen=True, slots=True)
class Table:
    """One benchmark's answer."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        header = ("", *self.columns, "aim", "met")
        lines = [(row.what, *row.figures, str(row.aim or ""), row.verdict) for row in self.rows]
        widths = [max(len(line[n]) for line in (header, *lines)) for n in range(len(header))]
        rule = ["-" * width for width in widths]
        table = [_line(cells, widths) for cells in (header, rule, *lines)]
        return "\n".join([f"## {self.title}", "", *table, *(f"\n{note}" for note in self.notes), ""])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return "| " + " | ".join([first, *rest]) + " |"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed: the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def milliseconds(seconds: float) -> str:
    """For a table."""
    return f"{seconds * 1000:.2f} ms"


def describe_machine() -> str:
    """Cores, processor, versions, and what else the machine is doing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join(
        [
            f"Machine: {cores} cores, {_processor()}; {platform.system()} {platform.release()}.",
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {versions}.",
            f"Load before the start: {os.getloadavg()[0]:.2f} (a busy machine makes every time longer; ratios suffer less).",
        ]
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory on the checkout's disk, removed afterwards."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        yield Path(folder)


def quietly() -> None:
    """Warnings and errors of what is measured go to standard error; the rest would be in the way."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def run(tables: AsyncIterator[Table]) -> None:
    """Print each table as soon as it is measured."""
    quietly()

    async def show() -> None:
        async for table in tables:
            print(table, flush=True)

    asyncio.run(show())
