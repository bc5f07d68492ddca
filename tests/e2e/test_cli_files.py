"""Documents from the command line: the model reads them, the database has them, and they are gone when they are asked to go."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from tests.e2e.conftest import CommandLine
from tests.e2e.hearth import wait

ME = f"console:{getpass.getuser()}"
NAME = "Zanzibarzora"
"""A file's name that is in no program, model or table."""
WORDS = "My name is Zora. Quixotically."
"""Its words; the last one is in no model or table."""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / f"{NAME}.txt"
    path.write_text(WORDS)
    return path


def test_the_model_reads_a_document_and_remembers_it(hearth: CommandLine, tmp_path: Path) -> None:
    """Also in another process, and although the file is gone by then."""
    notes = tmp_path / "notes.txt"
    notes.write_text("My name is Zora.")
    assert "Zora" in hearth.says("say", "", "--file", str(notes))
    notes.unlink()
    assert hearth.ask("What is my name?") == "Your name is Zora."
    assert "[notes.txt]" in hearth.ask("/history")


def test_it_is_read_by_the_process_that_runs(hearth: CommandLine, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_bytes("\ufeffMy name is Zora.\r\n".encode("utf-16-le"))
    with hearth.running():
        assert "Zora" in hearth.says("say", "Hello!", "--file", str(notes))
        assert hearth.ask("What is my name?") == "Your name is Zora."


def test_what_cannot_be_read_is_told_in_one_line(hearth: CommandLine, tmp_path: Path) -> None:
    """Where nothing else was said the answer has failed; else it comes with that line."""
    (tmp_path / "blob.bin").write_bytes(b"\x00\x01")
    (tmp_path / "blob.txt").write_bytes(b"\x00\x01")
    (tmp_path / "long.txt").write_text("x" * 2000)
    hearth.settings = {"HEARTH_CHAT__MAX_DOCUMENT_BYTES": "1024"}
    for name, why in (
        ("blob.bin", "not a text file"),
        ("blob.txt", "not a text file"),
        ("long.txt", "larger than 1 KiB"),
    ):
        done = hearth("say", "", "--file", str(tmp_path / name))
        assert (done.returncode, done.stdout) == (1, f"I cannot read this: `{name}` ({why}).\n")
    shown = hearth.says("say", "My name is Zelda.", "--file", str(tmp_path / "blob.txt"))
    assert shown.endswith("\n\n[`blob.txt`: not read, not a text file]\n")


def test_an_export_and_a_backup_have_it_and_forgetme_leaves_no_byte(
    hearth: CommandLine, notes: Path, tmp_path: Path
) -> None:
    """Neither of its words nor of its name, while the process runs."""
    with hearth.running():
        hearth.says("say", "Hello!", "--file", str(notes))
        (exported,) = json.loads(hearth.says("export", ME))["conversations"][0]["messages"][0]["attachments"]
        assert (exported["name"], exported["words"]) == (notes.name, WORDS)
        hearth.says("db", "backup", str(tmp_path / "copy.db"))
        assert hearth.holds("Quixotically")
        hearth.ask("/forgetme")
        assert hearth.holds("Quixotically") == []
        assert hearth.holds(NAME) == []
    hearth.says("db", "restore", "--yes", str(tmp_path / "copy.db"))
    assert WORDS in hearth.says("export", ME)


def test_with_retention_zero_it_goes_with_the_answer(hearth: CommandLine, notes: Path) -> None:
    hearth.settings = {"HEARTH_RETENTION__DAYS": "0"}
    with hearth.running():
        assert "Zora" in hearth.says("say", "", "--file", str(notes))
        wait(lambda: hearth.holds("Quixotically") == hearth.holds(NAME) == [], "the words to go")
