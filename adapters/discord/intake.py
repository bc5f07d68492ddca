"""What the gateway tells -> committed events: in order within a channel, many channels at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable

import structlog

from adapters.discord.marks import Marks
from bot.errors import DatabaseError, FloodWait, PlatformError, Unreachable
from bot.messages import Event
from bot.ports import Receive

log = structlog.get_logger(__name__)

TRIES, TRIES_UNREACHABLE = 3, 12
"""An event that fails so often, the database apart, is passed over: it would keep all later ones from being heard. The second is
for a platform that is not well, which takes three minutes: then the mark stays below the event, and the next session reads it."""
REST_SECONDS, REST_MOST = 0.5, 30.0
"""Between tries: doubled each time."""
MOST_WAITING = 10_000
"""Events that wait for a database that takes none; beyond that they are left to be read back later."""

Make = Callable[[], Awaitable[Event | None]]
"""Makes an event; asks the platform for what is missing."""


class Line:
    """The events of one channel."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[int, Make]] = deque()
        self.task: asyncio.Task[None] | None = None


class Intake:
    """Takes events in for one account, as long as `receive` is there."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._receive: Receive | None = None
        self._lines: dict[int, Line] = {}
        self._all_held = False
        self._held: set[int] = set()
        self._waiting = 0
        self._full = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def overflow(self) -> None:
        """Return when more has come than is kept: all of it must be read back later."""
        await self._full.wait()

    def open(self, receive: Receive) -> None:
        """Take events in from now on."""
        self._receive = receive
        self._full.clear()

    async def close(self) -> None:
        """Let go of everything; what was not committed is read back."""
        self._receive = None
        tasks = [*self._tasks, *(line.task for line in self._lines.values() if line.task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lines.clear()
        self._waiting = 0
        self._marks.drop()

    def put(self, channel: int, make: Make, *, number: int = 0) -> None:
        """An event of a channel, behind those that are there. `number`: a message's id, which counts as heard when it is safe."""
        if self._receive is None:
            return  # it is read back by who listens next
        self._mark(number)
        self._line(channel).waiting.append((number, make))
        self._count(1)
        self._go_on(channel)

    def put_first(self, channel: int, found: Iterable[tuple[int, Make]]) -> asyncio.Event:
        """What was missed there, before what has come since. The event is set once all of it is safe."""
        missed, safe = list(found), asyncio.Event()

        async def last() -> None:
            safe.set()

        for number, _ in missed:
            self._mark(number)
        missed.append((0, last))
        self._line(channel).waiting.extendleft(reversed(missed))
        self._count(len(missed))
        return safe

    def beside(self, work: Coroutine[object, object, None]) -> None:
        """Do something that waits for nothing here, and ends with the rest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def receive(self, event: Event) -> None:
        """Commit an event now. Raises DatabaseError."""
        if self._receive is None:
            raise DatabaseError("nothing is heard any more")
        await self._receive(event)

    def hold(self) -> None:
        """Let everything wait until it is known where something was missed."""
        self._all_held = True

    def hold_only(self, channels: Collection[int]) -> None:
        """Let these wait, for what was missed comes first, and the others go on."""
        self._all_held, self._held = False, set(channels)
        for channel in list(self._lines):
            self._go_on(channel)

    def hold_also(self, channels: Collection[int]) -> None:
        """Let these wait too."""
        self._held.update(channels)

    def release(self, channel: int) -> None:
        """A channel has what it missed."""
        self._held.discard(channel)
        self._go_on(channel)

    def is_held(self, channel: int) -> bool:
        """Whether events of a channel wait for what was missed there."""
        return self._all_held or channel in self._held

    def _line(self, channel: int) -> Line:
        return self._lines.setdefault(channel, Line())

    def _mark(self, number: int) -> None:
        if number:
            self._marks.begin(number)

    def _count(self, more: int) -> None:
        self._waiting += more
        if self._waiting > MOST_WAITING:
            self._full.set()

    def _go_on(self, channel: int) -> None:
        line = self._lines.get(channel)
        if line is None or line.task is not None or self.is_held(channel):
            return
        line.task = asyncio.create_task(self._run(channel, line))

    async def _run(self, channel: int, line: Line) -> None:
        """Until the line is empty, or is held."""
        try:
            while line.waiting and not self.is_held(channel):
                number, make = line.waiting.popleft()
                self._waiting -= 1
                if await self._one(make) and number:
                    self._marks.done(number)
        finally:
            line.task = None
            if not line.waiting:
                self._lines.pop(channel, None)

    async def _one(self, make: Make) -> bool:
        """Commit one event, however long the database takes none. False if it is to be read again."""
        tried = unreachable = 0
        rest = REST_SECONDS
        while True:
            try:
                event = await make()
                if event is not None:
                    await self.receive(event)
                return True
            except DatabaseError as error:
                log.error("heard, but not received", adapter="discord", reason=str(error))
            except Exception as error:
                passing = isinstance(error, FloodWait | Unreachable)
                unreachable, tried = unreachable + passing, tried + (not passing)
                enough = tried == TRIES or unreachable == TRIES_UNREACHABLE
                if enough or not isinstance(error, PlatformError):
                    log.error("an event is passed over", error=type(error).__name__)
                    log.debug("why an event is passed over", exc_info=error)
                    return not passing
            await asyncio.sleep(rest)
            rest = min(rest * 2, REST_MOST)
