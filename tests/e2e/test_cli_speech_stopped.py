"""Hearth is stopped while a speech model is on its way from a hub that does not go on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import speech
from tests.e2e.conftest import CommandLine
from tests.e2e.hearth import DEADLINE, wait
from tests.hub import SilentHub, silent


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.ogg"
    path.write_bytes(speech.opus("what is my name"))
    return path


@pytest.fixture
def hub(hearth: CommandLine) -> Iterator[SilentHub]:
    """The one from which Hearth wants its speech model."""
    with silent() as hub:
        hearth.settings |= {"HF_ENDPOINT": hub.url, "HEARTH_SPEECH__MODEL": "nobody/nothing"}
        yield hub


@contextmanager
def started(hearth: CommandLine, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command; it does not outlive the block."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*hearth.command, *arguments], env=hearth.environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_process_that_serves_ends_at_sigterm(hearth: CommandLine, hub: SilentHub, note: Path) -> None:
    hearth.settings["HEARTH_CHAT__DRAIN"] = "0.1"
    with hearth.running(), started(hearth, "chat") as chat:
        assert chat.stdin is not None
        chat.stdin.write(f"/voice {note}\n")
        chat.stdin.flush()
        wait(hub.asked.is_set, "the download")
    wait(hub.left.is_set, "the end of the download")


def test_ctrl_c_ends_a_transcription(hearth: CommandLine, hub: SilentHub, note: Path) -> None:
    with started(hearth, "transcribe", str(note)) as process:
        wait(hub.asked.is_set, "the download")
        process.send_signal(2)
        assert process.wait(DEADLINE) != 0
    wait(hub.left.is_set, "the end of the download")


def test_no_download_outlives_a_process_that_was_killed(hearth: CommandLine, hub: SilentHub, note: Path) -> None:
    with started(hearth, "transcribe", str(note)) as process:
        wait(hub.asked.is_set, "the download")
        process.kill()
        wait(hub.left.is_set, "the end of the download")
