"""What the looks at chat platforms have in common, for `hearth check`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bot.config import Config


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: a thing, whether it would work, and what was seen or what to do."""

    what: str
    good: bool
    words: str
    link: str = ""
    """An address to open, shown beneath the rows: it must not be broken by a column's end."""


@dataclass(frozen=True, slots=True)
class Named:
    """What the configuration names of one platform."""

    chats: tuple[str, ...] = ()
    """Ids, each once."""
    guilds: tuple[str, ...] = ()
    threads: frozenset[str] = frozenset()
    """Those of the chats in which questions get threads of their own."""
    hears_all: bool = False
    """More is wanted in groups than what is addressed to the bot by the platform's own means."""


def named(config: Config, platform: str) -> Named:
    """What is looked at one by one, because the configuration counts on it."""
    permissions, groups = config.permissions, config.groups
    own = groups.always + groups.threads  # a thread of the bot's is heard as a whole
    entries = (*permissions.allow, *permissions.admins, *permissions.limits, *own)
    return Named(
        chats=tuple(dict.fromkeys(_ids(entries, f"{platform}:chat/"))),
        guilds=tuple(dict.fromkeys(_ids(entries, f"{platform}:guild/"))),
        threads=frozenset(_ids(groups.threads, f"{platform}:chat/")),
        hears_all=any(entry.startswith(f"{platform}:") for entry in own)
        or bool(groups.names)
        or config.chat.remember_group_talk,
    )


def _ids(entries: Iterable[str], kind: str) -> Iterator[str]:
    return (entry.removeprefix(kind) for entry in entries if entry.startswith(kind))
