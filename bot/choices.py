"""A conversation's settings as a message with buttons: its pages, and what each press changes. Pure.

A button's id says all that a press needs: no page is remembered, and one that was shown before a restart goes on to
work.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from bot.config import Config
from bot.messages import Button, Settings, Transcripts
from bot.options import (
    CLOSE,
    GUILD,
    MOST_SELECTED,
    SHOWN,
    USUAL,
    Held,
    Page,
    alternatives,
    found,
    group,
    label,
    lines,
    rests,
    value,
)
from bot.settings import is_days

GROUPS = ("persona", "model", "transcripts", "keep")
GONE = "The conversation that these buttons were about is not there any more. /settings shows the present one."
TO_GUILD = Button(f"choose:{GUILD}", "This server")


def page(
    choice: str, settings: Settings, config: Config, *, around: Settings | None = None, selects: bool = False
) -> Page:
    """What is shown once a button was pressed (`Action.choice`); the overview for what is no page.

    `around`: what its guild says, if it is in one. `selects`: with all choices on one page, for a platform that has them
    (`Limits.selects`).
    """
    held, name = Held(settings, config, around), choice.partition(":")[0]
    if name == "close":
        return Page(_overview(held), ())
    if name not in GROUPS or selects:
        return overview(settings, config, around=around, selects=selects)
    return alternatives(name, held, Button("choose:back", "Back"))


def overview(settings: Settings, config: Config, *, around: Settings | None = None, selects: bool = False) -> Page:
    """The first page: what holds, and a button for each. The text alone says how to change it where buttons are none.

    In a guild there is a way to what holds for all of it. `selects`: the only page, with the alternatives themselves; then
    the text says how to reach what has no room in one.
    """
    held = Held(settings, config, around)
    ways = (CLOSE,) if around is None else (TO_GUILD, CLOSE)
    if selects:
        text = lines(_overview(held), rests(held, MOST_SELECTED))
        return Page(text, (*(b for name in GROUPS for b in group(name, held, MOST_SELECTED)), *ways))
    return Page(_overview(held), (*(Button(f"choose:{name}", label(name, held)) for name in GROUPS), *ways))


def chosen(choice: str, settings: Settings, config: Config) -> Settings:
    """The settings after a press: the same ones for what leads elsewhere, and for what is not there (any more)."""
    name, _, word = choice.partition(":")
    picked = found(word, config.personas if name == "persona" else config.models)
    known = picked is not None or word == USUAL
    match name:
        case "persona" if known:
            return with_persona(settings, picked)
        case "model" if known:
            return replace(settings, model=picked)
        case "transcripts" if word in (USUAL, *SHOWN):
            return with_transcripts(settings, word)
        case "keep" if word == USUAL or is_days(word):
            return with_days(settings, word)
    return settings


def with_persona(settings: Settings, persona: str | None) -> Settings:
    """A new persona takes the place of a system prompt."""
    return replace(settings, persona=persona, system_prompt=None)


def with_transcripts(settings: Settings, word: str) -> Settings:
    """One of `Transcripts`; anything else is what holds without a choice."""
    own = next((known for known in get_args(Transcripts) if known == word), None)
    return replace(settings, transcripts=own)


def with_days(settings: Settings, word: str) -> Settings:
    """A number for which `is_days` holds, or USUAL."""
    return replace(settings, retention_days=None if word == USUAL else int(word))


def _overview(held: Held) -> str:
    own = ""
    if held.here.system_prompt:
        own = (
            " with a system prompt of its own (/system)"
            if held.own.system_prompt
            else " with the server's system prompt"
        )
    rows = (
        f"Persona: {value('persona', held)}{own} - /persona NAME",
        f"Model: {value('model', held)} - /model NAME",
        f"What I hear in recordings: {value('transcripts', held)} - /transcripts WHEN",
        f"Messages: {value('keep', held)} - /privacy DAYS",
    )
    return "\n".join(["The settings of this conversation:", "", *rows])
