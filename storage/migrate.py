"""Brings a database's schema up to this version, at every start."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from bot.errors import DatabaseError

SCHEMA = "0007"
"""The newest revision under migrations/versions: a database that has it is used without a further look."""
MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x486561727468
"""The number of PostgreSQL's advisory lock under which one process migrates ("Hearth" in ASCII)."""


def migrate(connection: Connection, name: str) -> None:
    """Create or upgrade the tables, in the connection's transaction.

    Raises DatabaseError for a schema of a later version, and for a SQLite file that belongs to another program.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
    revision = current(connection)
    if revision == SCHEMA:
        return
    check_known(revision, name)
    if revision is None:
        check_empty(connection, name)
    _upgrade(connection)


def current(connection: Connection) -> str | None:
    """The schema's revision; None if there is none yet."""
    if connection.dialect.name == "postgresql":
        # A statement that fails would end the transaction.
        if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
            return None
    elif not connection.execute(text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")).scalar():
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def check_known(revision: str | None, name: str) -> None:
    """Raises DatabaseError for a revision that this version does not have."""
    known = {file.name.split("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py")}
    if revision is not None and revision not in known:
        raise DatabaseError(
            f"{name}: its schema ({revision}) is that of a later version of Hearth; install that version, or restore "
            "a backup made before the upgrade"
        )


def check_empty(connection: Connection, name: str) -> None:
    """Raises DatabaseError for a SQLite file that belongs to another program; a PostgreSQL may be shared with others."""
    if connection.dialect.name == "sqlite" and (strange := inspect(connection).get_table_names()):
        raise DatabaseError(f"{name}: this is the database of another program (it has a table {strange[0]!r})")


def _upgrade(connection: Connection) -> None:
    # Imported here because alembic takes longer to load than all the rest, and is needed only once per version.
    from alembic import command
    from alembic.config import Config

    config = Config()
    # ConfigParser's own sign for a reference must be doubled in a path.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
