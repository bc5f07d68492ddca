"""Copies of a SQLite database that is in use, and the check before one is put back."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

from sqlalchemy import text

from bot.errors import DatabaseError
from storage.engine import Engines, connect
from storage.failures import translated
from storage.migrate import check_known
from storage.transaction import Transaction, Transactions

_COPY = text("VACUUM INTO :file")


async def backup(transactions: Transactions, engines: Engines, target: Path) -> None:
    """Write a consistent copy; `target` has it whole or not at all. Raises DatabaseError."""
    if engines.path is None:
        raise DatabaseError(f"{engines.name}: PostgreSQL is backed up with its own pg_dump")
    part = target.with_name(target.name + ".part")
    with translated(str(target)):
        await asyncio.to_thread(_make_empty, part)
        try:
            await transactions.read(partial(_copy, part))
            await asyncio.to_thread(_finish, part, target)
        finally:
            part.unlink(missing_ok=True)


def _make_empty(part: Path) -> None:
    """What people wrote is for the owner's eyes: the file has its mode before SQLite fills it."""
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _copy(part: Path, transaction: Transaction) -> None:
    transaction.execute(_COPY, {"file": str(part)})


def _finish(part: Path, target: Path) -> None:
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)


async def restore(source: Path, url: str, *, replace: bool) -> None:
    """Put a backup in the place of the database that `url` names; `replace`: although there is one already.

    Raises DatabaseError if the backup cannot be used, or if a process uses the database.
    """
    await asyncio.to_thread(check_backup, source)
    engines = connect(url)
    try:
        if engines.path is None:
            raise DatabaseError(f"{engines.name}: PostgreSQL is restored with its own pg_restore")
        if engines.path.stat().st_size and not replace:
            raise DatabaseError(f"{engines.path}: there is a database already; --yes replaces it")
        await asyncio.to_thread(_put_back, source, engines.path)
    finally:
        await engines.dispose()


def _put_back(source: Path, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    _make_empty(part)
    with translated(str(path)):
        shutil.copyfile(source, part)
        # The old file's log must not be played into the new one.
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        _finish(part, path)


def check_backup(path: Path) -> str:
    """The schema's revision of a backup that can be put in the place of a database.

    Raises DatabaseError if it is missing, damaged, no Hearth database, or of a later version.
    """
    if not path.is_file():
        raise DatabaseError(f"{path}: there is no such file")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            verdict: str = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: this is no backup of Hearth, or it is damaged ({error})") from error
    if verdict != "ok" or found is None:
        raise DatabaseError(f"{path}: the file is damaged ({verdict})")
    revision: str = found[0]
    check_known(revision, str(path))
    return revision
