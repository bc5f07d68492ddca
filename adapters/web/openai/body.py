"""JSON bodies, within bounds of size, number, depth and time, each and all together."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from aiohttp import web

from adapters.web.openai import json_text
from adapters.web.openai.faults import BUSY_SECONDS, LIMIT, SERVER, Fault, Refused, refused
from adapters.web.openai.frame import CALLER
from adapters.web.openai.turns import Turns
from bot import aside

MOST = 8 * 2**20
"""Bytes of a JSON body: a window of a million tokens as text. One string of so many is read in one call: 10 to 20 ms, 70 where every
second character is a line break."""
SECONDS = 60.0
"""A body has so long to arrive."""
LARGE = 32 * 1024
"""Bytes from which on a body is parsed and looked through in a thread: a millisecond, or several of many small messages."""
MOST_TOGETHER, MOST_OF_ONE = 32 * MOST, 16 * MOST
"""Bytes of bodies on their way in, of all callers and of one."""

Made = TypeVar("Made")


class Intake:
    """Counts the bytes of the bodies that are on their way in."""

    def __init__(self, together: int = MOST_TOGETHER, of_one: int = MOST_OF_ONE) -> None:
        """`together`, `of_one`: the most bytes of all callers, and of one."""
        self._most, self._most_of_one = together, of_one
        self._held_by: Counter[str] = Counter()
        self._turns = {huge: Turns(at_once=1, each=sys.maxsize, most=sys.maxsize) for huge in (False, True)}
        self.held = 0
        """Bytes of all."""

    @contextmanager
    def body(self, caller: str) -> Iterator[Callable[[int], None]]:
        """Of one request: call it with the bytes that came. It raises Refused where there are too many."""
        own = 0

        def came(size: int) -> None:
            nonlocal own
            self._check(caller, size)
            own += size
            self._held_by[caller] += size
            self.held += size

        try:
            yield came
        finally:
            self.held -= own
            self._held_by[caller] -= own
            if not self._held_by[caller]:
                del self._held_by[caller]

    @asynccontextmanager
    async def turn(self, caller: str, size: int) -> AsyncIterator[None]:
        """Wait until a body of so many bytes may be read: large ones one at a time, the callers one after the other.

        What is only large does not wait for what is huge, as in `aside`.
        """
        if size <= LARGE:
            yield
            return
        async with self._turns[size > aside.HUGE].turn(caller):
            yield

    def _check(self, caller: str, size: int) -> None:
        retry = {"Retry-After": str(BUSY_SECONDS)}
        if self._held_by[caller] + size > self._most_of_one:
            words = f"Your requests that are on their way have more than {self._most_of_one // 2**20} MiB together."
            raise Refused(Fault(status=429, message=words, type=LIMIT, headers=retry))
        if self.held + size > self._most:
            words = "Too much is on its way in just now. Please try again in a moment."
            raise Refused(Fault(status=503, message=words, type=SERVER, headers=retry))


INTAKE = web.AppKey("intake", Intake)


async def read(request: web.Request, make: Callable[[dict[str, Any]], Made], *, values: int = json_text.VALUES) -> Made:
    """What `make` makes of the request's JSON object, which has at most so many values. Raises Refused, and what `make` does.

    `make` is run in a thread for a body that is large.
    """
    if request.content_type != "application/json":
        raise refused(415, "The body must be JSON (Content-Type: application/json).", code="unsupported_media_type")
    with request.app[INTAKE].body(request[CALLER].id) as came:
        found = await _bytes(request, came)
        async with request.app[INTAKE].turn(request[CALLER].id, len(found)):
            return await aside.run(len(found), lambda: make(json_text.read(found, values)), large=LARGE)


async def _bytes(request: web.Request, came: Callable[[int], None]) -> bytes:
    too_large = refused(413, f"The body is too large: at most {MOST // 2**20} MiB.")
    if _length(request) > MOST:
        raise too_large
    found = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.content.iter_any():
                if len(found) + len(chunk) > MOST:
                    raise too_large
                came(len(chunk))
                found += chunk
    except TimeoutError as error:
        raise refused(408, "The body takes too long to arrive.") from error
    return bytes(found)


def _length(request: web.Request) -> int:
    """As it is said to be; 0 if that is not said."""
    try:
        return request.content_length or 0
    except ValueError as error:  # thousands of zeros before it
        raise refused(400, "Content-Length is no number.") from error
