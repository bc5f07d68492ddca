"""The migrations make the very tables that the code uses, on both databases, whoever starts first."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from bot.api import ApiUse, Caller
from bot.errors import DatabaseError
from bot.messages import GuildKey, GuildSettings, Settings
from storage.migrate import MIGRATIONS, SCHEMA
from storage.models import metadata
from storage.store import SqlStore
from tests.contract.talk import CHAT, NOTES, WORDS, answer, ask, reading
from tests.house import DEADLINE
from tests.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    yield server.create()


async def inspected(url: str) -> tuple[list[object], dict[str, set[str | None]]]:
    """What alembic would change, and the names of the indices."""

    def compare(connection: Connection) -> tuple[list[object], dict[str, set[str | None]]]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        inspector = inspect(connection)
        return compare_metadata(context, metadata), {
            table: {index["name"] for index in inspector.get_indexes(table)} for table in metadata.tables
        }

    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = await connection.run_sync(compare)
    await engine.dispose()
    return found


async def test_models_and_migrations_agree(empty_url: str) -> None:
    await (await SqlStore.open(empty_url, default_retention_days=30)).aclose()
    changes, indices = await inspected(empty_url)
    assert changes == []
    for table in metadata.tables.values():
        assert {index.name for index in table.indexes} <= indices[table.name]


async def test_partial_indices_have_the_same_conditions(tmp_path: Path) -> None:
    """Alembic does not compare these; SQLite uses a partial index only for its very words."""
    await (await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'migrated.db'}", default_retention_days=30)).aclose()
    made = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    metadata.create_all(made)
    made.dispose()
    migrated_indices, made_indices = (_partial_indices(tmp_path / name) for name in ("migrated.db", "made.db"))
    assert len(migrated_indices) == 13
    assert migrated_indices == made_indices


def _partial_indices(file: Path) -> dict[str, str]:
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE%'")
        return {name: " ".join(sql.split()) for name, sql in rows}


def test_the_newest_migration_is_the_one_that_the_start_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA


async def test_a_database_of_the_first_schema_is_brought_up_to_this_one(empty_url: str) -> None:
    """With what is in it; and it holds then what that schema had no place for."""
    store = await SqlStore.open(empty_url, default_retention_days=30)
    received = await ask(store, "1", "one", attachments=(NOTES,))
    assert received.message is not None
    await store.record_read(received.message, [reading()])
    await store.set_settings((await store.conversation(CHAT)).id, Settings(persona="pirate"))
    await store.aclose()
    _downgrade(empty_url)
    store = await SqlStore.open(empty_url, default_retention_days=30)
    _, tip = await answer(store, "eins")
    assert [message.attachments[0].words for message in await store.history(tip) if message.attachments] == [WORDS]
    digest = sha256(b"OggS").hexdigest()
    voice = await ask(store, "2", "", attachments=(replace(NOTES, kind="voice", reference=digest, data=b"OggS"),))
    assert voice.message is not None
    assert await store.file(digest) == b"OggS"
    place = await store.conversation(CHAT)
    assert place.settings == Settings(persona="pirate")
    await store.set_settings(place.id, Settings(persona="pirate", transcripts="never"))
    assert (await store.conversation(CHAT)).settings.transcripts == "never"
    await store.pair("telegram", "ann")
    assert await store.is_paired("telegram", "ann")
    await store.note("discord", "1", {"heard": "2"})
    assert await store.notes("discord", "1") == {"heard": "2"}
    assert place.guild == ""
    await store.set_guild(GuildKey("discord", "1", "2"), GuildSettings(trigger="always"))
    assert await store.trigger(GuildKey("discord", "1", "2")) == "always"
    assert not await store.has_keys()
    key = await store.add_key("hk-1", name="website")
    assert await store.find_key("hk-1") == key
    await store.count_api_use(ApiUse(caller=Caller(id="key/1", name="website"), endpoint="chat", model="default"))
    assert len(await store.api_usage()) == 1
    assert await store.kept_completions(caller="key/1") == ([], False)
    await store.aclose()


def _downgrade(url: str) -> None:
    """Take away what later schemas brought."""
    engine = create_engine(url.replace("+aiosqlite", ""))
    with engine.begin() as connection:
        for column in ("language", "duration", "data"):
            connection.execute(text(f"ALTER TABLE contents DROP COLUMN {column}"))
        connection.execute(text("ALTER TABLE conversations DROP COLUMN transcripts"))
        connection.execute(text("DROP TABLE pairings"))
        connection.execute(text("DROP TABLE notes"))
        connection.execute(text("DROP TABLE guilds"))
        for table in ("api_keys", "api_usage", "kept_completions"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("ALTER TABLE conversations DROP COLUMN guild"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    engine.dispose()


async def test_a_second_start_keeps_what_is_there(empty_url: str) -> None:
    store = await SqlStore.open(empty_url, default_retention_days=30)
    await ask(store, "1", "one")
    _, tip = await answer(store, "eins")
    await store.aclose()
    store = await SqlStore.open(empty_url, default_retention_days=30)
    assert [message.text for message in await store.history(tip)] == ["one", "eins"]
    await store.aclose()


async def _until_it_waits(url: str) -> None:
    """Return when a statement waits for a lock."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    engine = create_async_engine(url)
    end = time.monotonic() + DEADLINE
    while True:
        async with engine.connect() as connection:
            if (await connection.execute(waiting)).scalar_one():
                break
        assert time.monotonic() < end, "nobody waits"
        await asyncio.sleep(0.01)
    await engine.dispose()


