"""discord.py against this server: its addresses are those of classes, and so are set and set back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import discord
import yarl
from discord.asset import Asset
from discord.gateway import DiscordWebSocket
from discord.http import Route

if TYPE_CHECKING:
    from tests.discord_fake.server import DiscordServer

READY_TIMEOUT = 0.05
"""Seconds that a Client waits for one more guild before it is ready. discord.py's own 2 are two seconds of each test."""


@contextmanager
def pointed_at(server: DiscordServer) -> Iterator[None]:
    """discord.py talks to this server for as long as the block."""
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY, Asset.BASE
    Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY, Asset.BASE = server.api_base, yarl.URL(server.gateway), server.cdn
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY, Asset.BASE = before


@asynccontextmanager
async def running(server: DiscordServer, client: discord.Client) -> AsyncIterator[asyncio.Task[None]]:
    """A client that is logged in and connected, and closed at the end; the task is its connect()."""
    with pointed_at(server):
        await client.login(server.token)
        task = asyncio.create_task(client.connect())
        try:
            yield task
        finally:
            await client.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def intents(**more: bool) -> discord.Intents:
    """Guilds, messages, reactions, typing and message content: what a chat bot needs."""
    names = ("guilds", "guild_messages", "dm_messages", "guild_reactions", "dm_reactions", "message_content")
    return discord.Intents(**dict.fromkeys(names, True) | {"guild_typing": True, "dm_typing": True} | more)


def options(**how: Any) -> Any:
    """Keywords for a Client that is ready without waiting."""
    return {"intents": intents(), "guild_ready_timeout": READY_TIMEOUT} | how
