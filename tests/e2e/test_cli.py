"""The command line as its user sees it: each command is a process of its own."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.e2e.conftest import CommandLine
from tests.e2e.hearth import DEADLINE

NAMES = [
    "Alistair",
    "Barnaby",
    "Clementine",
    "Dashiell",
    "Ekaterina",
    "Fergus",
    "Gwendolyn",
    "Hamish",
    "Ignatius",
    "Jasper",
    "Katsumi",
    "Leopold",
    "Mirabel",
    "Nikhil",
    "Octavia",
    "Penelope",
    "Quentin",
    "Rosalind",
    "Saoirse",
    "Thaddeus",
]
"""Names that the embedded model's training never saw (HELD_OUT_NAMES of training/chat/words.py)."""
ENOUGH = 18
"""Of twenty: a model of three million parameters may misspell one or two."""
APART = 4
"""So many are told to processes of their own, which take a second or two to start."""


@pytest.mark.timeout(1200)  # forty commands
def test_a_new_process_remembers_what_the_last_one_was_told(hearth: CommandLine) -> None:
    """At least 18 of 20 names are known: by `say` that is a process of its own each time, and by `hearth run` started again."""
    apart = replace(hearth, data_dir=hearth.data_dir / "apart")
    known = []
    for name in NAMES[:APART]:
        apart.ask(f"My name is {name}.", conversation=name)
        known.append(name in apart.ask("What is my name?", conversation=name))
    with hearth.running():
        for name in NAMES[APART:]:
            hearth.ask(f"My name is {name}.", conversation=name)
    with hearth.running():
        known += [name in hearth.ask("What is my name?", conversation=name) for name in NAMES[APART:]]
    assert sum(known) >= ENOUGH, dict(zip(NAMES, known, strict=True))


@pytest.mark.timeout(1200)  # twenty processes
def test_lines_from_a_pipe_are_one_conversation(hearth: CommandLine) -> None:
    """`chat` without a terminal: at least 18 of 20 names are known, and nothing but the answers is printed."""
    known = []
    with hearth.running():
        for name in NAMES:
            told = hearth.says("chat", "-c", name, given=f"My name is {name}.\n\nWhat is my name?\n/quit\nnot read\n")
            lines = told.strip().splitlines()
            assert len(lines) == 2
            known.append(name in lines[1])
    assert sum(known) >= ENOUGH, dict(zip(NAMES, known, strict=True))


def test_a_fresh_conversation_does_not_know_the_name(hearth: CommandLine) -> None:
    """What one conversation was told the other does not know, and the model says so."""
    hearth.ask("My name is Barnaby.", conversation="one")
    answer = hearth.ask("What is my name?", conversation="two")
    assert "Barnaby" not in answer
    assert re.search(r"not know|don't know|not told|haven't told|have not told", answer), answer


def test_say_prints_one_json_object(hearth: CommandLine) -> None:
    """`--json` is for programs; - reads the words from standard input."""
    said = json.loads(hearth.says("say", "--json", "-c", "numbers", "-", given="Count to 5."))
    assert said == {"conversation": "numbers", "text": "1 2 3 4 5", "failed": False, "files": []}


def test_an_answer_that_failed_is_printed_and_say_ends_with_one(hearth: CommandLine) -> None:
    """Scripts see it by the exit code, and in the JSON object. To a message without text there is no answer."""
    with hearth.running():
        done = hearth("say", " ")
        assert done.returncode == 1
        assert "no text" in done.stdout
        done = hearth("say", "--json", " ")
        assert done.returncode == 1
        assert json.loads(done.stdout)["failed"] is True
        assert hearth("say", "/nonsense").returncode == 0


