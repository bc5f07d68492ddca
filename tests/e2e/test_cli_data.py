"""People's data from the command line: copies, exports, removal, and what is left on the disk afterwards."""

from __future__ import annotations

import getpass
import json
import stat
import subprocess
from pathlib import Path

from tests.e2e.conftest import CommandLine
from tests.e2e.hearth import Hearth, serving, wait
from tests.e2e.server import Options

ME = f"console:{getpass.getuser()}"
SECRET = "Zanzibarnaby"
"""A word that is in no program, model or table."""


def test_a_backup_taken_while_running_can_be_put_back(hearth: CommandLine, tmp_path: Path) -> None:
    """What was said before the backup is there again, what was said after it is not."""
    copy = tmp_path / "copy.db"
    with hearth.running():
        hearth.ask("My name is Barnaby.")
        assert f"Written: {copy}" in hearth.says("db", "backup", str(copy))
        hearth.ask("Count to 3.")
        assert "exists" in hearth("db", "backup", str(copy)).stderr
        refused = hearth("db", "restore", str(copy))
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "Stop it first" in refused.stderr
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    refused = hearth("db", "restore", str(copy))
    assert (refused.returncode, "--yes" in refused.stderr) == (1, True)
    assert "Count to 3." in hearth.ask("/history")
    hearth.says("db", "restore", "--yes", str(copy))
    history = hearth.ask("/history")
    assert "My name is Barnaby." in history
    assert "Count to 3." not in history


def test_what_is_no_backup_is_not_put_back(hearth: CommandLine, tmp_path: Path) -> None:
    """One line, and the database stays as it was."""
    hearth.ask("My name is Barnaby.")
    (tmp_path / "letter.txt").write_text("Dear Ada")
    done = hearth("db", "restore", "--yes", str(tmp_path / "letter.txt"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "letter.txt" in done.stderr
    assert "My name is Barnaby." in hearth.ask("/history")


def test_export_usage_and_forget(hearth: CommandLine) -> None:
    """The owner's commands, while a process runs and when none does."""
    assert "Nothing has been used yet." in hearth.says("usage")
    with hearth.running():
        hearth.ask(f"My name is {SECRET}.")
        hearth.settled()
        exported = json.loads(hearth.says("export", ME))
        assert exported["person"] == {"platform": "console", "id": getpass.getuser()}
        assert SECRET in json.dumps(exported)
        assert "prompt tokens" in hearth.says("usage")
        assert "is not PLATFORM:ID" in hearth("forget", "nobody").stderr
        assert hearth.says("forget", ME) == "Removed: 2 messages and 1 answers.\n"
        assert SECRET not in json.dumps(json.loads(hearth.says("export", ME)))
        assert hearth.holds(SECRET) == []
    assert hearth.says("forget", ME) == "Removed: 0 messages and 0 answers.\n"


def test_the_owners_commands_answer_no_questions(tmp_path: Path, hearth_command: list[str]) -> None:
    """What waits is left to a process that runs on."""
    with serving(Hearth(tmp_path / "hearth")) as server:
        commands = CommandLine(hearth_command, server.data_dir)
        server.hold("1 2 3")
        server.start()
        with subprocess.Popen(
            [*hearth_command, "say", "Count to 20."], env=commands.environ, stderr=subprocess.DEVNULL
        ) as asking:
            wait(lambda: any(mark["phase"] == "claimed" for mark in server.marks()), "its turn")
            asking.kill()  # it would become the next process
            server.kill()
        assert "Nothing has been used yet." in commands.says("usage")
        assert json.loads(commands.says("export", "files:nobody"))["conversations"] == []
        commands.says("db", "backup", str(tmp_path / "copy.db"))
        assert "1 questions wait" in commands.says("check")
        server.release()
        server.start()
        server.finish()
        assert server.stop() == 0
        assert [mark["attempt"] for mark in server.marks() if mark["phase"] == "claimed"] == [1, 2]


def test_with_retention_zero_nothing_stays_after_the_answer(hearth: CommandLine) -> None:
    """Neither in the database nor in its log nor anywhere else under the data directory; also while the process runs."""
    hearth.settings = {"HEARTH_RETENTION__DAYS": "0"}
    with hearth.running():
        assert hearth.ask(f"My name is {SECRET}.")
        wait(lambda: hearth.holds(SECRET) == [], "the words to go")
        assert hearth.ask("/history") == "This conversation is empty."
    assert hearth.holds(SECRET) == []


def test_forgetme_leaves_no_word_and_a_redelivery_brings_none_back(tmp_path: Path) -> None:
    """Byte by byte, the write-ahead log included, while the process runs; another person's words stay."""
    with serving(Hearth(tmp_path / "hearth", Options(per_token=0.0, prefill=0.0, pause=0.0))) as server:
        files = CommandLine([], server.data_dir)
        server.start()
        server.ask("one", f"My name is {SECRET}.")
        server.ask("one", "What is my name?")
        server.ask("two", "My name is Barnaby.")
        server.finish()
        assert files.holds(SECRET)
        server.ask("one", "/forgetme")
        server.finish()
        assert files.holds(SECRET) == []
        assert files.holds("person of chat one") == []
        assert files.holds("Barnaby")
        server.ask_again(1, "one", f"My name is {SECRET}.")
        server.ask("two", "Count to 3.")
        server.finish()
        assert files.holds(SECRET) == []
        sent = [line["text"] for line in server.platform() if line["call"] == "send"]
        assert server.stop() == 0
        server.start()
        server.ask_again(2, "one", "What is my name?")
        server.ask("two", "Count to 3.")
        server.finish()
        assert files.holds(SECRET) == []
        assert len([line for line in server.platform() if line["call"] == "send"]) == len(sent) + 1
