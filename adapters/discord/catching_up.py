"""After a pause: what was written in each channel meanwhile is read, as if it had been told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import discord
import structlog

from adapters.discord.client import as_platform_errors
from adapters.discord.intake import Intake, Make
from adapters.discord.marks import since
from adapters.discord.places import channels_of, may_read
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


@dataclass(frozen=True, slots=True)
class Unread:
    """A channel in which there is something new, and the id after which that is."""

    channel: Any
    after: int


class CatchingUp:
    """Reads what a client has missed. One for each READY, and for each guild that comes later than that."""

    def __init__(self, client: discord.Client, intake: Intake, missed: Missed) -> None:
        self._client = client
        self._intake = intake
        self._missed = missed
        self._places = asyncio.Semaphore(AT_ONCE)
        self._now = datetime.now(UTC)

    def listed(self, guild: discord.Guild, mark: int) -> Iterator[Unread]:
        """The channels of a guild that have something newer than a mark."""
        if guild.unavailable or guild.me is None:
            return
        after = since(mark, most=MOST, joined=guild.me.joined_at, now=self._now)
        for channel in channels_of(guild):
            if (channel.last_message_id or 0) > after and may_read(channel):
                yield Unread(channel, after)

    def private(self, chats: Iterable[str], mark: int) -> Iterator[Unread]:
        """These DMs: nobody says whether they have."""
        after = since(mark, most=MOST, joined=None, now=self._now)
        for chat in chats:
            yield Unread(self._client.get_partial_messageable(int(chat), type=discord.ChannelType.private), after)

    async def run(self, unread: Sequence[Unread]) -> bool:
        """Read channels, which are held, and let them go on. Whether all were read, or never can be."""
        found = await asyncio.gather(*(self._channel(one.channel, one.after) for one in unread))
        if not all(found):
            log.error("some channels could not be read; they are at the next connection")
        return all(found)

    async def _channel(self, channel: Any, after: int) -> bool:
        """Whether it was read, or never can be. The next one is read once what was found here is committed: memory is finite."""
        async with self._places:
            messages = await self._patiently(channel, after)
            found = [(message.id, self._missed(message)) for message in messages or ()]
            committed = self._intake.put_first(channel.id, found)
            self._intake.release(channel.id)
            await committed.wait()
        return messages is not None

    async def _patiently(self, channel: Any, after: int) -> list[discord.Message] | None:
        """The messages after an id; None if they cannot be read now."""
        for tried in range(TRIES):
            try:
                with as_platform_errors():
                    return await self._history(channel, after)
            except (Barred, MessageGone):
                return []
            except FloodWait as error:
                await asyncio.sleep(error.seconds)
            except PlatformError as error:
                log.warning("a channel is not read yet", channel=channel.id, error=str(error))
                await asyncio.sleep(REST_SECONDS * 2**tried)
        return None

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
