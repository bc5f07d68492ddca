"""The bot's queue of updates: kept until the bot asks for later ones, or its webhook has taken them.

https://core.telegram.org/bots/api#getting-updates
"""

from __future__ import annotations

import asyncio
import copy

from tests.telegram.errors import Json, conflict

FIRST_ID = 700_000_001
ON_REQUEST = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
"""Kinds that are sent only if allowed_updates names them."""
OTHER_POLLER = "terminated by other getUpdates request; make sure that only one bot instance is running"


class UpdateQueue:
    """Updates in their order."""

    def __init__(self) -> None:
        self.pending: list[Json] = []
        """Not confirmed."""
        self.unwanted: list[Json] = []
        """Of kinds that the bot had not asked for."""
        self.allowed: list[str] = []
        """The last allowed_updates; none means all but a few."""
        self._made: dict[int, Json] = {}
        self._again: list[Json] = []
        self._poller: asyncio.Future[None] | None = None
        self._news = asyncio.Event()

    def emit(self, kind: str, payload: Json) -> int:
        """Add an update; returns its update_id."""
        update_id = FIRST_ID + len(self._made)
        update: Json = {"update_id": update_id, kind: copy.deepcopy(payload)}
        self._made[update_id] = update
        wanted = kind in self.allowed if self.allowed else kind not in ON_REQUEST
        (self.pending if wanted else self.unwanted).append(update)
        self.wake()
        return update_id

    def repeat(self, update_id: int | None = None) -> None:
        """Send an update once more with the same update_id, confirmed or not; the last one if none is named."""
        self._again.append(self._made[update_id or FIRST_ID + len(self._made) - 1])
        self.wake()

    @property
    def last_id(self) -> int:
        """The update_id of the newest update."""
        return FIRST_ID + len(self._made) - 1

    def wake(self) -> None:
        """Let the call that waits for updates look again; it is answered with what there is."""
        self._news.set()
        if self._poller is not None and not self._poller.done():
            self._poller.set_result(None)

    def confirm(self, offset: int) -> None:
        """Forget all updates before this one; a negative offset counts from the end."""
        if offset < 0:
            self.pending = self.pending[offset:]
        else:
            self.pending = [update for update in self.pending if update["update_id"] >= offset]

    def clear(self) -> None:
        """drop_pending_updates."""
        self.pending.clear()
        self._again.clear()

    def interrupt(self, why: str) -> None:
        """Answer the call that waits for updates, if one does, with 409."""
        if self._poller is not None and not self._poller.done():
            self._poller.set_exception(conflict(why))

    async def poll(self, offset: int, limit: int, timeout: float) -> list[Json]:
        """Long polling: up to `limit` updates, at the latest after `timeout` seconds. Raises Refused with 409."""
        self.interrupt(OTHER_POLLER)
        if offset:
            self.confirm(offset)
        if timeout > 0 and not (self.pending or self._again):
            await self._wait(timeout)
        repeated, self._again = self._again[:limit], self._again[limit:]
        return repeated + self.pending[: limit - len(repeated)]

    async def _wait(self, timeout: float) -> None:
        waiting = self._poller = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait_for(waiting, timeout)
        except TimeoutError:
            pass
        finally:
            if self._poller is waiting:
                self._poller = None

    @property
    def polled(self) -> bool:
        """Whether a call waits for updates."""
        return self._poller is not None and not self._poller.done()

    async def first(self) -> Json:
        """The next one for the webhook, which takes them one by one."""
        while not (self.pending or self._again):
            self._news.clear()
            await self._news.wait()
        return (self._again or self.pending)[0]

    def taken(self, update: Json) -> None:
        """The webhook has it."""
        queue = self._again if update in self._again[:1] else self.pending
        if update in queue:
            queue.remove(update)
