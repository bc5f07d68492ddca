"""Server-sent events -> their data, within bounds: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable

from bot.errors import EngineError

LONGEST_EVENT = 2**20
"""Bytes. A chunk of a chat completion has some hundred; nobody's has a million."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\r|\n")


class EventStream:
    """The events of a response, one after the other. `read` gives the next bytes, none at the end."""

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        self._read = read
        self._rest = bytearray()
        self._is_first = True
        """No line of the stream was taken yet."""
        self._ended_in_cr = False
        """A line feed that comes next belongs to the line end that was taken already."""
        self._data: list[bytes] = []
        self._size = 0
        self._ready: deque[bytes] = deque()

    async def next(self) -> bytes | None:
        """The data of the next event, None at the end; comments and other fields are passed over.

        The last event counts without the blank line after it. Raises EngineError for an event that does not end.
        """
        while not self._ready:
            chunk = await self._read()
            if not chunk:
                self._take_line(bytes(self._rest))
                self._rest.clear()
                self._take_line(b"")
                break
            self._take(chunk)
        return self._ready.popleft() if self._ready else None

    def _take(self, chunk: bytes) -> None:
        if self._ended_in_cr:
            chunk = chunk.removeprefix(b"\n")
        self._ended_in_cr = chunk.endswith(b"\r")
        begin, searched = 0, len(self._rest)
        self._rest += chunk
        for end in _LINE_END.finditer(self._rest, searched):
            self._take_line(bytes(self._rest[begin : end.start()]))
            begin = end.end()
        del self._rest[:begin]
        if len(self._rest) > LONGEST_EVENT:
            raise EngineError(detail="a line of the stream does not end")

    def _take_line(self, line: bytes) -> None:
        if self._is_first:
            self._is_first, line = False, line.removeprefix(_BOM)
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(line)
            if self._size > LONGEST_EVENT:
                raise EngineError(detail="an event of the stream does not end")
        elif not line and self._data:
            self._ready.append(b"\n".join(self._data))
            self._data, self._size = [], 0
