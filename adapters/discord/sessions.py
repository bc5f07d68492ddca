"""Sessions at the gateway begin, break and end: what was missed in between is read, in its place, before what comes since."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import discord
import structlog

from adapters.discord.catching_up import CatchingUp, Unread
from adapters.discord.intake import Intake, Make
from adapters.discord.marks import Marks
from adapters.discord.places import PLATFORM
from bot.errors import DatabaseError
from bot.ports import Notes

log = structlog.get_logger(__name__)

MOST_DIRECT = 200
"""Private chats that are looked into after a pause, the liveliest: each is a call."""
GUILD, LATE = "guild/", "late/"
"""Before the id of a guild, in the names of notes: the bot is in it; Discord could not tell of it, and this far was heard there."""

Missed = Callable[[discord.Client], Callable[[discord.Message], Make]]
"""What makes the event of a message that a client reads back."""


class Sessions:
    """One account's. `missed` makes events of what is read back; `left` is told of a guild that the bot is in no more."""

    def __init__(
        self, account: str, intake: Intake, marks: Marks, notes: Notes, *, missed: Missed, left: Callable[[int], None]
    ) -> None:
        self.catching_up: asyncio.Task[None] | None = None
        """Reads what was missed before the present session."""
        self._account = account
        self._intake = intake
        self._marks = marks
        self._notes = notes
        self._missed = missed
        self._left = left
        self._client: discord.Client | None = None
        self._whole = False
        """Each of the client's connections was ready once."""
        self._new: set[int] = set()
        """Connections with a new session, that are not ready yet."""
        self._broken: set[int] = set()
        """Connections that are lost, and may be taken up again."""
        self._behind = False
        """Something that was missed is not read yet."""
        self._listed = False
        """It is known in which channels."""
        self._late: dict[int, int] = {}
        """Guilds of which Discord cannot tell at present, and how far was heard there."""
        self._reading: set[asyncio.Task[None]] = set()

    def told(self, client: discord.Client, event: str, *what: Any) -> None:
        """See `client.Ears`. A client with several connections says which one it is about by events of their own."""
        if _is_sharded(client) and event in {"disconnect", "resumed"}:
            return
        match event:
            case "connect":
                self._begin(client)
            case "shard_connect":
                self._broken.discard(what[0])
                self._new.add(what[0])
            case "ready":
                self._whole = True
                self._new.clear()
                self._read(self._catch_up(client))
            case "shard_ready":
                self._new.discard(what[0])
                # The library is `ready` once only, and not when one connection alone has a new session.
                if self._whole and not self._new:
                    self._read(self._catch_up(client))
            case "disconnect" | "shard_disconnect":
                self._broken.add(what[0] if what else 0)
                if self._marks.value:
                    self._marks.freeze()  # the other connections go on hearing
            case "resumed" | "shard_resumed":
                self._broken.discard(what[0] if what else 0)
                self._go_on()
            case "guild_unavailable":
                mark = self._late.setdefault(what[0].id, self._marks.value)
                self._intake.beside(self._note({f"{LATE}{what[0].id}": str(mark)}))
            case "guild_available" if self._listed and what[0].id in self._late:
                self._read_late(client, what[0])

    def forget(self, guild: int) -> Mapping[str, None]:
        """The bot is in a guild no more; the notes that go with that."""
        self._late.pop(guild, None)
        return {f"{GUILD}{guild}": None, f"{LATE}{guild}": None}

    async def joined(self, guild: int) -> None:
        """What is known here of where the bot is tells later where it is no more."""
        await self._note({f"{GUILD}{guild}": ""})

    async def aclose(self) -> None:
        """Read nothing any more."""
        reading = list(self._reading)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)

    def _begin(self, client: discord.Client) -> None:
        """A new session: what was said before it is not told, and comes before what is told from now on."""
        if client is not self._client:
            self._client, self._whole = client, False
            self._new.clear()
            self._broken.clear()
        self._stop_reading()
        if not self._marks.value:
            self._marks.start(discord.utils.time_snowflake(datetime.now(UTC)))
        self._marks.freeze()
        self._behind, self._listed = True, False
        if not _is_sharded(client):
            self._broken.discard(0)
        self._intake.hold()

    def _read(self, work: Coroutine[object, object, None]) -> None:
        """Read from the beginning."""
        self._stop_reading()
        self.catching_up = self._keep(work)

    def _keep(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        return task

    def _stop_reading(self) -> None:
        for task in self._reading:
            task.cancel()

    def _go_on(self) -> None:
        """Let the mark move again, if nothing may be missing."""
        if not self._behind and not self._broken:
            self._marks.thaw()

    async def _catch_up(self, client: discord.Client) -> None:
        try:
            late = await self._look_for_guilds(client)
            direct = await self._direct(client)
            reading = CatchingUp(client, self._intake, self._missed(client))
            unread = [one for guild in client.guilds for one in reading.listed(guild, self._mark(guild))]
            unread += reading.private(direct, self._marks.value)
            self._listed = True
            self._intake.hold_only({one.channel.id for one in unread})
            if await reading.run(unread):
                self._behind = False
                self._go_on()
                await self._caught_up(late)
        except Exception as error:
            log.error("what was missed is not read", error=type(error).__name__)
            log.debug("why it is not read", exc_info=error)
            self._intake.hold_only(())  # not if it is cancelled: a new session holds everything by then

    def _read_late(self, client: discord.Client, guild: discord.Guild) -> None:
        """Discord can tell of a guild again: what it does comes after what was missed."""
        reading = CatchingUp(client, self._intake, self._missed(client))
        unread = list(reading.listed(guild, self._mark(guild)))
        self._intake.hold_also({one.channel.id for one in unread})
        self._keep(self._catch_up_late(reading, unread, guild.id))

    async def _catch_up_late(self, reading: CatchingUp, unread: Sequence[Unread], guild: int) -> None:
        try:
            if await reading.run(unread):
                await self._caught_up([guild])
        except Exception as error:
            log.error("what was missed in a guild is not read", error=type(error).__name__)
            log.debug("why it is not read", exc_info=error)
            for one in unread:
                self._intake.release(one.channel.id)

    def _mark(self, guild: discord.Guild) -> int:
        return min(self._late.get(guild.id, self._marks.value), self._marks.value)

    async def _caught_up(self, guilds: Sequence[int]) -> None:
        for guild in guilds:
            self._late.pop(guild, None)
        await self._note({f"{LATE}{guild}": None for guild in guilds})

    async def _direct(self, client: discord.Client) -> Sequence[str]:
        """Private chats, of which Discord tells nothing by itself. They are the first shard's."""
        if 0 not in _shards(client):
            return []
        return await self._notes.direct_chats(PLATFORM, self._account, limit=MOST_DIRECT)

    async def _look_for_guilds(self, client: discord.Client) -> list[int]:
        """Guilds that the bot was removed from meanwhile: Discord tells of that only who is connected.

        Returns those that are late and can be read by now. Raises DatabaseError.
        """
        noted = await self._notes.notes(PLATFORM, self._account)
        known = {int(name.removeprefix(GUILD)) for name in noted if name.startswith(GUILD)}
        here = {guild.id for guild in client.guilds}
        mine = {guild for guild in known if (guild >> 22) % (client.shard_count or 1) in _shards(client)}
        for guild in sorted(mine - here):
            self._left(guild)
        self._late |= {int(name.removeprefix(LATE)): int(mark) for name, mark in noted.items() if name.startswith(LATE)}
        away = {guild.id for guild in client.guilds if guild.unavailable}
        for guild in away:
            self._late.setdefault(guild, self._marks.value)
        notes = {f"{GUILD}{guild}": "" for guild in here - known}
        notes |= {f"{LATE}{guild}": str(self._late[guild]) for guild in away}
        await self._notes.note(PLATFORM, self._account, notes)
        return [guild for guild in self._late if guild in here - away]

    async def _note(self, changes: Mapping[str, str | None]) -> None:
        try:
            if changes:
                await self._notes.note(PLATFORM, self._account, changes)
        except DatabaseError as error:
            log.warning("a note could not be written", reason=str(error))


def _is_sharded(client: discord.Client) -> bool:
    return isinstance(client, discord.AutoShardedClient)


def _shards(client: discord.Client) -> Sequence[int]:
    """The numbers of the connections that a client holds."""
    return getattr(client, "shard_ids", None) or [0]
