"""Permission and intent bits, and who may do what in a channel.

https://docs.discord.com/developers/topics/permissions, https://docs.discord.com/developers/events/gateway#gateway-intents
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag


class Permission(IntFlag):
    """What a member may do; those that a chat bot can come upon."""

    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38
    SEND_VOICE_MESSAGES = 1 << 46


P = Permission
NOTHING = Permission(0)
EVERYTHING = Permission((1 << 53) - 1)
EVERYONE = (
    P.ADD_REACTIONS
    | P.VIEW_CHANNEL
    | P.SEND_MESSAGES
    | P.EMBED_LINKS
    | P.ATTACH_FILES
    | P.READ_MESSAGE_HISTORY
    | P.USE_APPLICATION_COMMANDS
    | P.CREATE_PUBLIC_THREADS
    | P.CREATE_PRIVATE_THREADS
    | P.SEND_MESSAGES_IN_THREADS
    | P.SEND_VOICE_MESSAGES
)
"""Of @everyone in a new guild."""
IN_PRIVATE = EVERYONE
"""In a DM, where there is nobody to forbid anything."""


class Intent(IntFlag):
    """What a connection wants to be told."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15


UNASKED = Intent(0)
"""Of events that come without an intent."""
PRIVILEGED = Intent.GUILD_MEMBERS | Intent.GUILD_PRESENCES | Intent.MESSAGE_CONTENT
"""Intents that are switched on in the developer portal first."""
ALL_INTENTS = (1 << 17) - 1 | 1 << 20 | 1 << 21 | 1 << 24 | 1 << 25
"""Every bit that means something; others are refused with 4013."""


@dataclass
class Overwrite:
    """What a channel allows and denies to a role or a member."""

    allow: Permission = NOTHING
    deny: Permission = NOTHING


def in_channel(base: Permission, overwrites: list[Overwrite]) -> Permission:
    """Apply overwrites in this order: of @everyone, of the roles together, of the member."""
    if Permission.ADMINISTRATOR in base:
        return EVERYTHING
    for overwrite in overwrites:
        base = (base & ~overwrite.deny) | overwrite.allow
    return base if Permission.VIEW_CHANNEL in base else NOTHING


def ordered(overwrites: Mapping[int, Overwrite], everyone: int, roles: frozenset[int], member: int) -> list[Overwrite]:
    """The overwrites that concern a member, in the order in which they count."""
    own = [overwrites[role] for role in sorted(roles) if role in overwrites]
    together = Overwrite()
    for overwrite in own:
        together = Overwrite(together.allow | overwrite.allow, together.deny | overwrite.deny)
    first = [overwrites[everyone]] if everyone in overwrites else []
    last = [overwrites[member]] if member in overwrites else []
    return [*first, together, *last]
