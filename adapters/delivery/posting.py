"""The platform messages of one answer: each written down before it is sent, and edited from then on."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Coroutine
from dataclasses import replace

import structlog

from adapters.delivery.pacing import Sleep, Slot
from bot.errors import DatabaseError, FloodWait, LeaseLost, MessageGone, PlatformError, TextRefused, Unreachable
from bot.messages import Claim, Destination, Finished, MessageRef, Outgoing, SentPart
from bot.ports import Adapter, Ledger

log = structlog.get_logger(__name__)

TRIES = 5
"""So often a platform that cannot be reached is called for a message that must come through."""
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 2.0, 30.0
"""Doubled each time: five tries take about half a minute, a minute at most."""
FINISH_SECONDS = 5.0
"""A send under way when the answer is cancelled has so long to come through and be written down; most take under one."""
_GONE = 3
"""So often a message that is removed by others is sent anew."""


def backoff(failures: int) -> float:
    """Seconds to rest after so many failures in a row, with jitter so that answers do not come back all at once."""
    longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (failures - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


class Posting:
    """What stands on the platform of one answer, and what the ledger knows of it: by the messages' indices."""

    def __init__(self, claim: Claim, adapter: Adapter, ledger: Ledger, slot: Slot, sleep: Sleep) -> None:
        event = claim.event
        self.shown: dict[int, Outgoing] = {}
        """What each message was last seen to be."""
        self.slot = slot
        self._claim = claim
        self._adapter = adapter
        self._ledger = ledger
        self._sleep = sleep
        self._to = Destination(
            key=event.key,
            reply_to=None if event.direct else event.event_id,
            interaction=event.interaction,
            asked_at=event.sent_at,
        )
        self._parts = {part.index: part for part in claim.parts}
        self._intended: set[int] = set()
        self._tried: dict[int, Outgoing | None] = {part.index: None for part in claim.parts if not part.message}
        """What may have been sent already with the present nonce; None if an earlier attempt knew."""
        self._refused: set[tuple[int, str]] = set()
        self._keeping: Finished | None = None
        """The finished answer, to be kept with the next intent."""
        self._closed = False

    def known(self, index: int) -> MessageRef | None:
        """The message at an index, if the platform has acknowledged it."""
        part = self._parts.get(index)
        return part.message if part else None

    def indices(self) -> list[int]:
        """All that the ledger knows of, the unacknowledged too."""
        return sorted(self._parts)

    async def keep(self, finished: Finished) -> None:
        """Have the finished answer committed before its last delivery: with an intent that comes at once, or now."""
        is_sent = bool(finished.text.strip()) and not finished.private and not finished.files
        if is_sent and self.known(0) is None and 0 not in self._intended and self.slot.is_free():
            self._keeping = finished
        else:
            await self._ledger.keep(self._claim, finished)

    async def close(self, finished: Finished) -> None:
        """Close the answer, if it was not closed with its last message."""
        if not self._closed:
            await self._ledger.close(self._claim, finished.outcome, finished)

    async def attempt(self, index: int, what: Outgoing, ends: Finished | None = None) -> None:
        """Send or edit a message, once; the slot is taken. Raises PlatformError, and another call may do better.

        A text that was refused is sent plain the next time; a message that is gone is sent anew. `ends`: the answer that a
        send of this message completes; what then stands there is written down with its end.
        """
        sending = replace(what, plain=True) if (index, what.text) in self._refused else what
        try:
            if message := self.known(index):
                await self._adapter.edit(message, sending)
                self.shown[index] = what
            elif await self._send(index, sending, ends):
                self.shown[index] = what
        except TextRefused:
            self._refused.add((index, what.text))
            raise
        except MessageGone:
            self._gone(index)
            raise

    async def settle(self, index: int, what: Outgoing, ends: Finished | None = None) -> None:
        """Make a message be what it is to be, however long that takes. Raises PlatformError when there is no way."""
        unreachable = gone = 0
        while True:
            await self.slot.take()
            try:
                await self.attempt(index, what, ends)
                if self.shown.get(index) == what:
                    return
            except FloodWait as error:
                self.slot.block(error.seconds)
            except TextRefused:
                if what.plain:
                    raise
                what = replace(what, plain=True)
            except MessageGone:
                gone += 1
                if gone >= _GONE:
                    raise
            except Unreachable:
                unreachable += 1
                if unreachable >= TRIES:
                    raise
                await self._sleep(backoff(unreachable))

    async def renew(self, index: int) -> None:
        """Remove a message that cannot be edited into what comes; the index is to be sent again."""
        if message := self.known(index):
            await self._delete(message)
        if index in self._parts:
            self._forget(index)

    async def remove(self, index: int) -> None:
        """Remove a message and what the ledger knows of it. One that cannot be removed stays, in both."""
        try:
            if message := self.known(index):
                await self._delete(message)
        except PlatformError as error:
            log.warning("a message too many stays", conversation=str(self._to.key), error=str(error))
            return
        await self._ledger.drop_part(self._claim, index)
        self._parts.pop(index, None)
        self.shown.pop(index, None)

    async def _send(self, index: int, what: Outgoing, ends: Finished | None) -> bool:
        """Whether the message is this one: a platform that knows the nonce gives back what an earlier send made."""
        part = self._parts.get(index) or SentPart(index=index, nonce=_nonce(), message=None)
        if index not in self._intended:
            await self._ledger.intend(self._claim, part, self._keeping)
            self._keeping = None
            self._parts[index] = part
            self._intended.add(index)
        to = self._to if index == 0 else replace(self._to, reply_to=None)
        sure = self._tried.setdefault(index, what) == what
        await self._finish(self._send_and_record(to, replace(what, nonce=part.nonce), part, ends if sure else None))
        return sure

    async def _send_and_record(self, to: Destination, what: Outgoing, part: SentPart, ends: Finished | None) -> None:
        message = await self._adapter.send(to, what)
        self._parts[part.index] = sent = replace(part, message=message)
        if ends is not None:
            try:
                await self._ledger.close(self._claim, ends.outcome, ends, sent)
                self._closed = True
                return
            except (LeaseLost, DatabaseError) as error:  # what was sent was sent, whoever has the answer by now
                log.debug("not closed with its last message", conversation=str(self._to.key), error=repr(error))
        try:
            await self._ledger.record_sent(self._claim, sent)
        except LeaseLost:  # nobody will ever complete this message
            await self._delete(message)
            raise

    async def _finish(self, work: Coroutine[object, object, None]) -> None:
        """Do it whole, within bounds, although the task is cancelled meanwhile: what is sent must be written down."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await self._end_within(task, FINISH_SECONDS)
            raise

    async def _end_within(self, task: asyncio.Future[None], seconds: float) -> None:
        late = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait((task, late), return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
            task.cancel()
            [error] = await asyncio.gather(task, return_exceptions=True)
            log.debug("cancelled while sending", conversation=str(self._to.key), error=error and repr(error))

    def _gone(self, index: int) -> None:
        if self.known(index):
            self._forget(index)
        else:
            self._to = replace(self._to, reply_to=None)  # it was the question that is gone

    def _forget(self, index: int) -> None:
        """Let the index be sent again, with another nonce: by the old one the platform would take it for a repeat."""
        self._parts[index] = SentPart(index=index, nonce=_nonce(), message=None)
        self._intended.discard(index)
        self._tried.pop(index, None)
        self.shown.pop(index, None)

    async def _delete(self, message: MessageRef) -> None:
        failures = 0
        while True:
            await self.slot.take()
            try:
                return await self._adapter.delete(message)
            except MessageGone:
                return None
            except FloodWait as error:
                self.slot.block(error.seconds)
            except Unreachable:
                failures += 1
                if failures >= TRIES:
                    raise
                await self._sleep(backoff(failures))


def _nonce() -> str:
    """Unique, and 24 characters: Discord takes 25. The ledger keeps it for the next attempt."""
    return secrets.token_hex(12)