class TestPostgres:
    """What only PostgreSQL has: a server, and several processes on one database."""

    async def test_processes_that_start_at_once_migrate_once(self, postgres_url: str) -> None:
        stores = await asyncio.gather(*(SqlStore.open(postgres_url, default_retention_days=30) for _ in range(5)))
        assert (await ask(stores[0], "1")).work
        assert [(await ask(store, "1")).duplicate for store in stores] == [True] * 5
        for store in stores:
            await store.aclose()

    async def test_a_later_schema_is_refused(self, postgres_url: str) -> None:
        await (await SqlStore.open(postgres_url, default_retention_days=30)).aclose()
        engine = create_async_engine(postgres_url)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await engine.dispose()
        with pytest.raises(DatabaseError, match=r"its schema \(9999\) is that of a later version"):
            await SqlStore.open(postgres_url, default_retention_days=30)

    async def test_a_server_that_is_not_there_is_told_without_the_password(self) -> None:
        with pytest.raises(DatabaseError, match="Connection refused") as told:
            await SqlStore.open("postgresql://ann:secret@127.0.0.1:1/hearth", default_retention_days=30)
        assert "secret" not in str(told.value)

    async def test_a_backup_is_left_to_the_servers_own_tools(self, postgres_url: str, tmp_path: Path) -> None:
        store = await SqlStore.open(postgres_url, default_retention_days=30)
        with pytest.raises(DatabaseError, match="pg_dump"):
            await store.backup(tmp_path / "copy.db")
        await store.aclose()

    async def test_a_connection_that_the_server_closed_is_replaced(self, postgres_url: str) -> None:
        store = await SqlStore.open(postgres_url, default_retention_days=30)
        await ask(store, "1")
        engine = create_async_engine(postgres_url)
        async with engine.connect() as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await engine.dispose()
        assert (await ask(store, "2")).work
        assert (await store.conversation(CHAT)).key == CHAT
        await store.aclose()

    async def test_what_is_read_while_its_message_is_being_removed_elsewhere_leaves_nothing(
        self, postgres_url: str
    ) -> None:
        store = await SqlStore.open(postgres_url, default_retention_days=30)
        message = (await ask(store, "1", attachments=(NOTES,))).message or 0
        engine = create_async_engine(postgres_url)
        async with engine.begin() as other:
            await other.execute(text("DELETE FROM attachments"))
            writing = asyncio.create_task(store.record_read(message, [reading()]))
            await _until_it_waits(postgres_url)
        await writing
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM contents"))).scalar_one() == 0
        await engine.dispose()
        await store.aclose()

    async def test_many_processes_answer_each_question_once_and_in_order(self, postgres_url: str) -> None:
        stores = await asyncio.gather(*(SqlStore.open(postgres_url, default_retention_days=30) for _ in range(3)))
        for number in range(30):
            await ask(stores[number % 3], str(number), str(number))
        answered: list[str] = []

        async def work(store: SqlStore) -> None:
            while await store.pending():
                if claim := await store.claim("worker", lease=60):
                    answered.append(claim.event.text)
                    await store.close(claim, "done", None)  # type: ignore[arg-type]

        await asyncio.gather(*(work(store) for store in stores for _ in range(2)))
        assert answered == [str(number) for number in range(30)]
        for store in stores:
            await store.aclose()
