"""Who was let in by the pairing code: as it is stored, and for a while in memory."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import bindparam, select

from storage.models import pairings
from storage.transaction import Transaction, insert

SHARED_SECONDS = 60.0
"""How long a person is known in memory where another process may forget them meanwhile."""
REMEMBERED = 10_000
"""So many people are known in memory before all are looked up anew."""

_WHEN = select(pairings.c.paired_at).where(
    pairings.c.platform == bindparam("k_platform"), pairings.c.person == bindparam("k_person")
)


def pair(transaction: Transaction, platform: str, person: str) -> None:
    """See `bot.ports.Store.pair`."""
    row = {"platform": platform, "person": person, "paired_at": transaction.now}
    transaction.execute(insert(transaction, pairings).on_conflict_do_nothing(), row)


def paired_at(transaction: Transaction, platform: str, person: str) -> int | None:
    """When a person was let in."""
    return transaction.execute(_WHEN, {"k_platform": platform, "k_person": person}).scalar()


class Known:
    """People who were found to be paired, so that they cost no look-up for each message. `lasts`: seconds."""

    def __init__(self, lasts: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lasts = lasts
        self._clock = clock
        self._until: dict[tuple[str, str], float] = {}
        self.forgotten = 0
        """How often somebody was. Who was looked up across such a moment is not noted: that may be out of date."""

    def __contains__(self, person: tuple[str, str]) -> bool:
        return self._until.get(person, 0.0) > self._clock()

    def note(self, person: tuple[str, str], forgotten: int) -> None:
        """A look-up that began at this count of `forgotten` has found the person."""
        if forgotten != self.forgotten:
            return
        if len(self._until) >= REMEMBERED:
            self._until.clear()
        self._until[person] = self._clock() + self._lasts

    def forget(self, person: tuple[str, str]) -> None:
        """The person is paired no more."""
        self.forgotten += 1
        self._until.pop(person, None)
