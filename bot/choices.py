"""A conversation's settings as a message with buttons: its pages, and what each press changes. Pure.

A button's id says all that a press needs: no page is remembered, and one that was shown before a restart goes on to
work. Names of personas and models can be longer than an id may be, so their hash stands for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import get_args

from bot.config import Config
from bot.messages import Button, Settings, Transcripts
from bot.settings import days_of, is_days, model_of, persona_of, transcripts_of

MOST = 90
"""Personas or models on a page: Telegram shows 100 buttons under a message, Back, Close and the usual are some of them."""
MOST_SELECTED = 24
"""The same for a select: Discord's have 25 alternatives."""
LONGEST = 60
"""Characters of a name, and with it of a label."""
EXCERPT = 200
"""Characters of a description."""
DAYS = (0, 1, 7, 30, 90)
"""Steps of retention; any other number is typed."""
USUAL = "default"
"""In an id: what the configuration says. No hash is so short."""
SHOWN: dict[Transcripts, str] = {"always": "above the answer", "asked": "by /transcript only", "never": "not shown"}
GROUPS = {"persona": "Persona", "model": "Model", "transcripts": "What I hear in recordings", "keep": "Messages"}
"""What can be chosen: the name in the ids, the title."""
CLOSE = Button("choose:close", "Close")
GONE = "The conversation that these buttons were about is not there any more. /settings shows the present one."


