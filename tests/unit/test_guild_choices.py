"""The settings of a guild, and of conversations in it, as messages with buttons."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import choices, guild_choices
from bot.config import Config
from bot.messages import GuildSettings, Settings
from bot.options import MOST_SELECTED, TITLES, Page
from bot.settings import merged
from tests.house import configuration

RICH = configuration(
    models={"big": {"path": "big.fake", "description": "the big one"}},
    personas={"pirate": {"system": "You are a pirate.", "description": "says arr", "model": "big"}},
)
FULL = Settings(model="big", persona="pirate", system_prompt="Arr.", retention_days=3, transcripts="asked")


def labels(shown: Page) -> list[str]:
    return [button.label for button in shown.buttons]


def ids(shown: Page) -> list[str]:
    return [button.id for button in shown.buttons]


def press(shown: Page, label: str) -> str:
    """The choice of a button, by its label."""
    [found] = [button.id for button in shown.buttons if button.label.removeprefix("✓ ") == label]
    return found.removeprefix("choose:")


def checked(shown: Page) -> list[str]:
    return [label.removeprefix("✓ ") for label in labels(shown) if label.startswith("✓ ")]


# What holds


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_each_setting_is_the_own_one_or_else_the_guild_s(name: str) -> None:
    own: Any = {"retention_days": 0}.get(name, "never" if name == "transcripts" else "own")
    around = Settings(**{name: getattr(FULL, name)})
    assert getattr(merged(Settings(), around), name) == getattr(FULL, name)
    assert getattr(merged(Settings(**{name: own}), around), name) == own
    assert merged(around, Settings()) == around


def test_an_own_persona_leaves_the_guild_s_system_prompt_out() -> None:
    assert merged(Settings(persona="default"), FULL).system_prompt is None
    assert merged(Settings(persona="default", system_prompt="Mine."), FULL).system_prompt == "Mine."
    assert merged(Settings(system_prompt="Mine."), FULL) == Settings(
        model="big", persona="pirate", system_prompt="Mine.", retention_days=3, transcripts="asked"
    )


# A conversation in a guild


def test_a_conversation_shows_what_holds_there_and_the_way_to_the_server() -> None:
    shown = choices.overview(Settings(retention_days=7), RICH, around=FULL)
    assert labels(shown) == [
        "Persona: pirate",
        "Model: big",
        "What I hear: by /transcript only",
        "Messages: kept for 7 days",
        "This server",
        "Close",
    ]
    assert "Persona: pirate with the server's system prompt - /persona NAME" in shown.text
    assert guild_choices.is_about(press(shown, "This server"))


@pytest.mark.parametrize(
    ("name", "usual", "own", "other"),
    [
        ("persona", "As the server has it (pirate)", Settings(persona="default"), "default"),
        ("model", "As the server has it (big)", Settings(model="default"), "default"),
        ("transcripts", "As the server has it (by /transcript only)", Settings(transcripts="never"), "Not shown"),
        ("keep", "As the server has it (kept for 3 days)", Settings(retention_days=0), "Not kept"),
    ],
)
def test_what_the_server_says_can_be_left_and_taken_again(name: str, usual: str, own: Settings, other: str) -> None:
    shown = choices.page(name, Settings(), RICH, around=FULL)
    assert checked(shown) == [usual]
    after = choices.chosen(press(shown, other), Settings(), RICH)
    assert after == own
    shown = choices.page(name, after, RICH, around=FULL)
    assert checked(shown) == [other]
    assert choices.chosen(press(shown, usual), after, RICH) == Settings()


def test_where_the_server_says_nothing_of_the_model_the_persona_does() -> None:
    shown = choices.page("model", Settings(), RICH, around=Settings(persona="pirate"))
    assert checked(shown) == ["As the persona has it (big)"]


# The guild


def test_the_first_page_of_a_guild() -> None:
    shown = guild_choices.overview(GuildSettings(settings=FULL, trigger="always"), RICH)
    assert [(button.id, button.label) for button in shown.buttons] == [
        ("choose:server.persona", "Persona: pirate"),
        ("choose:server.model", "Model: big"),
        ("choose:server.trigger", "What I answer: everything that people say"),
        ("choose:server.transcripts", "What I hear: by /transcript only"),
        ("choose:server.keep", "Messages: kept for 3 days"),
        ("choose:back", "This conversation"),
        ("choose:close", "Close"),
    ]
    assert shown.text.splitlines() == [
        "The settings of this server, for every conversation in it that has none of its own:",
        "",
        "Persona: pirate with a system prompt (/server system) - /server persona NAME",
        "Model: big - /server model NAME",
        "What I answer: everything that people say - /server trigger WHAT",
        "What I hear in recordings: by /transcript only - /server transcripts WHEN",
        "Messages: kept for 3 days - /server privacy DAYS",
    ]
    assert labels(guild_choices.overview(GuildSettings(), RICH))[:5] == [
        "Persona: default",
        "Model: default",
        "What I answer: as configured",
        "What I hear: above the answer",
        "Messages: kept for 30 days",
    ]


@pytest.mark.parametrize(
    ("name", "label", "own", "after"),
    [
        ("persona", "pirate", GuildSettings(), GuildSettings(settings=Settings(persona="pirate"))),
        (
            "model",
            "As the persona has it (default)",
            GuildSettings(settings=Settings(model="big"), trigger="always"),
            GuildSettings(trigger="always"),
        ),
        ("trigger", "Everything that people say", GuildSettings(settings=FULL), GuildSettings(settings=FULL, trigger="always")),
        ("trigger", "What is addressed to me", GuildSettings(trigger="always"), GuildSettings(trigger="mention")),
        ("trigger", "As configured", GuildSettings(trigger="always"), GuildSettings()),
        ("transcripts", "Not shown", GuildSettings(), GuildSettings(settings=Settings(transcripts="never"))),
        ("keep", "Not kept", GuildSettings(), GuildSettings(settings=Settings(retention_days=0))),
        ("keep", "As configured (kept for 30 days)", GuildSettings(settings=Settings(retention_days=0)), GuildSettings()),
    ],
)  # fmt: skip
def test_a_press_changes_its_setting_and_marks_it(
    name: str, label: str, own: GuildSettings, after: GuildSettings
) -> None:
    choice = press(guild_choices.page(f"server.{name}", own, RICH), label)
    assert guild_choices.chosen(choice, own, RICH) == after
    assert checked(guild_choices.page(choice, after, RICH)) == [label]


@pytest.mark.parametrize("choice", ["server", "server.", "server.close", "server.trigger:", "server.trigger:often",
                                    "server.persona:00000000", "server.keep:-1", "server.server.keep:1", "server.x:1"])  # fmt: skip
def test_an_odd_press_changes_nothing(choice: str) -> None:
    own = GuildSettings(settings=FULL, trigger="always")
    assert guild_choices.is_about(choice)
    assert guild_choices.chosen(choice, own, RICH) == own
    assert guild_choices.page(choice, own, RICH).text


def test_the_ways_between_the_pages() -> None:
    own = GuildSettings(trigger="always")
    for name in guild_choices.GROUPS:
        shown = guild_choices.page(f"server.{name}", own, RICH)
        assert guild_choices.page(press(shown, "Back"), own, RICH) == guild_choices.overview(own, RICH)
    back = press(guild_choices.overview(own, RICH), "This conversation")
    assert not guild_choices.is_about(back)
    assert choices.page(back, Settings(), RICH, around=FULL) == choices.overview(Settings(), RICH, around=FULL)
    assert not any(guild_choices.is_about(choice) for choice in ("", "serverless", "persona", "close", "keep:7"))


def test_where_there_are_selects_one_page_has_all() -> None:
    shown = guild_choices.overview(GuildSettings(settings=FULL), RICH, selects=True)
    titles = [TITLES[name] for name in guild_choices.GROUPS]
    assert [group for group in dict.fromkeys(button.group for button in shown.buttons) if group] == titles
    assert guild_choices.page("server.keep:7", GuildSettings(settings=FULL), RICH, selects=True) == shown
    for title in titles:
        assert [button.chosen for button in shown.buttons if button.group == title].count(True) == 1


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)


@st.composite
def configured(draw: st.DrawFn) -> tuple[Settings, GuildSettings, Config]:
    """Settings that were good for some configuration, and the one of today."""
    models = draw(st.dictionaries(NAMES, WORDS, max_size=40))
    personas = draw(st.dictionaries(NAMES, WORDS, max_size=120))
    config = configuration(
        models={name: {"path": "scripted.fake", "description": about} for name, about in models.items()},
        personas={name: {"description": about} for name, about in personas.items()},
    )
    either = st.builds(
        Settings,
        persona=st.none() | NAMES | st.sampled_from([*config.personas]),
        model=st.none() | NAMES | st.sampled_from([*config.models]),
        system_prompt=st.none() | WORDS,
        retention_days=st.none() | st.integers(0, 36_500),
        transcripts=st.sampled_from([None, "always", "asked", "never"]),
    )
    guild = st.builds(GuildSettings, settings=either, trigger=st.sampled_from([None, "mention", "always"]))
    return draw(either), draw(guild), config


@given(configured(), st.booleans())
def test_every_page_fits_every_platform_and_marks_one_value(
    case: tuple[Settings, GuildSettings, Config], selects: bool
) -> None:
    """Telegram: 100 buttons, ids of 64 bytes. Discord: texts of 2000 characters, selects of 25."""
    own, guild, config = case
    pages = {
        name: choices.page(name, own, config, around=guild.settings, selects=selects) for name in ("", *choices.GROUPS)
    } | {
        f"server.{name}": guild_choices.page(f"server.{name}", guild, config, selects=selects)
        for name in ("", *guild_choices.GROUPS)
    }
    for name, shown in pages.items():
        assert 0 < len(shown.text) <= 1500
        assert len(set(ids(shown))) == len(shown.buttons)
        assert all(button.id.isascii() and len(button.id) <= 64 for button in shown.buttons)
        assert all(0 < len(button.label) <= 100 for button in shown.buttons)
        groups = [button.group for button in shown.buttons if button.group]
        assert not selects or max(map(groups.count, groups)) <= MOST_SELECTED + 1
        assert selects or len(shown.buttons) <= 100
        if selects:
            for title in set(groups):
                assert [button.chosen for button in shown.buttons if button.group == title].count(True) == 1
        else:
            assert len(checked(shown)) == (1 if name not in {"", "server."} else 0)
