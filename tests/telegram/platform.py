"""Everything that a method of the Bot API can reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.telegram.errors import Json
from tests.telegram.flood import Flood
from tests.telegram.scene import Scene
from tests.telegram.updates import UpdateQueue
from tests.telegram.webhook import Webhook
from tests.telegram.world import World

DOWNLOAD_LIMIT = 20 * 2**20
"""Bytes of a file that a bot can download, unless it runs a Bot API server of its own."""


@dataclass
class Platform:
    """The world, and what the bot has told the platform about itself."""

    world: World
    queue: UpdateQueue
    webhook: Webhook
    flood: Flood = field(default_factory=Flood)
    download_limit: int = DOWNLOAD_LIMIT
    commands: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    """By scope, as JSON, and language."""
    descriptions: dict[tuple[str, str], str] = field(default_factory=dict)
    """By which of them, and language."""

    @property
    def scene(self) -> Scene:
        """What all chats share."""
        return self.world.scene


Handler = Callable[[Platform, Json], Awaitable[Any]]
"""Executes a method with parameters that are valid, and returns its result. Raises Refused."""
