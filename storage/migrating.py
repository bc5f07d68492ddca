"""A chat gets a new id: its conversations follow."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select, update

from bot.messages import ConversationKey
from storage.models import answers, conversations, messages
from storage.places import find
from storage.transaction import Transaction
from storage.waiting import promote


def migrate_chat(transaction: Transaction, key: ConversationKey, new_chat: str) -> None:
    """Give every conversation of `key`'s chat the new id.

    What the bot remembers of received events and sent messages keeps the old id, because the new chat numbers its
    messages anew. If something was said in the new chat before this was known, it follows what was said in the old.
    """
    old = select(conversations).where(
        conversations.c.platform == key.platform,
        conversations.c.account == key.account,
        conversations.c.chat == key.chat,
    )
    for row in transaction.execute(old).all():
        early = find(transaction, ConversationKey(row.platform, row.account, new_chat, row.thread))
        if early is not None and early.id != row.id:
            _merge(transaction, row, early)
        transaction.execute(update(conversations).where(conversations.c.id == row.id).values(chat=new_chat))
        promote(transaction, row.id)


def _merge(transaction: Transaction, into: Any, early: Any) -> None:
    roots = (messages.c.conversation == early.id) & messages.c.parent.is_(None) & messages.c.placed
    transaction.execute(update(messages).where(roots).values(parent=into.head))
    moved = {"conversation": into.id}
    transaction.execute(update(messages).where(messages.c.conversation == early.id).values(**moved))
    transaction.execute(update(answers).where(answers.c.conversation == early.id).values(**moved, ready=False))
    transaction.execute(update(answers).where(answers.c.conversation == into.id, answers.c.ready).values(ready=False))
    transaction.execute(delete(conversations).where(conversations.c.id == early.id))
    if early.head is not None:
        transaction.execute(update(conversations).where(conversations.c.id == into.id).values(head=early.head))
