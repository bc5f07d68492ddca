"""Statements on the way of every message, given to SQLite's driver as it takes them.

SQLAlchemy writes them, from the tables, and what it knows of their parameters and columns is kept. What it does for every
execution took more time than SQLite. To PostgreSQL they go through SQLAlchemy: there a trip over the socket costs far more.
"""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Dialect, Executable, Select
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeEngine

from storage.remembered import changes, changes_one

Values = Mapping[str, Any]
Process = Callable[[Any], Any]
_Source = tuple[str, int | None, Process | None]
"""Of one `?`: a value's name, its place where a value is a list, and how it becomes the driver's."""


class Found(Protocol):
    """What an execution gives; SQLAlchemy's CursorResult is one."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def __iter__(self) -> Iterator[Any]: ...
    def first(self) -> Any:
        """The first row, or None."""

    def all(self) -> Sequence[Any]:
        """Every row: its values by place, and by name where the name is the only one."""

    def scalar(self) -> Any:
        """The first row's first value, or None."""

    def scalar_one(self) -> Any:
        """The first value of the one row."""


class Rows:
    """Implements Found."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def first(self) -> Any:
        """See Found."""
        return self._rows[0] if self._rows else None

    def all(self) -> Sequence[Any]:
        """See Found."""
        return self._rows

    def scalar(self) -> Any:
        """See Found."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """See Found."""
        [row] = self._rows
        return row[0]


class Prepared:
    """A statement that is made once. Executed by `Transaction.execute`."""

    def __init__(self, statement: Executable, *, shared: Executable | None = None) -> None:
        """`shared`: the same for PostgreSQL, where rows are locked or the words are others."""
        self.shared = statement if shared is None else shared
        self.changes = changes(statement)
        """Messages that are there, perhaps."""
        self.changes_one = changes_one(statement)
        """Not more than that whose id is `k_id`."""
        self._statement = statement
        self._plans: dict[tuple[object, ...], Plan] = {}
        """By the names of the values, and the lengths of those that are lists: SQLite has no parameter for a list."""

    def run(self, connection: sqlite3.Connection, dialect: Dialect, values: Values) -> Rows:
        """Execute it. Raises sqlite3.Error."""
        kind = tuple([(name, len(value)) if isinstance(value, list) else name for name, value in values.items()])
        plan = self._plans.get(kind)
        if plan is None:
            plan = self._plans[kind] = Plan(self._statement, dialect, values)
        return plan.run(connection, values)


class Plan:
    """The words for SQLite, and the way of the values into them and of the columns out."""

    def __init__(self, statement: Executable, dialect: Dialect, values: Values) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=list(values))  # type: ignore[attr-defined]  # all have it
        state = compiled.construct_expanded_state(dict(values))
        self.words = state.statement
        lists = {
            part: (name, place) for name, parts in state.parameter_expansion.items() for place, part in enumerate(parts)
        }
        self._sources: list[_Source] = []
        self._constants: dict[str, Any] = {}
        for part in state.positiontup or ():
            name, place = lists.get(part, (part, None))
            type_ = compiled.binds[name].type
            process: Any = state.processors.get(part) if place is not None else _taken(type_, dialect)
            if name not in values:
                self._constants[name] = state.parameters[name]
            self._sources.append((name, place, process))
        columns = _columns(statement)
        maker: Any = namedtuple
        self._row = maker("Row", [name for name, _ in columns], rename=True)._make
        processes = [(at, _given(type_, dialect)) for at, (_, type_) in enumerate(columns)]
        self._processes = [(at, process) for at, process in processes if process is not None]

    def given(self, values: Values) -> list[Any]:
        """What stands for each `?`."""
        known = {**self._constants, **values} if self._constants else values
        given = []
        for name, place, process in self._sources:
            value = known[name] if place is None else _flat(known[name], place)
            given.append(value if process is None else process(value))
        return given

    def run(self, connection: sqlite3.Connection, values: Values) -> Rows:
        """Execute it."""
        cursor = connection.execute(self.words, self.given(values))
        rows = cursor.fetchall()
        if self._processes:
            for number, row in enumerate(rows):
                changed = list(row)
                for at, process in self._processes:
                    changed[at] = process(changed[at])
                rows[number] = changed
        make = self._row
        return Rows([make(row) for row in rows], cursor.rowcount)


def _flat(values: Sequence[Any], place: int) -> Any:
    """An item of a list; of a list of pairs, an item of them all in a row."""
    if isinstance(values[0], tuple):
        return values[place // len(values[0])][place % len(values[0])]
    return values[place]


def _columns(statement: Executable) -> list[tuple[str, TypeEngine[Any]]]:
    """What a statement returns: names and types."""
    if isinstance(statement, Select):
        described = statement.column_descriptions
    elif isinstance(statement, UpdateBase):
        described = statement.returning_column_descriptions
    else:
        raise TypeError(f"{type(statement).__name__} is not prepared")
    return [(column["name"], column["type"]) for column in described]


def _taken(type_: TypeEngine[Any], dialect: Dialect) -> Process | None:
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _given(type_: TypeEngine[Any], dialect: Dialect) -> Process | None:
    return type_.dialect_impl(dialect).result_processor(dialect, None)
