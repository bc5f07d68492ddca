"""`hearth models` where something comes in between: a Ctrl-C, a full disk, another command, a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bot.config import EMBEDDED_CHAT_MODEL
from tests.e2e.conftest import CommandLine
from tests.e2e.hearth import wait
from tests.hub import HubStandIn, Repo, standing_in

DEMO = EMBEDDED_CHAT_MODEL.read_bytes()
NAME = "other-q8_0"
LARGE = 2 * 10**9
"""Bytes: copying them takes a second at least."""


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with standing_in(owner__other=Repo({"Other-Q8_0.gguf": DEMO})) as standing:
        yield standing
        assert standing.strange == []


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model with a hole of two gigabytes after its end."""
    path = tmp_path / "large.gguf"
    path.write_bytes(DEMO)
    with path.open("r+b") as file:
        file.truncate(LARGE)
    return path


def begun(hearth: CommandLine, *arguments: str) -> subprocess.Popen[str]:
    """A command that has written a megabyte into the data directory, and goes on."""
    command = [*hearth.command, "models", *arguments]
    process = subprocess.Popen(command, env=hearth.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def some() -> bool:
        assert process.poll() is None
        return any(file.stat().st_size > 1_000_000 for file in hearth.data_dir.rglob("incoming/*.gguf*"))

    wait(some, "a megabyte", 60)
    return process


def test_a_file_is_called_as_it_is_called_on_a_terminal_too(hearth: CommandLine, hub: HubStandIn) -> None:
    """What looks like the bars' own markup is a part of the name."""
    hub.repos["owner/other"].files = {"Other [bold]Q8.gguf": DEMO}
    hearth.settings = {"HF_ENDPOINT": hub.url, "NO_PROXY": "*", "TERM": "xterm"}
    ours, its = pty.openpty()
    shown = b""
    with subprocess.Popen(
        [*hearth.command, "models", "pull", "owner/other"], env=hearth.environ, stdout=subprocess.PIPE, stderr=its
    ) as process:
        os.close(its)
        with suppress(OSError):  # how a terminal ends
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
        assert process.wait(60) == 0, shown
    assert b"checking Other [bold]Q8.gguf" in shown


@pytest.mark.parametrize("command", ["pull", "use"])
def test_a_copy_that_was_stopped_leaves_nothing(hearth: CommandLine, large: Path, command: str) -> None:
    process = begun(hearth, command, str(large), "--copy")
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert words.splitlines()[-1] == "Stopped. Nothing of it is kept."
    assert "Traceback" not in words
    assert list((hearth.data_dir / "models").iterdir()) == []
    assert large.stat().st_size == LARGE


def test_a_copy_that_was_killed_is_listed_and_can_be_removed(hearth: CommandLine, large: Path) -> None:
    process = begun(hearth, "pull", str(large), "--copy")
    process.kill()
    process.communicate(timeout=60)
    assert "not complete: " in hearth.says("models", "list")
    assert hearth.says("models", "remove", "large", "--yes") == "Removed: large.\n"
    assert list((hearth.data_dir / "models").iterdir()) == []


def test_a_copy_that_the_disk_has_no_room_for_is_one_line_and_leaves_nothing(hearth: CommandLine, large: Path) -> None:
    """A limit on the size of files stands in for the disk's end: the same error of the system comes from write()."""
    hearth.command = ["bash", "-c", 'ulimit -f 20000; exec "$@"', "bash", *hearth.command]
    told = hearth("models", "pull", str(large), "--copy")
    assert told.returncode == 1
    assert told.stderr.splitlines()[-1] == f"hearth: {large} cannot be copied (File too large)"
    assert list((hearth.data_dir / "models").iterdir()) == []


def test_a_model_that_is_being_pulled_is_not_removed(hearth: CommandLine, hub: HubStandIn) -> None:
    hearth.settings = {"HF_ENDPOINT": hub.url, "NO_PROXY": "*"}
    hub.hold.clear()
    process = begun(hearth, "pull", "owner/other")
    done = hearth("models", "remove", NAME, "--yes")
    hub.hold.set()
    _, words = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in words) == (0, False)
    assert done.returncode == 1
    assert done.stderr == f"hearth: another process is pulling the model '{NAME}': wait until it is done\n"
    assert "can be read" in hearth.says("models", "list")
    assert hearth.says("models", "remove", NAME, "--yes") == f"Removed: {NAME}.\n"
