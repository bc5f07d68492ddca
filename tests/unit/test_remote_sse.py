"""Server-sent events: lines, events and the ways in which they end, however the bytes come."""

from __future__ import annotations

import pytest

from bot.engines.remote.sse import EventStream


async def events(*chunks: bytes) -> list[bytes]:
    """The data of all events of a stream that comes in these chunks."""
    left = list(chunks)

    async def read() -> bytes:
        return left.pop(0) if left else b""

    stream, found = EventStream(read), []
    while (data := await stream.next()) is not None:
        found.append(data)
    return found


BODY = b"data: one\n\nevent: x\ndata: two\ndata:three\n\ndata: four"
EXPECTED = [b"one", b"two\nthree", b"four"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
async def test_every_line_end_of_the_specification_is_one_and_a_byte_order_mark_is_none_of_the_text(
    bom: bytes, size: int, end: bytes
) -> None:
    body = bom + BODY.replace(b"\n", end)
    assert await events(*(body[i : i + size] for i in range(0, len(body), size))) == EXPECTED


async def test_line_ends_may_be_mixed() -> None:
    assert await events(b"data: a\r\rdata: b\r", b"\n\r\ndata: c\n\r", b"data: d\r\n", b"\ndata: e\n\n") == [
        b"a",
        b"b",
        b"c",
        b"d",
        b"e",
    ]


async def test_a_byte_order_mark_is_one_at_the_beginning_alone() -> None:
    """Elsewhere it is a part of a field's name, which is unknown."""
    assert await events(b"data: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n") == [b"a", b"c"]
