"""What is said of a new key on the command line: when it ends, its name, its organisation, its models."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.config import Config
from bot.errors import ConfigError
from bot.keys_cli import check, ends

CONFIG = Config()
NOW = datetime(2026, 12, 30, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("0d", datetime(2026, 12, 31, tzinfo=UTC)),
        ("1d", datetime(2027, 1, 1, tzinfo=UTC)),
        ("90d", datetime(2027, 3, 31, tzinfo=UTC)),
        ("2026-12-30", datetime(2026, 12, 31, tzinfo=UTC)),
        ("2027-01-31", datetime(2027, 2, 1, tzinfo=UTC)),
        ("2028-02-29", datetime(2028, 3, 1, tzinfo=UTC)),
    ],
)
def test_a_key_is_good_through_its_last_day(text: str, end: datetime) -> None:
    assert ends(text, NOW) == end


def test_without_a_word_it_does_not_end() -> None:
    assert ends("", NOW) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-12-29", "that day is over (today is 2026-12-30, in UTC)"),
        ("9999-12-31", "too far away"),
        ("999999d", "too far away"),
        ("9999999d", "such as 90d"),
        ("90", "such as 90d"),
        ("-5d", "such as 90d"),
        ("2027-02-29", "such as 2027-01-31"),
        ("31.1.2027", "such as 2027-01-31"),
        ("90 days", "such as 90d"),
    ],
)
def test_what_is_no_day_is_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as told:
        ends(text, NOW)
    assert words in str(told.value)
    assert str(told.value).startswith(f"--expires {text}: ")


@pytest.mark.parametrize("name", ["a", "website", "Ada.s-notebook_2", "x" * 64])
def test_names_that_can_be(name: str) -> None:
    check(CONFIG, name, name, [])
    check(CONFIG, name, "", [])


@pytest.mark.parametrize("name", ["", "-", "-a", ".", "a b", "ä", "x" * 65, "a\x1b[2J", "a\n", "a/b", "٣"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ConfigError, match="a key's name is 1 to 64 letters, digits"):
        check(CONFIG, name, "", [])
    if name:
        with pytest.raises(ConfigError, match="an organisation is 1 to 64 letters, digits"):
            check(CONFIG, "a", name, [])


def test_models_go_by_every_name_that_programs_know() -> None:
    config = Config.model_validate({"api": {"aliases": {"house": "default"}}})
    check(config, "a", "", ["default", "gpt-3.5-turbo", "house", "hearth-demo-chat-2026-11-21"])
    with pytest.raises(ConfigError, match=r"--model hause: there is no such model; did you mean house\?"):
        check(config, "a", "", ["default", "hause"])
    with pytest.raises(ConfigError, match="there are default, "):
        check(config, "a", "", ["nonsense"])
