"""What holds in a conversation: its own settings, where it has none its guild's, and then the configuration's. Pure."""

from __future__ import annotations

from dataclasses import fields

from bot.config import Config
from bot.messages import Author, Settings, Transcripts

ONLY_OWNERS = "In a group only the bot's owners may change that."
ONLY_MANAGERS = "Here only who manages the server, or owns the bot, may change that."
_NAMES = tuple(field.name for field in fields(Settings))
MAX_DAYS = 36_500
"""Of retention: a hundred years."""
MAX_DIGITS = 18
"""Of a number that somebody typed: what a 64-bit id can have."""


def only(author: Author) -> str:
    """What somebody is told who may not change what others see."""
    return ONLY_MANAGERS if author.guild else ONLY_OWNERS


def merged(own: Settings, around: Settings) -> Settings:
    """What is set in a conversation, or else in its guild. A persona of its own leaves the guild's system prompt out."""
    either = {name: getattr(around, name) if (value := getattr(own, name)) is None else value for name in _NAMES}
    if own.persona is not None:
        either["system_prompt"] = own.system_prompt
    return Settings(**either)


def persona_of(settings: Settings, config: Config) -> str:
    """The name of the persona; one that is no longer configured gives way to the default one."""
    return settings.persona if settings.persona in config.personas else "default"


def model_of(settings: Settings, config: Config) -> str:
    """The alias of the model: the own one, the persona's, or the default; one that is not configured is the default."""
    alias = settings.model or config.personas[persona_of(settings, config)].model
    return alias if alias in config.models else "default"


def transcripts_of(settings: Settings, config: Config) -> Transcripts:
    """Whether what was heard is shown."""
    return settings.transcripts or config.chat.transcripts


def days_of(settings: Settings, config: Config) -> int:
    """How many days messages are kept."""
    return config.retention.days if settings.retention_days is None else settings.retention_days


def is_number(typed: str) -> bool:
    """Whether a text is a whole number, in digits that everybody reads."""
    return typed.isascii() and typed.isdecimal() and len(typed) <= MAX_DIGITS


def is_days(typed: str) -> bool:
    """Whether a text is a number of days for which messages can be kept."""
    return is_number(typed) and int(typed) <= MAX_DAYS
