"""Delivery: the pieces of an answer become messages on a platform, the same way for every platform.

A typing sign, a placeholder, paced edits, messages that roll over at the platform's limit, the final text. Each message
is written down before it is sent; what an earlier attempt has sent is edited to completion.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from adapters.delivery.answering import Answering
from adapters.delivery.marking import edit_as_it_goes, last_marked
from adapters.delivery.paced import Paced
from adapters.delivery.pacing import Clock, Later, Sleep, Slots
from adapters.delivery.posting import Posting
from bot.messages import Claim, Finished, Piece
from bot.ports import Adapter, Ledger, Mark

__all__ = ["Delivery"]


class Delivery:
    """Implements `bot.ports.Deliver`. One for all platforms, for it knows the pace of every chat."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        *,
        later: Later | None = None,
        code_file_lines: Callable[[], int] = lambda: 0,
    ) -> None:
        """`later`: None is the event loop's own. `code_file_lines`: from how many lines on code is sent as a file, at present; 0: none is."""
        self._ledger = ledger
        self._code_file_lines = code_file_lines
        self._clock = clock
        self._sleep = sleep
        self._later = later
        self._slots = Slots(clock, sleep)
        self._under_way = 0

    def paced(self, adapter: Adapter) -> Adapter:
        """See `bot.ports.Deliver`."""
        return Paced(adapter, self._slots)

    async def mark(self, adapter: Adapter, mark: Mark, words: str) -> None:
        """See `bot.ports.Deliver`."""
        if found := last_marked(mark, words, adapter.limits, self._least(adapter)):
            message, what = found
            await edit_as_it_goes(adapter, message, what)

    async def deliver(self, claim: Claim, adapter: Adapter, pieces: AsyncIterator[Piece]) -> Finished:
        """Send the pieces of one answer as they come, close it in the ledger, and return the last piece.

        Cancelled, it stops at once and leaves what stands; the next attempt finds it in the ledger, also what was just
        being sent: that is waited for, some seconds at most. Raises PlatformError when the platform refuses the final
        text for good, and whatever `pieces` and the ledger raise.
        """
        slot = self._slots.of(claim.event.key, adapter.limits, direct=claim.event.direct)
        posting = Posting(claim, adapter, self._ledger, slot, self._sleep)
        answering = Answering(
            claim,
            adapter,
            posting,
            self._clock,
            self._sleep,
            later=self._later or asyncio.get_running_loop().call_later,
            alone=lambda: self._under_way == 1,
            code_file_lines=self._least(adapter),
        )
        self._under_way += 1
        try:
            return await answering.run(pieces)
        finally:
            self._under_way -= 1
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    def _least(self, adapter: Adapter) -> int:
        """How many lines of code are sent as a file there; 0: none are."""
        return self._code_file_lines() if adapter.limits.code_files else 0
