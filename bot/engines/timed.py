"""An engine's events, with an end of the wait for each: one timer for a whole stream, where `asyncio.timeout` is one for each token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import structlog

from bot.errors import EngineTimeout
from bot.generation import Delta, Finish, Prefill

log = structlog.get_logger(__name__)

StreamEvent = Prefill | Delta | Finish


class Timed:
    """Takes a stream event by event, in any task. Closing the stream is its owner's."""

    def __init__(self, events: AsyncGenerator[StreamEvent, None]) -> None:
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._by = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._late = False

    async def next(self, by: float, what: str) -> StreamEvent | None:
        """The next event, None at the end. Raises EngineTimeout if it does not come by the loop's time `by`."""
        self._by = by
        if self._timer is None or self._timer.when() > by:
            self._set()
        self._waiting = task = asyncio.current_task(self._loop)
        assert task is not None, "a coroutine runs in a task"
        before = task.cancelling()
        try:
            return await anext(self._events, None)
        except BaseException as error:
            # As `asyncio.timeout` tells its own cancellation from another's.
            own = self._late and task.uncancel() <= before
            if not (own and isinstance(error, asyncio.CancelledError)):
                raise
            log.warning("the engine is too slow", limit=what)
            raise EngineTimeout(detail=f"{what} time-out") from error
        finally:
            self._waiting = None

    async def aclose(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._by, self._look)

    def _look(self) -> None:
        """The time has come that held when the timer was set; events that came since have moved it."""
        self._timer = None
        if self._loop.time() < self._by:
            self._set()
        elif self._waiting is not None:
            self._late = True
            self._waiting.cancel()
