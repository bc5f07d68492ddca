"""Guilds: their channels, members and roles."""

from __future__ import annotations

from tests.discord_fake.errors import Json, refused
from tests.discord_fake.permissions import Intent
from tests.discord_fake.platform import Handler, Platform, Request
from tests.discord_fake.routes.threads import listed


async def _get(platform: Platform, request: Request) -> Json:
    guild = platform.guild(request)
    counts = {"approximate_member_count": len(guild.members), "approximate_presence_count": 0}
    return guild.json | (counts if request.query.get("with_counts") else {})


async def _channels(platform: Platform, request: Request) -> list[Json]:
    """All of them, those that the bot doesn't see too; threads are listed elsewhere."""
    return [channel.json for channel in platform.guild(request).channels]


async def _threads(platform: Platform, request: Request) -> Json:
    found = [thread for thread in platform.guild(request).threads if thread.bot_sees and not thread.archived]
    return listed(sorted(found, key=lambda thread: -thread.id), platform)


async def _roles(platform: Platform, request: Request) -> list[Json]:
    return [role.json for role in platform.guild(request).roles.values()]


async def _member(platform: Platform, request: Request) -> Json:
    member = platform.guild(request).members.get(request.id("user_id"))
    if member is None:
        raise refused(10007 if request.id("user_id") in platform.scene.users else 10013)
    return member.json


async def _members(platform: Platform, request: Request) -> list[Json]:
    """The whole list needs the intent, in the portal if not in the connection."""
    if Intent.GUILD_MEMBERS not in platform.scene.privileged:
        raise refused(50001)
    after, limit = int(request.query.get("after", 0)), request.query.get("limit", 1)
    members = sorted(platform.guild(request).members.items())
    return [member.json for user, member in members if user > after][:limit]


async def _search(platform: Platform, request: Request) -> list[Json]:
    words, limit = str(request.query.get("query", "")).lower(), request.query.get("limit", 1)
    members = platform.guild(request).members.values()
    return [
        member.json
        for member in members
        if member.user.username.startswith(words) or (member.nick or "").lower().startswith(words)
    ][:limit]


async def _mine(platform: Platform, request: Request) -> list[Json]:
    guilds = [guild for guild in platform.world.guilds.values() if guild.has_bot]
    bot = platform.world.bot.id
    return [
        {"id": str(guild.id), "name": guild.name, "icon": None, "banner": None, "owner": guild.owner_id == bot}
        | {"permissions": str(int(guild.base(bot))), "features": []}
        for guild in sorted(guilds, key=lambda guild: guild.id)
        if guild.id > int(request.query.get("after", 0))
    ][: request.query.get("limit", 200)]


async def _leave(platform: Platform, request: Request) -> None:
    platform.guild(request).leave(platform.world.bot)


HANDLERS: dict[str, Handler] = {
    "get_guild": _get,
    "list_guild_channels": _channels,
    "get_active_guild_threads": _threads,
    "list_guild_roles": _roles,
    "get_guild_member": _member,
    "list_guild_members": _members,
    "search_guild_members": _search,
    "list_my_guilds": _mine,
    "leave_guild": _leave,
}
