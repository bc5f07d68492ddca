"""What a message costs the database does not grow with the database: every statement finds its rows by an index."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event

from bot.api import ApiUse, Caller, Kept
from bot.messages import Action, ActionName, AnswerState, Draft, Finished, Limits, Role, Triage
from bot.testing import MemoryAdapter
from storage.one_trip import OneTripConnection
from storage.prepared import Plan, Rows, Values
from storage.store import SqlStore
from tests.contract.talk import ANN, CHAT, NOTES, THEN, answer, ask, claimed, deleted, edited, pressed, reading
from tests.house import configuration, house

SMALL = ("ix_answers_ready", "ix_answers_open")
"""Indices that hold only what waits: they may be walked."""
TABLES = (
    "messages",
    "answers",
    "events",
    "conversations",
    "sent_parts",
    "usage",
    "attachments",
    "contents",
    "api_keys",
    "api_usage",
    "kept_completions",
)
_TABLE = re.compile(r"(?P<verb>SELECT|INSERT|UPDATE|WITH)(?: INTO| RECURSIVE|.*?\bFROM\b|) ?(?P<table>\w+)", re.DOTALL)


@contextmanager
def statements() -> Iterator[dict[str, Any]]:
    """Collects what SQLAlchemy executes within the block, with its last parameters."""
    seen: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
            seen[statement] = parameters[-1] if many else parameters

    with _each(note):
        yield seen


@contextmanager
def _each(note: Callable[..., None]) -> Iterator[None]:
    """`note` is told of what SQLAlchemy executes, and of what is executed without it, as SQLAlchemy tells."""
    plain = Plan.run

    def run(plan: Plan, connection: sqlite3.Connection, values: Values) -> Rows:
        note(None, None, plan.words, plan.given(values), None, False)
        return plain(plan, connection, values)

    event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    Plan.run = run  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        Plan.run = plain  # type: ignore[method-assign]
        event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


@contextmanager
def transactions() -> Iterator[list[list[tuple[str, str]]]]:
    """Collects the writer's transactions within the block: of each statement its verb and its first table, or what it walks."""
    seen: list[list[tuple[str, str]]] = []

    plain = OneTripConnection._transaction

    def begin(writer: OneTripConnection, connection: Any, work: Callable[[Any], Any]) -> Any:
        seen.append([])
        return plain(writer, connection, work)

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if seen and (found := _TABLE.match(statement)):
            seen[-1].append((found["verb"], found["table"]))

    OneTripConnection._transaction = begin  # type: ignore[method-assign,assignment]
    try:
        with _each(note):
            yield seen
    finally:
        OneTripConnection._transaction = plain  # type: ignore[method-assign]


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


def cost(database: Path, seen: dict[str, Any]) -> int:
    """How many steps SQLite takes for these statements."""
    taken = count()
    with sqlite3.connect(database) as connection:
        connection.set_progress_handler(lambda: next(taken) < 0, 1)
        for statement, parameters in seen.items():
            connection.execute(statement, parameters).fetchall()
    connection.close()
    return next(taken)


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


TRIES = 20


async def test_a_short_answer_takes_three_transactions(tmp_path: Path) -> None:
    """What is said, claimed and read before; what is about to be sent; what was sent, and the end."""
    platform = MemoryAdapter(limits=Limits(text=2000, seconds_per_call=0.0, previews=True))
    async with house(tmp_path, platform=platform) as home:
        for _ in range(TRIES):  # a question that meets the look for more that follows an answer has a claim of its own
            await home.ask("Hello")
            with transactions() as seen:
                await home.ask("And now?")
            changes = [made for taken in seen if (made := [one for one in taken if one[0] != "SELECT"])]
            if len(changes) == len(("received", "intended", "closed")):
                break
    received, intended, closed = changes
    assert [one for one in received if one[1] in {"events", "path"}] == [("INSERT", "events"), ("WITH", "path")]
    assert intended == [("UPDATE", "answers"), ("INSERT", "sent_parts")]
    assert ("UPDATE", "sent_parts") in closed
    assert ("INSERT", "messages") in closed


