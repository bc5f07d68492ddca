"""The implementations on which the promises of each port are held."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.messages import StoredMessage
from storage import claiming
from storage.reading import history, short_path
from storage.store import SqlStore
from storage.transaction import Transaction
from tests.postgres import Postgres

OpenStore = Callable[..., Awaitable[SqlStore]]
"""Opens one more store on the same database; closed at the end."""


class Clock:
    """The time, as the test says."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own; its stores are closed before it is given back."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.lent() as url:
        yield url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def claims_tell_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The history that comes with a claim is put together of what is remembered: it is what the database holds."""

    def compared(transaction: Transaction, question: StoredMessage) -> tuple[StoredMessage, ...] | None:
        told = short_path(transaction, question)
        assert told is None or list(told) == history(transaction, question.id)
        return told

    monkeypatch.setattr(claiming, "short_path", compared)


@pytest.fixture
async def open_store(database_url: str, clock: Clock) -> AsyncIterator[OpenStore]:
    opened: list[SqlStore] = []

    async def open_(*, default_retention_days: int = 30) -> SqlStore:
        store = await SqlStore.open(database_url, default_retention_days=default_retention_days, clock=clock)
        opened.append(store)
        return store

    yield open_
    for store in opened:
        await store.aclose()


@pytest.fixture
async def store(open_store: OpenStore) -> SqlStore:
    return await open_store()
