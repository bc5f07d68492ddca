"""Files that come from the page: heard or read, committed with their message, gone once they were read, and guarded."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from adapters.web import uploads
from tests import speech
from tests.house import DEADLINE, until
from tests.recordings import recording, silent_video
from tests.web import ANN_TOKEN, BEN_TOKEN, TOKENS, Answer, Browser, Site, site, status

TEXT = "what is my name"
MEBIBYTE = 2**20


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as opened:
        yield opened


@pytest.fixture
async def owner(home: Site) -> AsyncIterator[Browser]:
    async with home.browser() as browser:
        yield browser


def last(shown: dict[str, Any]) -> tuple[str, str]:
    message = shown["messages"][-1]
    return message["role"], message["text"]


async def test_a_recording_is_heard_and_answered(home: Site, owner: Browser) -> None:
    where = await owner.begin()
    brought = await owner.bring(where, speech.opus(TEXT), kind="voice", name="voice.ogg", media_type="audio/ogg")
    assert (brought.status, brought.json) == (202, {"received": True})
    shown = await owner.settled(where)
    assert [(message["role"], message["text"]) for message in shown["messages"]] == [
        ("user", TEXT),
        ("assistant", f"You said: {TEXT}"),
    ]
    [item] = shown["messages"][0]["attachments"]
    assert (item["kind"], item["name"], item["language"]) == ("voice", "voice.ogg", "en")
    assert 0.5 < item["seconds"] < 3


async def test_a_recording_in_a_browsers_own_format(home: Site, owner: Browser) -> None:
    """MediaRecorder writes WebM, which is called a video where only its name is known."""
    from tests.recordings import encoded

    data = encoded(speech.samples(TEXT), "webm", "libopus", 16_000)
    where = await owner.begin()
    await owner.bring(where, data, kind="voice", media_type="audio/webm;codecs=opus")
    assert last(await owner.settled(where)) == ("assistant", f"You said: {TEXT}")


async def test_a_document_that_is_dropped_is_read(owner: Browser) -> None:
    where = await owner.begin()
    await owner.bring(
        where, "Buy a lantern for Zoë.".encode(), text="What?", name="notiz äöü.txt", media_type="text/plain"
    )
    answer = "You said: What?\n\nFile notiz äöü.txt:\nBuy a lantern for Zoë."
    assert last(await owner.settled(where)) == ("assistant", answer)


@pytest.mark.parametrize(
    ("data", "name", "media_type", "why"),
    [
        (b"no sound", "a.ogg", "audio/ogg", "not a recording that I can read"),
        (silent_video(), "a.mp4", "video/mp4", "there is no sound in it"),
        (recording("opus", 1.0), "a.ogg", "audio/ogg", "I understand no word in it"),
        (b"\x89PNG", "a.png", "image/png", "pictures are not understood yet"),
    ],
    ids=["text", "video", "tone", "picture"],
)
async def test_what_is_not_understood_gets_a_word(
    home: Site, owner: Browser, data: bytes, name: str, media_type: str, why: str
) -> None:
    where = await owner.begin()
    await owner.bring(where, data, name=name, media_type=media_type)
    shown = await owner.settled(where)
    [(_, state)] = [(live["final"], live["text"]) for live in shown["live"]]
    assert f"`{name}` ({why}" in state


async def test_a_file_that_was_read_is_not_kept(tmp_path: Path) -> None:
    data = speech.opus(TEXT)
    async with site(tmp_path) as home, home.browser() as owner:
        where = await owner.begin()
        await owner.bring(where, data, kind="voice")
        await owner.settled(where)
        exported = (await owner.get("/api/export")).json
        [item] = next(c for c in exported["conversations"] if c["messages"])["messages"][0]["attachments"]
        assert "data" not in item
    assert holding(tmp_path, data) == []


def holding(folder: Path, data: bytes) -> list[Path]:
    """The files in which a part of this is found."""
    mark = data[200:260]
    return [path for path in folder.rglob("*") if path.is_file() and mark in path.read_bytes()]


async def test_with_a_setting_it_is_kept_and_leaves_with_its_person(tmp_path: Path) -> None:
    data = speech.opus(TEXT)
    async with site(tmp_path, speech={"keep_recordings": True}) as home, home.browser() as owner:
        where = await owner.begin()
        await owner.bring(where, data, kind="voice")
        await owner.settled(where)
        exported = (await owner.get("/api/export")).json
        [item] = next(c for c in exported["conversations"] if c["messages"])["messages"][0]["attachments"]
        assert item["data"]
        await owner.say(where, "/forgetme")
        await until(lambda: home.app.dispatcher.in_progress == 0, "the removal")
    assert holding(tmp_path, data) == []


async def test_a_message_with_its_file_outlives_the_process(tmp_path: Path) -> None:
    async with site(tmp_path, chat={"drain": 0.01}) as home, home.browser() as owner:
        home.engine.stall_in_prefill = True
        where = await owner.begin()
        await owner.say(where, "hold")
        await until(lambda: home.engine.active == 1, "the first answer")
        await owner.bring(where, speech.opus(TEXT), kind="voice")
    async with site(tmp_path) as home, home.browser() as owner:
        assert last(await owner.settled(where)) == ("assistant", f"You said: {TEXT}")


async def test_the_same_event_twice_is_one_message(home: Site, owner: Browser) -> None:
    where, event = await owner.begin(), uuid.uuid4().hex
    for _ in range(2):
        assert (await owner.bring(where, speech.opus(TEXT), kind="voice", event=event)).status == 202
    assert len((await owner.settled(where))["messages"]) == 2


async def test_a_branch_can_begin_with_a_recording(home: Site, owner: Browser) -> None:
    where = await owner.begin()
    await owner.ask(where, "hello")
    await owner.bring(where, speech.opus(TEXT), kind="voice", follows=0)
    shown = await owner.settled(where)
    assert shown["messages"][0]["text"] == TEXT
    assert len(shown["messages"][0]["siblings"]) == 2


class TestPlaces:
    """Each file is held in memory until it is whole, so there are a few places for all, and fewer for each person."""

    @asynccontextmanager
    async def coming(self, somebody: Browser, where: str, count: int) -> AsyncIterator[list[asyncio.Task[Answer]]]:
        """So many files on their way until the block ends; there is no place for one more of this person."""
        end = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"My name "
            await end.wait()
            yield b"is Zora."

        tasks = [asyncio.create_task(somebody.bring(where, slowly())) for _ in range(count)]
        async with asyncio.timeout(DEADLINE):
            while (refused := await somebody.bring(where, b"one more")).status != 503:
                await asyncio.sleep(0.01)
        assert (refused.error, refused.headers["Retry-After"]) == (uploads.BUSY, "3")
        yield tasks
        end.set()
        await asyncio.wait(tasks)

    async def test_one_person_does_not_keep_the_others_out(self, tmp_path: Path) -> None:
        async with site(tmp_path, TOKENS) as home, home.person(ANN_TOKEN) as ann, home.person(BEN_TOKEN) as ben:
            hers, his = await ann.begin(), await ben.begin()
            async with self.coming(ann, hers, uploads.EACH) as tasks:
                assert (await ben.bring(his, b"hello")).status == 202
            assert [task.result().status for task in tasks] == [202] * uploads.EACH
            assert (await ann.bring(hers, b"hello")).status == 202

    async def test_all_together_have_no_more_than_there_are(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uploads, "AT_ONCE", uploads.EACH)
        async with site(tmp_path, TOKENS) as home, home.person(ANN_TOKEN) as ann, home.person(BEN_TOKEN) as ben:
            hers, his = await ann.begin(), await ben.begin()
            async with self.coming(ann, hers, uploads.EACH):
                assert (await ben.bring(his, b"hello")).status == 503
            assert (await ben.bring(his, b"hello")).status == 202


class TestGuard:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"Origin": "https://evil.example"}, 403),
            ({"X-Hearth": ""}, 403),
            ({"Content-Type": "multipart/form-data"}, 415),
            ({"Content-Type": "text/plain"}, 415),
            ({"X-Forwarded-For": "1.2.3.4"}, 403),
            ({"X-Hearth-Message": "no json"}, 400),
            ({"X-Hearth-Message": quote("[]")}, 400),
            ({"X-Hearth-Message": "[" * 7000}, 400),
            ({"X-Hearth-Message": quote(json.dumps({"event": "x" * 20, "text": 1}))}, 400),
            ({"X-Hearth-Message": quote(json.dumps({"event": "../../x", "text": ""}))}, 400),
        ],
    )
    async def test_what_no_page_sends_is_refused(
        self, home: Site, owner: Browser, headers: dict[str, str], expected: int
    ) -> None:
        where = await owner.begin()
        assert (await owner.bring(where, b"data", headers=headers)).status == expected
        assert (await owner.settled(where))["messages"] == []

    async def test_an_empty_file_and_one_that_is_too_large(self, home: Site, owner: Browser) -> None:
        where = await owner.begin()
        assert (await owner.bring(where, b"")).error == "The file is empty."
        large = await owner.bring(where, io.BytesIO(bytes(25 * MEBIBYTE + 1)))
        assert (large.status, large.error) == (413, "This is too large: at most 25 MiB.")
        # One whose length nobody states ends at the limit too.
        message = quote(json.dumps({"event": "x" * 20, "text": "", "name": "a", "media_type": "b"}))
        head = home.request(
            f"POST {where}/files HTTP/1.1",
            f"Origin: {home.origin}",
            "X-Hearth: page",
            "Content-Type: application/octet-stream",
            f"X-Hearth-Message: {message}",
            "Transfer-Encoding: chunked",
        )
        chunk = b"%x\r\n" % MEBIBYTE + bytes(MEBIBYTE) + b"\r\n"
        assert status(await home.raw(head + chunk * 26)) == 413

    async def test_a_file_that_does_not_come_is_not_waited_for(
        self, home: Site, owner: Browser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uploads, "SECONDS", 0.1)
        where = await owner.begin()
        message = quote(json.dumps({"event": "x" * 20, "text": "", "name": "a", "media_type": "b"}))
        head = home.request(
            f"POST {where}/files HTTP/1.1",
            f"Origin: {home.origin}",
            "X-Hearth: page",
            "Content-Type: application/octet-stream",
            f"X-Hearth-Message: {message}",
            "Content-Length: 1000",
        )
        assert status(await home.raw(head + b"abc")) == 408

    async def test_another_persons_conversation_is_not_there(self, tmp_path: Path) -> None:
        async with site(tmp_path, TOKENS) as home, home.person(ANN_TOKEN) as ann, home.person(BEN_TOKEN) as ben:
            where = await ann.begin()
            assert (await ben.bring(where, b"data")).status == 404

    async def test_a_name_cannot_run_in_the_page(self, home: Site, owner: Browser) -> None:
        where = await owner.begin()
        evil = "<img src=x onerror=alert(1)>.png"
        await owner.bring(where, b"\x89PNG", name=evil, media_type="image/png")
        shown = await owner.settled(where)
        assert "<img" not in json.dumps([live["html"] for live in shown["live"]])
