"""The parts of a multipart/form-data body (RFC 7578 and 2046), while it comes.

Of aiohttp's own reader a preamble of a million empty lines costs seconds of the event loop, and a name that it cannot read
is printed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

CHUNK = 64 * 1024
MOST_HEADERS = 8 * 1024
"""Bytes of all headers of a part."""
MOST_BOUNDARY = 70
MOST_PADDING = 100
"""Bytes of space between a boundary and the end of its line."""
PLAIN = frozenset({"", "binary", "8bit", "7bit"})
"""Encodings of a part in which its bytes are what they are."""

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]*[0-9A-Za-z'()+_,./:=?-]")
"""RFC 2046, section 5.1.1."""
_PARAMETER = r"""[ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^";\s\\]*))"""
_PARAMETERS = re.compile(_PARAMETER, re.DOTALL)
_DISPOSITION = re.compile(rf"form-data(?:{_PARAMETER})*[ \t]*;?[ \t]*", re.DOTALL | re.IGNORECASE)
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

_IN_CONTENT_TYPE = re.compile(r';[ \t]*boundary=(?:"([^"]*)"|([^;\s]*))', re.IGNORECASE)

Read = Callable[[int], Awaitable[bytes]]
"""At most so many of the next bytes; none at the end."""


class BadForm(ValueError):
    """The body is no form that is read."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is told of a part before its bytes."""

    name: str
    is_file: bool
    """It has a file name, be it an empty one."""
    is_plain: bool
    """Its bytes are not encoded."""


class Parts:
    """Reads one part after the other. Every method raises BadForm."""

    def __init__(self, read: Read, boundary: str) -> None:
        if len(boundary) > MOST_BOUNDARY or not _BOUNDARY.fullmatch(boundary):
            raise BadForm("no boundary")
        self._read = read
        self._delimiter = b"\r\n--" + boundary.encode()
        self._buffer = bytearray(b"\r\n")  # the first boundary may be the very beginning
        self._is_open = True
        """Whether the bytes before the next boundary are still to come."""

    async def next(self) -> Part | None:
        """The next part, whatever is left of the one before; None behind the last."""
        while self._is_open:
            await self.chunk()
        while len(self._buffer) < len(b"--"):
            await self._more()
        if self._buffer.startswith(b"--"):
            return None
        if (await self._until(b"\r\n", MOST_PADDING)).strip(b" \t"):
            raise BadForm("a boundary within a line")
        self._buffer[:0] = b"\r\n"  # of a part without headers the empty line comes at once
        headers = await self._until(b"\r\n\r\n", MOST_HEADERS)
        self._is_open = True
        return _part(headers[2:])

    async def chunk(self) -> bytes:
        """The next bytes of the part; none at its end."""
        while self._is_open:
            found = self._buffer.find(self._delimiter)
            if found >= 0:
                chunk = self._take(found)
                self._take(len(self._delimiter))
                self._is_open = False
                return chunk
            if chunk := self._take(len(self._buffer) - len(self._delimiter) + 1):
                return chunk
            await self._more()
        return b""

    async def _until(self, end: bytes, most: int) -> bytes:
        """What comes before this, which is taken too."""
        start = 0
        while (found := self._buffer.find(end, start)) < 0 and len(self._buffer) <= most:
            start = max(0, len(self._buffer) - len(end))
            await self._more()
        if not 0 <= found <= most:
            raise BadForm("a line without an end")
        before = self._take(found)
        self._take(len(end))
        return before

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[: max(0, size)])
        del self._buffer[: len(taken)]
        return taken

    async def _more(self) -> None:
        data = await self._read(CHUNK)
        if not data:
            raise BadForm("it ends before its end")
        self._buffer += data


def boundary_of(content_type: str) -> str:
    """The boundary that a Content-Type header names; empty if it names none."""
    match = _IN_CONTENT_TYPE.search(content_type)
    return "" if match is None else match[1] or match[2] or ""


def _part(lines: bytes) -> Part:
    headers: dict[str, str] = {}
    for line in lines.decode("utf-8", "replace").split("\r\n") if lines else ():
        header = _HEADER.fullmatch(line)
        if header is None or header[1].lower() in headers:
            raise BadForm("a header that is none")
        headers[header[1].lower()] = header[2]
    disposition = headers.get("content-disposition", "")
    if not _DISPOSITION.fullmatch(disposition):
        raise BadForm("a part that is no field")
    parameters = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETERS.findall(disposition)}
    if "name" not in parameters:
        raise BadForm("a field without a name")
    return Part(
        name=unquote(_ESCAPED.sub(r"\1", parameters["name"])),  # HTTP libraries differ in what they escape, and how
        is_file="filename" in parameters or "filename*" in parameters,
        is_plain=headers.get("content-transfer-encoding", "").lower() in PLAIN and "content-encoding" not in headers,
    )
