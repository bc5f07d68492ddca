"""A trace file of phases: one JSON object a line, written by the server under test and read by whoever kills it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

QUESTION: ContextVar[str] = ContextVar("question", default="")
"""`chat/event` of the question that this task answers."""


class Lines:
    """A file to which whole lines are appended. One `write` each: a kill leaves the line out or leaves it whole."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def append(self, **values: object) -> None:
        """Write one object."""
        os.write(self._file, json.dumps(values, ensure_ascii=False).encode() + b"\n")


class Trace:
    """Writes marks. `time` is the machine's monotonic clock, the same in every process."""

    def __init__(self, path: Path) -> None:
        self._lines = Lines(path)

    def mark(self, phase: str, question: str = "", **values: object) -> None:
        """This question (by default the one that the current task answers) is now in this phase."""
        self._lines.append(
            phase=phase, question=question or QUESTION.get(), time=time.monotonic(), pid=os.getpid(), **values
        )


class Tail:
    """Reads what was appended to a file of lines since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """The new objects."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)
