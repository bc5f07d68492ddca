"""Messages of the conversations that go on, as they were read last: a claim tells the whole history, and its end is new."""

from __future__ import annotations

import sys
from collections import OrderedDict

from sqlalchemy import Executable, bindparam
from sqlalchemy.sql.dml import Delete, Update

from bot.messages import StoredMessage
from storage.models import messages

MOST = 32_000_000
"""Bytes of all that is remembered: some hundred conversations, each of a few dozen messages."""
_EACH, _AUTHOR, _ROLE, _TOKEN = 700, 400, 80, 40
"""Bytes that a message takes beside its words, its author, a role of theirs, and a token id."""


class Remembered:
    """Of a SQLite database whose one writer asks and changes. What may have changed is forgotten, and what was not asked for
    for the longest time."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._size = 0
        self._messages: OrderedDict[int, StoredMessage] = OrderedDict()
        self._version = 0

    def get(self, id_: int) -> StoredMessage | None:
        """A message that has not changed since it was put here."""
        message = self._messages.get(id_)
        if message is not None:
            self._messages.move_to_end(id_)
        return message

    def put(self, message: StoredMessage) -> None:
        """It was read just now. What is told of its attachments stands in other rows: those messages are not remembered."""
        if message.attachments or _size(message) > self._most:
            return
        self.forget(message.id)
        self._messages[message.id] = message
        self._size += _size(message)
        while self._size > self._most:
            _, oldest = self._messages.popitem(last=False)
            self._size -= _size(oldest)

    def forget(self, id_: int) -> None:
        """It is being changed."""
        message = self._messages.pop(id_, None)
        if message is not None:
            self._size -= _size(message)

    def clear(self) -> None:
        """Nobody knows what has changed."""
        self._messages.clear()
        self._size = 0

    def at(self, version: int) -> None:
        """The database's `data_version` is this: another one when another connection has written."""
        if version != self._version:
            self.clear()
        self._version = version


UNREAD = {"changes_unread": True}
"""Execution options of a statement that changes only messages that no path leads to yet: nobody can have read them."""
NOTHING = Remembered(0)
"""For a database to which others write, and for who only reads: on their own connections."""
_ONE = str(messages.c.id == bindparam("k_id"))


def changes(statement: Executable) -> bool:
    """Whether a statement may change messages that are there. With any row that is removed, a message may be."""
    if isinstance(statement, Delete):
        return True
    if not isinstance(statement, Update) or statement.get_execution_options().items() >= UNREAD.items():
        return False
    return statement.table is messages


def changes_one(statement: Executable) -> bool:
    """Whether that is one message at most, whose id is `k_id`."""
    return changes(statement) and isinstance(statement, Update) and str(statement.whereclause) == _ONE


def _size(message: StoredMessage) -> int:
    author = _AUTHOR + _ROLE * len(message.author.roles) if message.author is not None else 0
    return _EACH + author + sys.getsizeof(message.text) + _TOKEN * len(message.token_ids or ())
