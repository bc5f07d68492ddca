"""Connections: SQLAlchemy engines for SQLite and PostgreSQL, and the lock that makes one process own a SQLite file."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import aiosqlite
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bot.errors import DatabaseError, InUse
from storage.one_trip import OneTripConnection, begin_immediate

READERS = 4
"""Connections that read at the same time; each is a thread where the database is a SQLite file."""
WRITERS = 6
"""Transactions that write to PostgreSQL at the same time; with the readers that makes 10 connections of one process,
and the server's default is 100 for all clients together."""
CONNECT_SECONDS = 10
"""How long a PostgreSQL server may take to answer a connection."""
BUSY_MS = 5000
"""How long SQLite waits for a lock of another program (a backup tool, a shell)."""
OLDEST_SQLITE = (3, 35, 0)
"""RETURNING and UPDATE ... FROM, https://www.sqlite.org/changes.html."""

_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",  # in WAL mode NORMAL may lose the last commits with the power
    "foreign_keys = ON",
    "secure_delete = ON",  # what is removed is overwritten with zeros
    "temp_store = MEMORY",  # no sorting of people's words in files
    f"busy_timeout = {BUSY_MS}",
    "cache_size = -16384",  # KiB
    "wal_autocheckpoint = 4000",  # pages: a checkpoint writes a page once, however often it is in the log
)


@dataclass(frozen=True, slots=True)
class Engines:
    """One database."""

    name: str
    """For messages: the path, or the URL without its password."""
    write: AsyncEngine
    read: AsyncEngine
    """Each statement is its own transaction."""
    path: Path | None
    """The file, if it is SQLite."""
    lock: TextIO | None

    async def dispose(self) -> None:
        """Let go of the connections and of the lock."""
        if self.path is not None:
            await self.read.dispose()
        await self.write.dispose()
        if self.lock is not None:
            self.lock.close()


def connect(text: str) -> Engines:
    """Make the engines. Raises DatabaseError for a URL of another kind, and InUse if another process owns the file."""
    url = parsed(text)
    return _sqlite(url) if url.get_backend_name() == "sqlite" else postgresql(url)


def parsed(text: str) -> URL:
    """The URL of a database that Hearth can use. Raises DatabaseError, which never shows the password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Neither the text nor the cause is told: there is a password in it.
        raise DatabaseError("database.url is no URL; sqlite+aiosqlite:///PATH is one") from None
    if "@" in (url.host or ""):
        raise DatabaseError("database.url: a @ within the password is written %40")
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise DatabaseError(f"database.url: {url.get_backend_name()} is not supported; sqlite and postgresql are")
    if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
        raise DatabaseError("database.url: a database in memory would forget; name a file: sqlite+aiosqlite:///PATH")
    return url


def name_of(url: URL) -> str:
    """The path of a file, or the URL without its password, which may stand among the options too."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def _sqlite(url: URL) -> Engines:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise DatabaseError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or later is needed")
    path = Path(name_of(url))
    lock = _lock(path)
    url = url.set(drivername="sqlite+aiosqlite")

    async def writer() -> aiosqlite.Connection:
        return await OneTripConnection(str(path), immediate=True)

    async def reader() -> aiosqlite.Connection:
        return await OneTripConnection(str(path), immediate=False)

    # Parameters are people's words, and errors are logged.
    write = create_async_engine(url, pool_size=1, max_overflow=0, async_creator=writer, hide_parameters=True)
    event.listen(write.sync_engine, "connect", _set_pragmas)
    event.listen(write.sync_engine, "begin", begin_immediate)
    read = create_async_engine(
        url,
        pool_size=READERS + 1,  # and one that cleans up
        max_overflow=0,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        async_creator=reader,
        hide_parameters=True,
    )
    event.listen(read.sync_engine, "connect", _set_pragmas)
    return Engines(str(path), write, read, path, lock)


def postgresql(url: URL) -> Engines:
    """The engines for a server; nothing is connected yet. Raises DatabaseError."""
    if url.drivername not in {"postgresql", "postgresql+psycopg"}:
        raise DatabaseError(f"database.url: {url.drivername} is not supported; postgresql+psycopg is")
    name = name_of(url)
    try:
        # A connection that the server closed while it rested is replaced before it is used.
        write = create_async_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=READERS + WRITERS,
            max_overflow=1,  # one that cleans up
            pool_pre_ping=True,
            hide_parameters=True,  # people's words: errors are logged
            connect_args={"connect_timeout": CONNECT_SECONDS, "client_encoding": "utf8"},
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise DatabaseError(f"{name}: PostgreSQL needs one more package: pip install 'hearth[postgresql]'") from error
    read = write.execution_options(isolation_level="AUTOCOMMIT")
    return Engines(name, write, read, None, None)


def _set_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def lock_of(path: Path) -> Path:
    """The file whose lock says that a process uses the database."""
    return path.with_name(path.name + ".lock")


def _lock(path: Path) -> TextIO:
    """Own the file until the process ends, however it ends."""
    file = lock_of(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite's own default would let others on this machine read what people wrote.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        lock = os.fdopen(os.open(file, os.O_CREAT | os.O_RDWR, 0o600), "r+")
    except OSError as error:
        raise DatabaseError(f"{path}: cannot be opened for writing ({error.strerror})") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = lock.read().strip() or "unknown"
        lock.close()
        raise InUse(f"another Hearth process (pid {pid}) uses {path}; stop it first") from error
    lock.seek(0)
    lock.truncate()
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock
