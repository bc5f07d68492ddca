"""Prepared statements: what SQLite is given and gives is what it would be through SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Connection, StaticPool, bindparam, create_engine, select, tuple_, update

from bot.errors import DatabaseError
from bot.messages import Role
from storage.failures import translated
from storage.models import conversations, messages, metadata
from storage.prepared import Prepared
from storage.transaction import Transaction

PLACE = {"platform": "p", "account": "a", "chat": "c\x00", "thread": "", "direct": True, "created_at": 7}
ADD = Prepared(conversations.insert().returning(conversations.c.id))
ALL = select(*conversations.c).order_by(conversations.c.id)


@pytest.fixture
def transaction() -> Iterator[Transaction]:
    """One on an empty database in memory."""
    raw = sqlite3.connect(":memory:", isolation_level=None)
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        metadata.create_all(connection)
        yield Transaction(connection, now=0, default_days=30)
    raw.close()


def both(transaction: Transaction, statement: Any, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement, which are the same both ways."""
    rows = [tuple(row) for row in transaction.execute(Prepared(statement), values).all()]
    assert rows == [tuple(row) for row in transaction.execute(statement, values)]
    return rows


def test_values_and_columns_have_the_types_of_their_table(transaction: Transaction) -> None:
    place = {**PLACE, "first_day": date(2026, 11, 1)}
    assert transaction.execute(ADD, place).scalar_one() == 1
    [row] = transaction.execute(Prepared(ALL), {}).all()
    assert (row.chat, row.direct, row.first_day, row.head) == ("c\ufffd", True, date(2026, 11, 1), None)
    assert type(row.direct) is bool
    both(transaction, ALL, {})


def test_other_names_are_another_statement(transaction: Transaction) -> None:
    place = {**PLACE, "first_day": date(2026, 11, 1)}
    transaction.execute(ADD, place)
    transaction.execute(ADD, {**place, "chat": "d", "persona": "pirate"})
    assert [row.persona for row in transaction.execute(ALL)] == [None, "pirate"]


def test_lists_may_be_of_any_length(transaction: Transaction) -> None:
    for chat in "abc":
        transaction.execute(ADD, {**PLACE, "first_day": date(2026, 11, 1), "chat": chat})
    not_these = ALL.where(conversations.c.id.not_in(bindparam("ids", expanding=True)))
    for ids, left in (([], 3), ([1], 2), ([1, 3], 1), ([2, 3], 1)):
        assert len(both(transaction, not_these, {"ids": ids})) == left
    pair = tuple_(conversations.c.platform, conversations.c.chat)
    of_these = ALL.where(pair.in_(bindparam("pairs", expanding=True)), conversations.c.direct)
    assert len(both(transaction, of_these, {"pairs": [("p", "a"), ("q", "b"), ("p", "c")]})) == 2
    assert both(transaction, of_these, {"pairs": []}) == []


def test_columns_of_one_name_are_told_apart_by_their_place(transaction: Transaction) -> None:
    transaction.execute(ADD, {**PLACE, "first_day": date(2026, 11, 1)})
    row = {"conversation": 1, "role": Role.USER, "state": "pending", "created_at": 0, "text": "hello"}
    transaction.execute(Prepared(messages.insert()), row)
    transaction.execute(Prepared(messages.insert()), row)
    joined = select(messages.c.id, conversations.c.id, messages.c.text).join_from(messages, conversations)
    assert both(transaction, joined.order_by(messages.c.id), {}) == [(1, 1, "hello"), (2, 1, "hello")]


def test_what_was_changed_is_counted(transaction: Transaction) -> None:
    transaction.execute(ADD, {**PLACE, "first_day": date(2026, 11, 1)})
    change = Prepared(update(conversations).where(conversations.c.id == bindparam("k")).values(title="new"))
    assert transaction.execute(change, {"k": 1}).rowcount == 1
    assert transaction.execute(change, {"k": 2}).rowcount == 0
    found = transaction.execute(Prepared(ALL.where(conversations.c.id == bindparam("k"))), {"k": 2})
    assert (found.first(), found.scalar(), list(found)) == (None, None, [])


def test_the_drivers_errors_are_the_databases(transaction: Transaction) -> None:
    with pytest.raises(DatabaseError, match=r"hearth\.db: NOT NULL"), translated("hearth.db"):
        transaction.execute(ADD, {"platform": "p"})


def test_where_transactions_run_at_the_same_time_the_other_words_are_used() -> None:
    class Shared(Connection):
        """Says that it is PostgreSQL's, and what it was to execute."""

        def __init__(self) -> None:
            self.dialect = create_engine("postgresql+psycopg://").dialect
            self.executed: list[Any] = []

        def execute(self, statement: Any, *_: Any, **__: Any) -> Any:
            self.executed.append(statement)

    connection, locked = Shared(), ALL.with_for_update()
    Transaction(connection, 0, 30).execute(Prepared(ALL, shared=locked), {})
    assert connection.executed == [locked]
