"""Transactions: group commit on SQLite, one connection each on PostgreSQL; what they removed is scrubbed afterwards."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Generic, TypeVar, overload

import sqlalchemy
import structlog
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.errors import DatabaseError
from storage.engine import READERS, WRITERS, Engines
from storage.failures import lost_race, translated
from storage.one_trip import OneTripConnection, one_trip, run
from storage.prepared import Found, Prepared, Values
from storage.remembered import NOTHING, Remembered, changes
from storage.values import micros

log = structlog.get_logger(__name__)

GROUP = 64
"""At most so many operations share one commit: about what runs in the time of one fsync of a slow disk."""
RACES = 5
"""How often a transaction that lost a race on PostgreSQL is run again."""
SMALL_FILE = 8 * 2**20
"""Bytes up to which a SQLite file is written anew whenever words were removed: that takes about 10 ms per MiB."""
SCRUBBED = (
    "messages",
    "answers",
    "sent_parts",
    "conversations",
    "attachments",
    "contents",
    "usage",
    "pairings",
    "guilds",
    "api_usage",
    "kept_completions",
)

T = TypeVar("T")


class Scrub(IntEnum):
    """How thoroughly removed words must go, beyond what the database shows.

    SQLite overwrites what is removed (secure_delete), in the file and not in the write-ahead log. And where it moved
    rows between pages it may have left a copy in a page's unused space, which only a file written anew is rid of.
    """

    NOTHING = 0
    LOG = 1
    """The write-ahead log is emptied; a small file is written anew."""
    FILE = 2
    """The file is written anew, whatever its size: somebody asked to be forgotten."""


@dataclass
class Transaction:
    """What an operation may use. Operations are plain functions over it, and may be run again after a lost race."""

    connection: Connection
    now: int
    """Microseconds."""
    default_days: int
    """The retention of conversations that have none of their own."""
    remembered: Remembered = NOTHING
    """Nothing where others write too."""
    scrub: Scrub = Scrub.NOTHING
    """Set by an operation that removed words."""
    shared: bool = field(init=False)
    """Whether other transactions run at the same time, so that rows must be locked."""

    def __post_init__(self) -> None:
        self.shared = self.connection.dialect.name == "postgresql"
        self._sqlite: Any = None if self.shared else self.connection.connection.driver_connection

    @overload
    def execute(self, statement: Prepared, values: Values) -> Found: ...
    @overload
    def execute(
        self, statement: sqlalchemy.Executable, values: Values | Sequence[Values] | None = None
    ) -> sqlalchemy.CursorResult[Any]: ...
    def execute(self, statement: Prepared | sqlalchemy.Executable, values: Any = None) -> Any:
        """Execute a statement."""
        if not isinstance(statement, Prepared):
            if changes(statement):
                self.remembered.clear()
            return self.connection.execute(statement, values)
        if self.shared:
            return self.connection.execute(statement.shared, values)
        if statement.changes_one:
            self.remembered.forget(values["k_id"])
        elif statement.changes:
            self.remembered.clear()
        return statement.run(self._sqlite, self.connection.dialect, values)


def insert(transaction: Transaction, table: Table) -> Any:
    """The database's own INSERT, which has ON CONFLICT."""
    return insert_of(table, shared=transaction.shared)


def insert_of(table: Table, *, shared: bool) -> Any:
    """The same, for statements that are made once: `excluded` makes a copy of every column of the table."""
    return postgresql.insert(table) if shared else sqlite.insert(table)


Operation = Callable[[Transaction], T]
Measured = Callable[[str, float, DatabaseError | None], None]
"""Told of every operation: read or write, its seconds, and the error if the database failed."""


@dataclass
class _Entry(Generic[T]):
    operation: Operation[T]
    future: asyncio.Future[T]


