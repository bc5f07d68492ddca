"""The process that a command talks to goes away, and the command has its answer all the same."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from storage.engine import lock_of
from tests.e2e.conftest import CommandLine
from tests.e2e.hearth import DEADLINE, ROOT, Hearth, serving, wait
from tests.e2e.holding import hold
from tests.e2e.test_cli_terminal import on_terminal

TWENTY = " ".join(map(str, range(1, 21)))


@contextmanager
def started(command: Sequence[str], hearth: CommandLine) -> Iterator[subprocess.Popen[str]]:
    """A command of whose life a test does not wait for the end; it is over at the block's."""
    process = subprocess.Popen(
        command, env=hearth.environ, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hearth]:
    """A process that runs by itself, and whose model counts to three and stands still."""
    with serving(Hearth(tmp_path / "hearth", drain="0.1s")) as made:
        made.hold("1 2 3")
        made.start()
        yield made


@pytest.fixture
def commands(server: Hearth, hearth_command: list[str]) -> CommandLine:
    """The command line on the server's data."""
    return CommandLine(hearth_command, server.data_dir)


def test_who_waits_for_a_command_that_is_killed_is_answered(hearth: CommandLine) -> None:
    """One `hearth say` has become the process, three others have their questions there; SIGKILL takes it away."""
    asked = {f"Count to {number}.": " ".join(map(str, range(1, number + 1))) for number in (5, 6, 7)}
    hearth.settings = {"HEARTH_QUEUE__STALL_TIMEOUT": "10m"}
    hearth.configure("")
    hold(hearth.data_dir, "1 2 3")
    held = [sys.executable, "-m", "tests.e2e.held_say", "first", "Count to 20."]
    with ExitStack() as stack:
        first = stack.enter_context(started(held, hearth))
        wait(lambda: hearth.waiting() == 1, "its question")
        others = [stack.enter_context(started([*hearth.command, "say", "-c", text, text], hearth)) for text in asked]
        wait(lambda: hearth.waiting() == 4, "the others' questions")
        first.kill()
        assert [other.communicate(timeout=DEADLINE)[0].strip() for other in others] == list(asked.values())
        assert [other.returncode for other in others] == [0, 0, 0]
    assert hearth.ask("/history", "first").endswith(f"assistant: {TWENTY}")


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_question_outlives_the_service(server: Hearth, commands: CommandLine, end: str) -> None:
    """SIGKILL, or a drain whose time was up; nobody starts the service again, and `say` takes its place."""
    with started([*commands.command, "say", "Count to 20."], commands) as asking:
        wait(lambda: any(mark["phase"] == "streaming" for mark in server.marks()), "the answer's first words")
        getattr(server, end)()
        assert asking.communicate(timeout=DEADLINE)[0].strip() == TWENTY
        assert asking.returncode == 0


def test_a_chat_goes_on_when_its_process_is_gone(server: Hearth, commands: CommandLine) -> None:
    """Within a question: the whole answer is shown on a fresh line. And the next one is answered too."""
    with on_terminal(commands, "chat") as terminal:
        terminal.read_until("you ")
        terminal.type("Count to 20.\r")
        terminal.read_until("1 2 3")
        server.kill()
        terminal.read_until(f"\n{TWENTY}\n")
        terminal.read_until("you ")
        terminal.type("My name is Zelda.\r")
        terminal.read_until(r"hearth.*Zelda")
        terminal.read_until("you ")
        terminal.type("\x04")
        assert terminal.process.wait(DEADLINE) == 0


def test_a_chat_goes_on_when_its_process_ended_between_two_questions(server: Hearth, commands: CommandLine) -> None:
    """Lines from a pipe; the second one is typed when nobody is there any more."""
    with started([*commands.command, "chat"], commands) as chat:
        assert chat.stdin is not None
        assert chat.stdout is not None
        chat.stdin.write("My name is Zelda.\n")
        chat.stdin.flush()
        assert "Zelda" in chat.stdout.readline()
        assert server.stop() == 0
        chat.stdin.write("What is my name?\n")
        chat.stdin.flush()
        assert "Zelda" in chat.stdout.readline()
        assert chat.communicate(timeout=DEADLINE)[0] == ""
        assert chat.returncode == 0


def test_ctrl_c_ends_the_wait_for_a_process(server: Hearth, commands: CommandLine) -> None:
    """Another program has the database and answers nobody. The prompt is there again."""
    with (
        on_terminal(commands, "chat") as terminal,
        lock_of(server.data_dir / "hearth.db").open("a") as lock,
        ThreadPoolExecutor(1) as pool,
    ):
        terminal.read_until("you ")
        terminal.type("Count to 20.\r")
        terminal.read_until("1 2 3")
        # It waits for the lock before the kill: nobody else is to come by it in between.
        locked = pool.submit(fcntl.flock, lock, fcntl.LOCK_EX)
        server.kill()
        locked.result(DEADLINE)
        terminal.read_until("No Hearth process answers", pressing="\x03")
        terminal.type("/quit\r")
        assert terminal.process.wait(DEADLINE) == 0