async def test_nor_does_a_page_that_shows_them(tmp_path: Path) -> None:
    """Of a list, a line, its branches and a search only the person's own conversations are read."""
    file = tmp_path / "hearth.db"
    store = await SqlStore.open(f"sqlite+aiosqlite:///{file}", default_retention_days=30)
    for text in ("one", "two", "three"):
        await ask(store, text, text)
        claim, tip = await answer(store)
    place = claim.conversation.id
    with statements() as seen:
        await store.conversation(CHAT, person="ann")
        await ask(store, "one!", follows=0)
        await answer(store)
        first = (await store.line(place))[0].siblings[0]
        await store.choose(place, first)
        again = Action(key=CHAT, event_id="p", author=ANN, name=ActionName.RETRY, sent_at=THEN, message=first)
        await store.receive(again, Triage.PENDING)
        await ask(store, "four", follows=tip)
        await answer(store)
        await store.line(place)
        await store.line(place, before=tip)
        await store.set_title(place, "Numbers")
        await store.threads("telegram", "bot", "chat")
        await store.search("telegram", "bot", "chat", "one")
        await store.delete_conversation(place)
    await store.aclose()
    found = steps(file, seen)
    assert walks(found) == []
    assert len([statement for statement in seen if "WITH RECURSIVE" in statement]) == 2
    assert any("ix_messages_roots" in step for _, step in found)


async def test_nor_do_another_answer_and_a_deleted_question(tmp_path: Path) -> None:
    """The other answer reads its own conversation, to find where that line ends."""
    file = tmp_path / "hearth.db"
    store = await SqlStore.open(f"sqlite+aiosqlite:///{file}", default_retention_days=30)
    await ask(store, "1")
    await answer(store, "eins", "m1")
    await store.receive(pressed("r", ActionName.RETRY, "m1"), Triage.PENDING)
    await answer(store, "uno", "m2")
    with statements() as seen:
        assert (await store.receive(pressed("p", ActionName.BRANCH, "m2"), Triage.PENDING)).goes_on
        assert (await store.receive(deleted("1"), Triage.PENDING)).marks
    await store.aclose()
    assert walks(steps(file, seen)) == []


async def test_a_line_of_10000_messages_costs_no_more_than_one_of_100(tmp_path: Path) -> None:
    """Counted in steps of SQLite's virtual machine."""
    file = tmp_path / "hearth.db"
    store = await SqlStore.open(f"sqlite+aiosqlite:///{file}", default_retention_days=30)
    costs = []
    for length in (100, 10_000):
        key = replace(CHAT, thread=str(length))
        await ask(store, str(length), key=key, direct=True)
        claim = await claimed(store)
        drafts = tuple(Draft(role=Role.TOOL, text="x", parent=claim.question.id) for _ in range(length))
        await store.close(claim, AnswerState.DONE, Finished(outcome=AnswerState.DONE, text="", drafts=drafts))
        place, last = claim.conversation.id, (await store.conversation(key)).head
        with statements() as seen:
            assert len(await store.line(place, limit=50)) == 50
            assert len(await store.line(place, limit=50, before=last)) == 50
        costs.append(cost(file, seen))
    await store.aclose()
    assert costs[0] == costs[1] > 0


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


async def test_nor_does_a_request_of_a_program(tmp_path: Path) -> None:
    """Its key, its day's tokens, its counts, and what it had kept: found by an index."""
    file = tmp_path / "hearth.db"
    store = await SqlStore.open(f"sqlite+aiosqlite:///{file}", default_retention_days=30)
    caller = Caller(id="key/1", name="website")
    with statements() as seen:
        key = await store.add_key("hk-1", name="website")
        await store.find_key("hk-1")
        await store.note_key_use(key.id)
        await store.api_tokens_today(caller.id)
        await store.count_api_use(ApiUse(caller=caller, endpoint="chat", model="default"))
        for number in ("1", "2"):
            kept = Kept(id=number, caller=caller.id, model="default", created=THEN, messages="[]", completion="{}")
            await store.keep_completion(kept)
        await store.kept_completions(caller=caller.id, after="1", newest_first=True)
        await store.kept_completions(caller=caller.id, after="1", metadata={"a": "b"}, model="default")
        await store.change_metadata("1", {"a": "b"}, caller=caller.id)
        await store.drop_completion("1", caller=caller.id)
        await store.revoke_key("website")
        await store.expire(THEN, 0)
    await store.aclose()
    found = [(statement, step) for statement, step in steps(file, seen) if "api_" in statement or "kept_" in statement]
    assert walks(found) == []
    indices = ("uq_api_keys_digest", "ix_api_keys_name", "ix_kept_completions_caller", "ix_kept_completions_created_at")
    named = " ".join(step for _, step in found)
    assert [index for index in indices if index.startswith("ix") and index not in named] == []
    assert "TEMP B-TREE" not in named


async def test_a_request_s_counts_are_one_statement_and_many_share_a_transaction(tmp_path: Path) -> None:
    """What waits for the disk meanwhile is written together."""
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    uses = [ApiUse(caller=Caller(id=f"key/{one % 5}", name="a"), endpoint="chat", model="m") for one in range(50)]
    with transactions() as seen:
        await asyncio.gather(*(store.count_api_use(use) for use in uses))
    assert [one for taken in seen for one in taken] == [("INSERT", "api_usage")] * 50
    assert len(seen) <= 2
    await store.aclose()
