"""Who is heard next: as many requests at once as there are places, the callers one after the other."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from bot.errors import Busy


class Turns:
    """A fair queue of callers for `at_once` places.

    `most`: requests that are here at once, in the queue or before it; `each`: of one caller.
    """

    def __init__(self, *, at_once: int, each: int, most: int) -> None:
        self._free = at_once
        self._each = each
        self._most = most
        self._here: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """By caller, whose turn is next first."""

    @contextmanager
    def here(self, caller: str) -> Iterator[None]:
        """Be one of those that are here. Raises Busy."""
        if self._here[caller] >= self._each or self._here.total() >= self._most:
            raise Busy
        self._here[caller] += 1
        try:
            yield
        finally:
            self._here[caller] -= 1
            if not self._here[caller]:
                del self._here[caller]

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(caller)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, caller: str) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._leave(caller, place)
            else:  # it was given one at the same moment
                self._pass_on()
            raise

    def _leave(self, caller: str, place: asyncio.Future[None]) -> None:
        places = self._waiting.get(caller, deque())
        if place in places:
            places.remove(place)
            if not places:
                del self._waiting[caller]

    def _pass_on(self) -> None:
        """A place is free: whose turn it is gets it, and that caller's others wait behind everybody else's."""
        while self._waiting:
            caller, places = self._waiting.popitem(last=False)
            place = places.popleft()
            if places:
                self._waiting[caller] = places
            if not place.cancelled():
                place.set_result(None)
                return
        self._free += 1
