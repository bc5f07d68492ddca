"""Forms that bring a file to the API: bounded in size, number and time, on the disk while they wait, and gone afterwards."""

from __future__ import annotations

import asyncio
import random
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.web.openai import audio, forms
from bot.testing import ScriptedSpeech
from tests.audio_api import TRANSCRIPTIONS, Answer, Api, Opening, serving
from tests.house import DEADLINE, until

MEBIBYTE = 2**20
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
SECRET = "Zelda and the password"


@pytest.fixture
def decode() -> Opening:
    return Opening()


@pytest.fixture
async def api(decode: Opening) -> AsyncIterator[Api]:
    async with serving(ScriptedSpeech(), decode) as opened:
        yield opened
        decode.go.set()


def part(name: str, value: bytes, *, file: str | None = None, headers: str = "") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    filename = "" if file is None else f'; filename="{file}"'
    return f"--b\r\n{disposition}{filename}\r\n{headers}\r\n".encode() + value + b"\r\n"


MODEL = part("model", b"whisper-1")
GOOD = MODEL + part("file", b"some sound", file="a.ogg") + b"--b--\r\n"


async def zeros(size: int, before: bytes = b"", after: bytes = b"") -> AsyncIterator[bytes]:
    """A body without a Content-Length."""
    if before:
        yield before
    for start in range(0, size, 2**16):
        yield bytes(min(2**16, size - start))
    if after:
        yield after


def file_of(size: int) -> AsyncIterator[bytes]:
    begin, _, end = part("file", b"*", file="a.ogg").partition(b"*")
    return zeros(size, MODEL + begin, end + b"--b--\r\n")


async def test_a_form_by_hand(api: Api, decode: Opening) -> None:
    answer = await api.post(TRANSCRIPTIONS, GOOD, **FORM)
    assert (answer.status, answer.json["text"]) == (200, "1 seconds")
    assert decode.sizes == [len(b"some sound")]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"preamble\r\n" + GOOD + b"epilogue", id="preamble and epilogue"),
        pytest.param(GOOD.replace(b"--b--\r\n", b"--b--"), id="no line end"),
        pytest.param(part("file", b"\r\n--c\r\n", file="a") + MODEL + b"--b--\r\n", id="file first"),
        pytest.param(GOOD.replace(b'"a.ogg"', '"ключ.ogg"'.encode()), id="a name in UTF-8"),
        pytest.param(GOOD.replace(b'"a.ogg"', b'""'), id="an empty file name"),
        pytest.param(
            MODEL
            + part("file", b"x", file="a", headers="Content-Type: audio/ogg\r\nContent-Length: 9999\r\n")
            + b"--b--",
            id="a part's own length",
        ),
        pytest.param(
            MODEL + part("file", b"x", file="a", headers="Content-Transfer-Encoding: binary\r\n") + b"--b--",
            id="binary",
        ),
    ],
)
async def test_forms_as_programs_write_them(api: Api, body: bytes) -> None:
    answer = await api.post(TRANSCRIPTIONS, body, **FORM)
    assert answer.status == 200, answer.text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        pytest.param(b"", None, id="empty"),
        pytest.param(b"no form at all", None, id="no boundary in it"),
        pytest.param(b"x" * 300_000, None, id="one long line"),
        pytest.param(GOOD[:40], None, id="cut in a header"),
        pytest.param(GOOD[:-12], None, id="cut in the file"),
        pytest.param(b"--b--\r\n", "file", id="no fields"),
        pytest.param(MODEL + b"--b--\r\n", "file", id="no file"),
        pytest.param(GOOD.replace(b'name="model"', b"x"), None, id="a part without a name"),
        pytest.param(GOOD.replace(b'; filename="a.ogg"', b""), "file", id="a file without a name"),
        pytest.param(GOOD.replace(b'name="file"', b'name="audio"'), "audio", id="a file of another name"),
        pytest.param(part("file", b"x", file="a") + GOOD, "file", id="two files"),
        pytest.param(part("file", b"x") + GOOD, "file", id="a file and a text"),
        pytest.param(part("model", b"x", file="a") + GOOD, "model", id="a model in a file"),
        pytest.param(part("prompt", b"\xff") + GOOD, "prompt", id="no UTF-8"),
        pytest.param(part("prompt", b"a" * 70_000) + GOOD, "prompt", id="a long text"),
        pytest.param(part("keywords[]", b"a" * 9000) * 8 + GOOD, "keywords[]", id="many long texts"),
        pytest.param(part("keywords[]", b"a") * 300 + GOOD, None, id="many fields"),
        pytest.param(
            part("prompt", b"eA==", headers="Content-Transfer-Encoding: base64\r\n") + GOOD, "prompt", id="base64"
        ),
        pytest.param(part("prompt", b"x", headers="Content-Encoding: gzip\r\n") + GOOD, "prompt", id="gzip"),
        pytest.param(
            part("x", b"--c--\r\n", headers="Content-Type: multipart/mixed; boundary=c\r\n") + GOOD, "x", id="nested"
        ),
        pytest.param(part("x", b"x", headers=f"X: {'a' * 9000}\r\n") + GOOD, None, id="a long header"),
        pytest.param(part("x", b"x", headers="X: a\r\n" * 200) + GOOD, None, id="many headers"),
        pytest.param(part("_charset_", b"utf-7") + GOOD, "_charset_", id="a default charset"),
    ],
)
async def test_what_is_no_form_of_ours_is_refused(api: Api, decode: Opening, body: bytes, param: str | None) -> None:
    answer = await api.post(TRANSCRIPTIONS, body, **FORM)
    assert answer.refusal == (400, param), answer.text
    assert decode.sizes == []
    assert (await api.post(TRANSCRIPTIONS, GOOD, **FORM)).status == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("", 415),
        ("multipart/mixed; boundary=b", 415),
        ("multipart/form-data", 400),
        (f"multipart/form-data; boundary={'b' * 100}", 400),
    ],
)
async def test_other_bodies_are_refused(api: Api, kind: str, status: int) -> None:
    assert (await api.post(TRANSCRIPTIONS, GOOD, **{"Content-Type": kind})).refusal == (status, None)


