"""What else can happen to a process: a question that kills it, a stop, a second process, a full disk, a broken file."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.config import socket_path
from storage.store import SqlStore
from tests.e2e.file_adapter import key
from tests.e2e.hearth import DEADLINE, Hearth, serving, wait
from tests.e2e.server import Options

NONCES = Options(drops_repeats=True)
"""A message that was on its way when the process died may stand twice on another platform; `test_kill.py` is about those."""
GIVEN_UP = "I tried to answer this three times and failed each time. The reason is in my owner's log."


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hearth]:
    """A server that is not started yet."""
    with serving(Hearth(tmp_path / "hearth", NONCES)) as server:
        yield server


def answers(server: Hearth, question: str) -> list[str]:
    """What the platform shows as answer to a question, each message's last text."""
    shown = dict[str, str]()
    for line in server.platform():
        if (line["call"] == "send" and line["question"] == question) or (
            line["call"] == "edit" and line["message"] in shown
        ):
            shown[line["message"]] = line["text"]
        elif line["call"] == "delete":
            shown.pop(line["message"], None)
    return list(shown.values())


def words(server: Hearth, question: str) -> str:
    """The same as one text."""
    return " ".join(answers(server, question))


async def line(server: Hearth, chat: str) -> list[str]:
    """The conversation as the database has it."""
    store = await SqlStore.open(f"sqlite+aiosqlite:///{server.data_dir / 'hearth.db'}", default_retention_days=30)
    conversation = await store.conversation(key(chat))
    texts = [message.text for message in await store.history(conversation.head)]
    await store.aclose()
    return texts


def test_a_question_that_ends_the_process_is_given_up_after_three_attempts(tmp_path: Path) -> None:
    """It is told so, and nobody goes down with it: what was in progress beside it is answered, and what came after it."""
    options = replace(NONCES, per_token=0.02, prefill=0.0, pause=0.001, deadly="BOOM")
    with serving(Hearth(tmp_path / "hearth", options)) as hearth:
        before = hearth.ask("one", "Count to 3.")
        deadly = hearth.ask("one", "BOOM")
        after = hearth.ask("one", "Count to 3.")
        elsewhere = [hearth.ask(f"other{n}", "Count to 5.") for n in range(5)]
        for _ in range(3):
            hearth.spawn()
            assert hearth.end() == 139
        hearth.start()
        hearth.finish()
        assert hearth.stop() == 0
        assert words(hearth, deadly) == GIVEN_UP
        assert words(hearth, before) == "1 2 3"
        assert words(hearth, after) == "1 2 3"
        assert [words(hearth, question) for question in elsewhere] == ["1 2 3 4 5"] * 5
        assert asyncio.run(line(hearth, "one")) == ["Count to 3.", "1 2 3", "Count to 3.", "1 2 3"]


def test_sigterm_lets_answers_in_progress_finish(server: Hearth) -> None:
    """The exit code is 0, and what stands on the platform is whole and final."""
    server.hold("1 2 3")
    server.start()
    question = server.ask("one", "Count to 20.")
    wait(lambda: bool(answers(server, question)), "the first words")
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    server.release()
    assert server.end() == 0
    assert words(server, question) == " ".join(map(str, range(1, 21)))
    assert [mark["outcome"] for mark in server.marks() if mark["phase"] == "closed"] == ["done"]


def test_an_answer_that_the_drain_cuts_off_is_completed_at_the_next_start(tmp_path: Path) -> None:
    """Its platform messages are edited to completion; the interrupted attempt is not held against it."""
    with serving(Hearth(tmp_path / "hearth", NONCES, drain="0.1s")) as hearth:
        hearth.hold("1 2 3")
        hearth.start()
        question = hearth.ask("one", "Count to 20.")
        wait(lambda: bool(answers(hearth, question)), "the first words")
        assert hearth.stop() == 0
        assert words(hearth, question) != " ".join(map(str, range(1, 21)))
        hearth.release()
        hearth.start()
        hearth.finish()
        assert hearth.stop() == 0
        assert words(hearth, question) == " ".join(map(str, range(1, 21)))
        assert [mark["attempt"] for mark in hearth.marks() if mark["phase"] == "claimed"] == [1, 1]


