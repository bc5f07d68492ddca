"""discord.py against this server: its addresses are those of classes, and so are set and set back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import discord
import pytest
import yarl
from discord.asset import Asset
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.discord_fake.server import DiscordServer, serving

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
    """A client that is ready, or has failed to be; it is closed at the end. The task is its connect()."""
    with pointed_at(server):
        tasks: list[asyncio.Task[None]] = []
        try:
            await client.login(server.token)
            tasks.append(asyncio.create_task(client.connect()))
            await server.wait_for(lambda: client.is_ready() or tasks[0].done(), "READY")
            yield tasks[0]
        finally:
            await client.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def intents(**more: bool) -> discord.Intents:
    """Guilds, messages, reactions, typing and message content: what a chat bot needs."""
    names = ("guilds", "guild_messages", "dm_messages", "guild_reactions", "dm_reactions", "message_content")
    return discord.Intents(**dict.fromkeys(names, True) | {"guild_typing": True, "dm_typing": True} | more)


def options(**how: Any) -> Any:
    """Keywords for a Client that is ready without waiting."""
    return {"intents": intents(), "guild_ready_timeout": READY_TIMEOUT} | how


class Listener(discord.Client):
    """A client that answers nothing and keeps what it is told."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**options(**how))
        self.told: list[tuple[str, Any]] = []
        """(name of the event, its first argument), those that discord.py passes on raw too."""

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Don't wait: discord.py's own are five seconds before every IDENTIFY but the first."""

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Keep an event."""
        self.told.append((event, args[0] if args else None))
        super().dispatch(event, *args, **kwargs)

    def of(self, event: str) -> list[Any]:
        """What came with each event of this name."""
        return [argument for name, argument in self.told if name == event]

    @property
    def contents(self) -> list[str]:
        """Of the messages of others."""
        return [message.content for message in self.of("message") if message.author != self.user]


@asynccontextmanager
async def talking(**how: Any) -> AsyncIterator[tuple[DiscordServer, Listener]]:
    """A server and a client that is logged in, and not connected to the gateway."""
    async with serving(**how) as server:
        client = Listener()
        with pointed_at(server):
            try:
                await client.login(server.token)
                yield server, client
            finally:
                await client.close()


@asynccontextmanager
async def listening(server: DiscordServer, **how: Any) -> AsyncIterator[Listener]:
    """A client that is ready."""
    client = Listener(**how)
    async with running(server, client):
        await server.wait_for(lambda: client.of("ready"), "READY")
        yield client


@contextmanager
def refused(code: int, kind: type[discord.HTTPException] = discord.HTTPException) -> Iterator[None]:
    """What is done within is answered with an error of this code."""
    with pytest.raises(kind) as caught:
        yield
    assert caught.value.code == code, caught.value
