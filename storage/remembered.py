"""Messages of the conversations that go on, as they were read last: a claim tells the whole history, and its end is new."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Executable
from sqlalchemy.sql.dml import Delete, Update

from bot.messages import StoredMessage
from storage.models import messages

MOST = 32_000_000
"""Of all that is remembered: characters, and for each token id as much as it takes."""
_EACH, _TOKEN = 500, 36
"""What a message and a token id of it take beside its words, in bytes."""


class Remembered:
    """Of a SQLite database whose one writer asks and changes. What may have changed is forgotten, what is oldest too."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._size = 0
        self._messages: dict[int, StoredMessage] = {}
        self._version = 0

    def __len__(self) -> int:
        return len(self._messages)

    def get(self, id_: int) -> StoredMessage | None:
        """A message that has not changed since it was put here."""
        return self._messages.get(id_)

    def put(self, message: StoredMessage) -> None:
        """It was read just now. What is told of its attachments stands in other rows: those messages are not remembered."""
        if message.attachments or _size(message) > self._most:
            return
        self.forget(message.id)
        self._messages[message.id] = message
        self._size += _size(message)
        while self._size > self._most:
            self.forget(next(iter(self._messages)))

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


def changes(statement: Executable) -> bool:
    """Whether a statement may change messages that are there. With any row that is removed, a message may be."""
    if isinstance(statement, Delete):
        return True
    if not isinstance(statement, Update) or statement.get_execution_options().items() >= UNREAD.items():
        return False
    table: Any = statement.table
    return table is messages


def _size(message: StoredMessage) -> int:
    return _EACH + len(message.text) + _TOKEN * len(message.token_ids or ())
