"""What holds in a conversation: its own settings, then the persona's, then the configuration's."""

import pytest

from bot.messages import Settings
from bot.settings import days_of, is_days, model_of, persona_of, transcripts_of
from tests.house import configuration

RICH = configuration(
    models={"big": {"path": "big.fake"}, "small": {"path": "small.fake"}},
    personas={"pirate": {"system": "You are a pirate.", "model": "big"}},
    chat={"transcripts": "asked"},
    retention={"days": 14},
)


@pytest.mark.parametrize(
    ("own", "persona", "model"),
    [
        (Settings(), "default", "default"),
        (Settings(persona="pirate"), "pirate", "big"),
        (Settings(persona="pirate", model="small"), "pirate", "small"),
        (Settings(persona="gone", model="small"), "default", "small"),
        (Settings(persona="pirate", model="gone"), "pirate", "default"),
    ],
)
def test_who_answers(own: Settings, persona: str, model: str) -> None:
    assert (persona_of(own, RICH), model_of(own, RICH)) == (persona, model)


def test_what_is_not_set_is_as_configured() -> None:
    assert (transcripts_of(Settings(), RICH), days_of(Settings(), RICH)) == ("asked", 14)
    own = Settings(transcripts="never", retention_days=0)
    assert (transcripts_of(own, RICH), days_of(own, RICH)) == ("never", 0)


@pytest.mark.parametrize(
    ("typed", "days"),
    [("0", True), ("36500", True), ("36501", False), ("-1", False), ("1.5", False), ("", False), ("٣", False)],
)
def test_what_is_a_number_of_days(typed: str, days: bool) -> None:
    assert is_days(typed) is days
