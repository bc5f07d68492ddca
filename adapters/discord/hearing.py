"""What the library tells, by the names of its events, and what becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import discord
import structlog

from adapters.discord import presses
from adapters.discord.catching_up import CatchingUp
from adapters.discord.client import as_platform_errors
from adapters.discord.intake import Intake, Make
from adapters.discord.interactions import Expired, Interactions
from adapters.discord.marks import Marks
from adapters.discord.menus import ARGUMENT, suggestions
from adapters.discord.places import PLATFORM, known_place, place_of
from adapters.discord.updates import Me, edit_of, message_of
from bot.errors import DatabaseError, PlatformError
from bot.messages import Command, ConversationKey, Deleted, Event, Left, Outgoing
from bot.ports import Notes

log = structlog.get_logger(__name__)

MOST_DIRECT = 200
"""Private chats that are looked into after a pause, the liveliest: each is a call."""
GUILD = "guild/"
"""Before the id of a guild in which the bot is, in the name of a note."""
_PRIVATE = discord.ChannelType.private
"""Of a channel that is in no guild."""
NOT_WRITTEN = "That could not be written down. Please try again."


class Hearing:
    """Implements `client.Ears` for one account."""

    def __init__(self, account: str, intake: Intake, marks: Marks, interactions: Interactions, notes: Notes) -> None:
        self.commands: Sequence[Command] = ()
        self._account = account
        self._intake = intake
        self._marks = marks
        self._interactions = interactions
        self._notes = notes
        self._catching_up: asyncio.Task[None] | None = None

    def told(self, client: discord.Client, event: str, *what: Any) -> None:
        """See `client.Ears`."""
        match event:
            case "message":
                self._message(client, what[0])
            case "raw_message_edit":
                self._intake.put(what[0].channel_id, lambda: self._edited(client, what[0].message))
            case "raw_message_delete":
                self._deleted(client, what[0], what[0].message_id)
            case "raw_bulk_message_delete":
                for message in sorted(what[0].message_ids):
                    self._deleted(client, what[0], message)
            case "interaction":
                self._interaction(client, what[0])
            case _:
                self._told_of_places(client, event, *what)

    def _told_of_places(self, client: discord.Client, event: str, *what: Any) -> None:
        match event:
            case "connect":
                self._begin()
            case "ready":
                self._catching_up = asyncio.create_task(self._catch_up(client))
            case "guild_channel_delete":
                self._left(what[0].id, chat=str(what[0].id))
            case "raw_thread_delete":
                self._left(what[0].thread_id, chat=str(what[0].parent_id), thread=str(what[0].thread_id))
            case "guild_join":
                self._intake.beside(self._joined(str(what[0].id)))
            case "guild_remove":
                self._left(what[0].id, guild=str(what[0].id))

    async def aclose(self) -> None:
        """Read nothing any more."""
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.gather(self._catching_up, return_exceptions=True)

    def _begin(self) -> None:
        """A new session: what was said before it is not told, and comes before what is told from now on."""
        if self._catching_up is not None:
            self._catching_up.cancel()
        if not self._marks.value:
            self._marks.start(discord.utils.time_snowflake(datetime.now(UTC)))
        self._marks.freeze()
        self._intake.hold()

    async def _catch_up(self, client: discord.Client) -> None:
        try:
            await self._look_for_guilds(client)
            members: dict[tuple[int, int], Any] = {}

            def missed(message: discord.Message) -> Make:
                return lambda: self._missed(client, message, members)

            reading = CatchingUp(client, self._intake, self._marks, missed)
            await reading.run(await self._direct(client))
        except Exception as error:
            log.error("what was missed is not read", error=type(error).__name__)
            log.debug("why it is not read", exc_info=error)
            self._intake.hold_only(())  # not if it is cancelled: a new session holds everything by then

    async def _direct(self, client: discord.Client) -> Sequence[str]:
        """Private chats, of which Discord tells nothing by itself. They are the first shard's."""
        if 0 not in _shards(client):
            return []
        return await self._notes.direct_chats(PLATFORM, self._account, limit=MOST_DIRECT)

    async def _look_for_guilds(self, client: discord.Client) -> None:
        """Guilds that the bot was removed from meanwhile: Discord tells of that only who is connected."""
        noted = await self._notes.notes(PLATFORM, self._account)
        known = {name.removeprefix(GUILD) for name in noted if name.startswith(GUILD)}
        here = {str(guild.id) for guild in client.guilds}
        mine = {guild for guild in known if (int(guild) >> 22) % (client.shard_count or 1) in _shards(client)}
        for guild in sorted(mine - here):
            self._left(int(guild), guild=guild)
        await self._notes.note(PLATFORM, self._account, {GUILD + guild: "" for guild in here - known})

    async def _joined(self, guild: str) -> None:
        """What is known here of where the bot is tells later where it is no more."""
        try:
            await self._notes.note(PLATFORM, self._account, {GUILD + guild: ""})
        except DatabaseError as error:
            log.warning("a note could not be written", reason=str(error))

    def _message(self, client: discord.Client, sent: discord.Message) -> None:
        if client.user is not None and sent.author.id == client.user.id:
            return
        self._intake.put(sent.channel.id, lambda: self._heard(client, sent), number=sent.id)

    def _me(self, client: discord.Client) -> Me:
        assert client.user is not None, "it is logged in"
        return Me(client.user.id, [command.name for command in self.commands if command.brings_files])

    async def _heard(self, client: discord.Client, sent: discord.Message) -> Event | None:
        return message_of(sent, await place_of(client, self._account, sent.channel), self._me(client))

    async def _missed(
        self, client: discord.Client, sent: discord.Message, members: dict[tuple[int, int], Any]
    ) -> Event | None:
        """What is read back says nothing of its author's roles: they are asked for, once each."""
        assert client.user is not None, "it is logged in"
        if sent.author.id == client.user.id:
            return None
        place, member = known_place(client, self._account, sent.channel), None
        if sent.guild is not None and not sent.author.bot:
            who = (sent.guild.id, sent.author.id)
            if who not in members:
                members[who] = await _member(sent.guild, sent.author.id)
            member = members[who]
        return message_of(sent, place, self._me(client), member)

    async def _edited(self, client: discord.Client, sent: discord.Message) -> Event | None:
        assert client.user is not None, "it is logged in"
        if sent.author.id == client.user.id or sent.edited_at is None:
            return None
        return edit_of(sent, await place_of(client, self._account, sent.channel), self._me(client))

    def _deleted(self, client: discord.Client, where: Any, message: int) -> None:
        async def make() -> Event:
            channel = client.get_partial_messageable(where.channel_id, guild_id=where.guild_id, type=_PRIVATE)
            place = await place_of(client, self._account, channel)
            return Deleted(key=place.key, event_id=str(message), sent_at=datetime.now(UTC))

        self._intake.put(where.channel_id, make)

    def _left(self, line: int, *, chat: str = "", thread: str = "", guild: str = "") -> None:
        """A channel or a thread was deleted, or the bot is in a guild no more."""
        at = datetime.now(UTC)
        key = ConversationKey(PLATFORM, self._account, chat, thread)

        async def make() -> Event:
            if guild:
                await self._notes.note(PLATFORM, self._account, {GUILD + guild: None})
            return Left(
                key=key, event_id=f"left-{guild or thread or chat}-{at.timestamp():.0f}", sent_at=at, guild=guild
            )

        self._intake.put(line, make)

    def _interaction(self, client: discord.Client, interaction: discord.Interaction) -> None:
        """Who waits for an answer has three seconds: it does not wait for what was missed."""
        channel = interaction.channel_id or 0
        match interaction.type:
            case discord.InteractionType.application_command:
                work = self._command(client, interaction)
            case discord.InteractionType.component:
                work = self._press(client, interaction)
            case discord.InteractionType.autocomplete:
                work = self._suggest(interaction)
            case _:
                return
        if interaction.type is discord.InteractionType.autocomplete or self._intake.is_held(channel):
            self._intake.beside(_quietly(work))
        else:
            self._intake.put(channel, lambda: _quietly(work))

    async def _command(self, client: discord.Client, interaction: discord.Interaction) -> None:
        place = presses.place_of(interaction, self._account)
        event = presses.command_of(interaction, place, self.commands, client=client)
        name = event.text.partition(" ")[0].removeprefix("/")
        hidden = any(one.private or one.discreet for one in self.commands if one.name == name)
        live = self._interactions.begin(interaction, private=hidden and not place.direct)
        if await self._received(interaction.token, event):
            self._intake.beside(_quietly(self._interactions.defer(live)))

    async def _press(self, client: discord.Client, interaction: discord.Interaction) -> None:
        event = presses.action_of(interaction, presses.place_of(interaction, self._account))
        live = self._interactions.begin(interaction, private=True)
        if event is None or await self._received(interaction.token, event):
            under = interaction.message
            seen = client.get_channel(interaction.channel_id or 0) is not None
            noted = under is not None and (under.flags.ephemeral or not seen)
            done = self._interactions.acknowledge(live, str(under.id if under else ""), noted=noted)
            self._intake.beside(_quietly(done))

    async def _received(self, token: str, event: Event) -> bool:
        try:
            await self._intake.receive(event)
        except DatabaseError as error:
            log.error("heard, but not received", adapter=PLATFORM, reason=str(error))
            await self._interactions.say(token, Outgoing(text=NOT_WRITTEN, private=True, notice=True), [], noted=False)
            return False
        return True

    async def _suggest(self, interaction: discord.Interaction) -> None:
        data: Any = interaction.data
        begun = next((option["value"] for option in data.get("options", ()) if option["name"] == ARGUMENT), "")
        await self._interactions.suggest(interaction, suggestions(self.commands, data["name"], begun))


def _shards(client: discord.Client) -> Sequence[int]:
    """The numbers of the connections that a client holds."""
    return getattr(client, "shard_ids", None) or [0]


async def _member(guild: discord.Guild, person: int) -> Any:
    """A member with the roles; None for who is none any more. Raises PlatformError."""
    with as_platform_errors():
        try:
            return await guild.fetch_member(person)
        except discord.NotFound:
            return None


async def _quietly(work: Any) -> None:
    """An answer that nobody waits for any more is not worth more than a line in the log."""
    try:
        await work
    except Expired:
        log.warning("an interaction was answered too late")
    except PlatformError as error:
        log.warning("an interaction was not answered", error=str(error))
