"""Settings as a message with buttons: what each page shows, what each press changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.choices import chosen, overview, page
from bot.config import Config
from bot.messages import Settings
from bot.options import MOST, MOST_SELECTED, Page
from bot.settings import model_of, persona_of
from tests.house import configuration

PAGES = ("persona", "model", "transcripts", "keep")
RICH = configuration(
    models={"big": {"path": "big.fake", "description": "the big one"}},
    personas={"pirate": {"system": "You are a pirate.", "description": "says arr", "model": "big"}},
)


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


def test_the_first_page_has_a_button_for_each_setting() -> None:
    shown = overview(Settings(persona="pirate", retention_days=1), RICH)
    assert [(button.id, button.label) for button in shown.buttons] == [
        ("choose:persona", "Persona: pirate"),
        ("choose:model", "Model: big"),
        ("choose:transcripts", "What I hear: above the answer"),
        ("choose:keep", "Messages: kept for 1 day"),
        ("choose:close", "Close"),
    ]


def test_the_page_of_personas() -> None:
    shown = page("persona", Settings(persona="pirate", system_prompt="Be brief."), RICH)
    assert shown.text.splitlines() == [
        "The persona is pirate.",
        "says arr",
        "This conversation has a system prompt of its own; a persona takes its place.",
    ]
    assert labels(shown) == ["default", "✓ pirate", "Back", "Close"]
    assert ids(shown)[:2] == ["choose:persona:37a8eec1", "choose:persona:03bdd14e"]


def test_the_page_of_models() -> None:
    shown = page("model", Settings(persona="pirate"), RICH)
    assert shown.text == "The model is big.\nthe big one"
    assert labels(shown) == ["✓ As the persona has it (big)", "default", "big", "Back", "Close"]
    assert checked(page("model", Settings(persona="pirate", model="default"), RICH)) == ["default"]


def test_the_page_of_what_is_heard() -> None:
    shown = page("transcripts", Settings(transcripts="never"), RICH)
    assert shown.text == "What I hear in recordings is shown: not shown."
    assert ids(shown)[:4] == [f"choose:transcripts:{way}" for way in ("default", "always", "asked", "never")]
    assert checked(shown) == ["Not shown"]


@pytest.mark.parametrize(
    ("own", "marked"),
    [(None, "As configured (kept for 30 days)"), (0, "Not kept"), (14, "Kept for 14 days"), (90, "Kept for 90 days")],
)
def test_the_page_of_days_marks_the_present_ones(own: int | None, marked: str) -> None:
    """Also a number that was typed and is none of the steps."""
    shown = page("keep", Settings(retention_days=own), RICH)
    assert checked(shown) == [marked]
    steps = [choice.rpartition(":")[2] for choice in ids(shown)[:-2]]
    assert steps == ["default", *map(str, sorted({0, 1, 7, 30, 90} | (set() if own is None else {own})))]


@pytest.mark.parametrize(
    ("name", "label", "own", "after"),
    [
        ("persona", "pirate", Settings(system_prompt="Be brief."), Settings(persona="pirate")),
        ("persona", "default", Settings(persona="pirate"), Settings(persona="default")),
        ("model", "big", Settings(persona="pirate"), Settings(persona="pirate", model="big")),
        ("model", "As the persona has it (default)", Settings(model="big"), Settings()),
        ("transcripts", "By /transcript only", Settings(), Settings(transcripts="asked")),
        ("transcripts", "As configured (above the answer)", Settings(transcripts="asked"), Settings()),
        ("keep", "Kept for 7 days", Settings(model="big"), Settings(model="big", retention_days=7)),
        ("keep", "Not kept", Settings(), Settings(retention_days=0)),
        ("keep", "As configured (kept for 30 days)", Settings(retention_days=0), Settings()),
    ],
)
def test_a_press_changes_its_setting_and_marks_it(name: str, label: str, own: Settings, after: Settings) -> None:
    choice = press(page(name, own, RICH), label)
    assert chosen(choice, own, RICH) == after
    assert checked(page(choice, after, RICH)) == [label]


def test_the_way_back_and_out() -> None:
    own = Settings(persona="pirate")
    shown = page("keep", own, RICH)
    assert ids(shown)[-2:] == ["choose:back", "choose:close"]
    assert page("back", own, RICH) == overview(own, RICH)
    assert page("close", own, RICH) == Page(overview(own, RICH).text, ())


def test_a_persona_that_is_gone_changes_nothing_and_the_page_has_the_truth() -> None:
    own = Settings(persona="pirate")
    choice = press(page("persona", own, RICH), "pirate")
    poor = configuration()
    assert chosen(choice, own, poor) == own
    assert labels(page(choice, own, poor)) == ["✓ default", "Back", "Close"]


@pytest.mark.parametrize(
    "choice",
    ["", "x", "back:1", "close:1", "persona:", "persona:pirate", "model:00000000", "transcripts:often", "transcripts:",
     "keep:", "keep:-1", "keep:36501", "keep:1e3", "keep:٣", "keep:" + "9" * 60],
)  # fmt: skip
def test_an_odd_press_changes_nothing(choice: str) -> None:
    own = Settings(persona="pirate", model="big", system_prompt="Arr.", retention_days=3, transcripts="asked")
    assert chosen(choice, own, RICH) == own
    assert page(choice, own, RICH).text


# Where there are selects


def groups(shown: Page) -> dict[str, list[str]]:
    """The labels of each group."""
    found: dict[str, list[str]] = {}
    for button in shown.buttons:
        found.setdefault(button.group, []).append(button.label)
    return found


def test_with_selects_all_choices_are_on_one_page() -> None:
    own = Settings(persona="pirate", retention_days=1)
    shown = overview(own, RICH, selects=True)
    assert shown.text == overview(own, RICH).text
    assert groups(shown) == {
        "Persona": ["default", "pirate"],
        "Model": ["As the persona has it (big)", "default", "big"],
        "What I hear in recordings": [
            "As configured (above the answer)",
            "Above the answer",
            "By /transcript only",
            "Not shown",
        ],
        "Messages": [
            "As configured (kept for 30 days)",
            "Not kept",
            "Kept for 1 day",
            "Kept for 7 days",
            "Kept for 30 days",
            "Kept for 90 days",
        ],
        "": ["Close"],
    }
    assert [button.label for button in shown.buttons if button.chosen] == [
        "pirate",
        "As the persona has it (big)",
        "As configured (above the answer)",
        "Kept for 1 day",
    ]


@pytest.mark.parametrize("choice", ["back", *PAGES, "persona:37a8eec1", "odd"])
def test_with_selects_every_press_shows_that_page_again(choice: str) -> None:
    own = Settings(persona="pirate")
    assert page(choice, own, RICH, selects=True) == overview(own, RICH, selects=True)
    assert page("close", own, RICH, selects=True) == Page(overview(own, RICH).text, ())


def test_more_personas_than_a_select_holds_are_reached_by_name() -> None:
    shown = overview(Settings(persona="p150"), many(200), selects=True)
    assert len(groups(shown)["Persona"]) == MOST_SELECTED
    assert next(button.label for button in shown.buttons if button.chosen) == "p150"
    assert shown.text.splitlines()[-1] == "/persona NAME chooses one of the 177 others."


def test_rows_of_buttons_know_their_group_too() -> None:
    shown = page("persona", Settings(persona="pirate"), RICH)
    assert [(b.label, b.group, b.chosen) for b in shown.buttons] == [
        ("default", "Persona", False),
        ("✓ pirate", "Persona", True),
        ("Back", "", False),
        ("Close", "", False),
    ]


def many(count: int) -> Config:
    personas = {f"p{number}": {"system": "x"} for number in range(count)}
    return configuration(personas=personas)


def test_more_personas_than_a_page_holds_are_reached_by_name() -> None:
    """The present one is shown whichever it is."""
    shown = page("persona", Settings(persona="p150"), many(200))
    assert len(shown.buttons) == MOST + 2
    assert checked(shown) == ["p150"]
    assert shown.text == "The persona is p150.\n/persona NAME chooses one of the 111 others."
    assert "others" not in page("persona", Settings(), many(MOST - 1)).text


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)


@st.composite
def configured(draw: st.DrawFn) -> tuple[Settings, Config]:
    """Settings that were good for some configuration, and the one of today."""
    models = draw(st.dictionaries(NAMES, WORDS, max_size=4))
    personas = draw(st.dictionaries(NAMES, WORDS, max_size=120))
    config = configuration(
        models={name: {"path": "scripted.fake", "description": about} for name, about in models.items()},
        personas={name: {"description": about} for name, about in personas.items()},
    )
    own: dict[str, Any] = {
        "persona": draw(st.none() | NAMES | st.sampled_from([*config.personas])),
        "model": draw(st.none() | NAMES | st.sampled_from([*config.models])),
        "system_prompt": draw(st.none() | WORDS),
        "retention_days": draw(st.none() | st.integers(0, 36_500)),
        "transcripts": draw(st.sampled_from([None, "always", "asked", "never"])),
    }
    return Settings(**own), config


@given(configured())
def test_every_page_fits_every_platform_and_marks_one_value(case: tuple[Settings, Config]) -> None:
    """Telegram: 100 buttons, ids of 64 bytes. Discord: texts of 2000 characters."""
    own, config = case
    for name in ("", *PAGES):
        shown = page(name, own, config)
        assert 0 < len(shown.text) <= 1000
        assert 0 < len(shown.buttons) <= 100
        assert len(set(ids(shown))) == len(shown.buttons)
        for button in shown.buttons:
            assert button.id.isascii()
            assert len(button.id) <= 64
            assert 0 < len(button.label) <= 100
            assert "\n" not in button.label
        assert len(checked(shown)) == (1 if name else 0)


@given(configured())
def test_every_select_fits_and_marks_one_value(case: tuple[Settings, Config]) -> None:
    """Discord: texts of 4000 characters with components, 25 alternatives, labels and values of 100."""
    shown = overview(*case, selects=True)
    assert 0 < len(shown.text) <= 1000
    assert len(set(ids(shown))) == len(shown.buttons)
    for title, found in groups(shown).items():
        assert len(found) <= 25
        assert all(0 < len(label) <= 100 for label in found)
        assert sum(b.chosen for b in shown.buttons if b.group == title) == (1 if title else 0)


@given(configured(), st.data())
def test_what_is_pressed_holds_from_then_on(case: tuple[Settings, Config], data: st.DataObject) -> None:
    """And nothing else has changed, but for the system prompt that a persona replaces."""
    own, config = case
    name = data.draw(st.sampled_from(PAGES))
    button = data.draw(st.sampled_from(page(name, own, config).buttons[:-2]))
    choice = button.id.removeprefix("choose:")
    after = chosen(choice, own, config)
    [marked] = [b.id for b in page(choice, after, config).buttons if b.label.startswith("✓ ")]
    assert marked == button.id
    assert chosen(choice, after, config) == after
    if name != "persona":
        assert persona_of(after, config) == persona_of(own, config)
    if name not in {"persona", "model"}:
        assert model_of(after, config) == model_of(own, config)


@given(configured(), st.text(max_size=80))
def test_no_press_breaks_anything(case: tuple[Settings, Config], choice: str) -> None:
    own, config = case
    assert page(choice, chosen(choice, own, config), config).text
