"""A look at a bot through Discord's eyes, for `hearth check`: token, intent, commands, servers, rights.

All by calls; nothing connects to the gateway, where a running process is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from urllib.parse import urlsplit

import discord

from adapters.discord.client import as_platform_errors, looking, reads
from adapters.discord.connection import CONTENT, REFUSED
from adapters.discord.rights import OPEN_THREADS, READ_BACK, SEE, WRITE, WRITE_IN_THREADS, invitation, missing
from adapters.look import Finding, Named
from bot.config import DiscordConfig
from bot.errors import Barred, PlatformError

SECONDS = 15.0
"""For each row: the library alone would try for half a minute."""
PAGE = 200
"""Servers that Discord tells of at once."""
SHOWN = 10
PORTAL = "https://discord.com/developers/applications"
NEEDED = "; groups.names, groups.always, groups.threads and chat.remember_group_talk need that"
HOOKED = (
    "commands and buttons go to {host}, and Hearth hears of none. To bring them here: "
    f"{PORTAL}, General Information, empty Interactions Endpoint URL"
)
NO_NUMBER = "an id is a number, such as 1100000000000000001 (Developer Mode, Copy ID)"
_FORUMS = frozenset({discord.ChannelType.forum, discord.ChannelType.media})
"""There is nothing in them but threads."""


Seen = tuple[bool, str]
"""Whether it would work, and what was seen or what to do."""


async def look(config: DiscordConfig, named: Named, *, seconds: float = SECONDS) -> list[Finding]:
    """Of a bot that has a token. `named`: what the whole configuration counts on; `seconds`: how long a row may take."""
    async with AsyncExitStack() as stack:
        try:
            with as_platform_errors():
                try:
                    async with asyncio.timeout(seconds):
                        client = await stack.enter_async_context(looking(config))
                except discord.LoginFailure:
                    return [Finding("Discord", False, REFUSED)]
        except PlatformError as error:
            return [Finding("Discord", False, f"{config.api_base} does not answer ({error})")]
        assert client.user is not None, "it is logged in"
        return [
            Finding("Discord", True, f"the token is {client.user.name}'s"),
            _content(client, hears_all=named.hears_all),
            _commands(client),
            _invitation(client),
            *await _Places(client, seconds).rows(named),
        ]


def _content(client: discord.Client, *, hears_all: bool) -> Finding:
    what = "Discord message content"
    if reads(client):
        return Finding(what, True, "the bot may read what people write")
    return Finding(what, not hears_all, CONTENT + (NEEDED if hears_all else ""))


def _commands(client: discord.Client) -> Finding:
    application = client.application
    assert application is not None, "it is logged in"
    endpoint = application.interactions_endpoint_url
    if endpoint:
        return Finding("Discord commands", False, HOOKED.format(host=urlsplit(endpoint).hostname))
    return Finding("Discord commands", True, "and buttons come to Hearth")


def _invitation(client: discord.Client) -> Finding:
    what, application = "Discord invitation", client.application
    assert application is not None, "it is logged in"
    if application.bot_require_code_grant:
        return Finding(what, False, f"nobody can add the bot: {PORTAL}, Bot, switch off Requires OAuth2 Code Grant")
    who = "anybody who manages a server" if application.bot_public else "the bot's owner alone (it is no public bot)"
    return Finding(what, True, f"by the link below, for {who}", invitation(application.id))


class _Places:
    """The bot's servers, and the channels that the configuration names."""

    def __init__(self, client: discord.Client, seconds: float) -> None:
        assert client.application is not None, "it is logged in"
        assert client.user is not None, "it is logged in"
        self._client, self._application, self._me = client, client.application, client.user
        self._seconds = seconds
        self._known: dict[int, tuple[discord.Guild, discord.Member]] = {}

    async def rows(self, named: Named) -> list[Finding]:
        """One of all servers, and one of each place that is named."""
        guilds = [await self._named("server", guild, self._guild) for guild in named.guilds]
        chats = [
            await self._named("channel", chat, partial(self._chat, opens=chat in named.threads)) for chat in named.chats
        ]
        return [await self._row("Discord servers", self._guilds), *guilds, *chats]

    async def _named(self, kind: str, number: str, seen: Callable[[int], Awaitable[Seen]]) -> Finding:
        what = f"Discord {kind} {number}"
        if not number.isdecimal():
            return Finding(what, False, NO_NUMBER)
        return await self._row(what, partial(seen, int(number)))

    async def _row(self, what: str, seen: Callable[[], Awaitable[Seen]]) -> Finding:
        try:
            with as_platform_errors():
                async with asyncio.timeout(self._seconds):
                    return Finding(what, *await seen())
        except Barred:
            return Finding(what, False, "there is none with this id that the bot may see; is it in that server?")
        except discord.InvalidData:
            return Finding(what, False, "is of a kind in which nothing is said")
        except PlatformError as error:
            return Finding(what, False, f"cannot be looked at ({error})")

    async def _guilds(self) -> Seen:
        found = await self._client.http.get_guilds(PAGE, with_counts=False)
        if not found:
            return True, "the bot is in none yet; the invitation brings it there"
        number = len(found) if len(found) < PAGE else f"about {self._application.approximate_guild_count}"
        shown = ", ".join(f"{guild['name']} ({guild['id']})" for guild in found[:SHOWN])
        return True, f"the bot is in {number}: {shown}{', ...' if len(found) > SHOWN else ''}"

    async def _guild(self, number: int) -> Seen:
        guild, member = await self._member_of(number)
        lacks = missing(member.guild_permissions, (SEE, WRITE, READ_BACK))
        more = f", and may not {lacks} but where a channel allows it" if lacks else ""
        return True, f"{guild.name}; the bot is in it{more}"

    async def _chat(self, number: int, *, opens: bool) -> Seen:
        """`opens`: threads are to begin there."""
        channel = await self._client.fetch_channel(number)
        if isinstance(channel, discord.abc.PrivateChannel):
            return True, "a private chat"
        if isinstance(channel, discord.Thread):
            return False, f"is a thread; an entry names its channel, with all threads: discord:chat/{channel.parent_id}"
        if isinstance(channel, discord.CategoryChannel):
            return False, "is a category, in which nothing is said; each of its channels has an id of its own"
        guild, member = await self._member_of(channel.guild.id)
        known = await guild.fetch_channel(number)  # this one knows its server, and so who may what
        forum = channel.type in _FORUMS
        wanted = [SEE, WRITE_IN_THREADS if forum else WRITE, READ_BACK]
        wanted += [WRITE_IN_THREADS, OPEN_THREADS] if opens and not forum else []
        lacks = missing(known.permissions_for(member), wanted)
        may = f"may not {lacks}" if lacks else "may write and read the history"
        return not lacks, f"#{channel.name} in {guild.name}; the bot {may}"

    async def _member_of(self, number: int) -> tuple[discord.Guild, discord.Member]:
        """A server with its roles, and the bot in it."""
        if number not in self._known:
            guild = await self._client.fetch_guild(number, with_counts=False)
            self._known[number] = guild, await guild.fetch_member(self._me.id)
        return self._known[number]
