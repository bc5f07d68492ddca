"""One slot per chat, shared by the sends and edits of every answer in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from bot.messages import ConversationKey, Limits

Clock = Callable[[], float]
"""Seconds since some moment; never goes back."""
Sleep = Callable[[float], Awaitable[object]]


class Alarm(Protocol):
    """Something that is to happen."""

    def cancel(self) -> object:
        """It does not happen any more."""


Later = Callable[[float, Callable[[], object]], Alarm]
"""Calls back after so many seconds: an event loop's `call_later`. A task that sleeps takes ten times the CPU."""

_REMEMBERED = 1000
"""So many chats are kept before those at rest are forgotten."""
_LOOK_AGAIN_SECONDS = 0.05
"""How soon to ask again for a slot that somebody waits for."""


class Slot:
    """The right to call a chat: `burst` calls at once after a rest, then one every `seconds_per_call`."""

    def __init__(self, limits: Limits, clock: Clock, sleep: Sleep) -> None:
        self.keep(limits)
        self._clock = clock
        self._sleep = sleep
        self._paid_until = clock()
        self._blocked_until = clock()
        self._queue = asyncio.Lock()

    def keep(self, limits: Limits) -> None:
        """Have this pace from now on."""
        self._period = limits.seconds_per_call
        self._slack = limits.seconds_per_call * (max(1, limits.burst) - 1)

    def try_take(self) -> bool:
        """Take the slot if it is free and nobody waits for it."""
        if not self.is_free():
            return False
        self._book()
        return True

    def is_free(self) -> bool:
        """Whether `take` would not have to wait."""
        return not self._queue.locked() and self._delay() <= 0

    async def take(self) -> None:
        """Wait for the slot in the order of asking, through a flood penalty too."""
        async with self._queue:
            while (delay := self._delay()) > 0:
                await self._sleep(delay)
            self._book()

    def wait(self) -> float:
        """Seconds until it is worth to try again."""
        return max(self._delay(), self._period if self._queue.locked() else 0, _LOOK_AGAIN_SECONDS)

    def block(self, seconds: float) -> None:
        """No call for so long: the platform said so."""
        self._blocked_until = max(self._blocked_until, self._clock() + seconds)

    def rested(self) -> bool:
        """Whether a new slot would be just like this one."""
        now = self._clock()
        return not self._queue.locked() and self._paid_until <= now and self._blocked_until <= now

    def _delay(self) -> float:
        return max(self._paid_until - self._slack, self._blocked_until) - self._clock()

    def _book(self) -> None:
        self._paid_until = max(self._paid_until, self._clock()) + self._period


class Slots:
    """The slots of all chats, by platform, account and chat: a thread has none of its own but where its platform has it so."""

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._slots: dict[tuple[str, str, str, str], Slot] = {}

    def of(self, key: ConversationKey, limits: Limits, *, direct: bool | None) -> Slot:
        """The slot of a chat. `direct` None: that is not known; a slot that is new then has the slower pace."""
        chat = (key.platform, key.account, key.chat, key.thread if limits.threads_apart else "")
        if not direct and limits.group_seconds_per_call is not None:
            limits = replace(limits, seconds_per_call=limits.group_seconds_per_call)
        if (slot := self._slots.get(chat)) is not None:
            if direct is not None:
                slot.keep(limits)
            return slot
        if len(self._slots) >= _REMEMBERED:
            self._slots = {known: slot for known, slot in self._slots.items() if not slot.rested()}
        slot = self._slots[chat] = Slot(limits, self._clock, self._sleep)
        return slot
