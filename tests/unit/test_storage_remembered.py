"""Messages that are remembered: how many, and which statements make them be forgotten."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.sql.dml import UpdateBase

from bot.messages import Attached, Attachment, Author, MessageState, Role, StoredMessage
from storage.models import answers, conversations, messages
from storage.remembered import NOTHING, UNREAD, Remembered, changes, changes_one

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def message(id_: int, text: str = "", *, tokens: int = 0, roles: int = 0) -> StoredMessage:
    return StoredMessage(
        id=id_,
        parent=None,
        role=Role.USER,
        text=text,
        author=Author("1", "Ann", roles=frozenset(map(str, range(roles)))),
        state=MessageState.FINAL,
        created_at=NOW,
        token_ids=tuple(range(tokens)),
    )


def held(remembered: Remembered, *ids: int) -> list[int]:
    return [id_ for id_ in ids if remembered.get(id_)]


def test_as_much_as_there_is_room_for() -> None:
    remembered = Remembered(100_000)
    for number in range(50):
        remembered.put(message(number, "x" * 9_000))
    assert held(remembered, *range(50)) == list(range(41, 50))


@pytest.mark.parametrize("large", [{"tokens": 1_000}, {"roles": 500}, {"text": "\N{FIRE}" * 10_000}])
def test_a_large_one_takes_the_place_of_several(large: dict[str, Any]) -> None:
    remembered = Remembered(100_000)
    for number in range(50):
        remembered.put(message(number, "x" * 9_000))
    remembered.put(message(50, **large))
    assert remembered.get(50)
    assert len(held(remembered, *range(50))) <= 6


def test_what_is_asked_for_stays() -> None:
    remembered = Remembered(100_000)
    for number in range(50):
        remembered.put(message(number, "x" * 9_000))
        assert remembered.get(0)


def test_what_is_put_again_counts_once() -> None:
    remembered = Remembered(12_000)
    for _ in range(100):
        remembered.put(message(1, "x" * 4_000))
        remembered.put(message(2, "x" * 4_000))
    assert held(remembered, 1, 2) == [1, 2]
    remembered.forget(1)
    remembered.forget(1)
    remembered.put(message(3, "x" * 4_000))
    assert held(remembered, 2, 3) == [2, 3]


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
    plain = message(1)
    remembered.put(
        StoredMessage(**{name: getattr(plain, name) for name in plain.__slots__} | {"attachments": (notes,)})
    )
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


def test_a_statement_that_changes_one_message_is_known() -> None:
    one = messages.c.id == bindparam("k_id")
    assert changes_one(update(messages).where(one).values(text=""))
    assert not changes_one(update(messages).where(messages.c.answer == bindparam("k_id")).values(text=""))
    assert not changes_one(update(messages).where(one | messages.c.placed).values(text=""))
    assert not changes_one(update(messages).values(text=""))
    assert not changes_one(delete(messages).where(one))
