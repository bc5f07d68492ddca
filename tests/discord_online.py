"""Discord's adapter, connected although nobody listens: it writes by the connection on which it hears."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from adapters.discord.adapter import Discord
from bot.config import DiscordConfig
from bot.messages import Event
from bot.ports import Receive
from tests.discord_fake import DiscordServer

MOST = 10_000
"""Bytes of a file: nobody uploads half a gigabyte here."""


class Slips:
    """Notes in memory, as a Store keeps them."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def notes(self, platform: str, account: str) -> dict[str, str]:
        """See `bot.ports.Notes`."""
        return dict(self.kept)

    async def note(self, platform: str, account: str, changes: Mapping[str, str | None]) -> None:
        """See `bot.ports.Notes`."""
        await asyncio.sleep(0)
        self.kept |= {name: value for name, value in changes.items() if value is not None}
        for name in [name for name, value in changes.items() if value is None]:
            self.kept.pop(name, None)

    async def direct_chats(self, platform: str, account: str, *, limit: int) -> list[str]:
        """Nothing is kept of any."""
        return []


class Online(Discord):
    """Hears for nobody until somebody listens."""

    def __init__(self, config: DiscordConfig, server: DiscordServer) -> None:
        super().__init__(config, Slips())
        self.limits = replace(self.limits, file_bytes=MOST)
        self.committed = 0
        """Events that were received by who listens."""
        self._server = server
        self._idle: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Be connected."""
        self._idle = asyncio.create_task(super().listen(_nobody))
        await self._server.wait_for(lambda: self._server.ws.online, "the connection")

    async def listen(self, receive: Receive) -> None:
        """As always, and it is counted what was received."""
        await self.rest()

        async def count(event: Event) -> None:
            await receive(event)
            self.committed += 1

        await super().listen(count)

    async def heard(self, work: int) -> None:
        """Return when so much was received."""
        await self._server.wait_for(lambda: self.committed == work, "the commit")

    async def taken_over(self) -> None:
        """Return when it is connected for somebody who listens."""
        ws = self._server.ws
        await self._server.wait_for(lambda: len(ws.identified) == 2 and ws.online, "the second connection")

    async def rest(self) -> None:
        """Be connected no more."""
        if self._idle is not None:
            self._idle.cancel()
            await asyncio.gather(self._idle, return_exceptions=True)
            self._idle = None


async def _nobody(_: Event) -> None:
    return