async def test_whatever_bytes_come_it_is_told_what_is_wrong(api: Api) -> None:
    """Never a failure of the server's own."""
    chance = random.Random(8)
    seen = set()
    for _ in range(300):
        body = bytearray(part("language", b"de") + GOOD)
        for _ in range(chance.randint(1, 4)):
            at, length = chance.randrange(len(body)), chance.randint(0, 8)
            body[at : at + length] = chance.choice([b"", b"\r\n", b"--b", b"\x00", chance.randbytes(3)])
        answer = await api.post(TRANSCRIPTIONS, bytes(body), **FORM)
        seen.add(answer.status)
        assert answer.status in {200, 400, 404}, (answer.status, bytes(body))
    assert {200, 400} <= seen


class TestSize:
    async def test_25_mebibytes_are_taken(self, api: Api, decode: Opening) -> None:
        assert (await api.post(TRANSCRIPTIONS, file_of(25 * MEBIBYTE), **FORM)).status == 200
        assert decode.sizes == [25 * MEBIBYTE]

    async def test_one_byte_more_is_not(self, api: Api, decode: Opening) -> None:
        answer = await api.post(TRANSCRIPTIONS, file_of(25 * MEBIBYTE + 1), **FORM)
        assert answer.refusal == (413, "file")
        assert "26214400" in answer.error["message"]
        assert decode.sizes == []

    async def test_a_length_that_is_too_much_is_told_before_the_body(self, api: Api) -> None:
        head = f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nContent-Type: {FORM['Content-Type']}\r\n"
        for length, status in ((26 * MEBIBYTE, b" 413 "), ("0" * 5000, b" 400 ")):
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(f"{head}Content-Length: {length}\r\n\r\n".encode())
            async with asyncio.timeout(DEADLINE):
                assert status in await reader.readline()
            writer.close()

    @pytest.mark.parametrize("line", [b"a" * 100 + b"\r\n", b"\r\n"])
    async def test_what_stands_around_the_parts_counts_too(self, api: Api, line: bytes) -> None:
        async def endless() -> AsyncIterator[bytes]:
            for _ in range(40 * MEBIBYTE // 2**16):
                yield line * (2**16 // len(line))

        answer = await api.post(TRANSCRIPTIONS, endless(), **FORM)
        assert answer.status == 413

    async def test_less_may_be_configured(self, decode: Opening) -> None:
        async with serving(ScriptedSpeech(), decode, max_bytes=1000) as api:
            assert (await api.post(TRANSCRIPTIONS, file_of(1000), **FORM)).status == 200
            assert (await api.post(TRANSCRIPTIONS, file_of(1001), **FORM)).refusal == (413, "file")


class TestTime:
    async def test_a_form_that_never_ends_is_ended(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forms, "SECONDS", 0.2)

        async def endless() -> AsyncIterator[bytes]:
            yield GOOD[:60]
            await asyncio.sleep(DEADLINE)

        answer = await api.post(TRANSCRIPTIONS, endless(), **FORM)
        assert answer.refusal == (408, None)

    async def test_who_goes_away_in_the_middle_leaves_nothing(self, api: Api, decode: Opening) -> None:
        for _ in range(2 * audio.EACH):  # each would keep its place
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            head = f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer open\r\nContent-Length: 9999999\r\n"
            writer.write(
                f"{head}Content-Type: {FORM['Content-Type']}\r\n\r\n".encode() + GOOD[:-12] + bytes(2 * MEBIBYTE)
            )
            await writer.drain()
            writer.transport.abort()
            del reader

        async def taken() -> bool:
            return (await api.post(TRANSCRIPTIONS, GOOD, **FORM)).status == 200

        async with asyncio.timeout(DEADLINE):
            while not await taken():
                await asyncio.sleep(0.01)
        assert decode.sizes == [len(b"some sound")]


class TestMemory:
    async def test_a_file_that_waits_is_on_the_disk_under_no_name(
        self, api: Api, decode: Opening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        decode.go.clear()
        first = asyncio.create_task(api.post(TRANSCRIPTIONS, GOOD, **FORM))
        await until(lambda: len(decode.sizes) == 1, "the first has the place")
        tracemalloc.start()
        try:
            others = [asyncio.create_task(api.post(TRANSCRIPTIONS, file_of(20 * MEBIBYTE), **FORM)) for _ in range(3)]
            await until(lambda: len(list(opened(tmp_path))) == 3, "three files on the disk")
            await until(lambda: sum(opened(tmp_path)) >= 3 * 19 * MEBIBYTE, "all of them")
            now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert now < 3 * forms.BLOCK + 4 * MEBIBYTE
        assert peak < 6 * forms.BLOCK + 8 * MEBIBYTE
        assert list(tmp_path.iterdir()) == []
        decode.go.set()
        assert [(await task).status for task in (first, *others)] == [200] * 4
        assert decode.sizes[1:] == [20 * MEBIBYTE] * 3
        assert list(opened(tmp_path)) == []

    async def test_a_disk_that_is_full_is_told(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        def full() -> Any:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(tempfile, "TemporaryFile", full)
        answer = await api.post(TRANSCRIPTIONS, file_of(2 * MEBIBYTE), **FORM)
        assert answer.refusal == (503, None)
        assert (await api.post(TRANSCRIPTIONS, GOOD, **FORM)).status == 200


def opened(folder: Path) -> Any:
    """The sizes of files without a name that this process has open there."""
    for link in Path("/proc/self/fd").iterdir():
        try:
            target, size = link.readlink(), link.stat().st_size
        except OSError:
            continue
        if str(target).startswith(str(folder)):
            yield size


class TestTurns:
    async def test_one_program_has_so_many_at_once_and_leaves_room_for_others(self, api: Api, decode: Opening) -> None:
        decode.go.clear()
        tasks = [asyncio.create_task(api.post(TRANSCRIPTIONS, GOOD, **FORM)) for _ in range(audio.EACH)]
        await until(lambda: len(decode.sizes) == 1, "the first has the place")
        answers: list[Answer] = []
        while not answers or answers[-1].status != 429:  # the others may still be on their way
            async with asyncio.timeout(DEADLINE):
                answers.append(await api.post(TRANSCRIPTIONS, b"", **FORM))
        assert answers[-1].refusal == (429, None)
        assert int(answers[-1].headers["Retry-After"]) > 0
        other = asyncio.create_task(api.post(TRANSCRIPTIONS, GOOD, caller="ann", **FORM))
        decode.go.set()
        assert [(await task).status for task in (*tasks, other)] == [200] * (audio.EACH + 1)

    @pytest.mark.parametrize(("workers", "at_once"), [(1, 1), (2, 1), (3, 2)])
    async def test_a_worker_is_left_to_who_talks_with_the_bot(
        self, decode: Opening, workers: int, at_once: int
    ) -> None:
        decode.go.clear()
        async with serving(ScriptedSpeech(), decode, workers=workers) as api:
            tasks = [asyncio.create_task(api.post(TRANSCRIPTIONS, GOOD, **FORM)) for _ in range(4)]
            await until(lambda: len(decode.sizes) == at_once, "as many as may be")
            answer = await api.post(TRANSCRIPTIONS, b"", caller="ann", **FORM)  # meanwhile the others have arrived
            assert answer.status == 400
            assert len(decode.sizes) == at_once
            decode.go.set()
            assert [(await task).status for task in tasks] == [200] * 4


async def test_nothing_of_it_is_logged(api: Api, capfd: pytest.CaptureFixture[str]) -> None:
    said = part("prompt", SECRET.encode()) + part("stream", b"true") + GOOD
    assert (await api.post(TRANSCRIPTIONS, said, **FORM)).status == 200
    bad = part("prompt", SECRET.encode()) + GOOD.replace(b"some sound", b"bad" + SECRET.encode())
    assert (await api.post(TRANSCRIPTIONS, bad.replace(b"a.ogg", SECRET.encode()), **FORM)).status == 400
    captured = "".join(capfd.readouterr())
    assert SECRET not in captured
    assert "seconds" not in captured
