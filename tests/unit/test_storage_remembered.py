"""Messages that are remembered: how many, and which statements make them be forgotten."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.sql.dml import UpdateBase

from bot.messages import Attached, Attachment, MessageState, Role, StoredMessage
from storage.models import answers, conversations, messages
from storage.remembered import NOTHING, UNREAD, Remembered, changes

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def message(id_: int, text: str = "", tokens: int = 0) -> StoredMessage:
    return StoredMessage(
        id=id_,
        parent=None,
        role=Role.USER,
        text=text,
        author=None,
        state=MessageState.FINAL,
        created_at=NOW,
        token_ids=tuple(range(tokens)),
    )


def test_as_much_as_there_is_room_for() -> None:
    remembered = Remembered(100_000)
    for number in range(50):
        remembered.put(message(number, "x" * 9_000))
    assert [number for number in range(50) if remembered.get(number)] == list(range(40, 50))
    remembered.put(message(50, tokens=1_000))
    assert [number for number in range(51) if remembered.get(number)] == list(range(44, 51))


def test_what_is_put_again_counts_once() -> None:
    remembered = Remembered(10_000)
    for _ in range(100):
        remembered.put(message(1, "x" * 4_000))
        remembered.put(message(2, "x" * 4_000))
    assert remembered.get(1)
    assert remembered.get(2)
    remembered.forget(1)
    remembered.forget(1)
    remembered.put(message(3, "x" * 4_000))
    assert remembered.get(2)


def test_what_is_larger_than_all_of_it_drives_nothing_out() -> None:
    remembered = Remembered(10_000)
    remembered.put(message(1))
    remembered.put(message(2, "x" * 10_000))
    assert (remembered.get(1), remembered.get(2)) == (message(1), None)
    NOTHING.put(message(3))
    assert NOTHING.get(3) is None


def test_not_where_other_rows_are_told_of() -> None:
    remembered = Remembered()
    notes = Attached(Attachment(kind="file", name="n", media_type="text/plain", size=1, reference="r"), None)
    held = message(1)
    remembered.put(StoredMessage(**{name: getattr(held, name) for name in held.__slots__} | {"attachments": (notes,)}))
    assert remembered.get(1) is None


def test_another_writer_makes_it_forget() -> None:
    remembered = Remembered()
    remembered.at(1)
    remembered.put(message(1))
    remembered.at(1)
    assert remembered.get(1)
    remembered.at(2)
    assert remembered.get(1) is None


@pytest.mark.parametrize(
    ("statement", "changing"),
    [
        (update(messages).values(text=""), True),
        (update(messages).values(text="").execution_options(**UNREAD), False),
        (delete(messages), True),
        (delete(conversations), True),
        (insert(messages), False),
        (update(answers).values(state=""), False),
    ],
)
def test_which_statements_change_messages(statement: UpdateBase, changing: bool) -> None:
    assert changes(statement) is changing
    assert not changes(select(messages))
