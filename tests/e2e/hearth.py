"""The server as a process of its own, from outside: start, kill, stop, and look at what it wrote."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapters.console.client import Client
from bot.config import socket_path
from tests.e2e.file_adapter import ask
from tests.e2e.holding import hold, release
from tests.e2e.server import Options
from tests.e2e.trace import Lines, Tail

ROOT = Path(__file__).parents[2]
DEADLINE = 120.0
"""Seconds after which a wait fails: far beyond what is waited for, also on a machine that is busy with other things."""
LOOK_SECONDS = 0.002

CONFIG = """
[permissions]
allow = ["files:*", "telegram:*", "discord:*"]
messages_per_minute = 100000
[chat]
concurrent_conversations = 8
drain = "{drain}"
[queue]
stall_timeout = "10m"
[database]
url = "{url}"
"""


def wait(condition: Callable[[], bool], what: str, seconds: float = DEADLINE) -> None:
    """Return when the condition holds; fail at the deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(LOOK_SECONDS)


@dataclass
class Hearth:
    """A server under test. Its folder outlives its processes."""

    folder: Path
    options: Options = field(default_factory=Options)
    url: str = ""
    drain: str = "100s"
    sections: str = ""
    """More of config.toml."""
    process: subprocess.Popen[bytes] | None = None
    asked: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(url=self.url, drain=self.drain) + self.sections
        (self.folder / "config.toml").write_text(config, "utf-8")
        self.trace = Tail(self.folder / "trace.jsonl")

    @property
    def data_dir(self) -> Path:
        """What the server calls its data directory."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What all the processes wrote to standard error."""
        return (self.folder / "stderr").read_text("utf-8")

    def ask(self, chat: str, text: str) -> str:
        """Ask; returns the question as the trace and the platform name it."""
        self.asked += 1
        ask(self.folder, self.asked, chat=chat, text=text)
        return f"{chat}/{self.asked}"

    def ask_again(self, event: int, chat: str, text: str) -> None:
        """The platform delivers a question that it has delivered before (or one with a given number)."""
        ask(self.folder, event, chat=chat, text=text)

    def hold(self, words: str) -> None:
        """An answer stands still when it has these words, until `release`."""
        hold(self.folder, words)

    def release(self) -> None:
        """Answers go on."""
        release(self.folder)

    def spawn(self) -> None:
        """Start a process and do not wait."""
        assert self.process is None
        environ = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_")}
        with (self.folder / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.server", str(self.folder), json.dumps(asdict(self.options))],
                cwd=ROOT,
                env={**environ, "HEARTH_DATA_DIR": str(self.data_dir)},
                stdout=errors,
                stderr=errors,
            )

    def start(self) -> list[dict[str, Any]]:
        """Start a process and wait until it serves; returns the marks that were read meanwhile."""
        self.spawn()
        marks: list[dict[str, Any]] = []

        def ready() -> bool:
            marks.extend(self.trace.read())
            assert self.running, self.log[-3000:]
            return any(mark["phase"] == "ready" for mark in marks if mark["pid"] == self.pid)

        wait(ready, "the start")
        return marks

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL. The platform's log gets a line that says where in its life the bot was killed."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None
        Lines(self.folder / "platform.jsonl").append(call="kill")

    def end(self, seconds: float = DEADLINE) -> int:
        """Wait for the process's own end; returns its exit code."""
        assert self.process is not None
        code = self.process.wait(seconds)
        self.process = None
        return code

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def waiting(self) -> int:
        """How many questions are not taken, or their answers not closed."""
        return len(list((self.folder / "in").glob("*.json"))) + asyncio.run(self._waiting())

    async def _waiting(self) -> int:
        async with Client(socket_path(self.data_dir, "hearth.sock")) as client:
            health = await client.health()
            return int(health["waiting"]) + int(health["in_progress"])

    def finish(self) -> None:
        """Wait until every question was taken and every answer closed."""

        def idle() -> bool:
            assert self.running, self.log[-3000:]
            return self.waiting() == 0

        wait(idle, "the answers")

    def marks(self) -> list[dict[str, Any]]:
        """The whole trace."""
        return list(Tail(self.folder / "trace.jsonl").read())

    def platform(self) -> list[dict[str, Any]]:
        """The whole log of the platform."""
        return list(Tail(self.folder / "platform.jsonl").read())


@contextmanager
def serving(hearth: Hearth) -> Iterator[Hearth]:
    """Whatever happens, no process is left over."""
    try:
        yield hearth
    finally:
        if hearth.process is not None:
            hearth.process.kill()
            hearth.process.wait()
            hearth.process = None
