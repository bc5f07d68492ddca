"""The command line as people use it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adapters.console.client import Client
from adapters.console.socket import answers
from bot.config import socket_path
from tests.e2e.hearth import DEADLINE, wait


@pytest.fixture
def hearth_command() -> list[str]:
    """The installed command."""
    return [str(Path(sys.executable).with_name("hearth"))]


@dataclass
class CommandLine:
    """`hearth` with a data directory of its own."""

    command: list[str]
    data_dir: Path
    settings: dict[str, str] = field(default_factory=dict)
    """More environment variables."""

    @property
    def environ(self) -> dict[str, str]:
        """What the process sees."""
        wide = "1000"  # no path is broken into lines, however long it is
        own = {"HEARTH_DATA_DIR": str(self.data_dir), "HEARTH_WEB__PORT": "0", "COLUMNS": wide}
        return {**os.environ, **own, **self.settings}

    def __call__(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*self.command, *arguments],
            env=self.environ,
            input=given,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def says(self, *arguments: str, given: str = "") -> str:
        """The output of a command that must succeed."""
        done = self(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, text: str, conversation: str = "default") -> str:
        """`hearth say`."""
        return self.says("say", "--conversation", conversation, text).strip()

    def waiting(self) -> int:
        """How many questions wait for their answers; 0 while no process answers."""
        return int(asyncio.run(self._health()).get("waiting", 0))

    def settled(self) -> None:
        """Return when the process that runs has closed every answer: that comes a moment after its last word is shown."""

        def idle() -> bool:
            health = asyncio.run(self._health())
            return bool(health["waiting"] + health["in_progress"] == 0)

        wait(idle, "the answers to be closed")

    async def _health(self) -> dict[str, Any]:
        path = socket_path(self.data_dir, "hearth.sock")
        if not await answers(path):
            return {}
        async with Client(path) as client:
            return await client.health()

    def configure(self, text: str) -> None:
        """Write config.toml."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        (self.data_dir / "config.toml").write_text(text, "utf-8")

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """`hearth run`, for as long as the block; it must end with 0 at SIGTERM."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir.parent / "run.log").open("wb") as log:
            process = subprocess.Popen([*self.command, "run"], env=self.environ, stdout=log, stderr=log)
        try:
            wait(lambda: "Hearth is ready" in self.log or process.poll() is not None, "the start")
            assert process.poll() is None, self.log
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            process.wait()

    @property
    def log(self) -> str:
        """What `hearth run` wrote."""
        return (self.data_dir.parent / "run.log").read_text("utf-8")

    def holds(self, words: str) -> list[str]:
        """The files of the data directory in which these bytes are."""
        files = [path for path in sorted(self.data_dir.rglob("*")) if path.is_file()]
        return [path.name for path in files if words.encode() in path.read_bytes()]


@pytest.fixture
def hearth(hearth_command: list[str], tmp_path: Path) -> CommandLine:
    """The command line on an empty data directory."""
    return CommandLine(hearth_command, tmp_path / "data")
