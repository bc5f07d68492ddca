"""Forms are read as they were written, in whatever pieces they come."""

from __future__ import annotations

import asyncio
import email.message
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web.openai.multipart import BadForm, Parts, boundary_of

BOUNDARY = "--xYz"


def pieces(body: bytes, sizes: list[int]) -> Parts:
    """A body that comes in pieces of these sizes, again and again."""
    at = number = 0

    async def read(most: int) -> bytes:
        nonlocal at, number
        size = min(most, sizes[number % len(sizes)])
        at, number = at + size, number + 1
        return body[at - size : at]

    return Parts(read, BOUNDARY)


async def all_of(parts: Parts) -> list[tuple[str, bool, bytes]]:
    found = []
    while (part := await parts.next()) is not None:
        value = b""
        while chunk := await parts.chunk():
            value += chunk
        found.append((part.name, part.is_file, value))
    return found


def written(fields: list[tuple[str, bool, bytes]]) -> bytes:
    """By RFC 7578."""
    body = b""
    for name, is_file, value in fields:
        filename = '; filename="x"' if is_file else ""
        body += (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode()
            + value
            + b"\r\n"
        )
    return body + f"--{BOUNDARY}--\r\n".encode()


names = st.text("abc[]_ é", min_size=1, max_size=8)
values = st.lists(
    st.sampled_from([b"", b"\r", b"\n", b"-", b"--", b"\r\n--", b"--xY", b"\x00", b"a" * 9]), max_size=12
).map(b"".join)


@given(
    st.lists(st.tuples(names, st.booleans(), values), max_size=5), st.lists(st.integers(1, 99), min_size=1, max_size=5)
)
def test_what_was_written_is_read(fields: list[tuple[str, bool, bytes]], sizes: list[int]) -> None:
    assert asyncio.run(all_of(pieces(written(fields), sizes))) == fields


@given(st.binary(max_size=200), st.integers(1, 50))
def test_other_bytes_are_no_form(body: bytes, size: int) -> None:
    with pytest.raises(BadForm):
        asyncio.run(all_of(pieces(body, [size])))


@given(st.integers(0, 300), st.integers(1, 40))
def test_what_is_cut_is_no_form(end: int, size: int) -> None:
    body = written([("a", False, b"1"), ("file", True, bytes(100))])
    if end < len(body) - len("\r\n"):
        with pytest.raises(BadForm):
            asyncio.run(all_of(pieces(body[:end], [size])))


async def test_parts_that_are_not_wanted_are_passed_over() -> None:
    parts = pieces(written([("a", True, bytes(999)), ("b", False, b"2"), ("c", False, b"")]), [64])
    seen = []
    while (part := await parts.next()) is not None:
        seen.append(part.name)
    assert seen == ["a", "b", "c"]
    assert await parts.next() is None


@pytest.mark.parametrize(
    ("disposition", "name", "is_file"),
    [
        ('form-data; name="file"; filename="a.ogg"', "file", True),
        ("form-data; name=file; filename=a.ogg", "file", True),
        ('form-data;name="file";filename=""', "file", True),
        ("""form-data; name="file"; filename*=UTF-8''%C3%A4.ogg""", "file", True),
        (r'form-data; name="a\"b\\c"', r'a"b\c', False),
        ('form-data; name="a%22b%5B%5D"', 'a"b[]', False),
        ('FORM-DATA; NAME="file" ; FileName="C:\\\\a.ogg"', "file", True),
        ('form-data; name="a; filename=b"', "a; filename=b", False),
        ('form-data; name=""', "", False),
    ],
)
async def test_names_as_programs_write_them(disposition: str, name: str, is_file: bool) -> None:
    body = f"--{BOUNDARY}\r\nX-A: b\r\ncontent-disposition: {disposition}\r\n\r\nx\r\n--{BOUNDARY}--"
    assert await all_of(pieces(body.encode(), [7])) == [(name, is_file, b"x")]


@pytest.mark.parametrize(
    "headers",
    [
        "",
        "Content-Disposition: attachment; name=a",
        "Content-Disposition: form-data",
        "Content-Disposition: form-data; filename=a",
        'Content-Disposition: form-data; name="a',
        "Content-Disposition: form-data; name=a b",
        "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b",
        "Content-Disposition form-data; name=a",
        "Content-Disposition: form-data;\r\n name=a",
        "X: " + "a" * 9000 + "\r\nContent-Disposition: form-data; name=a",
    ],
)
async def test_parts_that_are_no_fields(headers: str) -> None:
    with pytest.raises(BadForm):
        await all_of(pieces(f"--{BOUNDARY}\r\n{headers}\r\n\r\nx\r\n--{BOUNDARY}--".encode(), [50]))


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", "abc"),
        ('multipart/form-data; charset=utf-8; boundary="a b;c"', "a b;c"),
        ("multipart/form-data;BOUNDARY=----WebKitFormBoundaryABC", "----WebKitFormBoundaryABC"),
        ("multipart/form-data", ""),
        ("multipart/form-data; xboundary=a", ""),
    ],
)
def test_the_boundary(content_type: str, boundary: str) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("boundary", ["", "a" * 71, "a ", "a\tb", "ä", "a\r\n"])
def test_boundaries_that_are_none(boundary: str) -> None:
    async def read(most: int) -> bytes:
        return b""

    with pytest.raises(BadForm):
        Parts(read, boundary)


async def test_the_standard_librarys_forms_are_read() -> None:
    """Written by another hand than this test's."""
    form = email.message.EmailMessage(policy=email.policy.HTTP)
    form.make_mixed(boundary=BOUNDARY)
    for name, value in (("model", "whisper-1"), ("prompt", "a\nb")):
        part = email.message.EmailMessage(policy=email.policy.HTTP)
        part.set_content(value, cte="8bit")
        part.add_header("Content-Disposition", "form-data", name=name)
        form.attach(part)
    body = form.as_bytes().partition(b"\r\n\r\n")[2]
    found = await all_of(pieces(body, [5]))
    assert [(name, value.strip().replace(b"\r\n", b"\n")) for name, _, value in found] == [
        ("model", b"whisper-1"),
        ("prompt", b"a\nb"),
    ]