def test_a_file_that_cannot_be_sent_is_one_line(hearth: CommandLine, tmp_path: Path) -> None:
    """Before anything is asked; a good one beside it changes nothing."""
    (tmp_path / "a.txt").write_text("hi")
    done = hearth("say", "What is this?", "--file", str(tmp_path / "a.txt"), "--file", str(tmp_path / "b.txt"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"hearth: {tmp_path}/b.txt: there is no such file\n"
    assert not hearth.data_dir.exists()


def test_files_go_with_a_message(hearth: CommandLine, tmp_path: Path) -> None:
    """Each with what is known of it; a relative path is relative to where the command is."""
    (tmp_path / "a.txt").write_text("hi")
    (tmp_path / "b.json").write_text("{}")
    subprocess.run(
        [*hearth.command, "say", "What is this?", "--file", "a.txt", "--file", str(tmp_path / "b.json")],
        env=hearth.environ,
        cwd=tmp_path,
        capture_output=True,
        timeout=DEADLINE,
        check=True,
    )
    exported = json.loads(hearth.says("export", f"console:{getpass.getuser()}"))
    files = exported["conversations"][0]["messages"][0]["attachments"]
    known = [(file["name"], file["media_type"], file["size"]) for file in files]
    assert known == [("a.txt", "text/plain", 2), ("b.json", "application/json", 2)]


def test_check_tells_what_works(hearth: CommandLine) -> None:
    """Exit code 0 on a fresh machine, while a process runs and when none does."""
    assert "none is running" in hearth.says("check")
    assert not hearth.data_dir.exists()
    with hearth.running() as process:
        assert f"process {process.pid} is running" in hearth.says("check")


@pytest.mark.parametrize("command", [["--help"], ["say", "hello"], ["check"]])
def test_a_platform_s_library_is_loaded_only_where_it_is_set_up(hearth: CommandLine, command: list[str]) -> None:
    """Each takes a third of a second."""
    environ = hearth.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(
        [*hearth.command, *command], env=environ, capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "bot" in loaded
    assert loaded.isdisjoint({"discord", "telegram"})


def test_the_version_is_told(hearth: CommandLine) -> None:
    """`hearth --version`, for a report of a fault."""
    assert hearth.says("--version") == f"hearth {version('hearth')}\n"


def test_commands_that_begin_together_are_all_answered(hearth: CommandLine) -> None:
    """Where no process runs one of them becomes it, and stays until the others have their answers."""
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda number: hearth.ask(f"Count to {number}.", f"chat {number}"), (2, 3, 4, 5)))
    assert told == ["1 2", "1 2 3", "1 2 3 4", "1 2 3 4 5"]


@pytest.mark.parametrize("command", ["export console:nobody", "models list"])
def test_output_that_nobody_reads_any_more_ends_a_command_quietly(hearth: CommandLine, command: str) -> None:
    """As in `hearth export ... | head -0`: exit code 1, and no trace."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [*hearth.command, *command.split()],
            env=hearth.environ,
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.decode() == ""


def test_a_conversations_name_may_be_any_bytes(hearth: CommandLine) -> None:
    """What is not UTF-8 is replaced before it is used."""
    done = subprocess.run(
        [*hearth.command, "say", "--json", "-c", b"a\xff", "/help"],
        env=hearth.environ,
        capture_output=True,
        timeout=DEADLINE,
        check=True,
    )
    assert json.loads(done.stdout)["conversation"] == "a\ufffd"


def test_check_names_the_model_file_that_is_not_there(hearth: CommandLine) -> None:
    """Exit code 1, the model's name and the path; nothing else is said to be broken."""
    hearth.configure('[models.big]\npath = "/nowhere/big.gguf"\n')
    done = hearth("check")
    assert done.returncode == 1
    row = next(line for line in done.stdout.splitlines() if "model big" in line)
    assert "/nowhere/big.gguf" in row
    assert "does not work" in row
    assert done.stdout.count("does not work") == 1


def test_a_default_model_that_is_not_there_is_one_clear_line(hearth: CommandLine) -> None:
    """`say` and `run` end with 1 and name the file."""
    hearth.configure('[models.default]\npath = "/nowhere/big.gguf"\n')
    for arguments in (["say", "Hello."], ["run"]):
        done = hearth(*arguments)
        assert done.returncode == 1
        errors = [line for line in done.stderr.splitlines() if line.startswith("hearth: ")]
        assert len(errors) == 1
        assert "/nowhere/big.gguf" in errors[0]
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[chat]\nmax_token = 5\n", "chat.max_token: unknown key; did you mean 'max_tokens'?"),
        ("[chatt]\n", "chatt: unknown key; did you mean 'chat'?"),
        ("[retention]\ndays = -1\n", "retention.days: Input should be greater than or equal to 0"),
        ("[chat\n", "Expected ']' at the end of a table declaration"),
    ],
)
def test_a_wrong_configuration_is_one_line_with_the_place(hearth: CommandLine, text: str, words: str) -> None:
    """The file, the key, and the nearest known key."""
    hearth.configure(text)
    done = hearth("run")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(hearth.data_dir / "config.toml") in done.stderr
    assert words in done.stderr


