"""Files from the terminal: which paths are taken, what is known of a file, and its bytes when they are asked for."""

import os
from pathlib import Path

import pytest

from adapters.console.adapter import Console
from adapters.console.files import attachment, load, path_of
from bot.errors import MessageGone, PlatformError, StartError
from bot.messages import Attachment

LIMIT = 26_214_400


def test_a_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("hi")
    monkeypatch.chdir(tmp_path)
    assert path_of(Path("a.txt")) == str(tmp_path / "a.txt")


def test_a_link_keeps_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hi")
    (tmp_path / "link.md").symlink_to("a.txt")
    assert path_of(tmp_path / "link.md") == str(tmp_path / "link.md")
    assert load(str(tmp_path / "link.md")) == b"hi"


@pytest.mark.parametrize("name", ["notes.md", "data.json", "unknown", "a.tar.gz", "ä b.txt"])
def test_what_is_known_of_a_file_before_it_is_read(tmp_path: Path, name: str) -> None:
    types = {"notes.md": "text/markdown", "data.json": "application/json", "ä b.txt": "text/plain"}
    path = tmp_path / name
    path.write_bytes(b"12345")
    known = attachment(str(path))
    media_type = "application/x-tar" if name == "a.tar.gz" else types.get(name, "application/octet-stream")
    assert known == Attachment(kind="file", name=name, media_type=media_type, size=5, reference=str(path))


def test_of_a_file_that_is_gone_meanwhile_the_size_is_not_known(tmp_path: Path) -> None:
    """Its message is taken all the same, for it may be one that is sent again."""
    assert attachment(str(tmp_path / "a.txt")).size is None


def test_a_file_that_is_not_there_is_told_before_it_is_sent_and_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(StartError) as told:
        path_of(path)
    assert str(told.value) == f"{path}: there is no such file"
    with pytest.raises(MessageGone):
        load(str(path))


def test_only_a_regular_file_is_taken(tmp_path: Path) -> None:
    """To open a pipe that nobody writes to would take for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(StartError) as told:
            path_of(path)
        assert str(told.value) == f"{path}: is not a file"
        with pytest.raises(PlatformError):
            load(str(path))


def test_a_file_that_is_too_large_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    path.touch()
    os.truncate(path, LIMIT)
    assert len(load(path_of(path))) == LIMIT
    os.truncate(path, LIMIT + 1)
    with pytest.raises(StartError, match=r"big\.txt: is larger than 25 MiB"):
        path_of(path)
    with pytest.raises(PlatformError, match=r"big\.txt: is larger than 25 MiB"):
        load(str(path))
    assert Console.limits.file_bytes == LIMIT


def test_a_name_that_no_database_holds_is_not_taken(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"\xff.txt"))
    with pytest.raises(StartError) as told:
        path_of(path)
    assert str(told.value) == f"{tmp_path}/a\ufffd.txt: the name is not UTF-8 text"
