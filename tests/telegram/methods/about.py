"""What the bot says about itself: its commands and its descriptions."""

from __future__ import annotations

import json
import re

from tests.telegram.errors import Json, bad_request
from tests.telegram.platform import Handler, Platform

COMMANDS = 100
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")
_DESCRIPTION = 256
_LIMITS = {"description": 512, "short_description": 120}


async def get_me(platform: Platform, given: Json) -> Json:
    """The bot's own account, and what it may do."""
    scene = platform.scene
    can = {
        "can_join_groups": True,
        "can_read_all_group_messages": not scene.privacy,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
        "has_topics_enabled": scene.topics,
    }
    return scene.bot.json | can


def _scope(platform: Platform, given: Json) -> tuple[str, str]:
    scope = given.get("scope", {"type": "default"})
    if "chat_id" in scope:
        platform.world.find(scope["chat_id"])
    return json.dumps(scope, sort_keys=True), given.get("language_code", "")


async def set_my_commands(platform: Platform, given: Json) -> bool:
    """The list that clients show."""
    if len(given["commands"]) > COMMANDS:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    for command in given["commands"]:
        if not _COMMAND.fullmatch(command["command"]):
            raise bad_request("BOT_COMMAND_INVALID")
        if not 0 < len(command["description"]) <= _DESCRIPTION:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    platform.commands[_scope(platform, given)] = given["commands"]
    return True


async def get_my_commands(platform: Platform, given: Json) -> list[Json]:
    """The list for exactly this scope and language."""
    return platform.commands.get(_scope(platform, given), [])


async def delete_my_commands(platform: Platform, given: Json) -> bool:
    """No list for this scope and language."""
    platform.commands.pop(_scope(platform, given), None)
    return True


def _description(kind: str) -> tuple[Handler, Handler]:
    async def set_(platform: Platform, given: Json) -> bool:
        if len(given.get(kind, "")) > _LIMITS[kind]:
            raise bad_request(f"the bot's {kind.replace('_', ' ')} is too long")
        platform.descriptions[kind, given.get("language_code", "")] = given.get(kind, "")
        return True

    async def get(platform: Platform, given: Json) -> Json:
        return {kind: platform.descriptions.get((kind, given.get("language_code", "")), "")}

    return set_, get


_SET_LONG, _GET_LONG = _description("description")
_SET_SHORT, _GET_SHORT = _description("short_description")
HANDLERS: dict[str, Handler] = {
    "getMe": get_me,
    "setMyCommands": set_my_commands,
    "getMyCommands": get_my_commands,
    "deleteMyCommands": delete_my_commands,
    "setMyDescription": _SET_LONG,
    "getMyDescription": _GET_LONG,
    "setMyShortDescription": _SET_SHORT,
    "getMyShortDescription": _GET_SHORT,
}
