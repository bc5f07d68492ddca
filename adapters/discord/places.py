"""Channels, threads and DMs -> where a conversation takes place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import discord

from adapters.discord.client import as_platform_errors
from bot.messages import ConversationKey

PLATFORM = "discord"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was said."""

    key: ConversationKey
    """A thread has its channel's chat, and is a conversation of its own."""
    guild: str = ""
    direct: bool = False
    """With the bot alone."""
    own_thread: bool = False
    """A thread that the bot has opened: what is said there is said to it."""
    can_open: bool = False
    """Threads can begin at messages here."""


async def place_of(client: discord.Client, account: str, channel: Any) -> Place:
    """The place of a channel as the library gives it. One that it does not know is asked for. Raises PlatformError."""
    if isinstance(channel, discord.PartialMessageable) and channel.guild_id is not None:
        with as_platform_errors():
            channel = client.get_channel(channel.id) or await client.fetch_channel(channel.id)
    return known_place(client, account, channel)


def known_place(client: discord.Client, account: str, channel: Any) -> Place:
    """The same of one that it knows."""
    guild = getattr(channel, "guild", None)
    within = "" if guild is None else str(guild.id)
    if isinstance(channel, discord.Thread):
        own = client.user is not None and channel.owner_id == client.user.id
        key = ConversationKey(PLATFORM, account, str(channel.parent_id), str(channel.id))
        return Place(key, within, own_thread=own)
    key = ConversationKey(PLATFORM, account, str(channel.id))
    if guild is None:
        return Place(key, direct=channel.type is discord.ChannelType.private)
    return Place(key, within, can_open=isinstance(channel, discord.TextChannel))


def channels_of(guild: discord.Guild) -> list[Any]:
    """The channels and threads of a guild in which messages stand."""
    return [*guild.text_channels, *guild.voice_channels, *guild.stage_channels, *guild.threads]


def may_read(channel: Any) -> bool:
    """Whether the bot may read what was written in a channel of a guild."""
    rights = _rights(channel)
    return rights.read_messages and rights.read_message_history


def sees(client: discord.Client, channel: int) -> bool:
    """Whether the bot is where a message stands, and can change it there by its own name."""
    known = client.get_channel(channel)
    return known is not None and (isinstance(known, discord.abc.PrivateChannel) or _rights(known).read_messages)


def _rights(channel: Any) -> discord.Permissions:
    if isinstance(channel, discord.Thread) and channel.parent is None:
        return discord.Permissions.none()
    return discord.Permissions.none() if channel.guild.me is None else channel.permissions_for(channel.guild.me)
