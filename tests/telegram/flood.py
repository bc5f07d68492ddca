"""The platform's limits of rate, off unless a test turns them on.

https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field

from tests.telegram.chats import ChatState
from tests.telegram.errors import Refused

MINUTE = 60.0


def too_many(seconds: int) -> Refused:
    """429."""
    return Refused(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)


@dataclass(frozen=True)
class Limits:
    """What a bot may do. A send and an edit count the same."""

    per_second: float = 1.0
    """In each chat, in the long run."""
    burst: int = 3
    """In each chat, at once."""
    per_minute: int = 20
    """In each group."""
    overall: int = 30
    """In all chats, within a second."""
    penalty: int = 3
    """Seconds that a chat takes nothing after a burst too long; what is sent meanwhile is refused too."""


@dataclass
class Flood:
    """Counts what the bot does, and refuses what is too much."""

    limits: Limits | None = None
    refused: list[tuple[str, int, float]] = field(default_factory=list)
    """(method, chat, when) of each refusal."""
    _last: dict[int, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _bucket: dict[int, tuple[float, float]] = field(default_factory=dict)
    """For each chat how many it may take at once, and when that was so."""
    _until: dict[int, float] = field(default_factory=dict)
    _all: deque[float] = field(default_factory=deque)

    def enable(self, limits: Limits | None = None) -> None:
        """Keep these limits from now on."""
        self.limits = limits or Limits()

    def count(self, method: str, chat: ChatState, now: float) -> None:
        """One more send or edit. Raises Refused with retry_after if it is too much."""
        if self.limits is None:
            return
        wait = self._until.get(chat.id, 0.0) - now
        if wait <= 0:
            wait = self._excess(self.limits, chat, now)
        if wait > 0:
            self._until[chat.id] = now + wait
            self.refused.append((method, chat.id, now))
            raise too_many(max(1, math.ceil(wait)))
        self._last[chat.id].append(now)
        self._all.append(now)

    def _excess(self, limits: Limits, chat: ChatState, now: float) -> float:
        """Seconds to wait, or 0."""
        _drop_before(self._last[chat.id], now - MINUTE)
        _drop_before(self._all, now - 1.0)
        if chat.type != "private" and len(self._last[chat.id]) >= limits.per_minute:
            return max(1.0, self._last[chat.id][0] + MINUTE - now)
        if len(self._all) >= limits.overall:
            return 1.0
        left, since = self._bucket.get(chat.id, (float(limits.burst), now))
        left = min(float(limits.burst), left + (now - since) * limits.per_second)
        if left < 1.0:
            return float(limits.penalty)
        self._bucket[chat.id] = (left - 1.0, now)
        return 0.0


def _drop_before(times: deque[float], begin: float) -> None:
    while times and times[0] <= begin:
        times.popleft()
