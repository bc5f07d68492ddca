"""A platform in memory and a clock to go with it, for tests; `bot.testing` has their names too."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from bot.errors import MessageGone, PlatformError, TextRefused, TooLarge
from bot.messages import (
    Attachment,
    Command,
    ConversationKey,
    Destination,
    Event,
    Limits,
    MessageRef,
    Outgoing,
    Preview,
    Typing,
)
from bot.ports import Receive

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a platform received."""

    at: float
    kind: Literal["send", "edit", "delete", "show"]
    key: ConversationKey
    what: Outgoing | Typing | Preview | None


@dataclass(frozen=True, slots=True)
class Fault:
    """The fate of one call: `error` is raised before it has an effect, or after (a lost acknowledgement)."""

    error: PlatformError | None
    after: bool = False
    kind: str | None = None
    """Only of such a call; None means any."""
    chat: str | None = None


@dataclass(slots=True)
class Posted:
    """A message on the platform with all that it ever was."""

    ref: MessageRef
    reply_to: str | None
    states: list[Outgoing]
    deleted: bool = False

    @property
    def now(self) -> Outgoing:
        """What it is now."""
        return self.states[-1]


@dataclass(kw_only=True)
class MemoryAdapter:
    """A platform in memory, as strict as a real one. `faults` says what befalls the next calls, first come first."""

    name: str = "memory"
    limits: Limits = field(default_factory=lambda: Limits(text=2000, seconds_per_call=0.0, private_answers=True))
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep
    enforce_nonce: bool = False
    """A second send with the same nonce gives the first one's message, as on Discord."""
    seconds_per_call: float = 0.0
    """How long the platform takes for a call: it has its effect after half of that."""
    unparsable: Callable[[str], bool] = lambda _: False
    """Which Markdown it refuses, unless it is sent plain."""

    def __post_init__(self) -> None:
        self.messages: list[Posted] = []
        """Of all chats, in the order of sending, deleted ones too."""
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.gone: set[str] = set()
        """Ids of people's messages that cannot be replied to any more."""
        self.files: dict[str, bytes] = {}
        """Attachments by reference."""
        self.commands: list[Command] = []
        self._events: asyncio.Queue[tuple[Event, asyncio.Future[None]]] = asyncio.Queue()

    def standing(self, key: ConversationKey) -> list[Outgoing]:
        """What a person sees in a chat now."""
        return [posted.now for posted in self.messages if posted.ref.key == key and not posted.deleted]

    async def say(self, event: Event) -> None:
        """Let an event happen, and return when it is committed."""
        committed = asyncio.get_running_loop().create_future()
        self._events.put_nowait((event, committed))
        await committed

    async def listen(self, receive: Receive) -> None:
        """Hear what `say` says."""
        while True:
            event, committed = await self._events.get()
            await receive(event)
            committed.set_result(None)

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """Add a message."""
        fault = await self._call("send", to.key, what)
        self._check(what)
        if to.reply_to in self.gone:
            raise MessageGone("the message to reply to is not there")
        posted = self._by_nonce(to.key, what.nonce) if self.enforce_nonce and what.nonce else None
        if posted is None:
            posted = Posted(MessageRef(to.key, str(len(self.messages) + 1)), to.reply_to, [what])
            self.messages.append(posted)
        await self._answer(fault)
        return posted.ref

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """Give a message another state."""
        fault = await self._call("edit", message.key, what)
        posted = self._find(message)
        if posted is None or posted.deleted:
            raise MessageGone("message to edit not found")
        self._check(what)
        if what.files or what.private != posted.now.private:
            raise PlatformError("an edit brings no files, and makes nothing private or public")
        posted.states.append(what)
        await self._answer(fault)

    async def delete(self, message: MessageRef) -> None:
        """Remove a message."""
        fault = await self._call("delete", message.key, None)
        if posted := self._find(message):
            posted.deleted = True
        await self._answer(fault)

    async def show(self, to: Destination, sign: Typing | Preview) -> None:
        """Note it."""
        self.calls.append(Call(self.clock(), "show", to.key, sign))

    async def fetch(self, attachment: Attachment) -> bytes:
        """Give what `files` has."""
        data = self.files.get(attachment.reference)
        if data is None:
            raise MessageGone("there is no such file")
        if len(data) > self.limits.file_bytes:
            raise TooLarge(self.limits.file_bytes)
        return data

    async def publish(self, commands: Sequence[Command]) -> None:
        """Note them."""
        self.commands = list(commands)

    async def _call(
        self, kind: Literal["send", "edit", "delete"], key: ConversationKey, what: Outgoing | None
    ) -> Fault:
        self.calls.append(Call(self.clock(), kind, key, what))
        fits = (f for f in self.faults if f.kind in (None, kind) and f.chat in (None, key.chat))
        fault = next(fits, Fault(None))
        if fault in self.faults:
            self.faults.remove(fault)
        if self.seconds_per_call:
            await self.sleep(self.seconds_per_call / 2)
        if fault.error is not None and not fault.after:
            raise fault.error
        return fault

    async def _answer(self, fault: Fault) -> None:
        if self.seconds_per_call:
            await self.sleep(self.seconds_per_call / 2)
        if fault.error is not None:
            raise fault.error

    def _check(self, what: Outgoing) -> None:
        if not what.text.strip() and not what.files:
            raise PlatformError("message text is empty")
        if (len if what.plain else self.limits.measure)(what.text) > self.limits.text:
            raise PlatformError("message is too long")
        able = self.limits
        if (what.buttons and not able.buttons) or (what.files and not able.files):
            raise PlatformError("there are no such things here")
        if what.private and not able.private_answers:
            raise PlatformError("everybody would see it")
        if not what.plain and self.unparsable(what.text):
            raise TextRefused("can't parse entities")

    def _by_nonce(self, key: ConversationKey, nonce: str) -> Posted | None:
        return next((m for m in self.messages if m.ref.key == key and m.states[0].nonce == nonce), None)

    def _find(self, message: MessageRef) -> Posted | None:
        return next((m for m in self.messages if m.ref == message), None)


class VirtualClock:
    """Time that passes only while everybody sleeps: tests of waiting take no time. Give `now`, `sleep` and `later` away."""

    IDLE_ROUNDS = 40
    """So many turns of the event loop, and work in memory has come to its next sleep."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._order = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Seconds."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Sleep in this time."""
        await self._wake_after(seconds)

    def later(self, seconds: float, call: Callable[[], object]) -> asyncio.Future[None]:
        """Call back in this time, unless what this returns is cancelled."""
        wake = self._wake_after(seconds)
        wake.add_done_callback(lambda done: None if done.cancelled() else call())
        return wake

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work and let time pass for it. Raises RuntimeError if it waits for ever."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await self._until_idle(task)
                if not task.done():
                    self._wake_next()
            return await task
        finally:
            task.cancel()

    def _wake_after(self, seconds: float) -> asyncio.Future[None]:
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._order, wake))
        return wake

    async def _until_idle(self, task: asyncio.Task[T]) -> None:
        for _ in range(self.IDLE_ROUNDS):
            await asyncio.sleep(0)
            if task.done():
                return

    def _wake_next(self) -> None:
        while self._sleepers:
            at, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                self._now = max(self._now, at)
                wake.set_result(None)
                return
        raise RuntimeError("everybody waits and nobody sleeps")
