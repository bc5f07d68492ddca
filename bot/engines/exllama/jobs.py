"""One request on its way through the engine's thread: what both sides know of it, and how it is told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from bot.engines.exllama.grammar import Matcher
from bot.errors import Told
from bot.generation import Delta, Finish, Generation, Prefill

Event = Prefill | Delta | Finish


@dataclass(eq=False)
class Job:
    """A request that was checked, and what the thread has told of it."""

    request: Generation
    max_tokens: int
    """New tokens at most: what the context has left is counted in."""
    matcher: Matcher | None = None
    """Keeps the answer to the request's schema."""
    _events: deque[Event | Told] = field(default_factory=deque)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, event: Event | Told) -> None:
        """On the event loop: the next that happened; an error is the last."""
        self._events.append(event)
        self._changed.set()

    async def events(self) -> AsyncIterator[Event]:
        """What happens, up to the Finish. Raises the error that ended it."""
        while True:
            while not self._events:
                self._changed.clear()
                await self._changed.wait()
            event = self._events.popleft()
            if isinstance(event, Told):
                raise event
            yield event
            if isinstance(event, Finish):
                return
