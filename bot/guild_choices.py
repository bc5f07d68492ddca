"""A guild's settings as a message with buttons, beside the pages of a conversation in it (`bot.choices`). Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from bot import choices
from bot.config import Config
from bot.messages import Button, GuildSettings, Trigger
from bot.options import (
    CLOSE,
    GUILD,
    MOST_SELECTED,
    TRIGGERS,
    USUAL,
    Held,
    Page,
    alternatives,
    group,
    label,
    lines,
    rests,
    value,
)

GROUPS = ("persona", "model", "trigger", "transcripts", "keep")
TO_CONVERSATION = Button("choose:back", "This conversation")


def is_about(choice: str) -> bool:
    """Whether a press leads to, or is on, a page of the guild."""
    return choice == GUILD or choice.startswith(f"{GUILD}.")


def page(choice: str, guild: GuildSettings, config: Config, *, selects: bool = False) -> Page:
    """What is shown once a button was pressed for which `is_about` holds. `selects`: see `bot.choices.page`."""
    name = choice.removeprefix(f"{GUILD}.").partition(":")[0]
    if name not in GROUPS or selects:
        return overview(guild, config, selects=selects)
    return alternatives(name, _held(guild, config), Button(f"choose:{GUILD}", "Back"))


def overview(guild: GuildSettings, config: Config, *, selects: bool = False) -> Page:
    """The first page, as that of a conversation."""
    held, ways = _held(guild, config), (TO_CONVERSATION, CLOSE)
    if selects:
        text = lines(_overview(held), rests(held, MOST_SELECTED))
        return Page(text, (*(b for name in GROUPS for b in group(name, held, MOST_SELECTED)), *ways))
    buttons = (Button(f"{held.prefix}{name}", label(name, held)) for name in GROUPS)
    return Page(_overview(held), (*buttons, *ways))


def chosen(choice: str, guild: GuildSettings, config: Config) -> GuildSettings:
    """The settings after a press: the same ones for what leads elsewhere, and for what is not there (any more)."""
    inner = choice.removeprefix(f"{GUILD}.")
    name, _, word = inner.partition(":")
    if name == "trigger":
        return with_trigger(guild, word) if word in (USUAL, *TRIGGERS) else guild
    return replace(guild, settings=choices.chosen(inner, guild.settings, config))


def with_trigger(guild: GuildSettings, word: str) -> GuildSettings:
    """One of `Trigger`; anything else is what the configuration says."""
    return replace(guild, trigger=next((known for known in get_args(Trigger) if known == word), None))


def told(name: str, guild: GuildSettings, config: Config) -> str:
    """What holds of one setting, in words."""
    return label(name, _held(guild, config))


def _held(guild: GuildSettings, config: Config) -> Held:
    return Held(guild.settings, config, guild=True, trigger=guild.trigger)


def _overview(held: Held) -> str:
    own = f" with a system prompt (/{GUILD} system)" if held.own.system_prompt else ""
    rows = (
        f"Persona: {value('persona', held)}{own} - /{GUILD} persona NAME",
        f"Model: {value('model', held)} - /{GUILD} model NAME",
        f"What I answer: {value('trigger', held)} - /{GUILD} trigger WHAT",
        f"What I hear in recordings: {value('transcripts', held)} - /{GUILD} transcripts WHEN",
        f"Messages: {value('keep', held)} - /{GUILD} privacy DAYS",
    )
    head = "The settings of this server, for every conversation in it that has none of its own:"
    return "\n".join([head, "", *rows])
