"""After a pause: what was written in each channel meanwhile is read, as if it had been told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import discord
import structlog

from adapters.discord.client import as_platform_errors
from adapters.discord.intake import Intake, Make
from adapters.discord.marks import Marks, since
from adapters.discord.places import readable
from bot.errors import Barred, FloodWait, MessageGone, PlatformError

log = structlog.get_logger(__name__)

MOST = timedelta(days=1)
"""Of a longer pause the last day is read."""
MOST_MESSAGES = 1000
"""Of a channel, the first ones after the mark: the later ones of a flood are not read."""
PAGE = 100
AT_ONCE = 4
"""Channels that are read at the same time: Discord gives a bot 50 calls a second for everything."""
TRIES = 5
REST_SECONDS = 1.0
"""Between tries: doubled each time."""

Missed = Callable[[discord.Message], Make]
"""Makes the event of a message that was read back."""


class CatchingUp:
    """Reads what a client has missed. One for each READY."""

    def __init__(self, client: discord.Client, intake: Intake, marks: Marks, missed: Missed) -> None:
        self._client = client
        self._intake = intake
        self._marks = marks
        self._missed = missed
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self, direct: Iterable[str]) -> None:
        """Read all channels that have something new, and these DMs: nobody says whether they have."""
        now = datetime.now(UTC)
        work: list[tuple[Any, int]] = []
        for channel in readable(self._client):
            after = since(self._marks.value, most=MOST, joined=channel.guild.me.joined_at, now=now)
            if (channel.last_message_id or 0) > after:
                work.append((channel, after))
        lately = since(self._marks.value, most=MOST, joined=None, now=now)
        private = discord.ChannelType.private
        dms = [self._client.get_partial_messageable(int(chat), type=private) for chat in direct]
        work += [(dm, lately) for dm in dms]
        self._intake.hold_only({channel.id for channel, _ in work})
        found = await asyncio.gather(*(self._channel(channel, after) for channel, after in work))
        if all(found):
            self._marks.thaw()
        else:
            log.error("some channels could not be read; they are at the next connection")

    async def _channel(self, channel: Any, after: int) -> bool:
        """Whether it was read, or never can be."""
        async with self._places:
            for tried in range(TRIES):
                try:
                    with as_platform_errors():
                        messages = await self._history(channel, after)
                    self._intake.put_first(channel.id, [(message.id, self._missed(message)) for message in messages])
                    self._intake.release(channel.id)
                    return True
                except (Barred, MessageGone):
                    self._intake.release(channel.id)
                    return True
                except FloodWait as error:
                    await asyncio.sleep(error.seconds)
                except PlatformError as error:
                    log.warning("a channel is not read yet", channel=channel.id, error=str(error))
                    await asyncio.sleep(REST_SECONDS * 2**tried)
        self._intake.release(channel.id)
        return False

    async def _history(self, channel: Any, after: int) -> list[discord.Message]:
        """Messages after an id, the oldest first. One that the library cannot read is passed over."""
        found: list[discord.Message] = []
        while len(found) < MOST_MESSAGES:
            page = await self._client.http.logs_from(channel.id, PAGE, after=after)
            for data in sorted(page, key=lambda data: int(data["id"])):
                after = max(after, int(data["id"]))
                if (message := self._parsed(channel, data)) is not None:
                    found.append(message)
            if len(page) < PAGE:
                return found
        log.warning("more was missed than is read", channel=channel.id, messages=len(found))
        return found

    def _parsed(self, channel: Any, data: Any) -> discord.Message | None:
        try:
            return discord.Message(state=self._client._connection, channel=channel, data=data)
        except Exception as error:  # noqa: BLE001 - one message must not hide the others
            log.error("a message is passed over", message=data.get("id"), error=type(error).__name__)
            return None
