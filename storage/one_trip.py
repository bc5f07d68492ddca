"""An aiosqlite connection that goes to its thread once per transaction.

SQLAlchemy's asyncio layer makes several trips to the thread for each statement, and a trip costs more than a small
statement itself. Operations are plain functions over a synchronous `Connection`, so one of those is kept on the same
SQLite connection, in its thread, and an operation runs there from its first statement to its last.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import Connection, StaticPool, create_engine
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")

BEGIN = "BEGIN IMMEDIATE"


class OneTripConnection(aiosqlite.Connection):
    """A connection with `run`. `immediate`: that is a transaction, with the write lock; else each statement is its own."""

    def __init__(self, path: str, *, immediate: bool) -> None:
        # Transactions are begun in words, not by the driver, which would begin them too late.
        super().__init__(lambda: sqlite3.connect(path, isolation_level=None), iter_chunk_size=1)
        # A process that ends without closing must not hang on this thread.
        self._thread.daemon = True
        self._immediate = immediate
        self._synchronous: Connection | None = None

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Call `work` in the connection's thread. Raises what it raises."""
        done: T = await self._execute(self._work, work)  # type: ignore[no-untyped-call]  # aiosqlite has no types here
        return done

    def _work(self, work: Callable[[Connection], T]) -> T:
        if self._synchronous is None:
            self._synchronous = self._adopt()
        try:
            return self._transaction(self._synchronous, work) if self._immediate else work(self._synchronous)
        finally:
            self._synchronous.rollback()  # nothing, but what SQLAlchemy thinks that it began is over

    def _transaction(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        driver: sqlite3.Connection = self._conn
        driver.execute(BEGIN)
        try:
            done = work(connection)
            driver.commit()
        finally:
            driver.rollback()  # nothing, after a commit
        return done

    def _adopt(self) -> Connection:
        """SQLAlchemy's connection, which knows of no transactions: its own way of them took longer than SQLite's."""
        # Parameters are people's words, and errors are logged.
        engine = create_engine("sqlite://", creator=lambda: self._conn, poolclass=StaticPool, hide_parameters=True)
        return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def begin_immediate(connection: Any) -> None:
    """Take the write lock at once: a transaction that reads first and writes later could not be retried by SQLite."""
    connection.exec_driver_sql(BEGIN)


async def one_trip(connection: AsyncConnection) -> OneTripConnection:
    """The connection to SQLite beneath SQLAlchemy's."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, OneTripConnection), "SQLite's connections are made here"
    return driver


async def run(connection: AsyncConnection, work: Callable[[Connection], T]) -> T:
    """`connection.run_sync(work)`, in one trip where the database is SQLite."""
    driver = (await connection.get_raw_connection()).driver_connection
    if isinstance(driver, OneTripConnection):
        return await driver.run(work)
    return await connection.run_sync(work)
