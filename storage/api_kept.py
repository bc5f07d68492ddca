"""Completions that programs asked to keep: for the retention time, or until they are dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, delete, select, tuple_, update

from bot.api import Kept
from bot.clean_json import dump
from storage.models import kept_completions
from storage.transaction import Scrub, Transaction, insert
from storage.values import DAY, micros, time_of

CHUNK = 200
"""Rows that are looked through at once for those with some metadata."""
FEW = 10
"""Completions that are read at once for a page: each may be large."""
MOST_OF_PAGE = 16 * 2**20
"""Characters of completions after which a page ends, however many it was to have."""

_PLACE = (kept_completions.c.created_at, kept_completions.c.id)
_LISTED = tuple(column for column in kept_completions.c if column.name != "messages")
"""What is told of each in a list: of messages there may be much more than of anything else."""
_ITS_OWN = (kept_completions.c.id == bindparam("k_id")) & (kept_completions.c.caller == bindparam("k_caller"))
_ONE = select(kept_completions).where(_ITS_OWN)
_WHERE = select(*_PLACE).where(_ITS_OWN)
_DROP = delete(kept_completions).where(_ITS_OWN)
_CHANGE = update(kept_completions).where(_ITS_OWN).values(metadata=bindparam("k_metadata")).returning(kept_completions)
_FORGET = delete(kept_completions).where(kept_completions.c.caller == bindparam("k_caller"))


def keep(transaction: Transaction, kept: Kept) -> None:
    """See `bot.api.ApiStore.keep_completion`."""
    if transaction.default_days == 0:
        raise ValueError("nothing is kept here: retention.days is 0")
    row = {
        "id": kept.id,
        "caller": kept.caller,
        "model": kept.model,
        "created_at": micros(kept.created),
        "messages": kept.messages,
        "completion": kept.completion,
        "metadata": dump(kept.metadata),
    }
    # Run again after a lost connection, it changes nothing.
    transaction.execute(insert(transaction, kept_completions).on_conflict_do_nothing(), row)


def find(transaction: Transaction, id_: str, caller: str) -> Kept | None:
    """See `bot.api.ApiStore.kept_completion`."""
    row = transaction.execute(_ONE, {"k_id": id_, "k_caller": caller}).first()
    return None if row is None else _kept(row)


def page(
    transaction: Transaction,
    *,
    caller: str,
    after: str | None,
    limit: int,
    newest_first: bool,
    model: str | None,
    metadata: Mapping[str, str] | None,
) -> tuple[list[Kept], bool]:
    """See `bot.api.ApiStore.kept_completions`."""
    place = None if after is None else _place(transaction, after, caller)
    wanted = select(*_PLACE, kept_completions.c.metadata).where(kept_completions.c.caller == caller)
    if model is not None:
        wanted = wanted.where(kept_completions.c.model == model)
    found: list[str] = []
    for row in _rows(transaction, wanted, place, newest_first=newest_first, most=CHUNK if metadata else limit + 1):
        if metadata is None or metadata.items() <= json.loads(row.metadata).items():
            found.append(row.id)
            if len(found) > limit:
                break
    told = _read(transaction, found[:limit])
    return told, len(found) > limit or (bool(told) and told[-1].id != found[-1])


def change_metadata(transaction: Transaction, id_: str, metadata: Mapping[str, str], caller: str) -> Kept | None:
    """See `bot.api.ApiStore.change_metadata`."""
    row = transaction.execute(_CHANGE, {"k_id": id_, "k_caller": caller, "k_metadata": dump(metadata)}).first()
    return None if row is None else _kept(row)


def drop(transaction: Transaction, id_: str, caller: str) -> bool:
    """See `bot.api.ApiStore.drop_completion`."""
    if not transaction.execute(_DROP, {"k_id": id_, "k_caller": caller}).rowcount:
        return False
    transaction.scrub = max(transaction.scrub, Scrub.LOG)
    return True


def every(transaction: Transaction, caller: str) -> list[Kept]:
    """All of a caller's, oldest first."""
    wanted = select(kept_completions).where(kept_completions.c.caller == caller).order_by(*_PLACE)
    return [_kept(row) for row in transaction.execute(wanted)]


def forget(transaction: Transaction, caller: str) -> None:
    """Remove all of a caller's."""
    transaction.execute(_FORGET, {"k_caller": caller})


def expired(transaction: Transaction, now: datetime, days: int, most: int) -> list[str]:
    """The ids of those that are older than the retention: at most so many."""
    old = select(kept_completions.c.id).where(kept_completions.c.created_at < micros(now) - days * DAY).limit(most)
    return list(transaction.execute(old).scalars())


def remove(transaction: Transaction, ids: list[str]) -> None:
    """Remove a batch of what `expired` found; what it leaves in the file is scrubbed at the end of all batches."""
    transaction.execute(delete(kept_completions).where(kept_completions.c.id.in_(ids)))


def _place(transaction: Transaction, id_: str, caller: str) -> tuple[int, str]:
    """Raises ValueError."""
    row = transaction.execute(_WHERE, {"k_id": id_, "k_caller": caller}).first()
    if row is None:
        raise ValueError(f"no completion {id_!r} is kept")
    return row.created_at, row.id


def _rows(
    transaction: Transaction, wanted: Select[Any], place: tuple[int, str] | None, *, newest_first: bool, most: int
) -> Iterator[Any]:
    """Those behind a place, in order, `most` at a time."""
    order = tuple(column.desc() for column in _PLACE) if newest_first else _PLACE
    here = tuple_(*_PLACE)
    while True:
        behind = wanted
        if place is not None:
            behind = wanted.where(here < place if newest_first else here > place)
        rows = transaction.execute(behind.order_by(*order).limit(most)).all()
        yield from rows
        if len(rows) < most:
            return
        place = (rows[-1].created_at, rows[-1].id)


def _read(transaction: Transaction, ids: list[str]) -> list[Kept]:
    """Those in this order, as a list has them: at least one, and not all where they are large."""
    found: list[Kept] = []
    size = 0
    for begin in range(0, len(ids), FEW):
        some = ids[begin : begin + FEW]
        wanted = select(*_LISTED).where(kept_completions.c.id.in_(some))
        rows = {row.id: row for row in transaction.execute(wanted)}
        for row in (rows[one] for one in some if one in rows):  # elsewhere it may have been dropped just now
            found.append(_listed(row))
            size += len(row.completion)
            if size > MOST_OF_PAGE:
                return found
    return found


def _kept(row: Any) -> Kept:
    return replace(_listed(row), messages=row.messages)


def _listed(row: Any) -> Kept:
    """Without its messages."""
    return Kept(
        id=row.id,
        caller=row.caller,
        model=row.model,
        created=time_of(row.created_at),
        messages="[]",
        completion=row.completion,
        metadata=json.loads(row.metadata),
    )
