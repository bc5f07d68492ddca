"""What can be chosen in a conversation or for a guild: the values of each setting, as buttons, and the words about them. Pure.

Names of personas and models can be longer than a button's id may be, so their hash stands for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from hashlib import sha256

from bot.config import Config
from bot.messages import Button, Settings, Transcripts, Trigger
from bot.settings import days_of, merged, model_of, persona_of, transcripts_of

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
"""In an id: what holds where nothing is chosen. No hash is so short."""
SHOWN: dict[Transcripts, str] = {"always": "above the answer", "asked": "by /transcript only", "never": "not shown"}
TRIGGERS: dict[Trigger, str] = {"mention": "what is addressed to me", "always": "everything that people say"}
TITLES = {
    "persona": "Persona",
    "model": "Model",
    "trigger": "What I answer",
    "transcripts": "What I hear in recordings",
    "keep": "Messages",
}
"""What can be chosen: the name in the ids, the title."""
CLOSE = Button("choose:close", "Close")
GUILD = "server"
"""In ids: the pages of the guild. People know guilds as Discord's servers."""


@dataclass(frozen=True, slots=True)
class Page:
    """A message of settings."""

    text: str
    """Markdown, a few hundred characters: within every platform's limit."""
    buttons: tuple[Button, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """Settings that somebody looks at."""

    own: Settings
    """What is chosen here."""
    config: Config
    around: Settings | None = None
    """What the guild says of its conversations, where there is one."""
    guild: bool = False
    """`own` is a guild's."""
    trigger: Trigger | None = None
    """What is chosen of it, for a guild."""

    @property
    def beneath(self) -> Settings:
        """What holds where nothing is chosen here."""
        return self.around or Settings()

    @property
    def here(self) -> Settings:
        """What holds here."""
        return merged(self.own, self.beneath)

    @property
    def usual(self) -> str:
        """How the label of what holds without a choice begins."""
        return "As configured" if self.around is None else "As the server has it"

    @property
    def prefix(self) -> str:
        """How the ids of its pages begin."""
        return f"choose:{GUILD}." if self.guild else "choose:"

    def command(self, name: str) -> str:
        """What is typed to the same effect."""
        return f"/{GUILD} {name}" if self.guild else f"/{name}"


@dataclass(frozen=True, slots=True)
class _Option:
    """A value that can be chosen."""

    id: str
    label: str
    present: bool


def group(name: str, held: Held, most: int) -> Iterator[Button]:
    """A button for each value of a setting; of personas and models `most`."""
    options = {
        "persona": _personas,
        "model": _models,
        "trigger": _triggers,
        "transcripts": _ways,
        "keep": _steps,
    }[name](held, most)
    for option in options:
        yield Button(f"{held.prefix}{name}:{option.id}", option.label, group=TITLES[name], chosen=option.present)


def alternatives(name: str, held: Held, way_back: Button) -> Page:
    """The page of one setting."""
    text = {"persona": _persona, "model": _model, "trigger": _trigger, "transcripts": _transcripts, "keep": _keep}
    marked = (replace(b, label=f"✓ {b.label}" if b.chosen else b.label) for b in group(name, held, MOST))
    return Page(text[name](held), (*marked, way_back, CLOSE))


def label(name: str, held: Held) -> str:
    """What holds of a setting, on the button that leads to its page."""
    short = {"transcripts": "What I hear"}.get(name, TITLES[name])
    return f"{short}: {value(name, held)}"


def value(name: str, held: Held) -> str:
    """What holds of a setting, in words."""
    match name:
        case "persona":
            return named(persona_of(held.here, held.config))
        case "model":
            return named(model_of(held.here, held.config))
        case "trigger":
            return "as configured" if held.trigger is None else TRIGGERS[held.trigger]
        case "transcripts":
            return SHOWN[transcripts_of(held.here, held.config)]
    return kept(days_of(held.here, held.config))


def rests(held: Held, most: int) -> str:
    """How to reach the personas and models that have no room."""
    config = held.config
    return lines(rest("persona", held, config.personas, most), rest("model", held, config.models, most))


def rest(name: str, held: Held, names: Sized, most: int) -> str:
    """How to reach the names that have no room."""
    return f"{held.command(name)} NAME chooses one of the {len(names) - most} others." if len(names) > most else ""


def found(hashed: str, names: Iterable[str]) -> str | None:
    """The name behind an id."""
    return next((name for name in names if _hash(name) == hashed), None)


def kept(days: int) -> str:
    """How long messages are kept, in words."""
    return f"kept for {days} {'day' if days == 1 else 'days'}" if days else "not kept"


def lines(*parts: str) -> str:
    """Those that say something, each on a line."""
    return "\n".join(part for part in parts if part)


def named(name: str) -> str:
    """A name as it is shown."""
    return _short(name, LONGEST) or "?"  # a button without a label would be refused, and the whole message with it


def _persona(held: Held) -> str:
    name = persona_of(held.here, held.config)
    about = _short(held.config.personas[name].description, EXCERPT)
    what = "This server" if held.guild else "This conversation"
    own = f"{what} has a system prompt of its own; a persona takes its place." if held.own.system_prompt else ""
    return lines(f"The persona is {named(name)}.", about, own, rest("persona", held, held.config.personas, MOST))


def _model(held: Held) -> str:
    name = model_of(held.here, held.config)
    about = _short(held.config.models[name].description, EXCERPT)
    return lines(f"The model is {named(name)}.", about, rest("model", held, held.config.models, MOST))


def _trigger(held: Held) -> str:
    return f"What I answer in the channels of this server: {value('trigger', held)}."


def _transcripts(held: Held) -> str:
    return f"What I hear in recordings is shown: {value('transcripts', held)}."


def _keep(held: Held) -> str:
    return f"Messages here and my answers: {value('keep', held)}. {held.command('privacy')} DAYS takes any number."


def _personas(held: Held, most: int) -> Iterable[_Option]:
    present, own = persona_of(held.here, held.config), held.own.persona is not None or held.around is None
    if held.around is not None:  # else it is what the persona `default` is
        yield _Option(USUAL, f"{held.usual} ({named(persona_of(held.beneath, held.config))})", not own)
    for name in _first(held.config.personas, present, most):
        yield _Option(_hash(name), named(name), own and name == present)


def _models(held: Held, most: int) -> Iterable[_Option]:
    present, own = model_of(held.here, held.config), held.own.model is not None
    usual = named(model_of(replace(held.here, model=held.beneath.model), held.config))
    whose = "server" if held.beneath.model is not None else "persona"
    yield _Option(USUAL, f"As the {whose} has it ({usual})", not own)
    for name in _first(held.config.models, present, most):
        yield _Option(_hash(name), named(name), own and name == present)


def _triggers(held: Held, _: int) -> Iterable[_Option]:
    yield _Option(USUAL, held.usual, held.trigger is None)
    for trigger, words in TRIGGERS.items():
        yield _Option(trigger, words.capitalize(), trigger == held.trigger)


def _ways(held: Held, _: int) -> Iterable[_Option]:
    usual, own = SHOWN[transcripts_of(held.beneath, held.config)], held.own.transcripts
    yield _Option(USUAL, f"{held.usual} ({usual})", own is None)
    for way, words in SHOWN.items():
        yield _Option(way, words.capitalize(), way == own)


def _steps(held: Held, _: int) -> Iterable[_Option]:
    usual, own = kept(days_of(held.beneath, held.config)), held.own.retention_days
    yield _Option(USUAL, f"{held.usual} ({usual})", own is None)
    for days in sorted({*DAYS, *(() if own is None else (own,))}):
        yield _Option(str(days), kept(days).capitalize(), days == own)


def _first(names: Iterable[str], present: str, most: int) -> Sequence[str]:
    """The names that have room, the present one among them."""
    first = [*names][:most]
    return first if present in first else [*first[:-1], present]


def _hash(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:8]


def _short(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
