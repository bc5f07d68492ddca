"""What adapters note down for themselves: small, without content, and of no person."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import and_, bindparam, delete, func, select

from storage.models import conversations, messages, notes
from storage.transaction import Transaction, insert

_OF = and_(notes.c.platform == bindparam("k_platform"), notes.c.account == bindparam("k_account"))
_ALL = select(notes.c.name, notes.c.value).where(_OF).order_by(notes.c.name)
_REMOVE = delete(notes).where(_OF, notes.c.name == bindparam("k_name"))
_LATELY = func.coalesce(
    select(func.max(messages.c.created_at)).where(messages.c.conversation == conversations.c.id).scalar_subquery(),
    conversations.c.created_at,
)
_DIRECT = (
    select(conversations.c.chat)
    .where(
        conversations.c.platform == bindparam("k_platform"),
        conversations.c.account == bindparam("k_account"),
        conversations.c.direct,
    )
    .group_by(conversations.c.chat)
    .order_by(func.max(_LATELY).desc())
    .limit(bindparam("k_limit"))
)


def read(transaction: Transaction, platform: str, account: str) -> dict[str, str]:
    """See `bot.ports.Notes.notes`."""
    rows = transaction.execute(_ALL, {"k_platform": platform, "k_account": account}).all()
    return {row.name: row.value for row in rows}


def write(transaction: Transaction, platform: str, account: str, changes: Mapping[str, str | None]) -> None:
    """See `bot.ports.Notes.note`."""
    for name, value in changes.items():
        if value is None:
            transaction.execute(_REMOVE, {"k_platform": platform, "k_account": account, "k_name": name})
            continue
        put = insert(transaction, notes).on_conflict_do_update(
            index_elements=["platform", "account", "name"], set_={"value": value}
        )
        transaction.execute(put, {"platform": platform, "account": account, "name": name, "value": value})


def direct_chats(transaction: Transaction, platform: str, account: str, limit: int) -> list[str]:
    """See `bot.ports.Notes.direct_chats`."""
    parameters = {"k_platform": platform, "k_account": account, "k_limit": limit}
    return list(transaction.execute(_DIRECT, parameters).scalars())
