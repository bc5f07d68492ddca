"""A whole Hearth on Discord in a test: a scripted model, SQLite in a folder, and the stand-in for the platform."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.discord import client
from adapters.discord.adapter import Discord
from bot.app import App, running
from bot.config import Config, ModelConfig
from bot.messages import ConversationKey
from bot.ports import ChatEngine
from bot.recent import LastErrors
from bot.testing import ScriptedEngine
from tests.discord_fake import Channel, DiscordServer, Interaction
from tests.discord_fake.client import READY_TIMEOUT, pointed_at
from tests.house import configuration

FAST = {"pace": 0.001}
"""No test waits for a pace that it is not about."""


def discord_config(folder: Path, server: DiscordServer, **sections: Any) -> Config:
    """Everybody on Discord may talk; what else is configured comes from `sections`."""
    own = {"token": server.token, "api_base": server.api_base, "gateway": server.gateway}
    discord_section = {**own, **FAST, **sections.pop("discord", {})}
    permissions = {"allow": ["discord:*"], "messages_per_minute": 1000, **sections.pop("permissions", {})}
    sections = {"web": {"enabled": False}, **sections}
    return configuration(data_dir=folder / "data", discord=discord_section, permissions=permissions, **sections)


@dataclass
class DiscordHouse:
    """A running Hearth and its bot."""

    app: App
    adapter: Discord
    engine: ScriptedEngine
    server: DiscordServer

    def prompts(self) -> list[str]:
        """What the model was asked, as text."""
        return [self.engine.decode(request.prompt) for request in self.engine.requests]

    def key(self, channel: Channel) -> ConversationKey:
        """A channel as Hearth knows it."""
        if channel.is_thread:
            assert channel.parent is not None
            return ConversationKey("discord", self.adapter.account, str(channel.parent.id), str(channel.id))
        return ConversationKey("discord", self.adapter.account, str(channel.id))

    async def answered(self, channel: Channel, *texts: str) -> None:
        """Return when the bot's messages in a channel are these, and nothing is in progress."""
        await self.server.wait_for(
            lambda: channel.texts_of_bot() == list(texts), f"{texts}; there is {channel.texts_of_bot()}"
        )
        await self.settled()

    async def told(self, interaction: Interaction, *texts: str) -> None:
        """Return when this is what somebody got who used a command or pressed a button, and nothing is in progress."""
        await self.server.wait_for(lambda: interaction.texts == list(texts), f"{texts}; there is {interaction.texts}")
        await self.settled()

    async def settled(self) -> None:
        """Return when nothing waits for an answer."""
        while self.app.dispatcher.in_progress or await self.app.store.pending():
            await self.server.wait_for(lambda: self.app.dispatcher.in_progress == 0, "answers in progress")
            await asyncio.sleep(0.002)


@contextmanager
def hurried(server: DiscordServer, guild_seconds: float = READY_TIMEOUT) -> Iterator[None]:
    """The library knows this server, and does not wait long for one more guild before it is ready."""
    with pointed_at(server), pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "GUILD_SECONDS", guild_seconds)
        yield


@asynccontextmanager
async def discord_house(
    folder: Path,
    server: DiscordServer,
    *,
    engine: ScriptedEngine | None = None,
    guild_seconds: float = READY_TIMEOUT,
    caught_up: bool = True,
    **sections: Any,
) -> AsyncIterator[DiscordHouse]:
    """Open a house on a folder, and wait until it hears; what an earlier one left there is found again.

    `guild_seconds`: how long it waits for one more guild before it is there. `caught_up`: whether it has read by then what it missed.
    """
    model = engine or ScriptedEngine()
    config = discord_config(folder, server, **sections)

    async def load(alias: str, settings: ModelConfig, data_dir: Path) -> ChatEngine:
        return model

    with hurried(server, guild_seconds):
        async with running(config, loaders={".fake": load}, errors=LastErrors()) as app:
            adapter = app.adapters["discord", config.discord.account]
            assert isinstance(adapter, Discord)
            try:
                await server.wait_for(lambda: server.world.scene.commands and reads(adapter), "the bot to be there")
                await server.wait_for(lambda: not caught_up or has_caught_up(adapter), "what it missed")
                yield DiscordHouse(app, adapter, model, server)
            finally:
                model.resume.set()


def reads(adapter: Discord) -> bool:
    """Whether it is connected, and reads what it has missed."""
    return adapter._hearing._sessions.catching_up is not None


def has_caught_up(adapter: Discord) -> bool:
    """Whether it has read that: from then on it hears what it is told."""
    reading = adapter._hearing._sessions.catching_up
    return reading is not None and reading.done()


class Ferns:
    """A guild with a channel, its owner and two members, and the platform that they are on."""

    def __init__(self, folder: Path, server: DiscordServer) -> None:
        self.folder = folder
        self.server = server
        self.world = server.world
        self.bot = server.world.bot
        self.olga, self.ada, self.bea = (server.world.user(name) for name in ("Olga", "Ada", "Bea"))
        self.guild = server.world.guild("Ferns", self.olga, self.ada, self.bea)
        self.general = self.guild.text("general")

    def house(self, **sections: Any) -> AbstractAsyncContextManager[DiscordHouse]:
        """A house with this bot; a second one finds what the first one left."""
        return discord_house(self.folder, self.server, **sections)
