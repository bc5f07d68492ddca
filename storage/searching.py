"""Search: the texts of one person's conversations are read and compared, newest first.

There is no index of words. It would cost every message, and SQLite's keeps words of removed texts (FTS5 can erase them
only since SQLite 3.42).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from typing import Any
from unicodedata import normalize

from sqlalchemy import bindparam, select

from bot.messages import Found, MessageState, Role
from storage.models import conversations, messages
from storage.transaction import Transaction, Transactions
from storage.values import chunks, shortened, time_of

EXCERPT = 160
"""Characters of `Found.excerpt`."""
BEFORE = 40
"""Of these so many stand before the first match."""
_IDS = (
    select(messages.c.id)
    .join(conversations, conversations.c.id == messages.c.conversation)
    .where(*(conversations.c[name] == bindparam(f"k_{name}") for name in ("platform", "account", "chat")))
)
_TEXTS = (
    select(
        messages.c.id,
        messages.c.conversation,
        messages.c.role,
        messages.c.created_at,
        messages.c.text,
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
    ids = await transactions.read(lambda t: sorted(t.execute(_IDS, place).scalars(), reverse=True))
    found: list[Found] = []
    for chunk in chunks(ids):
        found += await transactions.read(partial(_matches, ids=chunk, wanted=wanted))
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


def _matches(transaction: Transaction, ids: list[int], wanted: Sequence[str]) -> list[Found]:
    return [
        _found(row, wanted) for row in transaction.execute(_TEXTS, {"k_ids": ids}) if _has(folded(row.text), wanted)
    ]


def _has(text: str, wanted: Sequence[str]) -> bool:
    return all(word in text for word in wanted)


def _found(row: Any, wanted: Sequence[str]) -> Found:
    return Found(
        conversation=row.conversation,
        thread=row.thread,
        title=row.title,
        message=row.id,
        role=Role(row.role),
        at=time_of(row.created_at),
        excerpt=excerpt(row.text, wanted),
    )
