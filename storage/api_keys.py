"""The API's keys, by the digests of their secrets."""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam, exists, literal, select, update

from bot.api import Key
from storage.models import api_keys
from storage.prepared import Prepared
from storage.transaction import Transaction
from storage.values import micros, time_of

MINUTE = 60_000_000
"""Microseconds."""
HINT_HEAD, HINT_TAIL = 6, 4
"""Characters of a secret that are shown ever after; they leave 216 bits unknown of 256."""

_COLUMNS = tuple(column for column in api_keys.c if column.name != "digest")
_FIND = Prepared(select(*_COLUMNS).where(api_keys.c.digest == bindparam("k_digest")))
_VALID = (api_keys.c.name == bindparam("k_name")) & api_keys.c.revoked_at.is_(None)
_BY_NAME = select(api_keys.c.id).where(_VALID)
_ADD = api_keys.insert().returning(*_COLUMNS)
_REVOKE = update(api_keys).where(_VALID).values(revoked_at=bindparam("k_now")).returning(*_COLUMNS)
_ALL = select(*_COLUMNS).order_by(api_keys.c.id)
_ANY = select(exists(select(literal(1)).select_from(api_keys)))
_USED = Prepared(
    update(api_keys)
    .where(
        api_keys.c.id == bindparam("k_id"),
        # Another process may have noted a later minute.
        api_keys.c.used_at.is_(None) | (api_keys.c.used_at < bindparam("k_minute")),
    )
    .values(used_at=bindparam("k_minute"))
)


def digest_of(secret: str) -> bytes:
    """What is kept of a secret: it has so much randomness that nobody finds it by trying."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def add(
    transaction: Transaction,
    secret: str,
    *,
    name: str,
    organisation: str,
    models: tuple[str, ...],
    requests_per_minute: int,
    tokens_per_day: int,
    expires_at: datetime | None,
) -> Key:
    """See `bot.api.ApiStore.add_key`."""
    if transaction.execute(_BY_NAME, {"k_name": name}).first() is not None:
        raise ValueError(f"there is a key {name!r} already")
    values = {
        "name": name,
        "digest": digest_of(secret),
        "hint": f"{secret[:HINT_HEAD]}...{secret[-HINT_TAIL:]}",
        "organisation": organisation,
        "models": json.dumps(models),
        "requests_per_minute": requests_per_minute,
        "tokens_per_day": tokens_per_day,
        "created_at": transaction.now,
        "expires_at": None if expires_at is None else micros(expires_at),
    }
    return _key(transaction.execute(_ADD, values).one())


def find(transaction: Transaction, digest: bytes) -> Key | None:
    """The key with this digest."""
    row = transaction.execute(_FIND, {"k_digest": digest}).first()
    return None if row is None else _key(row)


def every(transaction: Transaction) -> list[Key]:
    """See `bot.api.ApiStore.keys`."""
    return [_key(row) for row in transaction.execute(_ALL)]


def there_are(transaction: Transaction) -> bool:
    """See `bot.api.ApiStore.has_keys`."""
    return bool(transaction.execute(_ANY).scalar())


def revoke(transaction: Transaction, name: str) -> Key | None:
    """See `bot.api.ApiStore.revoke_key`."""
    row = transaction.execute(_REVOKE, {"k_name": name, "k_now": transaction.now}).first()
    return None if row is None else _key(row)


def note_use(transaction: Transaction, key: int, minute: int) -> None:
    """See `bot.api.ApiStore.note_key_use`. `minute`: its number since 1970."""
    transaction.execute(_USED, {"k_id": key, "k_minute": minute * MINUTE})


def _key(row: Any) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        hint=row.hint,
        organisation=row.organisation,
        models=tuple(json.loads(row.models)),
        requests_per_minute=row.requests_per_minute,
        tokens_per_day=row.tokens_per_day,
        created_at=time_of(row.created_at),
        expires_at=_time(row.expires_at),
        revoked_at=_time(row.revoked_at),
        used_at=_time(row.used_at),
    )


def _time(value: int | None) -> datetime | None:
    return None if value is None else time_of(value)
