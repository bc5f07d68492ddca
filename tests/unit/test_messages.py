"""The vocabulary: frozen values that compare by what they say."""

from dataclasses import FrozenInstanceError, fields, is_dataclass
from datetime import UTC, datetime

import pytest

from bot import generation, messages
from bot.messages import ActionName, AnswerState, Author, ConversationKey, Deleted, Limits, Message, Role

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (ConversationKey("telegram", "bot", "-100"), "telegram/bot/-100"),
        (ConversationKey("discord", "bot", "1", "2"), "discord/bot/1/2"),
    ],
)
def test_a_conversations_name_is_its_path(key: ConversationKey, text: str) -> None:
    assert str(key) == text


def test_every_value_is_frozen_and_has_no_room_for_others() -> None:
    named = {**vars(messages), **vars(generation)}
    values = [value for value in named.values() if isinstance(value, type) and is_dataclass(value)]
    assert len(values) > 30
    for value in values:
        assert value.__dataclass_params__.frozen, value  # type: ignore[attr-defined]  # every dataclass has them
        assert "__dict__" not in dir(value), value
        places = {name for each in value.__mro__ for name in getattr(each, "__slots__", ())}
        assert all(field.name in places for field in fields(value)), value


def test_a_value_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Author("1", "Ada").name = "Eve"  # type: ignore[misc]  # the point of the test


def test_equal_values_are_the_same() -> None:
    key = ConversationKey("telegram", "bot", "-100")
    one, other = (Message(key=key, event_id="1", author=Author("1", "Ada"), text="hi", sent_at=NOW) for _ in range(2))
    assert one == other
    assert len({one, other}) == 1


def test_a_deletion_is_no_revision_of_the_message() -> None:
    """Both are remembered, whichever comes first."""
    key = ConversationKey("telegram", "bot", "-100")
    said = Message(key=key, event_id="1", author=Author("1", "Ada"), text="hi", sent_at=NOW)
    assert Deleted(key=key, event_id="1", sent_at=NOW).revision < said.revision


def test_the_words_that_are_stored_and_sent_stay_as_they_are() -> None:
    """They are in databases, in buttons of old messages and in prompts: a new word needs a migration."""
    assert [str(role) for role in Role] == ["system", "developer", "user", "assistant", "tool"]
    assert [str(name) for name in ActionName] == ["stop", "retry", "choose", "branch"]
    assert [str(state) for state in AnswerState] == [
        "pending",
        "claimed",
        "streaming",
        "done",
        "stopped",
        "failed",
        "expired",
    ]
    assert [str(state) for state in messages.MessageState] == [
        "pending",
        "context",
        "answered",
        "final",
        "stopped",
        "command",
    ]


def test_a_platform_that_says_nothing_can_do_little() -> None:
    limits = Limits(text=10)
    assert limits.measure("twelve chars") == 12
    assert not (limits.previews or limits.buttons or limits.files or limits.private_answers or limits.file_bytes)
