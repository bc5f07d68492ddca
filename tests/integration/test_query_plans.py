"""What a message costs the database does not grow with the database: every statement finds its rows by an index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event

from bot.messages import Triage
from storage.store import SqlStore
from tests.contract.talk import NOTES, answer, ask, edited, reading
from tests.house import configuration, house

SMALL = ("ix_answers_ready", "ix_answers_open")
"""Indices that hold only what waits: they may be walked."""
TABLES = ("messages", "answers", "events", "conversations", "sent_parts", "usage", "attachments", "contents")


@contextmanager
def statements() -> Iterator[dict[str, Any]]:
    """Collects what SQLAlchemy executes within the block, with its last parameters."""
    seen: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            seen[statement] = parameters[-1] if many else parameters

    event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


def steps(database: Path, seen: dict[str, Any]) -> list[tuple[str, str]]:
    """How SQLite goes about each statement: (statement, step)."""
    with sqlite3.connect(database) as connection:
        plans = [
            (statement, row[3])
            for statement, parameters in seen.items()
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    connection.close()
    return plans


def walks(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The steps that read a whole table, with their statements."""
    return [
        (step, statement)
        for statement, step in found
        if step.startswith("SCAN") and any(table in step for table in TABLES) and not step.endswith(SMALL)
    ]


async def test_no_statement_on_the_way_of_a_message_walks_through_a_table(tmp_path: Path) -> None:
    """Neither all messages, nor all answers, nor all messages of one conversation are read for one more."""
    config = configuration(chat={"remember_group_talk": True})
    async with house(tmp_path, config) as home:
        await home.ask("Hello")  # what happens once in the life of a conversation is done
        with statements() as seen:
            await home.say("between ourselves", group=True, addressed=False)
            await home.ask("And now?", group=True)
            await home.ask("And then?", group=True)
    found = steps(tmp_path / "hearth.db", seen)
    assert walks(found) == []
    assert [statement for statement in seen if "FROM attachments" in statement or "contents" in statement] == []
    assert [step for _, step in found if "ix_messages_conversation" in step] == []
    assert any("ix_answers_ready" in step for _, step in found)


async def test_nor_does_one_about_attachments(tmp_path: Path) -> None:
    """Those of other messages are not read, nor what was read in other files; also not where a message goes."""
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    with statements() as seen:
        received = await ask(store, "1", attachments=(NOTES, NOTES))
        await store.record_read(received.message or 0, [reading(), reading("something else", number=1)])
        await answer(store)
        await store.receive(edited("1", "and what is that?"), Triage.PENDING)
        _, tip = await answer(store)
        await store.history(tip)
        await store.forget_message(received.message or 0)
    await store.aclose()
    found = steps(tmp_path / "hearth.db", seen)
    assert walks(found) == []
    assert sum("attachments" in statement for statement in seen) >= 6
    assert any("ix_attachments_content" in step for _, step in found)
