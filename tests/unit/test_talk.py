"""What the events of all chat platforms have in common: quotes, edits and the ids of buttons."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.talk import LONGEST_QUOTE, as_edit, pressed, quoted, with_quotes
from bot.messages import ActionName, Author, ConversationKey, Edited, Message

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SAID = Message(
    key=ConversationKey("discord", "bot", "1"), event_id="7", author=Author("42", "Ada"), text="hi", sent_at=NOW
)


def test_a_quote_says_who_and_what_on_each_line() -> None:
    assert quoted("I will be late.\n\nSorry!", "Bea") == "> Bea: I will be late.\n>\n> Sorry!"
    assert quoted("late") == "> late"


def test_of_a_long_text_the_beginning_is_quoted() -> None:
    assert quoted("x" * LONGEST_QUOTE) == "> " + "x" * LONGEST_QUOTE
    assert quoted("x" * (LONGEST_QUOTE + 1)) == "> " + "x" * LONGEST_QUOTE + " ..."


def test_quotes_stand_before_what_is_said_about_them() -> None:
    assert with_quotes("why?", "> one", "", "> two") == "> one\n\n> two\n\nwhy?"
    assert with_quotes("", "> one") == "> one"
    assert with_quotes("why?") == "why?"


def test_a_command_stays_one() -> None:
    assert with_quotes("/forget", "> one") == "/forget"


def test_an_edit_changes_a_text() -> None:
    later = NOW + timedelta(minutes=1)
    for said in (SAID, replace(SAID, direct=True), replace(SAID, direct=True, addressed=True)):
        edit = as_edit(replace(said, revision=5), later)
        assert isinstance(edit, Edited)
        assert (edit.key, edit.event_id, edit.author) == (said.key, "7", said.author)
        assert (edit.text, edit.revision, edit.sent_at) == ("hi", 5, later)


def test_an_edit_that_calls_the_bot_is_a_message() -> None:
    called = replace(SAID, addressed=True, revision=5)
    assert as_edit(called, NOW) is called


@pytest.mark.parametrize(
    ("button", "asked"),
    [
        ("stop:7", (ActionName.STOP, "7")),
        ("retry:7", (ActionName.RETRY, "7")),
        ("branch:7", (ActionName.BRANCH, "7")),
        ("choose:persona:1f0c9a3e", (ActionName.CHOOSE, "persona:1f0c9a3e")),
        ("choose", (ActionName.CHOOSE, "")),
        ("else:7", None),
        ("", None),
        ("STOP:7", None),
    ],
)
def test_a_buttons_id_says_what_is_asked_for(button: str, asked: tuple[ActionName, str] | None) -> None:
    assert pressed(button) == asked
