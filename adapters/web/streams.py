"""Server-sent events: what has changed, to every open page of the person whom it concerns.

A stream keeps no queue but the last state of each thing: who reads slowly sees fewer steps, and costs no more memory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EACH = 64
"""Streams of one person: many tabs on many devices."""
IN_ALL = 4096
MOST_THINGS = 512
"""That changed since a stream was written to: beyond that it is closed, and its page asks for everything anew."""

Thing = tuple[object, ...]


class TooMany(Exception):
    """No further stream for this person."""


class Stream:
    """One open page."""

    def __init__(self) -> None:
        self._waiting: dict[Thing, bytes] = {}
        self._ready = asyncio.Event()
        self.closed = False

    def put(self, thing: Thing, data: bytes) -> None:
        """The state of a thing; it takes the place of one that was not sent yet, at the end of the line."""
        self._waiting.pop(thing, None)
        self._waiting[thing] = data
        if len(self._waiting) > MOST_THINGS:
            self.close()
        self._ready.set()

    def close(self) -> None:
        """Nothing more comes."""
        self.closed = True
        self._waiting.clear()
        self._ready.set()

    async def take(self, seconds: float) -> bytes:
        """What has changed; empty if that is nothing for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            return b""
        self._ready.clear()
        data = b"".join(self._waiting.values())
        self._waiting.clear()
        return data


class Streams:
    """All open pages, by person."""

    def __init__(self, each: int = EACH, in_all: int = IN_ALL) -> None:
        self.each = each
        self.in_all = in_all
        self._of: dict[str, set[Stream]] = {}
        self.count = 0

    @contextmanager
    def open(self, person: str) -> Iterator[Stream]:
        """A stream for as long as the block. Raises TooMany."""
        own = self._of.get(person, set())
        if len(own) >= self.each or self.count >= self.in_all:
            raise TooMany
        stream = Stream()
        self._of.setdefault(person, own).add(stream)
        self.count += 1
        try:
            yield stream
        finally:
            self.count -= 1
            own.discard(stream)
            if not own:
                self._of.pop(person, None)

    def watched(self, person: str) -> bool:
        """Whether a page of this person is open."""
        return person in self._of

    def state(self, person: str, state: dict[str, Any]) -> None:
        """Show a message's new state."""
        self._put(person, ("state", state["conversation"], state["event"], state["number"]), _event("state", state))

    def changed(self, person: str, conversation: str) -> None:
        """Say that the list of conversations or the line of this one is another."""
        self._put(person, ("changed", conversation), _event("changed", {"conversation": conversation}))

    def close(self, person: str | None = None) -> None:
        """End the streams of a person, or all."""
        for name, streams in self._of.items():
            for stream in streams if person in {None, name} else ():
                stream.close()

    def _put(self, person: str, thing: Thing, data: bytes) -> None:
        for stream in self._of.get(person, ()):
            stream.put(thing, data)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
