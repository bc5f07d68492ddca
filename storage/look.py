"""A look at a database that changes nothing: what a start would find there."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine, text

from bot.errors import DatabaseError
from storage.engine import lock_of, name_of, parsed, postgresql
from storage.failures import translated
from storage.migrate import SCHEMA, check_empty, check_known, current
from storage.reading import WAITING


async def inspect(url: str) -> str:
    """What a start would find, in words. Raises DatabaseError where a start would fail."""
    parts = parsed(url)
    if parts.get_backend_name() == "sqlite":
        return await asyncio.to_thread(_file, Path(name_of(parts)))
    engines = postgresql(parts)
    try:
        with translated(engines.name):
            async with engines.read.connect() as connection:
                return await connection.run_sync(_words, engines.name)
    finally:
        await engines.dispose()


def told(name: str, revision: str | None, newest: str = SCHEMA) -> str:
    """What a start would do about a schema. Raises DatabaseError for one of a later version."""
    check_known(revision, name)
    if revision is None:
        return f"{name}, its tables are made at the next start"
    return name if revision == newest else f"{name}, brought up to date at the next start (schema {revision})"


def _words(connection: Connection, name: str) -> str:
    revision = current(connection)
    words = told(name, revision)
    if revision is None:
        check_empty(connection, name)
    if revision != SCHEMA:
        return words
    return f"{words}, {connection.execute(WAITING).scalar_one()} questions wait"


def _file(path: Path) -> str:
    if not path.exists():
        _check_place(path)
        return f"{path}, made at the next start"
    if not path.is_file() or not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        raise DatabaseError(f"{path}: cannot be opened for writing")
    if (owner := _owner(path)) is not None:
        return f"{path}, in use by process {owner}"
    try:
        return _read(path)
    except DatabaseError:
        # A process that began meanwhile may have been writing.
        if (owner := _owner(path)) is None:
            raise
        return f"{path}, in use by process {owner}"


def _check_place(path: Path) -> None:
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise DatabaseError(f"{path}: cannot be made, because {folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DatabaseError(f"{path}: cannot be made, because {folder} cannot be written to")


def _owner(path: Path) -> str | None:
    """The id of the process that uses a file; None if nobody does."""
    try:
        lock = lock_of(path).open()
    except OSError:
        return None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return lock.read().strip() or "unknown"
    return None


def _read(path: Path) -> str:
    with translated(str(path)), _opened(path) as connection:
        verdict = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
        if verdict != "ok":
            raise DatabaseError(f"{path}: the file is damaged ({verdict}); restore a backup")
        return _words(connection, str(path))


@contextmanager
def _opened(path: Path) -> Iterator[Connection]:
    """The file, read only."""
    log, index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    # The log that a killed process left is read too, which takes an index beside it. Without a log the file is all.
    left = log.exists() and log.stat().st_size > 0
    was_there = index.exists()
    how = "mode=ro" if left else "mode=ro&immutable=1"
    uri = f"{path.absolute().as_uri()}?{how}"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        if left and not was_there:
            index.unlink(missing_ok=True)
