"""Chats with a long past: rows as the running system leaves them, written in bulk into the store's own tables.

Turn `i` of every chat is a question (the platform's message 2i + 1) and its answer (2i + 2); the chats talk in turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, create_engine

from benchmarks.filled import Talk
from bot.messages import AnswerState, Author, ConversationKey, Message, MessageState, Role
from storage.models import answers, conversations, events, messages, sent_parts, usage
from storage.store import SqlStore
from storage.values import micros, pack_event, pack_ids

DAYS = 25
"""All of it is within the default retention."""
BATCH = 5_000
"""Rows in a statement."""


@dataclass(frozen=True, slots=True)
class Past:
    """What every chat has behind it."""

    places: Sequence[tuple[ConversationKey, str]]
    """Chats, and the id of the person who writes in each."""
    turns: int
    """Of each chat."""
    talk: Talk
    cut_every: int
    """Turns from one stored cut to the next."""
    guild: str = ""
    """That of the chats; empty: they are private."""


async def give(folder: Path, past: Past) -> None:
    """A database in a new folder in which these chats have it behind them."""
    folder.mkdir()
    path = folder / "hearth.db"
    store = await SqlStore.open(f"sqlite+aiosqlite:///{path}", default_retention_days=30)
    await store.aclose()
    await asyncio.to_thread(fill, str(path), past)


def fill(path: str, past: Past) -> None:
    """Fill a SQLite database whose schema is there and whose tables are empty."""
    now = datetime.now(UTC)
    tables: tuple[tuple[Table, Iterator[dict[str, Any]]], ...] = (
        (conversations, _conversations(past, now)),
        (messages, _messages(past, now)),
        (answers, _answers(past, now)),
        (sent_parts, _sent_parts(past)),
        (events, _events(past, now)),
        (usage, _usage(past, now)),
    )
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for table, rows in tables:
            while batch := [row for _, row in zip(range(BATCH), rows, strict=False)]:
                connection.execute(table.insert(), batch)
    engine.dispose()


def _turns(past: Past) -> Iterator[tuple[int, int, int]]:
    """(number of all, the chat's place, number in its chat) of every turn, in the order of time."""
    for turn in range(past.turns):
        for place in range(len(past.places)):
            yield turn * len(past.places) + place, place, turn


def _time(past: Past, now: datetime, message: int) -> int:
    """Of the message with this number of all."""
    begin = micros(now - timedelta(days=DAYS))
    step = (micros(now - timedelta(minutes=1)) - begin) // (2 * past.turns * len(past.places))
    return begin + message * step


def _place(key: ConversationKey) -> dict[str, Any]:
    return {"platform": key.platform, "account": key.account, "chat": key.chat}


def _conversations(past: Past, now: datetime) -> Iterator[dict[str, Any]]:
    last = (past.turns - 1) * len(past.places)
    for place, (key, person) in enumerate(past.places):
        yield {
            "id": place + 1,
            **_place(key),
            "thread": key.thread,
            "direct": not past.guild,
            "person": None if past.guild else person,
            "guild": past.guild,
            "head": 2 * (last + place) + 2,
            "first_day": now.date(),
            "created_at": _time(past, now, 2 * place),
        }


def _messages(past: Past, now: datetime) -> Iterator[dict[str, Any]]:
    chats, talk = len(past.places), past.talk
    for n, place, turn in _turns(past):
        key, person = past.places[place]
        author = Author(person, "Ada", guild=past.guild)
        asked = Message(key=key, event_id="", author=author, text="", sent_at=now, direct=not past.guild)
        common = {"conversation": place + 1, "placed": True}
        yield {
            **_NO_MESSAGE,
            **common,
            "id": 2 * n + 1,
            "parent": 2 * (n - chats) + 2 if turn else None,
            "role": Role.USER,
            "state": MessageState.ANSWERED,
            "window_start": (past.turns - 1 - turn) % past.cut_every == 0,
            "created_at": _time(past, now, 2 * n),
            "author_id": person,
            "author_name": "Ada",
            "event_id": str(2 * turn + 1),
            "event": pack_event(asked),
            "text": talk.question,
        }
        yield {
            **_NO_MESSAGE,
            **common,
            "id": 2 * n + 2,
            "parent": 2 * n + 1,
            "answer": n + 1,
            "role": Role.ASSISTANT,
            "state": MessageState.FINAL,
            "created_at": _time(past, now, 2 * n + 1),
            "model": talk.model,
            "completion_tokens": len(talk.answer_ids),
            "token_ids": pack_ids(talk.answer_ids),
            "text": talk.answer,
        }


_NO_MESSAGE: dict[str, Any] = {
    "answer": None,
    "window_start": False,
    "author_id": None,
    "author_name": None,
    "event_id": None,
    "event": None,
    "model": None,
    "completion_tokens": 0,
    "token_ids": None,
}
"""Rows of one statement have the same columns."""


def _answers(past: Past, now: datetime) -> Iterator[dict[str, Any]]:
    for n, place, _ in _turns(past):
        key, _ = past.places[place]
        yield {
            "id": n + 1,
            "conversation": place + 1,
            "question": 2 * n + 1,
            "platform": key.platform,
            "account": key.account,
            "position": 2 * n + 1,
            "state": AnswerState.DONE,
            "attempt": 1,
            "received_at": _time(past, now, 2 * n),
            "closed_at": _time(past, now, 2 * n + 1),
        }


def _sent_parts(past: Past) -> Iterator[dict[str, Any]]:
    for n, place, turn in _turns(past):
        key, _ = past.places[place]
        sent = {"thread": key.thread, "message_id": str(2 * turn + 2)}
        yield {"answer": n + 1, "number": 0, "nonce": f"{n:024}", **_place(key), **sent}


def _events(past: Past, now: datetime) -> Iterator[dict[str, Any]]:
    for n, place, turn in _turns(past):
        key, _ = past.places[place]
        seen = {"message": 2 * n + 1, "seen_at": _time(past, now, 2 * n)}
        yield {**_place(key), "event_id": str(2 * turn + 1), "revision": 0, **seen}


def _usage(past: Past, now: datetime) -> Iterator[dict[str, Any]]:
    for key, person in past.places:
        counted = {"day": now.date(), "model": past.talk.model, "messages": past.turns}
        yield {"platform": key.platform, "author": person, **counted}
