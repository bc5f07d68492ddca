"""The terminal's screen: what of an answer is written, saved and completed."""

import io
from pathlib import Path

import pytest
from prompt_toolkit.document import Document

from adapters.console.terminal import CommandCompleter, Screen, printable, save


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(*states: tuple[int, str, bool], failed: bool = False, out: io.StringIO | None = None) -> str:
    """What is written of the states of messages; the last one `failed`."""
    out = out or io.StringIO()
    screen = Screen(out, Path())
    for place, (number, text, final) in enumerate(states, 1):
        ends = failed and place == len(states)
        screen.show({"message": number, "text": text, "final": final, "failed": ends, "files": []})
    return out.getvalue()


def test_a_screen_writes_what_is_new() -> None:
    assert shown((1, "He", False), (1, "Hello", False), (1, "Hello.", True)) == "Hello.\n"


def test_what_is_taken_back_is_written_anew_on_a_fresh_line() -> None:
    assert shown((1, "place 2", False), (1, "Hello", False), (1, "Hello.", True)) == "place 2\nHello.\n"
    assert shown((1, "place 2", False), (1, "", False), (2, "Hello.", True)) == "place 2\nHello.\n"


def test_an_answer_that_is_shown_anew_begins_on_a_fresh_line() -> None:
    """It is another message where the process of the first one is gone."""
    assert shown((1, "1 2", False), (2, "1 2 3", True)) == "1 2\n1 2 3\n"


def test_words_about_a_failure_are_red_on_a_terminal() -> None:
    states = ((1, "He", False), (1, "He\n\nThe model failed.", True))
    assert shown(*states, failed=True, out=Terminal()) == "He\x1b[31m\n\nThe model failed.\x1b[0m\n"
    assert shown(*states, failed=True) == "He\n\nThe model failed.\n"
    assert shown(*states, out=Terminal()) == "He\n\nThe model failed.\n"


def test_an_answer_cannot_command_the_terminal() -> None:
    assert printable("a\x1b[2Jb\tc\r\nd\x07\x9b31m\x7f") == "a\ufffd[2Jb\tc\nd\ufffd\ufffd31m\ufffd"
    assert shown((1, "\x1b]0;title\x07", True)) == "\ufffd]0;title\ufffd\n"


def test_a_file_never_replaces_another(tmp_path: Path) -> None:
    file = {"name": "a.txt", "media_type": "text/plain", "data": "aGk="}
    names = [save(file, tmp_path).name for _ in range(3)]
    assert names == ["a.txt", "a-1.txt", "a-2.txt"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", ".", ""])
def test_a_file_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    path = save({"name": name, "media_type": "text/plain", "data": "aGk="}, tmp_path)
    assert path.parent == tmp_path
    assert path.read_bytes() == b"hi"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("/", ["/new", "/next", "/voice"]),
        ("/vo", ["/voice"]),
        ("/ne", ["/new", "/next"]),
        ("/nex", ["/next"]),
        ("ne", []),
        ("/new ", []),
    ],
)
def test_commands_are_completed_at_the_beginning_of_a_line(typed: str, found: list[str]) -> None:
    completer = CommandCompleter([{"name": "new", "help": "h"}, {"name": "next", "help": "h"}])
    document = Document(typed, len(typed))
    assert [c.text for c in completer.get_completions(document, None)] == found  # type: ignore[arg-type]  # not looked at
