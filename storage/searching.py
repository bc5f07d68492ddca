"""Search: the texts of one person's conversations are read and compared, newest first.

There is no index of words. It would cost every message, and SQLite's keeps words of removed texts (FTS5 can erase them
only since SQLite 3.42). To read 100,000 messages of 240 characters in vain takes 0.5 to 0.9 s of one core, and keeps
the event loop waiting for less than 10 ms at a time.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from typing import Any
from unicodedata import normalize

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from bot.messages import MessageState, Role
from bot.records import Found
from storage import attachments
from storage.models import conversations, messages
from storage.transaction import Transaction, Transactions
from storage.values import shortened, time_of

EXCERPT = 160
"""Characters of `Found.excerpt`."""
BEFORE = 40
"""Of these so many stand before the first match."""
LOOK = 200
"""Messages that are read at once: they may be long, and others wait for their turn."""
_THEIRS = (
    select(messages.c.id)
    .join(conversations, conversations.c.id == messages.c.conversation)
    .where(*(conversations.c[name] == bindparam(f"k_{name}") for name in ("platform", "account", "chat")))
)
_IDS = _THEIRS.order_by(messages.c.id.desc())
_ARRAY = _THEIRS.with_only_columns(func.array_agg(aggregate_order_by(messages.c.id, messages.c.id.desc())))
_TEXTS = (
    select(
        messages.c.id,
        messages.c.conversation,
        messages.c.role,
        messages.c.created_at,
        messages.c.text,
        messages.c.attached,
        conversations.c.thread,
        conversations.c.title,
    )
    .join(conversations, conversations.c.id == messages.c.conversation)
    .where(messages.c.id.in_(bindparam("k_ids", expanding=True)), messages.c.state != MessageState.COMMAND.value)
    .order_by(messages.c.id.desc())
)


async def search(transactions: Transactions, chat: tuple[str, str, str], words: str, limit: int) -> list[Found]:
    """See `bot.ports.Store.search`. A read for each chunk, so that others get their turn."""
    wanted = folded(words).split()
    if not wanted or limit < 1:
        return []
    platform, account, name = chat
    place = {"k_platform": platform, "k_account": account, "k_chat": name}
    ids = await transactions.read(partial(_ids, place=place))
    found: list[Found] = []
    for start in range(0, len(ids), LOOK):
        rows = await transactions.read(partial(_texts, ids=ids[start : start + LOOK]))
        # In a thread of its own, because PostgreSQL's rows are read on the event loop.
        found += await asyncio.to_thread(_matches, rows, wanted)
        if len(found) >= limit:
            break
    return found[:limit]


def folded(text: str) -> str:
    """A text as it is compared: one form for what Unicode writes in several, and no case."""
    if text.isascii():
        return text.lower()
    return normalize("NFKC", normalize("NFKC", text).casefold())


def excerpt(text: str, wanted: Sequence[str]) -> str:
    """The part of a text around the first of the words in it."""
    whole = folded(text)
    at = min(whole.index(word) for word in wanted)
    if not text.isascii():
        # Folding changes lengths, and what is before the match folds to what is before the match.
        at = bisect_left(range(len(text)), at + 1, key=lambda end: len(folded(text[: end + 1])))
    start = 0 if at <= EXCERPT // 2 else text.find(" ", at - BEFORE, at) + 1 or at - BEFORE
    cut = " ".join(text[start : start + 4 * EXCERPT].split())
    return shortened(f"…{cut}" if start else cut, EXCERPT)


def _ids(transaction: Transaction, place: dict[str, str]) -> list[int]:
    """Newest first."""
    if transaction.shared:
        # One value: 100,000 rows would be taken apart on the event loop.
        return transaction.execute(_ARRAY, place).scalar() or []
    return list(transaction.execute(_IDS, place).scalars())


def _texts(transaction: Transaction, ids: list[int]) -> list[tuple[Any, str]]:
    """Rows, each with its text and what was read in the files that came with it."""
    rows = transaction.execute(_TEXTS, {"k_ids": ids}).all()
    files = attachments.of(transaction, (row.id for row in rows if row.attached))
    read = {message: [item.words for item in items if item.words] for message, items in files.items()}
    return [(row, "\n\n".join([row.text, *read.get(row.id, ())])) for row in rows]


def _matches(rows: Sequence[tuple[Any, str]], wanted: Sequence[str]) -> list[Found]:
    return [_found(row, text, wanted) for row, text in rows if _has(folded(text), wanted)]


def _has(text: str, wanted: Sequence[str]) -> bool:
    return all(word in text for word in wanted)


def _found(row: Any, text: str, wanted: Sequence[str]) -> Found:
    return Found(
        conversation=row.conversation,
        thread=row.thread,
        title=row.title,
        message=row.id,
        role=Role(row.role),
        at=time_of(row.created_at),
        excerpt=excerpt(text.strip(), wanted),
    )
