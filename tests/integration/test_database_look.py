"""A look at a database tells what a start would find, and leaves every byte as it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import traceback
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bot.errors import DatabaseError
from storage.look import inspect, told
from storage.store import SqlStore
from tests.contract.talk import ask, claimed
from tests.postgres import Postgres


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "hearth.db"


async def filled(url: str) -> SqlStore:
    store = await SqlStore.open(url, default_retention_days=30)
    for number in ("1", "2"):
        await ask(store, number)
    return store


def url_of(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


class TestFile:
    """A SQLite file."""

    async def test_no_file_is_told_and_none_is_made(self, file: Path) -> None:
        assert await inspect(url_of(file)) == f"{file}, made at the next start"
        assert not file.parent.exists()

    async def test_a_good_one_is_told_with_what_waits_and_stays_as_it_is(self, file: Path) -> None:
        await (await filled(url_of(file))).aclose()
        before = bytes_of(file.parent)
        assert await inspect(url_of(file)) == f"{file}, 2 questions wait"
        assert bytes_of(file.parent) == before

    async def test_what_a_killed_process_left_in_its_log_is_seen(self, file: Path, tmp_path: Path) -> None:
        store = await filled(url_of(file))
        left = tmp_path / "left"
        left.mkdir()
        for name in ("hearth.db", "hearth.db-wal"):
            shutil.copy(file.with_name(name), left)
        await store.aclose()
        before = bytes_of(left)
        assert before["hearth.db-wal"]
        assert await inspect(url_of(left / "hearth.db")) == f"{left / 'hearth.db'}, 2 questions wait"
        assert bytes_of(left) == before

    async def test_one_in_use_is_left_alone(self, file: Path) -> None:
        store = await filled(url_of(file))
        assert await inspect(url_of(file)) == f"{file}, in use by process {os.getpid()}"
        assert (await claimed(store)).event.event_id == "1"
        await store.aclose()

    async def test_an_empty_file_is_filled_at_the_next_start(self, file: Path) -> None:
        file.parent.mkdir()
        file.touch()
        assert await inspect(url_of(file)) == f"{file}, its tables are made at the next start"
        assert bytes_of(file.parent) == {"hearth.db": b""}

    async def test_a_damaged_one_is_told(self, file: Path) -> None:
        store = await filled(url_of(file))
        await ask(store, "3", "x" * 100_000)
        await store.aclose()
        data = bytearray(file.read_bytes())
        data[4096 * 4 :] = os.urandom(len(data) - 4096 * 4)
        file.write_bytes(data)
        with pytest.raises(DatabaseError, match="damaged"):
            await inspect(url_of(file))
        file.write_text("this is a diary, not a database\n" * 500)
        with pytest.raises(DatabaseError, match="no SQLite database, or it is damaged"):
            await inspect(url_of(file))

    async def test_that_of_another_program_is_told(self, file: Path) -> None:
        file.parent.mkdir()
        with closing(sqlite3.connect(file)) as other:
            other.execute("CREATE TABLE recipes (name TEXT)")
        with pytest.raises(DatabaseError, match="another program"):
            await inspect(url_of(file))

    async def test_a_later_schema_is_told(self, file: Path) -> None:
        await (await filled(url_of(file))).aclose()
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(DatabaseError, match="later version of Hearth"):
            await inspect(url_of(file))

    def test_an_older_schema_is_brought_up_to_date_by_the_start(self) -> None:
        assert told("hearth.db", "0001", newest="0002") == (
            "hearth.db, brought up to date at the next start (schema 0001)"
        )

    async def test_a_place_where_none_can_be_made_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "plain").write_text("")
        with pytest.raises(DatabaseError, match=r"plain is no folder"):
            await inspect(url_of(tmp_path / "plain" / "deep" / "hearth.db"))
        with pytest.raises(DatabaseError, match="cannot be opened for writing"):
            await inspect(url_of(tmp_path))


class TestPostgres:
    """A server."""

    async def test_one_without_an_encoding_is_used_as_utf_8(self, postgres: Postgres) -> None:
        """SQL_ASCII is what a Debian without a locale makes."""
        url = postgres.create("SQL_ASCII")
        store = await SqlStore.open(url, default_retention_days=30)
        await ask(store, "1", "Grüße \N{FIRE}")
        assert (await inspect(url)).endswith(", 1 questions wait")
        assert (await claimed(store)).question.text == "Grüße \N{FIRE}"
        await store.aclose()

    async def test_an_empty_one_stays_empty(self, postgres_url: str) -> None:
        assert (await inspect(postgres_url)).endswith(", its tables are made at the next start")
        engine = create_async_engine(postgres_url)
        async with engine.connect() as connection:
            tables = await connection.execute(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
            assert tables.scalar() == 0
        await engine.dispose()

    async def test_a_good_one_is_told_although_a_process_uses_it(self, postgres_url: str) -> None:
        store = await filled(postgres_url)
        assert (await inspect(postgres_url)).endswith(", 2 questions wait")
        await store.aclose()

    async def test_one_that_is_not_there_is_told(self) -> None:
        with pytest.raises(DatabaseError, match="Connection refused"):
            await inspect("postgresql://ann:secret@127.0.0.1:1/hearth")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql//ann:secret@localhost/hearth",
        "ann:secret@localhost",
        "postgresql://ann:secret@localhost:port/hearth",
        "postgresql://ann:not@secret@localhost/hearth",
        "mysql://ann:secret@localhost/hearth",
        "postgresql+asyncpg://ann:secret@localhost/hearth",
        "postgresql://ann:secret@127.0.0.1:1/hearth",
        "postgresql://127.0.0.1:1/hearth?user=ann&password=secret",
        "postgresql://ann@127.0.0.1:1/hearth?sslmode=nonsense&password=secret",
    ],
)
async def test_no_error_tells_the_password(url: str) -> None:
    """Neither the words nor the trace of them that is logged."""
    for attempt in (inspect(url), SqlStore.open(url, default_retention_days=30)):
        with pytest.raises(DatabaseError) as told_:
            await attempt
        assert "secret" not in "".join(traceback.format_exception(told_.value))


async def test_no_error_tells_what_people_wrote(file: Path) -> None:
    store = await filled(url_of(file))
    with closing(sqlite3.connect(file)) as other:
        other.execute("ALTER TABLE messages RENAME TO lost")
    with pytest.raises(DatabaseError) as told_:
        await ask(store, "3", "x" * 40)
    assert "x" * 40 not in "".join(traceback.format_exception(told_.value))
    await store.aclose()
