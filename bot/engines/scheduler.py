"""The fair queue before an engine: slots go round between people, and every wait has an end.

Continuous batching serves as many streams at once as the engine has slots. Whoever finds none free waits in line; the
line goes round robin over the users, so a hundred questions of one person delay another's by one at most. The last free
slot is for whoever has none: a program that keeps many streams open never has all of them, so a person who asks need
not wait until one of its streams ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar, cast

import structlog

from bot.api import EmbeddingEngine
from bot.config import QueueConfig
from bot.engines.timed import StreamEvent, Timed
from bot.errors import Busy, EngineError, EngineTimeout
from bot.generation import Delta, Generation, Prefill
from bot.metrics import Metrics
from bot.ports import Engine

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


class Scheduler:
    """Hands out the slots of one engine. Everything happens on one event loop."""

    def __init__(
        self, engine: Engine | EmbeddingEngine, config: QueueConfig, *, slots: int, metrics: Metrics | None = None
    ) -> None:
        self.engine = engine
        self.config = config
        self.slots = slots
        self._metrics = metrics or Metrics()
        self._running: dict[str, int] = {}
        self._waiting: dict[str, deque[QueueTicket]] = {}
        """The users in the order of their next turn."""
        self._paused = 0
        self._changed = asyncio.Event()

    @property
    def running(self) -> int:
        """Slots in use."""
        return sum(self._running.values())

    @property
    def waiting(self) -> int:
        """Tickets that have no slot yet."""
        return sum(len(line) for line in self._waiting.values())

    @asynccontextmanager
    async def ticket(self, user: str, *, most: int | None = None, again: bool = False) -> AsyncIterator[QueueTicket]:
        """A place in the line of `user`, given up at the end of the block. Raises Busy at once if there is no place.

        `most`: places and slots that this user may have together; None: as configured for everybody. `again`: for what
        has had a place before and is not done; it is not refused.
        """
        refusal = None if again else self._refusal(user, self.config.per_user if most is None else most)
        if refusal is not None:
            raise refusal
        ticket = QueueTicket(self, user)
        self._waiting.setdefault(user, deque()).append(ticket)
        self._grant()
        try:
            yield ticket
        finally:
            await ticket.close()

    def has_place(self, user: str, *, most: int) -> bool:
        """Whether a ticket would be given."""
        return self._refusal(user, most) is None

    async def idle(self) -> None:
        """Returns when no slot is in use and nobody waits."""
        while self.running or self.waiting:
            self._changed.clear()
            await self._changed.wait()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """No ticket gets a slot within the block; it begins when the running ones have ended."""
        self._paused += 1
        try:
            while self.running:
                self._changed.clear()
                await self._changed.wait()
            yield
        finally:
            self._paused -= 1
            self._grant()

    def retire(self) -> None:
        """The engine goes away: who still waits is told so."""
        for line in self._waiting.values():
            for ticket in line:
                ticket.granted.set_exception(EngineError(detail="the model was unloaded while this waited"))
                ticket.granted.exception()  # retrieved: a ticket may end without asking again
        self._waiting.clear()

    def place(self, ticket: QueueTicket) -> int:
        """The ticket's place in the line, 1 for the next; 0 if it has its slot or has left."""
        own = self._waiting.get(ticket.user, ())
        if ticket not in own:
            return 0
        rounds = own.index(ticket)
        ahead, passed = rounds, False
        for user, line in self._waiting.items():
            if user == ticket.user:
                passed = True
            else:  # those whose turn comes before have been served once more
                ahead += min(len(line), rounds if passed else rounds + 1)
        return ahead + 1

    def leave(self, ticket: QueueTicket) -> None:
        """Take the ticket out of the line, or its slot back; whoever is next gets it."""
        line = self._waiting.get(ticket.user, deque())
        if ticket in line:
            line.remove(ticket)
            if not line:
                del self._waiting[ticket.user]
        elif ticket.has_slot:
            ticket.has_slot = False
            self._running[ticket.user] -= 1
            if not self._running[ticket.user]:
                del self._running[ticket.user]
        self._grant()

    def _refusal(self, user: str, most: int) -> Busy | None:
        """A full queue has room for as many again who have nothing in it: others' crowds shut nobody out."""
        count = self._count(user)
        if count >= most:
            return Busy(f"You have {count} questions waiting already. Please wait for their answers.")
        if self.waiting >= self.config.length * (1 if count else 2):
            return Busy(f"The queue is full: {self.waiting} waiting. Please ask again in a minute.")
        return None

    def _count(self, user: str) -> int:
        return self._running.get(user, 0) + len(self._waiting.get(user, ()))

    def _next(self) -> str | None:
        """Whose turn it is: the last of several slots is kept for a user who has none."""
        last = self.slots > 1 and self.running == self.slots - 1
        return next((user for user in self._waiting if not (last and user in self._running)), None)

    def _grant(self) -> None:
        while self.running < self.slots and not self._paused and (user := self._next()) is not None:
            line = self._waiting[user]
            ticket = line.popleft()
            del self._waiting[user]
            if line:
                self._waiting[user] = line  # to the end of the round
            self._running[user] = self._running.get(user, 0) + 1
            ticket.has_slot = True
            ticket.granted.set_result(None)
            self._metrics.queued(self.engine.name, asyncio.get_running_loop().time() - ticket.since)
        self._changed.set()


