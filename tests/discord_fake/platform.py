"""Everything that an operation of the API can reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.discord_fake.content import Upload
from tests.discord_fake.errors import Json, refused
from tests.discord_fake.gateway import Gateway
from tests.discord_fake.guilds import Guild
from tests.discord_fake.people import Channel
from tests.discord_fake.permissions import Intent
from tests.discord_fake.rates import Rates
from tests.discord_fake.records import Message
from tests.discord_fake.redact import without_content
from tests.discord_fake.scene import Scene
from tests.discord_fake.world import World


@dataclass
class Platform:
    """The world, and what the bot has told the platform about itself."""

    world: World
    gateway: Gateway
    rates: Rates = field(default_factory=Rates)

    @property
    def scene(self) -> Scene:
        """What all places share."""
        return self.world.scene

    def channel(self, request: Request) -> Channel:
        """The channel in a request's path. Raises Refused."""
        found = self.scene.channels.get(request.id("channel_id"))
        if found is None:
            raise refused(10003)
        found.must_let_bot()
        return found

    def guild(self, request: Request) -> Guild:
        """The guild in a request's path. Raises Refused."""
        found = self.world.guilds.get(request.id("guild_id"))
        if found is None:
            raise refused(10004)
        if not found.has_bot:
            raise refused(50001)
        return found

    def shown(self, channel: Channel, message: Message) -> Json:
        """A message as the bot reads it: REST is blank too if the portal hasn't switched the content on."""
        found = channel.shown(message)
        if channel.guild is None or Intent.MESSAGE_CONTENT in self.scene.privileged:
            return found
        return without_content(found, self.scene.bot.id)


@dataclass(frozen=True)
class Request:
    """A request that fits the specification."""

    path: Mapping[str, str]
    query: Json
    body: Any
    uploads: Mapping[str, Upload]

    def id(self, name: str) -> int:
        """A snowflake of the path."""
        return int(self.path[name])


Handler = Callable[[Platform, Request], Awaitable[Any]]
"""Executes an operation and returns its answer; None where there is none. Raises Refused."""