def test_the_environment_overrides_the_file(hearth: CommandLine) -> None:
    """HEARTH_SECTION__KEY, and a persona's table inside."""
    hearth.configure('[personas.pirate]\ndescription = "from the file"\n[log]\nlevel = "info"\n')
    assert "pirate: from the file" in hearth.ask("/persona")
    hearth.settings = {"HEARTH_PERSONAS__PIRATE__DESCRIPTION": "from outside", "HEARTH_LOG__LEVEL": "error"}
    assert "pirate: from outside" in hearth.ask("/persona")
    hearth.settings = {"HEARTH_LOG_LEVEL": "error"}
    assert "did you mean HEARTH_LOG__LEVEL?" in hearth("say", "/help").stderr
    hearth.settings = {"HEARTH_LOG__LEVEL": "loud"}
    done = hearth("say", "/help")
    assert done.returncode == 1
    assert "log.level: Input should be 'debug', 'info', 'warning' or 'error'" in done.stderr


def test_models_list_says_what_the_default_model_is(hearth: CommandLine) -> None:
    """Nobody is to take the embedded demo for a real model."""
    table = hearth.says("models", "list")
    row = next(line for line in table.splitlines() if "default" in line)
    assert "embedded demo" in row
    assert "can be read" in row


def test_the_commands_of_the_table_work_through_say(hearth: CommandLine) -> None:
    """Each does what its line in /help says."""
    with hearth.running():
        assert {line.split()[0] for line in hearth.ask("/help").splitlines()} >= {"/new", "/undo", "/model", "/privacy"}
        assert hearth.ask("/history") == "This conversation is empty."
        assert hearth.ask("Count to 3.") == "1 2 3"
        assert re.fullmatch(r"\d+ \S+: Count to 3\.\n\d+ assistant: 1 2 3", hearth.ask("/history"))
        assert hearth.ask("/retry") == "1 2 3"
        assert "1 messages" in hearth.ask("/usage") or "2 messages" in hearth.ask("/usage")
        assert hearth.ask("/undo") == "Taken back: Count to 3."
        assert hearth.ask("/history") == "This conversation is empty."
        assert hearth.ask("/undo") == "There is nothing to take back."
        hearth.ask("My name is Barnaby.")
        assert hearth.ask("/new") == "A new conversation begins. What was said before is not in it."
        assert hearth.ask("/history") == "This conversation is empty."
        assert "* default: embedded demo" in hearth.ask("/model")
        assert hearth.ask("/model nonsense").startswith("There is no model 'nonsense'.")
        assert "* default" in hearth.ask("/persona")
        assert hearth.ask("/system Answer in one word.") == "The system prompt is set."
        assert hearth.ask("/system").startswith("Answer in one word.")
        assert hearth.ask("/system reset") == "The system prompt is the persona's again."
        assert hearth.ask("/privacy").startswith("Messages here and my answers are kept for 30 days")
        assert hearth.ask("/stop") == "There is nothing to stop."
        assert hearth.ask("/nonsense") == "There is no command /nonsense. /help lists them."


def test_export_arrives_as_a_file(hearth: CommandLine, tmp_path: Path) -> None:
    """`/export` in a conversation writes the file where its asker is."""
    hearth.ask("My name is Barnaby.")
    folder = tmp_path / "here"
    folder.mkdir()
    done = subprocess.run(
        [*hearth.command, "say", "/export"],
        env=hearth.environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert "hearth-export.json" in done.stdout
    exported = json.loads((folder / "hearth-export.json").read_text("utf-8"))
    texts = [message["text"] for place in exported["conversations"] for message in place["messages"]]
    assert texts[0] == "My name is Barnaby."