class Transactions:
    """Runs operations. `write` returns when the operation's effect is on the disk.

    A cancelled caller does not cancel its operation: that would cost the connection, and whether it was committed
    would be unknown. On SQLite an operation that has not begun when its caller is cancelled is not begun.
    """

    def __init__(
        self,
        engines: Engines,
        default_days: int,
        clock: Callable[[], datetime] | None = None,
        measured: Measured | None = None,
    ) -> None:
        self._engines = engines
        self._default_days = default_days
        self._clock = clock or (lambda: datetime.now(UTC))
        self._measured = measured or (lambda *_: None)
        self._waiting: deque[_Entry[Any]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._connection: AsyncConnection | None = None
        self._driver: OneTripConnection | None = None
        """Of that connection: to ask SQLAlchemy for it each time would be a greenlet each time."""
        self._reading = asyncio.Semaphore(READERS)
        self._writing = asyncio.Semaphore(WRITERS)
        self._running: set[asyncio.Task[Any]] = set()
        self._remembered = Remembered()

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation and commit it. Raises DatabaseError, and what the operation raises; then nothing is written."""
        return await self._timed("write", self._write(operation))

    async def read(self, operation: Operation[T]) -> T:
        """Run an operation that only reads. Raises DatabaseError."""
        return await self._timed("read", self._shielded(self._read(operation)))

    async def _timed(self, kind: str, work: Awaitable[T]) -> T:
        began, failure = time.perf_counter(), None
        try:
            return await work
        except DatabaseError as error:
            failure = error
            raise
        finally:
            self._measured(kind, time.perf_counter() - began, failure)

    def _write(self, operation: Operation[T]) -> Awaitable[T]:
        if self._engines.path is None:
            return self._shielded(self._commit_alone(operation))
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(operation, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting())
        return future

    def now(self) -> int:
        """The time of a transaction that began at this moment, in microseconds."""
        return micros(self._clock())

    async def aclose(self) -> None:
        """Finish what was begun."""
        while self._running or (self._writer is not None and not self._writer.done()):
            await asyncio.wait({*self._running, *([self._writer] if self._writer else [])})
        if self._connection is not None:
            await self._connection.close()

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _read(self, operation: Operation[T]) -> T:
        async with self._reading:
            with translated(self._engines.name):
                async with self._engines.read.connect() as connection:
                    _, result = await run(connection, lambda synchronous: self._run(synchronous, operation))
        return result

    async def _write_waiting(self) -> None:
        """The single writer: takes what waits into one transaction, until nothing waits."""
        while self._waiting:
            # Those to whom the last commit was told write what comes next: it is in this one.
            if len(self._waiting) < GROUP:
                await asyncio.sleep(0)
            group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            group = [entry for entry in group if not entry.future.cancelled()]
            if group and not await self._settle(group):
                # One of them failed, and with it all: alone, each fails or succeeds for itself.
                for entry in group:
                    await self._settle([entry])

    async def _settle(self, group: list[_Entry[Any]]) -> bool:
        """Commit a group and tell its callers; False if it failed and was more than one."""
        try:
            results = await self._commit(group)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            self._remembered.clear()  # what it changed was taken back
            if len(group) > 1:
                return False
            _tell(group[0], error=error)
            return True
        for entry, (result, scrub) in zip(group, results, strict=True):
            if not scrub:
                _tell(entry, result)
        if most := max(scrub for _, scrub in results):
            cleaning = asyncio.create_task(self._scrub(most))
            await asyncio.wait((cleaning,))
            failure = cleaning.exception()
            if failure is not None:
                log.warning("what was removed may have left copies until the next time", error=str(failure))
            for entry, (result, scrub) in zip(group, results, strict=True):
                if scrub:
                    # Who asked to be forgotten is not told so before it is true.
                    _tell(entry, result, error=failure if scrub is Scrub.FILE else None)
        return True

    async def _commit(self, group: list[_Entry[Any]]) -> list[tuple[Any, Scrub]]:
        with translated(self._engines.name):
            if self._driver is None:
                self._connection = await self._engines.write.connect()
                self._driver = await one_trip(self._connection)
            return await self._driver.run(lambda synchronous: self._run_group(synchronous, group))

    def _run_group(self, connection: Connection, group: list[_Entry[Any]]) -> list[tuple[Any, Scrub]]:
        """The operations of a group in one transaction: their results, and whether there is something to scrub."""
        done = []
        for entry in group:
            transaction = self._transaction(connection, self._remembered)
            done.append((entry.operation(transaction), transaction.scrub))
        return done

    async def _scrub(self, how: Scrub) -> None:
        """Clean a SQLite file. A reader of our own would keep the log alive, so at the end they wait."""
        path = self._engines.path
        assert path is not None, "PostgreSQL is vacuumed instead"
        with translated(f"removed; but its traces could not be cleaned away: {self._engines.name}"):
            async with self._engines.read.connect() as connection:
                if how is Scrub.FILE or path.stat().st_size <= SMALL_FILE:
                    # A large file does not fit in memory twice.
                    await connection.exec_driver_sql("PRAGMA temp_store = FILE")
                    await connection.exec_driver_sql("VACUUM")
                    await connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
                async with AsyncExitStack() as stack:
                    for _ in range(READERS):
                        await stack.enter_async_context(self._reading)
                    result = await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                busy = result.scalar_one()
        if busy:
            raise DatabaseError(
                f"{self._engines.name}: removed; but another program reads this database, and until it lets go "
                "the write-ahead log may hold a copy"
            )

    async def _commit_alone(self, operation: Operation[T]) -> T:
        """PostgreSQL: a transaction of its own, run again if it lost a race."""
        with translated(self._engines.name):
            async with self._writing:
                transaction, result = await self._run_races(operation)
            if transaction.scrub:
                async with self._engines.read.connect() as connection:
                    await connection.exec_driver_sql(f"VACUUM (SKIP_LOCKED) {', '.join(SCRUBBED)}")
        return result

    async def _run_races(self, operation: Operation[T]) -> tuple[Transaction, T]:
        for race in range(RACES):
            try:
                async with self._engines.write.begin() as connection:
                    return await connection.run_sync(self._run, operation)
            except DBAPIError as error:
                if race == RACES - 1 or not lost_race(error):
                    raise
        raise AssertionError("the last race returns or raises")

    def _run(self, connection: Connection, operation: Operation[T]) -> tuple[Transaction, T]:
        transaction = self._transaction(connection)
        return transaction, operation(transaction)

    def _transaction(self, connection: Connection, remembered: Remembered = NOTHING) -> Transaction:
        return Transaction(connection, self.now(), self._default_days, remembered)


def _tell(entry: _Entry[T], result: Any = None, *, error: BaseException | None = None) -> None:
    """A caller that was cancelled does not listen any more."""
    if entry.future.done():
        return
    if error is not None:
        entry.future.set_exception(error)
    else:
        entry.future.set_result(result)
