"""An aiosqlite connection that goes to its thread once per statement.

SQLAlchemy makes a cursor, executes, fetches and closes: with aiosqlite's own cursor four trips to the thread and back,
each of which costs more than a small statement itself. This cursor does all of it in one trip.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import aiosqlite


class OneHopCursor:
    """What SQLAlchemy's adapter uses of `aiosqlite.Cursor`; a statement's rows are all read when it was executed."""

    def __init__(self, connection: OneHopConnection) -> None:
        self._connection = connection
        self._rows: Iterable[Any] = ()
        self.arraysize = 1
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Self:
        """Run a statement and read its rows. Raises sqlite3.Error."""
        await self._connection.in_thread(self._run, statement, parameters, False)
        return self

    async def executemany(self, statement: str, parameters: Iterable[Sequence[Any]]) -> Self:
        """Run a statement for each of the parameters. Raises sqlite3.Error."""
        await self._connection.in_thread(self._run, statement, parameters, True)
        return self

    async def fetchall(self) -> Iterable[Any]:
        """The rows that were read."""
        rows, self._rows = self._rows, ()
        return rows

    async def close(self) -> None:
        """Nothing is open."""

    def _run(self, connection: sqlite3.Connection, statement: str, parameters: Any, many: bool) -> None:
        cursor = connection.cursor()
        try:
            if many:
                cursor.executemany(statement, parameters)
            else:
                cursor.execute(statement, parameters)
            self.description = cursor.description
            self._rows = cursor.fetchall() if cursor.description else ()
            self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()


class OneHopConnection(aiosqlite.Connection):
    """A connection whose cursors are OneHopCursors."""

    def __init__(self, path: str) -> None:
        # Transactions are begun in words, not by the driver, which would begin them too late.
        super().__init__(lambda: sqlite3.connect(path, isolation_level=None), iter_chunk_size=1)
        # A process that ends without closing must not hang on this thread.
        self._thread.daemon = True

    async def in_thread(self, work: Any, *arguments: Any) -> None:
        """Call `work(connection, *arguments)` in the connection's thread."""
        await self._execute(work, self._conn, *arguments)  # type: ignore[no-untyped-call]  # aiosqlite has no types here

    def cursor(self) -> OneHopCursor:  # type: ignore[override]  # the adapter needs less than aiosqlite promises
        """A new cursor; no trip to the thread."""
        return OneHopCursor(self)
