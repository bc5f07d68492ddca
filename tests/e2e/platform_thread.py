"""A stand-in for a platform in a thread of its own, for tests that wait for a Hearth which is another process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from tests.e2e.hearth import DEADLINE, wait


class Server(Protocol):
    """A stand-in."""

    async def start(self) -> None:
        """Listen."""

    async def stop(self) -> None:
        """Listen no more."""

    def check(self) -> None:
        """Fail if a client has broken the documentation."""


S = TypeVar("S", bound=Server)
T = TypeVar("T")


@dataclass
class Platform(Generic[S]):
    """A running server. What touches its world is to be done in its thread, by `do`."""

    server: S
    loop: asyncio.AbstractEventLoop

    def do(self, act: Callable[[], T]) -> T:
        """Do something there between two requests, and return what comes of it."""

        async def once() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(once(), self.loop).result(DEADLINE)

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Return when it holds there."""
        wait(lambda: self.do(holds), what)


@contextmanager
def platform(server: S) -> Iterator[Platform[S]]:
    """A server for as long as the block; at its end no client may have broken the documentation."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(DEADLINE)
        yield Platform(server, loop)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(DEADLINE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    server.check()
