"""Long work beside the event loop: small things are done at once, large ones in a thread, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Result = TypeVar("Result")

LARGE = 50_000
"""Characters. Up to here the work on a text takes some milliseconds; a thread for it would cost as much."""
EACH = 16
"""So many characters are as much work as a value of JSON."""


def amount(*given: Any) -> int:
    """How much JSON-like values are, in characters, roughly; not looked through any further once it is LARGE."""
    found, pending = 0, list(given)
    while pending and found <= LARGE:
        value = pending.pop()
        found += EACH
        if isinstance(value, str):
            found += len(value)
        elif isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value
    return found


class Aside:
    """Runs pure work on texts. Small work does not wait for large work."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()

    async def run(self, size: int, work: Callable[[], Result]) -> Result:
        """The result of `work`, which goes through so many characters."""
        if size <= LARGE:
            return work()
        async with self._one_at_a_time:
            return await asyncio.to_thread(work)
