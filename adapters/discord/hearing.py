"""What the library tells, by the names of its events, and what becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import discord
import structlog

from adapters.discord import presses
from adapters.discord.client import as_platform_errors
from adapters.discord.intake import Intake, Make
from adapters.discord.interactions import Expired, Interactions
from adapters.discord.marks import Marks
from adapters.discord.menus import ARGUMENT, suggestions
from adapters.discord.places import PLATFORM, Place, known_place, place_of, sees
from adapters.discord.sessions import Sessions
from adapters.discord.updates import Me, edit_of, message_of
from bot.errors import DatabaseError, PlatformError
from bot.messages import Command, ConversationKey, Deleted, Event, Left, Outgoing
from bot.ports import Notes

log = structlog.get_logger(__name__)

_PRIVATE = discord.ChannelType.private
"""Of a channel that is in no guild."""
Present = Callable[[], discord.Client]
TURN_SECONDS = 1.0
"""So long a command and a press wait for what was said before them; who used them waits three."""
NOT_WRITTEN = "That could not be written down. Please try again."


class Hearing:
    """Implements `client.Ears` for one account."""

    def __init__(
        self, account: str, intake: Intake, marks: Marks, interactions: Interactions, notes: Notes, *, present: Present
    ) -> None:
        """`present`: the client that can call Discord now, which need not be the one that heard something. Raises Unreachable."""
        self.commands: Sequence[Command] = ()
        self._bringing: frozenset[str] = frozenset()
        self._account = account
        self._present = present
        self._intake = intake
        self._interactions = interactions
        self._notes = notes
        self._sessions = Sessions(account, intake, marks, notes, missed=self._reader, left=self._left_guild)

    def offer(self, commands: Sequence[Command]) -> None:
        """The commands that can be used from now on."""
        self.commands = tuple(commands)
        self._bringing = frozenset(command.name for command in commands if command.brings_files)

    def told(self, client: discord.Client, event: str, *what: Any) -> None:
        """See `client.Ears`."""
        match event:
            case "message":
                self._message(client, what[0])
            case "raw_message_edit":
                self._changed(client, what[0].message)
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
            case "guild_channel_delete":
                self._left(what[0].id, chat=str(what[0].id))
            case "raw_thread_delete":
                self._left(what[0].thread_id, chat=str(what[0].parent_id), thread=str(what[0].thread_id))
            case "guild_join":
                self._intake.beside(self._sessions.joined(what[0].id))
            case "guild_remove":
                self._left_guild(what[0].id)
            case _:
                self._sessions.told(client, event, *what)

    async def aclose(self) -> None:
        """Read nothing any more."""
        await self._sessions.aclose()

    def _reader(self, client: discord.Client) -> Callable[[discord.Message], Make]:
        """What makes events of what a client reads back."""
        members: dict[tuple[int, int], Any] = {}
        return lambda message: lambda: self._missed(client, message, members)

    def _message(self, client: discord.Client, sent: discord.Message) -> None:
        if client.user is not None and sent.author.id == client.user.id:
            return
        self._intake.put(sent.channel.id, lambda: self._heard(client, sent), number=sent.id)

    def _me(self, client: discord.Client) -> Me:
        assert client.user is not None, "it is logged in"
        return Me(client.user.id, self._bringing)

    async def _heard(self, client: discord.Client, sent: discord.Message) -> Event | None:
        return message_of(sent, await self._place(client, sent.channel), self._me(client))

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
                members[who] = await self._member(sent.guild, sent.author.id)
            member = members[who]
        return message_of(sent, place, self._me(client), member)

    def _changed(self, client: discord.Client, sent: discord.Message) -> None:
        """Most changes are the bot's own, or a link's card."""
        if sent.edited_at is not None and (client.user is None or sent.author.id != client.user.id):
            self._intake.put(sent.channel.id, lambda: self._edited(client, sent))

    async def _edited(self, client: discord.Client, sent: discord.Message) -> Event | None:
        return edit_of(sent, await self._place(client, sent.channel), self._me(client))

    def _deleted(self, client: discord.Client, where: Any, message: int) -> None:
        async def make() -> Event:
            channel = client.get_partial_messageable(where.channel_id, guild_id=where.guild_id, type=_PRIVATE)
            place = await self._place(client, channel)
            return Deleted(key=place.key, event_id=str(message), sent_at=datetime.now(UTC))

        self._intake.put(where.channel_id, make)

    async def _place(self, client: discord.Client, channel: Any) -> Place:
        unknown = isinstance(channel, discord.PartialMessageable)
        return await place_of(self._present() if unknown else client, self._account, channel)

    async def _member(self, guild: discord.Guild, person: int) -> discord.Member | None:
        """A member with the roles; None for who is none any more. Raises PlatformError."""
        with as_platform_errors():
            try:
                data = await self._present().http.get_member(guild.id, person)
            except discord.NotFound:
                return None
            return discord.Member(data=data, guild=guild, state=guild._state)

    def _left_guild(self, guild: int) -> None:
        self._left(guild, guild=guild)

    def _left(self, line: int, *, chat: str = "", thread: str = "", guild: int = 0) -> None:
        """A channel or a thread was deleted, or the bot is in a guild no more."""
        at = datetime.now(UTC)
        key = ConversationKey(PLATFORM, self._account, chat, thread)

        async def make() -> Event:
            if guild:
                await self._notes.note(PLATFORM, self._account, self._sessions.forget(guild))
            which = str(guild or thread or chat)
            return Left(
                key=key, event_id=f"left-{which}-{at.timestamp():.0f}", sent_at=at, guild=which if guild else ""
            )

        self._intake.put(line, make)

    def _interaction(self, client: discord.Client, interaction: discord.Interaction) -> None:
        """Who waits for an answer has three seconds: it does not wait for what was missed."""
        match interaction.type:
            case discord.InteractionType.application_command:
                self._in_turn(interaction, lambda: self._command(client, interaction))
            case discord.InteractionType.component:
                self._in_turn(interaction, lambda: self._press(client, interaction))
            case discord.InteractionType.autocomplete:
                self._intake.beside(_quietly(self._suggest(interaction)))

    def _in_turn(self, interaction: discord.Interaction, work: Callable[[], Awaitable[None]]) -> None:
        """Behind what was said before in its channel, unless that takes too long."""
        begun = False

        async def once() -> None:
            nonlocal begun
            if not begun:
                begun = True
                await _quietly(work())

        async def soon() -> None:
            await asyncio.sleep(0 if self._intake.is_held(channel) else TURN_SECONDS)
            await once()

        channel = interaction.channel_id or 0
        self._intake.put(channel, once)
        self._intake.beside(soon())

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
        under, seen = interaction.message, sees(client, interaction.channel_id or 0)
        alone = str(under.id) if under is not None and (under.flags.ephemeral or not seen) else ""
        live = self._interactions.begin(interaction, private=True, under=alone)
        if event is not None:
            await self._received(interaction.token, event)
        self._intake.beside(_quietly(self._interactions.acknowledge(live, alone)))

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


async def _quietly(work: Any) -> None:
    """An answer that nobody waits for any more is not worth more than a line in the log."""
    try:
        await work
    except Expired:
        log.warning("an interaction was answered too late")
    except PlatformError as error:
        log.warning("an interaction was not answered", error=str(error))
