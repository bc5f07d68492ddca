"""The programs that ask in `api`: each a connection that asks again when it is answered, and looks at as little as it can.

What a client costs is taken from the server where both share the cores, so bytes are counted here and not parsed: a
stream's first text is found by a pattern, its end by the last bytes of a chunked response.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

TEXT = re.compile(rb'"content": ?"[^"]')
"""Not the empty one of the chunk that names the role."""
WRITTEN = re.compile(rb'"completion_tokens": ?(\d+)')
HEAD_END = b"\r\n\r\n"
DONE, END = b"[DONE]", b"0\r\n\r\n"
LAST = 2048
"""Bytes that are kept of the end of an answer: its usage is in them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client saw of one."""

    first: float
    """Seconds to the first text."""
    seconds: float
    tokens: int
    """As the server counts them; 0 where it does not."""


@dataclass(frozen=True, slots=True)
class Round:
    """What several clients saw who asked at the same time."""

    seconds: float
    answers: Sequence[Answer]

    @property
    def per_second(self) -> float:
        """Answers."""
        return len(self.answers) / self.seconds


def request_of(port: int, body: Mapping[str, Any]) -> bytes:
    """The bytes of a request for a chat completion, as HTTP libraries make them."""
    data = json.dumps(body).encode()
    headers = {
        "Host": f"127.0.0.1:{port}",
        "Connection": "keep-alive",
        "Content-Type": "application/json",
        "Content-Length": str(len(data)),
    }
    lines = ["POST /v1/chat/completions HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + data


class Client(asyncio.Protocol):
    """A program with one connection, made anew where the server closes it behind an answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._began = self._first = 0.0
        self._begin = self._tail = b""
        self._is_stream = False
        self.times: list[float] = []
        """When something of the answer came after its first text."""

    async def ask(self, request: bytes) -> Answer:
        """Send it and wait for the end of the stream that answers. Raises AssertionError for anything else."""
        self._began = time.perf_counter()
        if self._transport is not None and not self._transport.is_closing():
            with suppress(ConnectionResetError):  # llama.cpp keeps no connection behind a stream, but says that it does
                return await self._send(self._transport, request)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        return await self._send(self._transport, request)

    async def _send(self, transport: asyncio.Transport, request: bytes) -> Answer:
        self._first, self._begin, self._tail, self._is_stream, self.times = 0.0, b"", b"", False, []
        self._answer = asyncio.get_running_loop().create_future()
        transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Go away."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server went away."""
        self._fail(AssertionError("the connection was closed") if self._begin else ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        """Some of the answer."""
        if self._first:
            self.times.append(time.perf_counter())
        else:
            self._begin += data
            if not self._is_stream and HEAD_END in self._begin:
                self._is_stream = self._begin.startswith(b"HTTP/1.1 200")
                if not self._is_stream:
                    self._fail(AssertionError(self._begin.decode(errors="replace")))
            if TEXT.search(self._begin):
                self._first = time.perf_counter()
        self._tail = (self._tail + data)[-LAST:]
        if self._tail.endswith(END) and DONE in self._tail and self._answer is not None and not self._answer.done():
            assert self._first, "there was no text"
            written = WRITTEN.findall(self._tail)
            seconds = time.perf_counter() - self._began
            self._answer.set_result(Answer(self._first - self._began, seconds, int(written[-1]) if written else 0))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


async def ask_together(port: int, requests: Sequence[Sequence[bytes]]) -> Round:
    """A client for each of the lists, who asks one after the other."""
    clients = [Client(port) for _ in requests]
    try:
        began = time.perf_counter()
        lists = await asyncio.gather(*map(_in_turn, clients, requests))
        return Round(time.perf_counter() - began, [answer for answers in lists for answer in answers])
    finally:
        for client in clients:
            client.close()


async def _in_turn(client: Client, requests: Sequence[bytes]) -> list[Answer]:
    return [await client.ask(request) for request in requests]
