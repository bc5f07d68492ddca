"""Which attachments are read, what is read in them, and the words for the prompt and for the person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from bot import reading
from bot.errors import FloodWait, MessageGone, PlatformError, Told, Unreachable
from bot.messages import Attached, Attachment, Author, MessageState, Role, StoredMessage
from bot.reading import Readers
from bot.records import Content, Reading
from storage.store import SqlStore

NOTES = Attachment(kind="file", name="notes.txt", media_type="text/plain", size=None, reference="f1")
KIB = 1024


def message(*attached: Attached, text: str = "") -> StoredMessage:
    return StoredMessage(
        id=7,
        parent=None,
        role=Role.USER,
        text=text,
        author=Author("1", "Ada"),
        state=MessageState.PENDING,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        attachments=attached,
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    opened = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    yield opened
    await opened.aclose()


class Platform:
    """Gives these bytes, or raises this, and counts."""

    def __init__(self, data: bytes | Exception = b"Hello.") -> None:
        self.data = data
        self.fetched: list[str] = []

    async def fetch(self, item: Attachment) -> bytes:
        self.fetched.append(item.name)
        if isinstance(self.data, Exception):
            raise self.data
        return self.data


async def outcome(store: SqlStore, platform: Platform, item: Attachment = NOTES) -> Attached:
    (read,) = (await reading.read(message(Attached(item)), store, Readers(platform.fetch, 4 * KIB))).attachments
    assert read.attachment == item
    return read


# Which are read


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("", "text/plain"),
        ("page", "text/html; charset=utf-8"),
        ("data", "application/json"),
        ("data", " Application/JSON "),
        ("feed", "application/atom+xml"),
        ("drawing", "image/svg+xml"),
        ("settings", "application/yaml"),
        ("settings", "application/toml"),
        ("table", "text/csv"),
        ("run", "application/x-sh"),
        ("notes.txt", ""),
        ("NOTES.MD", "application/octet-stream"),
        ("main.rs", "application/octet-stream"),
        ("main.tar.py", "application/octet-stream"),
        ("Makefile", "application/octet-stream"),
        (".gitignore", ""),
        ("table.csv", "application/vnd.ms-excel"),
        ("index.ts", "video/mp2t"),
    ],
)
async def test_a_text_document_is_read(store: SqlStore, name: str, media_type: str) -> None:
    """By its media type, or by its name: what is registered for a suffix is often something else."""
    assert await outcome(store, Platform(), replace(NOTES, name=name, media_type=media_type)) == Attached(
        replace(NOTES, name=name, media_type=media_type), "Hello."
    )


@pytest.mark.parametrize(
    ("name", "media_type", "why"),
    [
        ("cv.pdf", "application/pdf", "not a text file"),
        ("cv.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "not a text file"),
        ("backup.tar.gz", "application/octet-stream", "not a text file"),
        ("txt", "application/octet-stream", "not a text file"),
        ("", "", "not a text file"),
        ("photo.png", "image/png", "pictures are not understood yet"),
        ("song.flac", "audio/flac", "voice messages are not heard here"),
        ("film.mkv", "video/x-matroska", "videos are not understood yet"),
    ],
)
async def test_another_file_is_not_even_fetched(store: SqlStore, name: str, media_type: str, why: str) -> None:
    platform = Platform()
    item = replace(NOTES, name=name, media_type=media_type)
    assert await outcome(store, platform, item) == Attached(item, None, why)
    assert platform.fetched == []


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("voice", "voice messages are not heard here"),
        ("audio", "voice messages are not heard here"),
        ("image", "pictures are not understood yet"),
        ("video", "videos are not understood yet"),
    ],
)
async def test_nor_is_what_the_platform_calls_something_else(
    store: SqlStore, kind: Literal["voice", "audio", "image", "video"], why: str
) -> None:
    platform = Platform()
    assert (await outcome(store, platform, replace(NOTES, kind=kind))).unread == why
    assert platform.fetched == []


async def test_what_is_stated_larger_is_not_fetched(store: SqlStore) -> None:
    platform = Platform(b"x" * 4 * KIB)
    assert (await outcome(store, platform, replace(NOTES, size=4 * KIB + 1))).unread == "larger than 4 KiB"
    assert platform.fetched == []
    assert (await outcome(store, platform, replace(NOTES, size=4 * KIB))).words == "x" * 4 * KIB


async def test_what_is_larger_than_it_was_stated_is_not_read(store: SqlStore) -> None:
    assert (await outcome(store, Platform(b"x" * (4 * KIB + 1)))).unread == "larger than 4 KiB"
    read = await reading.read(message(Attached(NOTES)), store, Readers(Platform(b"x" * 1001).fetch, 1000))
    assert read.attachments[0].unread == "larger than 1000 bytes"


# What is read


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Gr\xc3\xbc\xc3\x9fe", "Grüße"),
        (b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe", "Grüße"),
        ("\ufeffGrüße 👋".encode("utf-16-le"), "Grüße 👋"),
        ("\ufeffGrüße 👋".encode("utf-16-be"), "Grüße 👋"),
        (b"one\r\ntwo\r\n", "one\ntwo\n"),
        (b"\x1b[31mred\x1b[0m\t|", "\x1b[31mred\x1b[0m\t|"),
    ],
)
async def test_its_words_are_decoded(store: SqlStore, data: bytes, words: str) -> None:
    assert (await outcome(store, Platform(data))).words == words


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a\x00b", "not a text file"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not a text file"),
        (b"Gr\xfc\xdfe", "not text in UTF-8 or UTF-16"),
        (b"\xff\xfeG", "not text in UTF-8 or UTF-16"),
        (b"\xff\xfe\x00\xd8x\x00", "not text in UTF-8 or UTF-16"),
        (b"\xff\xfe\x00\x00G\x00\x00\x00", "not a text file"),
        (b"\xed\xa0\x80", "not text in UTF-8 or UTF-16"),
        (b"", "empty"),
        (b"\xef\xbb\xbf \r\n", "empty"),
    ],
)
async def test_what_is_no_text_is_not_read(store: SqlStore, data: bytes, why: str) -> None:
    assert await outcome(store, Platform(data)) == Attached(NOTES, None, why)


async def test_it_is_known_by_the_hash_of_its_bytes(tmp_path: Path) -> None:
    kept: list[Reading] = []

    class Noting(SqlStore):
        async def record_read(self, message: int, readings: Sequence[Reading]) -> None:
            assert message == 7
            kept.extend(readings)

    store = await Noting.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    await reading.read(message(Attached(NOTES)), store, Readers(Platform(b"\xef\xbb\xbfHello.\r\n").fetch, KIB))
    await store.aclose()
    digest = "280c3a0354d21e33d2877ed5a2234b37f951bc270ad66004e0731b961bde1c96"
    content = Content(hash=digest, reader="text", media_type="text/plain", size=11, words="Hello.\n")
    assert kept == [Reading(number=0, content=content)]


async def test_what_was_read_before_is_not_read_again(store: SqlStore) -> None:
    platform = Platform(b"New.")
    song = replace(NOTES, kind="audio")
    before = message(Attached(NOTES, "Old."), Attached(NOTES, None, "no longer there"), Attached(song))
    read = await reading.read(before, store, Readers(platform.fetch, KIB))
    assert [item.words for item in read.attachments] == ["Old.", "New.", None]
    assert platform.fetched == ["notes.txt"]
    whole = message(Attached(NOTES, "Old."))
    assert await reading.read(whole, store, Readers(platform.fetch, KIB)) is whole
    assert await reading.read(message(text="hi"), store, Readers(platform.fetch, KIB)) == message(text="hi")
    assert platform.fetched == ["notes.txt"]


# When the platform fails


@pytest.mark.parametrize(
    ("error", "why"),
    [(MessageGone("404"), "no longer there"), (PlatformError("secret-name.txt: 403"), "it could not be loaded")],
)
async def test_what_the_platform_refuses_is_not_read(store: SqlStore, error: Exception, why: str) -> None:
    assert await outcome(store, Platform(error)) == Attached(NOTES, None, why)


@pytest.mark.parametrize("error", [Unreachable("timed out"), FloodWait(3)])
async def test_what_may_be_over_later_is_no_refusal(store: SqlStore, error: Exception) -> None:
    with pytest.raises(Unreachable):
        await outcome(store, Platform(error))


async def test_a_platform_that_keeps_a_file_back_is_away(store: SqlStore) -> None:
    async def fetch(_: Attachment) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError("never")

    with pytest.raises(Unreachable, match="did not come within"):
        await reading.read(message(Attached(NOTES)), store, Readers(fetch, KIB, seconds=0.01))


# The words


PDF = Attached(replace(NOTES, name="cv.pdf"), None, "not a text file")
READ = Attached(NOTES, "\n  Buy a lantern.\n\n")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (message(text="hi"), "hi"),
        (message(READ), "File notes.txt:\n  Buy a lantern."),
        (message(READ, text="What?"), "What?\n\nFile notes.txt:\n  Buy a lantern."),
        (message(PDF, READ, text="?"), "?\n\n[cv.pdf: not read, not a text file]\n\nFile notes.txt:\n  Buy a lantern."),
        (message(Attached(NOTES)), "[notes.txt: not read]"),
    ],
)
def test_the_model_is_told_the_text_and_then_each_document_under_its_name(given: StoredMessage, words: str) -> None:
    assert reading.told(given) == words


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb\r\tc.txt", "a b c.txt"),
        ("\u202egnp.exe\u202c\x00\x1b.txt", "gnp.exe.txt"),
        ("x" * 500, "x" * 80),
        (" \n", "file"),
        ("", "file"),
        ("`rm`.md", "'rm'.md"),
    ],
)
def test_a_files_name_is_one_short_line(name: str, shown: str) -> None:
    item = Attached(replace(NOTES, name=name), "Hi.")
    assert reading.told(message(item)) == f"File {shown}:\nHi."
    assert reading.unread(message(replace(item, words=None))) == f"[`{shown}`: not read]"
    assert reading.summary(message(item, text="look")) == f"look [{shown}]"


def test_the_person_is_told_what_the_model_does_not_know() -> None:
    assert reading.unread(message(PDF, READ, replace(PDF, unread="empty"))) == (
        "[`cv.pdf`: not read, not a text file]\n[`cv.pdf`: not read, empty]"
    )
    assert reading.unread(message(READ, text="hi")) == ""


def test_where_nothing_is_left_to_answer_the_reasons_are_the_answer() -> None:
    """And the log, which has the detail, learns no name."""
    photo = Attached(replace(NOTES, kind="image", name="photo.jpg"), None, "pictures are not understood yet")
    with pytest.raises(Told) as caught:
        reading.check(message(PDF, photo, text=" "))
    assert caught.value.words == (
        "I cannot read this: `cv.pdf` (not a text file), `photo.jpg` (pictures are not understood yet)."
    )
    assert str(caught.value) == "attachments not read: not a text file, pictures are not understood yet"


@pytest.mark.parametrize("given", [message(text="hi"), message(PDF, text="hi"), message(READ), message(PDF, READ)])
def test_where_something_is_left_the_model_answers(given: StoredMessage) -> None:
    reading.check(given)
