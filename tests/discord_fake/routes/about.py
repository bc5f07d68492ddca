"""The bot itself, other users, DMs, and the gateway's address."""

from __future__ import annotations

from tests.discord_fake.errors import Json, invalid, refused
from tests.discord_fake.permissions import Intent
from tests.discord_fake.platform import Handler, Platform, Request
from tests.discord_fake.scene import User

_LIMITED = {Intent.GUILD_PRESENCES: 1 << 13, Intent.GUILD_MEMBERS: 1 << 15, Intent.MESSAGE_CONTENT: 1 << 19}
"""Application flags: which privileged intents the portal has switched on, for a bot in fewer than 100 guilds."""


async def _me(platform: Platform, request: Request) -> Json:
    more = {"mfa_enabled": True, "locale": "en-US", "verified": True, "email": None}
    return platform.world.bot.json | more


async def _application(platform: Platform, request: Request) -> Json:
    bot, scene = platform.world.bot, platform.scene
    flags = sum(flag for intent, flag in _LIMITED.items() if intent in scene.privileged)
    owner = User(1, "owner", "Owner")
    own: Json = {"id": str(bot.id), "name": bot.username, "icon": None, "description": "", "type": None}
    own |= {"verify_key": "0" * 64, "flags": flags, "flags_new": str(flags), "redirect_uris": [], "team": None}
    own |= {"interactions_endpoint_url": None, "role_connections_verification_url": None, "owner": owner.json}
    guilds = sum(guild.has_bot for guild in platform.world.guilds.values())
    own |= {"approximate_guild_count": guilds, "approximate_user_install_count": len(scene.installed_by)}
    own |= {"approximate_user_authorization_count": 0, "explicit_content_filter": 0, "eligible_oauth2_scopes": []}
    return own | {"bot": bot.json, "bot_public": True, "bot_require_code_grant": False} | scene.portal


async def _user(platform: Platform, request: Request) -> Json:
    user = platform.scene.users.get(request.id("user_id"))
    if user is None:
        raise refused(10013)
    return user.json


async def _gateway(platform: Platform, request: Request) -> Json:
    return {"url": platform.gateway.handshake.url}


async def _gateway_bot(platform: Platform, request: Request) -> Json:
    shake = platform.gateway.handshake
    return {"url": shake.url, "shards": shake.shards, "session_start_limit": shake.limits}


async def _create_dm(platform: Platform, request: Request) -> Json:
    user = platform.scene.users.get(int(request.body.get("recipient_id") or 0))
    if user is None or user == platform.world.bot:
        raise invalid("recipient_id", "INVALID_RECIPIENT", "There is no such user.")
    return platform.world.dm(user).json


HANDLERS: dict[str, Handler] = {
    "get_my_user": _me,
    "get_my_application": _application,
    "get_my_oauth2_application": _application,
    "get_user": _user,
    "get_gateway": _gateway,
    "get_bot_gateway": _gateway_bot,
    "create_dm": _create_dm,
}