@pytest.mark.parametrize("deep", ["", "d" * 100])
def test_the_socket_of_a_killed_process_is_no_obstacle(tmp_path: Path, deep: str) -> None:
    """The next start replaces it, also where the data directory's path is too long for one and it lies elsewhere."""
    with serving(Hearth(tmp_path / deep / "hearth", NONCES)) as server:
        sockets = socket_path(server.data_dir, "hearth.sock").parent
        assert (sockets.parent == server.data_dir) == (not deep)
        server.start()
        server.kill()
        assert list(sockets.iterdir())
        server.start()
        assert server.waiting() == 0
        assert server.stop() == 0
        assert list(sockets.iterdir()) == []
        sockets.rmdir()


def test_a_second_process_on_the_same_data_says_so_and_leaves(server: Hearth, hearth_command: list[str]) -> None:
    """One clear line, exit code 1, and the first goes on."""
    server.start()
    second = subprocess.run(
        [*hearth_command, "run"], env=environ(server), capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"(pid {server.pid})" in second.stderr
    assert server.waiting() == 0


@pytest.mark.parametrize("content", [b"This is no database." * 500, b"SQLite format 3\x00" + b"\xff" * 8192])
def test_a_damaged_database_is_one_clear_line(tmp_path: Path, content: bytes, hearth_command: list[str]) -> None:
    """It says which file, and that a backup is the way out."""
    (tmp_path / "hearth.db").write_bytes(content)
    run = subprocess.run(
        [*hearth_command, "run"],
        env={**os.environ, "HEARTH_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert str(tmp_path / "hearth.db") in run.stderr
    assert "restore a backup" in run.stderr


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 4 MB of its own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small file system")
def test_on_a_full_disk_nothing_is_acknowledged_and_nothing_is_lost(tmp_path: Path) -> None:
    """The log says that the disk is full; when there is room again the platform's repetition is answered."""
    with small_disk(tmp_path / "disk") as disk, serving(Hearth(tmp_path / "hearth", NONCES)) as hearth:
        hearth.data_dir.symlink_to(disk, target_is_directory=True)
        hearth.start()
        first = hearth.ask("one", "Count to 3.")
        hearth.finish()
        with (disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
            while True:
                ballast.write(b"\0" * 4096)
        questions = [hearth.ask(f"chat{n}", "Count to 5.") for n in range(5)]
        wait(lambda: "the disk is full" in hearth.log, "the word about the disk")
        assert len(list((hearth.folder / "in").iterdir())) >= 1
        assert hearth.running
        (disk / "ballast").unlink()
        hearth.finish()
        assert hearth.stop() == 0
        assert words(hearth, first) == "1 2 3"
        assert [words(hearth, question) for question in questions] == ["1 2 3 4 5"] * 5


def test_when_files_cannot_grow_nothing_is_acknowledged_and_nothing_is_lost(server: Hearth) -> None:
    """The same without root: a limit on the size of files, set and lifted from outside."""
    server.start()
    first = server.ask("one", "Count to 3.")
    server.finish()
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    log_size = (server.data_dir / "hearth.db-wal").stat().st_size
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (log_size, hard))
    question = server.ask("two", "Count to 5.")
    wait(lambda: "nothing of this was written" in server.log, "the word about the disk")
    assert server.running
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
    server.finish()
    assert server.stop() == 0
    assert words(server, first) == "1 2 3"
    assert words(server, question) == "1 2 3 4 5"


def environ(server: Hearth) -> dict[str, str]:
    """The environment of a command about this server's data."""
    return {**os.environ, "HEARTH_DATA_DIR": str(server.data_dir)}
