"""Values <-> columns, pure."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from bot.cleaning import clean
from bot.errors import DatabaseError
from bot.messages import AnswerState, Author, Button, ConversationKey, File, Finished, Message
from bot.options import CLOSE
from storage.failures import translated
from storage.values import (
    micros,
    pack_event,
    pack_finished,
    pack_ids,
    time_of,
    unpack_author,
    unpack_finished,
    unpack_ids,
)

NOON = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)


@given(st.text(alphabet=st.characters(codec=None)))
def test_clean_text_is_utf8_without_nul_and_cleaning_it_again_changes_nothing(sent: str) -> None:
    kept = clean(sent)
    kept.encode()
    assert "\x00" not in kept
    assert clean(kept) == kept


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00")))
def test_what_a_database_can_hold_is_not_touched(sent: str) -> None:
    assert clean(sent) == sent


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("\x00", "\ufffd"), ("a\udfffb\ud800", "a\ufffdb\ufffd"), ("\ud83d\ude00\ud83d", "\U0001f600\ufffd"), ("é", "é")],
)
def test_what_it_cannot_hold_is_replaced(sent: str, kept: str) -> None:
    assert clean(sent) == kept


@pytest.mark.parametrize("name", [each.name for each in fields(Author)][2:])
def test_whatever_is_known_of_an_author_is_kept(name: str) -> None:
    """Each on its own: nearly all authors have nothing but an id and a name, and those are quick to read."""
    plain = Author("7", "Ann")
    known: dict[type, object] = {bool: True, str: "5", frozenset: frozenset({"1"})}
    author = replace(plain, **{name: known[type(getattr(plain, name))]})  # type: ignore[arg-type]
    event = Message(key=ConversationKey("p", "a", "c"), event_id="1", author=author, text="hello", sent_at=NOON)
    assert unpack_author("7", "Ann", pack_event(event)) == author != plain


def test_times_are_microseconds_of_utc() -> None:

    assert micros(NOON) == 1_772_366_400_000_005
    assert time_of(1_772_366_400_000_005) == NOON
    assert micros(NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))) == micros(NOON)


@given(st.none() | st.lists(st.integers(0, 2**32 - 1)).map(tuple))
def test_token_ids_come_back(ids: tuple[int, ...] | None) -> None:
    assert unpack_ids(pack_ids(ids)) == ids


@given(st.text(alphabet=st.characters(codec=None)))
def test_words_in_json_are_as_clean_as_those_in_columns(said: str) -> None:
    done = Finished(outcome=AnswerState.DONE, text=said, files=(File(said, "text/plain", b""),))
    kept = pack_finished(done)
    assert clean(kept) == kept
    assert unpack_finished(kept) == replace(done, text=clean(said), files=(File(clean(said), "text/plain", b""),))


def test_an_answer_that_an_earlier_version_kept_comes_back() -> None:
    """It knew of no buttons, or of no groups of them."""
    done = Finished(outcome=AnswerState.DONE, text="Hello")
    kept = json.loads(pack_finished(done))
    assert unpack_finished(json.dumps({**kept, "buttons": [["choose:close", "Close"]]})).buttons == (CLOSE,)
    del kept["buttons"]
    assert unpack_finished(json.dumps(kept)) == done


@pytest.mark.parametrize(
    "author",
    [
        Author("1", "Ada"),
        Author("2", "Bot", is_bot=True),
        Author("3", "Cy", roles=frozenset({"7", "8"}), guild="9"),
        Author("4", "Di", guild="9", manages=True),
    ],
)
def test_an_author_comes_back_as_they_were_when_they_wrote(author: Author) -> None:
    said = Message(key=ConversationKey("discord", "bot", "1"), event_id="1", author=author, text="hi", sent_at=NOON)
    assert unpack_author(author.id, author.name, pack_event(said)) == author


def test_the_buttons_of_a_kept_answer_come_back() -> None:
    own = (Button("choose:keep:1", "Kept for 1 day", group="Messages", chosen=True), CLOSE)
    done = Finished(outcome=AnswerState.DONE, text="Hello", buttons=own)
    assert unpack_finished(pack_finished(done)) == done


def test_token_ids_are_little_endian_on_every_machine() -> None:
    assert pack_ids((1, 70000)) == b"\x01\x00\x00\x00\x70\x11\x01\x00"


def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'small.db'}")
    with engine.connect() as connection:
        connection.execute(text("PRAGMA max_page_count = 2"))
        with (
            pytest.raises(DatabaseError, match=r"^here: the disk is full; nothing of this was written$") as told,
            translated("here"),
        ):
            connection.execute(text("CREATE TABLE a (b)"))
            connection.execute(text("CREATE TABLE c (d)"))
    assert isinstance(told.value.__cause__, DBAPIError)
    engine.dispose()


def test_a_file_locked_by_another_program_is_told_in_words(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}", connect_args={"timeout": 0})
        with (
            pytest.raises(DatabaseError, match="another program holds it locked"),
            translated("here"),
            engine.connect() as connection,
        ):
            connection.execute(text("CREATE TABLE a (b)"))
        engine.dispose()


def test_an_error_of_the_disk_is_told_in_words() -> None:
    with pytest.raises(DatabaseError, match="here: No space left on device"), translated("here"):
        raise OSError(28, "No space left on device")
