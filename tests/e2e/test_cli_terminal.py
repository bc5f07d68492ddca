"""`hearth run` under signals and `hearth chat` on a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import time
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.config import socket_path
from tests.e2e.conftest import CommandLine
from tests.e2e.hearth import DEADLINE, Hearth, serving, wait

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>()][0-9A-Z]?|[\r\x07]")
_HALF = re.compile(r"\x1b(\[[0-9;?]*|[()])?$")


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._unread = ""
        """What came after the last pattern."""
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._half = ""
        """The beginning of an escape sequence whose end has not come."""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._descriptor, text.encode())

    def read_until(self, pattern: str, pressing: str = "") -> str:
        """Read until the pattern is on the screen after what was read before; returns what was read.

        `pressing`: a key that is pressed again and again meanwhile.
        """
        end, fresh = time.monotonic() + DEADLINE, self._unread
        while not (found := re.search(pattern, fresh)):
            assert time.monotonic() < end, f"waited for {pattern!r}; shown: {fresh!r}"
            self.type(pressing)
            if select.select([self._descriptor], [], [], 0.1)[0]:
                fresh += self._answered(self._decoder.decode(self._read(fresh)))
        self._unread = fresh[found.end() :]
        return fresh[: found.end()]

    def _read(self, shown: str) -> bytes:
        try:
            return os.read(self._descriptor, 65536)
        except OSError as error:  # EIO: nobody has the other end
            raise AssertionError(f"the program ended; shown: {shown!r}") from error

    def _answered(self, text: str) -> str:
        text = self._half + text
        half = _HALF.search(text)
        self._half = half[0] if half else ""
        text = text.removesuffix(self._half)
        if "\x1b[6n" in text:  # the program asks where the cursor is
            self.type("\x1b[1;1R")
        return _ESCAPES.sub("", text)


@contextmanager
def on_terminal(hearth: CommandLine, *arguments: str) -> Iterator[Terminal]:
    """A command on a terminal of its own."""
    ours, theirs = pty.openpty()
    environ = {**hearth.environ, "TERM": "xterm"}
    process = subprocess.Popen(
        # A session of its own whose controlling terminal is this one, so that Ctrl-C is a signal to it alone.
        ["setsid", "--ctty", "--wait", *hearth.command, *arguments],
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_ctrl_c_stops_the_answer_and_not_the_program(tmp_path: Path, hearth_command: list[str]) -> None:
    """The next question is answered, Ctrl-C at the prompt is harmless, Ctrl-D leaves with 0."""
    with serving(Hearth(tmp_path / "hearth")) as server:
        server.hold("1 2 3")
        server.start()
        with on_terminal(CommandLine(hearth_command, server.data_dir), "chat") as terminal:
            terminal.read_until("you ")
            terminal.type("Count to 20.\r")
            terminal.read_until("1 2 3")
            terminal.type("\x03")
            cut = terminal.read_until("you ")
            assert "19 20" not in cut
            server.release()
            terminal.type("\x03")
            terminal.type("Count to 3.\r")
            terminal.read_until(r"hearth.*1 2 3")
            terminal.read_until("you ")
            terminal.type("\x04")
            assert terminal.process.wait(DEADLINE) == 0
        assert server.running
        assert [mark["outcome"] for mark in server.marks() if mark["phase"] == "closed"] == ["stopped", "done"]


def test_sighup_reads_personas_again(hearth: CommandLine) -> None:
    """A wrong file changes nothing and is told in the log; a right one takes effect without a restart."""
    hearth.configure('[personas.pirate]\ndescription = "talks like a pirate"\n')
    with hearth.running() as process:
        assert "pirate: talks like a pirate" in hearth.ask("/persona")
        hearth.configure('[personas.pirate]\ndescriptoin = "sings"\n')
        process.send_signal(signal.SIGHUP)
        wait(lambda: "the configuration stays as it was" in hearth.log, "the refusal")
        assert "did you mean 'description'?" in hearth.log
        hearth.configure('[personas.poet]\ndescription = "rhymes"\n')
        process.send_signal(signal.SIGHUP)
        wait(lambda: "configuration read again" in hearth.log, "the word about it")
        personas = hearth.ask("/persona")
        assert "poet: rhymes" in personas
        assert "pirate" not in personas


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_with_zero_at_a_signal(hearth: CommandLine, number: signal.Signals) -> None:
    """SIGTERM from a service manager, SIGINT from a terminal."""
    with hearth.running() as process:
        process.send_signal(number)
        assert process.wait(DEADLINE) == 0
        assert "Traceback" not in hearth.log


def test_the_socket_is_its_owners_and_tells_the_health(hearth: CommandLine) -> None:
    """/healthz without anybody's words; the socket's folder and the database are closed to others."""
    with hearth.running() as process:
        hearth.ask("My name is Barnaby.")
        hearth.settled()
        path = socket_path(hearth.data_dir, "hearth.sock")
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE((hearth.data_dir / "hearth.db").stat().st_mode) == 0o600
        body = asyncio.run(get(path, "/healthz"))
        health = json.loads(body)
        assert (health["status"], health["pid"], health["waiting"]) == ("ok", process.pid, 0)
        assert "Barnaby" not in body


async def get(path: Path, target: str) -> str:
    """The body of a response on a unix socket, as any program may ask for it."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(f"GET {target} HTTP/1.1\r\nHost: hearth\r\nConnection: close\r\n\r\n".encode())
    response = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = response.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200")
    return body


def test_python_m_bot_is_the_same_command(hearth: CommandLine) -> None:
    """For machines on which no script is on the path."""
    hearth.command = [sys.executable, "-m", "bot"]
    assert "hearth chat" in hearth.says("--help") or "chat" in hearth.says("--help")
