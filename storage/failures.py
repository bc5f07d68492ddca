"""The one place where the errors of drivers become Hearth's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bot.errors import DatabaseError

RETRIED_STATES = frozenset({"40001", "40P01", "23505", "23503"})
"""PostgreSQL's codes for a lost race: serialization failure, deadlock, unique violation (two processes received the
same event), foreign key violation (a message was removed while its answer was appended). The transaction is run again
and then sees what the other one did."""

_SQLITE_WORDS = {
    sqlite3.SQLITE_FULL: "the disk is full; nothing of this was written",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written; nothing of this was written",
    sqlite3.SQLITE_READONLY: "the file or its folder cannot be written to",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: is its folder there, and may Hearth write to it?",
    sqlite3.SQLITE_NOTADB: "this is no SQLite database, or it is damaged; restore a backup",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore a backup",
    sqlite3.SQLITE_BUSY: "another program holds it locked",
}
"""By primary result code, https://www.sqlite.org/rescode.html."""


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise DatabaseError, in words, for what a driver or the disk raises. `name`: the database, without a password."""
    try:
        yield
    except DBAPIError as error:
        raise DatabaseError(f"{name}: {_words(error.orig)}") from error
    except sqlite3.Error as error:
        raise DatabaseError(f"{name}: {_words(error)}") from error
    except PoolTimeout as error:
        raise DatabaseError(f"{name}: every connection is in use") from error
    except OSError as error:
        raise DatabaseError(f"{name}: {error.strerror or error}") from error


def lost_race(error: BaseException) -> bool:
    """Whether a transaction failed only because of another one that ran at the same time (PostgreSQL)."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in RETRIED_STATES


def _words(original: BaseException | None) -> str:
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", None)
        # The low byte is the primary code; the rest says more than a person needs.
        return _SQLITE_WORDS.get(code & 0xFF if code else -1, str(original))
    return str(original).strip().splitlines()[0] if str(original).strip() else repr(original)