class QueueTicket:
    """A place in the line, then a slot of the engine, kept until `close`. Made by `Scheduler.ticket`."""

    def __init__(self, scheduler: Scheduler, user: str) -> None:
        loop = asyncio.get_running_loop()
        self.user = user
        self.has_slot = False
        self.granted: asyncio.Future[None] = loop.create_future()
        self.since = loop.time()
        self._scheduler = scheduler
        self._queue_end = self.since + scheduler.config.queue_timeout
        self._streams: list[AsyncGenerator[StreamEvent, None]] = []

    async def waiting(self, every: float) -> AsyncIterator[int]:
        """Yields the place in the line after every `every` seconds of waiting; ends when the slot is there."""
        while not await self._wait(every):
            yield self._scheduler.place(self)

    def stream(self, request: Generation) -> AsyncGenerator[StreamEvent]:
        """The engine's stream with its time-outs; waits for the slot first if need be."""
        stream = self._stream(request)
        self._streams.append(stream)
        return stream

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """The result of something that the engine does in one go, begun when the slot is there.

        Raises Busy at the end of the queue's time, EngineTimeout at that of an answer.
        """
        await self._wait(self._scheduler.config.queue_timeout)
        if not self.has_slot:
            raise EngineError(detail="the ticket was given back")
        try:
            async with asyncio.timeout(self._scheduler.config.total_timeout):
                return await work()
        except TimeoutError as error:
            log.warning("the engine is too slow", limit="total")
            raise EngineTimeout(detail="total time-out") from error

    async def close(self) -> None:
        """End what still runs and give the place back."""
        try:
            for stream in self._streams:
                await stream.aclose()
        finally:
            self._scheduler.leave(self)

    async def _wait(self, seconds: float) -> bool:
        """Whether the slot is there. Raises Busy at the end of the queue's time."""
        left = self._queue_end - asyncio.get_running_loop().time()
        if not self.granted.done():  # as for most: a wait is a timer, even for what is there
            await asyncio.wait([self.granted], timeout=max(0.0, min(seconds, left)))
        if self.granted.done():
            self.granted.result()
            return True
        if left <= seconds:
            self._scheduler.leave(self)
            raise Busy
        return False

    async def _stream(self, request: Generation) -> AsyncGenerator[StreamEvent, None]:
        await self._wait(self._scheduler.config.queue_timeout)
        if not self.has_slot:
            raise EngineError(detail="the ticket was given back")
        config, loop = self._scheduler.config, asyncio.get_running_loop()
        end = loop.time() + config.total_timeout
        patience, what, processed = config.first_token_timeout, "first token", 0
        next_by = loop.time() + patience
        engine = cast("Engine", self._scheduler.engine)  # of one that embeds, nobody asks for a stream
        async with aclosing(engine.stream(request)) as events, aclosing(Timed(events)) as timed:
            while True:
                event = await timed.next(min(next_by, end), "total" if end < next_by else what)
                if event is None:
                    return
                if isinstance(event, Delta):
                    patience, what = config.stall_timeout, "stall"
                if not isinstance(event, Prefill) or event.processed > processed:
                    next_by = loop.time() + patience
                if isinstance(event, Prefill):
                    processed = max(processed, event.processed)
                given = loop.time()
                yield event
                next_by += loop.time() - given  # what the consumer takes is not the engine's time
