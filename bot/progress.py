"""How far a long work is, on standard error: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from bot.local_models import size_words
from bot.pulling import Seen

STEPS = 10
"""Lines of one work."""


class Bars:
    """A bar for each work, with speed and time left."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def begin(self, what: str, size: int) -> Seen:
        """A bar of `size` bytes."""
        task = self._progress.add_task(what, total=size)
        return lambda done: self._progress.update(task, completed=done)


class Lines:
    """A line at every tenth."""

    def begin(self, what: str, size: int) -> Seen:
        """Lines about a work of `size` bytes."""
        told = -1

        def seen(done: int) -> None:
            nonlocal told
            step = done * STEPS // size if size else STEPS
            if step > told:
                told = step
                # In one call, which Ctrl-C does not part from the end of its line.
                sys.stderr.write(f"{what}: {size_words(done)} of {size_words(size)}\n")
                sys.stderr.flush()

        return seen
