"""Who was let in by the pairing code."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from storage.models import pairings
from storage.transaction import Transaction, insert

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
