"""Keeps a client at the gateway: after any death of its own a new one. The library's ends with the first thing that it cannot read."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import discord
import structlog

from adapters.discord.client import Ears, Portal, as_platform_errors, ask, log_in
from bot.config import DiscordConfig
from bot.errors import PlatformError, StartError, Unreachable

log = structlog.get_logger(__name__)

REST_LEAST, REST_MOST = 1.0, 60.0
"""Between two connections: doubled each time, and up to half as much again, so that not all programs come back at once."""
LOGIN_SECONDS = 60.0
"""The library would wait five minutes for each answer."""
LOOK_SECONDS, AWAY_SECONDS = 5.0, 90.0
"""How often it is looked whether a client is at the gateway, and how long one tries to come back: by itself it waits up to a quarter of an
hour between two tries, and after a session calls no other address than that session's."""
HEALTHY_SECONDS = 60.0
"""After a connection that has lived so long the shortest rest is enough."""
REFUSED_SECONDS = 60.0
LAST_CALLS_SECONDS = 40.0
"""How long an old client's calls have to end: the library waits up to half a minute by itself."""
REFUSED = (
    "Discord refuses the token. "
    "The developer portal (https://discord.com/developers, Bot, Reset Token) gives a new one (discord.token)."
)
CONTENT = (
    "Discord does not let this bot read what people write, so it hears mentions and private messages only. To switch it on: "
    "https://discord.com/developers/applications, the bot's page Bot, Message Content Intent"
)


class Connection:
    """One account's."""

    def __init__(self, config: DiscordConfig, ears: Ears) -> None:
        self._config = config
        self._ears = ears
        self._client: discord.Client | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._known = False
        """The token was good once: then a refusal may pass."""
        self._told = False

    def client(self) -> discord.Client:
        """The present client. Raises Unreachable while there is none."""
        if self._client is None or self._client.is_closed():
            raise Unreachable("not connected to Discord")
        return self._client

    async def run(self) -> None:
        """Stay connected until cancelled. Raises StartError for a token that was never good."""
        rest = REST_LEAST
        portal: Portal | None = None
        while True:
            began = time.monotonic()
            try:
                if portal is None:
                    async with asyncio.timeout(LOGIN_SECONDS):
                        portal = await ask(self._config)
                self._warn(portal)
                await self._connect(portal)
                log.warning("the connection to Discord has ended")
            except discord.LoginFailure as error:
                if not self._known:
                    raise StartError(REFUSED) from error
                log.error(REFUSED)
                rest = max(rest, REFUSED_SECONDS)
            except discord.PrivilegedIntentsRequired:
                portal = Portal(portal.shards if portal else 1, content=False)
            except Exception as error:  # noqa: BLE001 - any end of a client but a cancellation
                self._log_end(error)
                portal = None
            await self._hang_up()
            if time.monotonic() - began > HEALTHY_SECONDS:
                rest = REST_LEAST
            wait = rest * (1 + random.random() / 2)  # noqa: S311 - no secret
            log.info("Discord is called again soon", seconds=round(wait, 1))
            await asyncio.sleep(wait)
            rest = min(rest * 2, REST_MOST)

    async def aclose(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        leaving = [*self._leaving]
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        if client is not None:
            await _close(client)

    async def _connect(self, portal: Portal) -> None:
        """Take a new client, which can call Discord while the old one's last calls end, and hear until it dies."""
        async with asyncio.timeout(LOGIN_SECONDS):
            client = await log_in(self._config, self._ears, portal)
        self._known = True
        old, self._client = self._client, client
        if old is not None:
            task = asyncio.create_task(_let_go(old))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        log.info("Discord is connected", bot=str(client.user), shards=client.shard_count or 1)
        connected = asyncio.create_task(client.connect())
        try:
            away = 0.0
            while not (await asyncio.wait((connected,), timeout=LOOK_SECONDS))[0]:
                away = 0.0 if _is_at_the_gateway(client) else away + LOOK_SECONDS
                if away >= AWAY_SECONDS:
                    raise Unreachable("the gateway is away")
            connected.result()
        finally:
            connected.cancel()
            await asyncio.gather(connected, return_exceptions=True)

    async def _hang_up(self) -> None:
        """Leave the gateway. The client stays for calls until there is a new one."""
        client: Any = self._client
        if client is None:
            return
        gateways = [shard.disconnect for shard in client.shards.values()] if hasattr(client, "shards") else []
        if getattr(client, "ws", None) is not None:
            gateways.append(client.ws.close)
        for leave in gateways:
            try:
                await leave()
            except Exception as error:  # noqa: BLE001 - it was dead already
                log.debug("the gateway was left in pieces", error=type(error).__name__)

    def _warn(self, portal: Portal) -> None:
        if not portal.content and not self._told:
            self._told = True
            log.warning(CONTENT)

    def _log_end(self, error: Exception) -> None:
        try:
            with as_platform_errors():
                raise error
        except PlatformError as known:
            log.warning("Discord does not answer", reason=str(known))
        except Exception as unknown:
            log.error("the connection to Discord has died", error=type(unknown).__name__)
            log.debug("why it has died", exc_info=unknown)


def _is_at_the_gateway(client: discord.Client) -> bool:
    if isinstance(client, discord.AutoShardedClient):
        shards = client.shards.values()  # those that were begun; that of one alone is not worth a new session of each
        return not shards or not all(shard.is_closed() for shard in shards)
    return getattr(client, "ws", None) is not None and bool(client.ws.open)


async def _let_go(client: discord.Client) -> None:
    """Close a client when its calls have ended: one that is cut off may have been carried out, and would be made again."""
    try:
        await asyncio.sleep(LAST_CALLS_SECONDS)
    finally:
        await _close(client)


async def _close(client: discord.Client) -> None:
    try:
        await client.close()
    except Exception as error:  # noqa: BLE001 - nothing depends on it
        log.debug("a client was closed in pieces", error=type(error).__name__)