@dataclass(frozen=True, slots=True)
class Page:
    """A message of settings."""

    text: str
    """Markdown, a few hundred characters: within every platform's limit."""
    buttons: tuple[Button, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """A value that can be chosen."""

    id: str
    label: str
    present: bool


def page(choice: str, settings: Settings, config: Config, *, selects: bool = False) -> Page:
    """What is shown once a button was pressed (`Action.choice`); the overview for what is no page.

    `selects`: with all choices on one page, for a platform that has them (`Limits.selects`).
    """
    name = choice.partition(":")[0]
    if name == "close":
        return Page(_overview(settings, config), ())
    if name not in GROUPS or selects:
        return overview(settings, config, selects=selects)
    text = {"persona": _persona, "model": _model, "transcripts": _transcripts, "keep": _keep}[name](settings, config)
    marked = (replace(b, label=f"✓ {b.label}" if b.chosen else b.label) for b in _group(name, settings, config, MOST))
    return Page(text, (*marked, Button("choose:back", "Back"), CLOSE))


def overview(settings: Settings, config: Config, *, selects: bool = False) -> Page:
    """The first page: what holds, and a button for each. The text alone says how to change it where buttons are none.

    `selects`: the only page, with the alternatives themselves; then the text says how to reach what has no room in one.
    """
    if selects:
        rests = (
            _rest(name, names, MOST_SELECTED)
            for name, names in (("persona", config.personas), ("model", config.models))
        )
        text = _lines(_overview(settings, config), *rests)
        return Page(text, (*(b for name in GROUPS for b in _group(name, settings, config, MOST_SELECTED)), CLOSE))
    labels = {
        "persona": f"Persona: {_name(persona_of(settings, config))}",
        "model": f"Model: {_name(model_of(settings, config))}",
        "transcripts": f"What I hear: {SHOWN[transcripts_of(settings, config)]}",
        "keep": f"Messages: {_kept(days_of(settings, config))}",
    }
    buttons = tuple(Button(f"choose:{name}", label) for name, label in labels.items())
    return Page(_overview(settings, config), (*buttons, CLOSE))


def chosen(choice: str, settings: Settings, config: Config) -> Settings:
    """The settings after a press: the same ones for what leads elsewhere, and for what is not there (any more)."""
    name, _, value = choice.partition(":")
    match name:
        case "persona" if (persona := _named(value, config.personas)) is not None:
            return with_persona(settings, persona)
        case "model" if value == USUAL:
            return replace(settings, model=None)
        case "model" if (model := _named(value, config.models)) is not None:
            return replace(settings, model=model)
        case "transcripts" if value in (USUAL, *SHOWN):
            return with_transcripts(settings, value)
        case "keep" if value == USUAL or is_days(value):
            return with_days(settings, value)
    return settings


def with_persona(settings: Settings, persona: str) -> Settings:
    """A new persona takes the place of a system prompt."""
    return replace(settings, persona=persona, system_prompt=None)


def with_transcripts(settings: Settings, word: str) -> Settings:
    """One of `Transcripts`; anything else is what the configuration says."""
    own = next((known for known in get_args(Transcripts) if known == word), None)
    return replace(settings, transcripts=own)


def with_days(settings: Settings, word: str) -> Settings:
    """A number for which `is_days` holds, or USUAL."""
    return replace(settings, retention_days=None if word == USUAL else int(word))


def _group(name: str, settings: Settings, config: Config, most: int) -> Iterable[Button]:
    """A button for each value of a setting; of personas and models `most`."""
    match name:
        case "persona":
            options = _personas(settings, config, most)
        case "model":
            options = _models(settings, config, most)
        case "transcripts":
            options = _ways(settings, config)
        case _:
            options = _steps(settings, config)
    for option in options:
        yield Button(f"choose:{name}:{option.id}", option.label, group=GROUPS[name], chosen=option.present)


def _overview(settings: Settings, config: Config) -> str:
    own = " with a system prompt of its own (/system)" if settings.system_prompt else ""
    rows = (
        f"Persona: {_name(persona_of(settings, config))}{own} - /persona NAME",
        f"Model: {_name(model_of(settings, config))} - /model NAME",
        f"What I hear in recordings: {SHOWN[transcripts_of(settings, config)]} - /transcripts WHEN",
        f"Messages: {_kept(days_of(settings, config))} - /privacy DAYS",
    )
    return "\n".join(["The settings of this conversation:", "", *rows])


def _persona(settings: Settings, config: Config) -> str:
    name = persona_of(settings, config)
    about = _short(config.personas[name].description, EXCERPT)
    own = (
        "This conversation has a system prompt of its own; a persona takes its place." if settings.system_prompt else ""
    )
    rest = _rest("persona", config.personas, MOST)
    return _lines(f"The persona is {_name(name)}.", about, own, rest)


def _model(settings: Settings, config: Config) -> str:
    name = model_of(settings, config)
    about = _short(config.models[name].description, EXCERPT)
    return _lines(f"The model is {_name(name)}.", about, _rest("model", config.models, MOST))


def _transcripts(settings: Settings, config: Config) -> str:
    return f"What I hear in recordings is shown: {SHOWN[transcripts_of(settings, config)]}."


def _keep(settings: Settings, config: Config) -> str:
    return f"Messages here and my answers: {_kept(days_of(settings, config))}. /privacy DAYS takes any number."


def _personas(settings: Settings, config: Config, most: int) -> Iterable[Option]:
    present = persona_of(settings, config)
    for name in _first(config.personas, present, most):
        yield Option(_hash(name), _name(name), name == present)


def _models(settings: Settings, config: Config, most: int) -> Iterable[Option]:
    present = model_of(settings, config)
    usual = _name(model_of(replace(settings, model=None), config))
    yield Option(USUAL, f"As the persona has it ({usual})", settings.model is None)
    for name in _first(config.models, present, most):
        yield Option(_hash(name), _name(name), settings.model is not None and name == present)


def _ways(settings: Settings, config: Config) -> Iterable[Option]:
    yield Option(USUAL, f"As configured ({SHOWN[config.chat.transcripts]})", settings.transcripts is None)
    for way, words in SHOWN.items():
        yield Option(way, words.capitalize(), way == settings.transcripts)


def _steps(settings: Settings, config: Config) -> Iterable[Option]:
    own = settings.retention_days
    yield Option(USUAL, f"As configured ({_kept(config.retention.days)})", own is None)
    for days in sorted({*DAYS, *(() if own is None else (own,))}):
        yield Option(str(days), _kept(days).capitalize(), days == own)


def _first(names: Iterable[str], present: str, most: int) -> Sequence[str]:
    """The names that have room, the present one among them."""
    first = [*names][:most]
    return first if present in first else [*first[:-1], present]


def _rest(command: str, names: Sized, most: int) -> str:
    """How to reach what has no room on the page."""
    return f"/{command} NAME chooses one of the {len(names) - most} others." if len(names) > most else ""


def _named(hashed: str, names: Iterable[str]) -> str | None:
    return next((name for name in names if _hash(name) == hashed), None)


def _hash(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:8]


def _kept(days: int) -> str:
    return f"kept for {days} {'day' if days == 1 else 'days'}" if days else "not kept"


def _lines(*lines: str) -> str:
    return "\n".join(line for line in lines if line)


def _name(name: str) -> str:
    return _short(name, LONGEST) or "?"  # a button without a label would be refused, and the whole message with it


def _short(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
