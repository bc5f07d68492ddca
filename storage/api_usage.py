"""What is used of the API: counters, and nobody's words."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam, delete, func, select

from bot.api import ApiUse
from bot.cleaning import clean
from storage.models import api_usage
from storage.places import today
from storage.prepared import Prepared
from storage.transaction import Transaction, insert_of

LONGEST_USER = 128
"""Characters of a user's name: PostgreSQL takes no more than some 2700 bytes into an index."""
USERS_A_DAY = 10_000
"""Pairs of a caller and a user that have counts of their own: programs choose these names, and might make one up each time."""
_COUNTERS = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "seconds")


def _counted(*, shared: bool) -> Any:
    statement = insert_of(api_usage, shared=shared)
    sums = {name: api_usage.c[name] + statement.excluded[name] for name in _COUNTERS}
    keys = [column.name for column in api_usage.primary_key.columns]
    return statement.on_conflict_do_update(index_elements=keys, set_={**sums, "name": statement.excluded.name})


_COUNTED = Prepared(_counted(shared=False), shared=_counted(shared=True))
_TODAY = Prepared(
    select(func.coalesce(func.sum(api_usage.c.prompt_tokens + api_usage.c.completion_tokens), 0).label("tokens")).where(
        api_usage.c.caller == bindparam("k_caller"), api_usage.c.day == bindparam("k_day")
    )
)
_NAMED = (api_usage.c.day, api_usage.c.name, api_usage.c.named_user, api_usage.c.endpoint, api_usage.c.model)
_ALL = (
    select(*_NAMED, *(func.sum(api_usage.c[name]).label(name) for name in _COUNTERS))
    .group_by(*_NAMED)
    .order_by(api_usage.c.day.desc(), *_NAMED[1:])
)
_FORGET = delete(api_usage).where(api_usage.c.caller == bindparam("k_caller"))


class Users:
    """Under which name a user is counted: bounded, in length and in number."""

    def __init__(self) -> None:
        self._day = 0
        self._known: set[tuple[str, str]] = set()

    def name(self, caller: str, user: str, day: int) -> str:
        """The user's own name, or the digest of a long one; empty once there are too many. `day`: its number since 1970."""
        if day != self._day:
            self._day, self._known = day, set()
        name = clean(user)
        if len(name) > LONGEST_USER:
            name = f"sha256:{sha256(name.encode()).hexdigest()}"
        if (caller, name) not in self._known:
            if len(self._known) >= USERS_A_DAY:
                return ""
            self._known.add((caller, name))
        return name


def count(transaction: Transaction, use: ApiUse, user: str) -> None:
    """Add to the day's counters, under this name of the user."""
    row = {
        "caller": use.caller.id,
        "day": today(transaction),
        "named_user": user,
        "endpoint": use.endpoint,
        "model": use.model,
        "name": use.caller.name,
        "requests": 1,
        "prompt_tokens": use.usage.prompt_tokens,
        "cached_tokens": use.usage.cached_tokens,
        "completion_tokens": use.usage.completion_tokens,
        "seconds": use.seconds,
    }
    transaction.execute(_COUNTED, row)


def tokens_today(transaction: Transaction, caller: str) -> int:
    """See `bot.api.ApiStore.api_tokens_today`."""
    return int(transaction.execute(_TODAY, {"k_caller": caller, "k_day": today(transaction)}).scalar_one())


def by_day(transaction: Transaction, caller: str | None) -> list[dict[str, object]]:
    """See `bot.api.ApiStore.api_usage`."""
    statement = _ALL if caller is None else _ALL.where(api_usage.c.caller == caller)
    return [
        {
            "day": row.day.isoformat(),
            "key": row.name,
            "user": row.named_user,
            "endpoint": row.endpoint,
            "model": row.model,
            **{name: int(getattr(row, name)) for name in _COUNTERS[:-1]},
            "audio_seconds": round(float(row.seconds), 3),
        }
        for row in transaction.execute(statement)
    ]


def forget(transaction: Transaction, caller: str) -> None:
    """Remove a caller's counters."""
    transaction.execute(_FORGET, {"k_caller": caller})
