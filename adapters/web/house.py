"""What the page needs of the rest of Hearth, as values and functions: the composition root fills it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.config import Config
from bot.ports import Removed, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The rest of Hearth, as the page sees it."""

    store: Store
    config: Callable[[], Config]
    """As it is now: a running process reads some of it again."""
    data_dir: Path
    version: str
    program: str
    """How this Hearth's command is called in a shell."""
    may_talk: Callable[[str], bool]
    """Whether this person is not shut out by the permissions."""
    is_admin: Callable[[str], bool]
    removed: Removed
    models: Callable[[], list[dict[str, Any]]]
    """Alias, description, name, label, state and more of each."""
    health: Callable[[], dict[str, Any]]
    """The adapters and how they are, and how many answers are in progress."""
    readiness: Callable[[], Awaitable[dict[str, Any]]]
    """Whether questions would be answered: `ready`, and what it depends on."""
    scrape: Callable[[], Awaitable[bytes]]
    """The metrics, in Prometheus's text format."""
    last_errors: Callable[[], list[dict[str, Any]]]
    """When, and what in words: nobody's own."""
    check: Callable[[], Awaitable[list[dict[str, Any]]]]
    """What `hearth check` finds."""
    max_system_prompt: int
    """Characters."""
    max_days: int
    """Of retention."""
