"""What was looked up lately, in memory: so that it costs no look-up for each message."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

SHARED_SECONDS = 60.0
"""How long something is known in memory where another process may change it meanwhile."""
REMEMBERED = 10_000
"""So much is known before all is looked up anew."""


class Known(Generic[K, V]):
    """Values that were found, each for so long. `lasts`: seconds."""

    def __init__(self, lasts: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lasts = lasts
        self._clock = clock
        self._found: dict[K, tuple[V, float]] = {}
        self.forgotten = 0
        """How often something was. What was looked up across such a moment is not noted: that may be out of date."""

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, key: K) -> bool:
        found = self._found.get(key)
        return found is not None and found[1] > self._clock()

    def __getitem__(self, key: K) -> V:
        return self._found[key][0]

    def note(self, key: K, value: V, forgotten: int) -> None:
        """A look-up that began at this count of `forgotten` has found the value."""
        if forgotten != self.forgotten:
            return
        if len(self._found) >= REMEMBERED:
            self._found.clear()
        self._found[key] = (value, self._clock() + self._lasts)

    def forget(self, key: K) -> None:
        """It has changed."""
        self.forgotten += 1
        self._found.pop(key, None)

    def forget_all(self) -> None:
        """Something has changed, and it is not known what."""
        self.forgotten += 1
        self._found.clear()
