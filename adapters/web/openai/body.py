"""JSON bodies, within bounds of size, number, depth and time, each and all together."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from aiohttp import web

from adapters.web.openai.faults import BUSY_SECONDS, LIMIT, SERVER, Fault, Refused, refused
from adapters.web.openai.frame import CALLER
from adapters.web.openai.parameters.base import MOST_DEPTH, is_shallow

MOST = 16 * 2**20
"""Bytes of a JSON body: a window of a million tokens as text."""
SECONDS = 60.0
"""A body has so long to arrive."""
TOO_DEEP = (
    f"We could not parse the JSON body of your request: more than {MOST_DEPTH} objects and lists are within one another"
)
LARGE = 64 * 1024
"""Bytes from which on a body is parsed and looked through in a thread: half a millisecond of the event loop."""
VALUES = 100_000
"""Values of a body: the parsers hold the interpreter's lock, so what they are given has to be bounded before."""
STRINGS = 2 * VALUES
"""Strings of a body, names included, whatever other values it may hold."""
MOST_TOGETHER, MOST_OF_ONE = 16 * MOST, 8 * MOST
"""Bytes of bodies on their way in, of all callers and of one."""

Made = TypeVar("Made")


class Intake:
    """Counts the bytes of the bodies that are on their way in."""

    def __init__(self, together: int = MOST_TOGETHER, of_one: int = MOST_OF_ONE) -> None:
        """`together`, `of_one`: the most bytes of all callers, and of one."""
        self._most, self._most_of_one = together, of_one
        self._held_by: Counter[str] = Counter()
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

    def _check(self, caller: str, size: int) -> None:
        retry = {"Retry-After": str(BUSY_SECONDS)}
        if self._held_by[caller] + size > self._most_of_one:
            words = f"Your requests that are on their way have more than {self._most_of_one // 2**20} MiB together."
            raise Refused(Fault(status=429, message=words, type=LIMIT, headers=retry))
        if self.held + size > self._most:
            words = "Too much is on its way in just now. Please try again in a moment."
            raise Refused(Fault(status=503, message=words, type=SERVER, headers=retry))


INTAKE = web.AppKey("intake", Intake)


async def read(request: web.Request, make: Callable[[dict[str, Any]], Made], *, values: int = VALUES) -> Made:
    """What `make` makes of the request's JSON object, which has at most so many values. Raises Refused, and what `make` does.

    `make` is run in a thread for a body that is large.
    """
    if request.content_type != "application/json":
        raise refused(415, "The body must be JSON (Content-Type: application/json).", code="unsupported_media_type")
    with request.app[INTAKE].body(request[CALLER].id) as came:
        found = await _bytes(request, came)
        if len(found) <= LARGE:
            return make(_parse(found))
        return await asyncio.to_thread(lambda: make(_parse_large(found, values)))


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


def _parse_large(found: bytes, values: int) -> dict[str, Any]:
    """In steps: the parser alone would hold the interpreter's lock until it is done."""
    if holds_more(found, values):
        raise refused(400, f"The body holds too much: at most {values} values, whatever they are.")
    return _parse(found, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A step of Python's, between which other threads have their turn."""
    return dict(pairs)


def _parse(found: bytes, **how: Any) -> dict[str, Any]:
    try:
        data = json.loads(found, parse_constant=_constant, **how)
    except ValueError as error:
        raise refused(400, f"We could not parse the JSON body of your request: {error}") from error
    except RecursionError as error:
        raise refused(400, TOO_DEEP) from error
    if not isinstance(data, dict):
        raise refused(400, "The body must be a JSON object.")
    if found.count(b"{") + found.count(b"[") > MOST_DEPTH and not is_shallow(data):
        raise refused(400, TOO_DEEP)
    return data


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def holds_more(found: bytes, most: int) -> bool:
    """Whether JSON has more than so many values, or too many strings, by what stands between its strings."""
    total = strings = position = 0
    while total <= most and strings <= STRINGS:
        quote = found.find(b'"', position)
        end = len(found) if quote < 0 else quote
        total += sum(found.count(sign, position, end) for sign in (b",", b"[", b"{"))
        if quote < 0:
            break
        strings += 1
        position = _end_of_string(found, quote)
    return total > most or strings > STRINGS


def _end_of_string(found: bytes, quote: int) -> int:
    """Where the text goes on after the string that begins at `quote`."""
    position = quote
    while (position := found.find(b'"', position + 1)) >= 0:
        before = position
        while found[before - 1] == ord("\\"):
            before -= 1
        if (position - before) % 2 == 0:
            return position + 1
    return len(found)
