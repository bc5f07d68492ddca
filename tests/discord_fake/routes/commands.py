"""The application's commands: slash commands and context menus, global ones and those of a guild.

https://docs.discord.com/developers/interactions/application-commands
"""

from __future__ import annotations

import re
from typing import Any

from tests.discord_fake.errors import Json, invalid, refused
from tests.discord_fake.platform import Handler, Platform, Request

_SLASH, _USER_MENU, _MESSAGE_MENU = 1, 2, 3
_NAME = re.compile(r"[-_'\w\u0900-\u097f\u0e00-\u0e7f]{1,32}")
_MOST = {_SLASH: 100, _USER_MENU: 15, _MESSAGE_MENU: 15}
"""How many of a kind there can be, globally and in each guild."""
_TEXT = 8000
"""Characters of all names, descriptions and values of a command."""
_SUBCOMMAND, _GROUP = 1, 2
_NULLABLE = ("name_localizations", "description_localizations", "contexts", "default_member_permissions")


def _check(command: Json, path: str) -> None:
    """Raise Misuse for what the schema can't say."""
    kind = command.get("type") or _SLASH
    if kind == _SLASH:
        _check_name(command["name"], f"{path}name")
        if not command.get("description"):
            raise invalid(f"{path}description", "BASE_TYPE_REQUIRED", "This field is required")
        _check_options(command.get("options") or [], f"{path}options")
        for localised in (command.get("name_localizations") or {}).values():
            _check_name(localised, f"{path}name_localizations")
    elif command.get("description") or command.get("options"):
        words = "Context menu commands cannot have description"
        raise invalid(f"{path}description", "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION_INVALID", words)
    if len(_text(command)) > _TEXT:
        raise invalid(f"{path}name", "APPLICATION_COMMAND_TOO_LARGE", f"More than {_TEXT} characters.")


def _check_name(name: str, path: str) -> None:
    if not _NAME.fullmatch(name) or name != name.lower():
        raise invalid(path, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def _check_options(options: list[Json], path: str) -> None:
    seen: set[str] = set()
    optional = False
    for at, option in enumerate(options):
        where = f"{path}.{at}"
        _check_name(option["name"], f"{where}.name")
        if option["name"] in seen:
            words = "Option names must be unique"
            raise invalid(where, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", words)
        seen.add(option["name"])
        if option.get("required") and optional:
            words = "Required options must be placed before non-required options"
            raise invalid(where, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", words)
        optional = optional or not option.get("required")
        if option.get("autocomplete") and option.get("choices"):
            words = "Autocomplete and choices exclude each other"
            raise invalid(where, "APPLICATION_COMMAND_OPTIONS_CHOICES_AND_AUTOCOMPLETE", words)
        _check_options(option.get("options") or [], f"{where}.options")
    kinds = {option["type"] in {_SUBCOMMAND, _GROUP} for option in options}
    if len(kinds) > 1:
        raise invalid(path, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Subcommands and options exclude each other")


def _text(value: Any) -> str:
    """All that somebody reads of a command."""
    if isinstance(value, list):
        return "".join(_text(item) for item in value)
    if isinstance(value, dict):
        told = [value[name] for name in ("name", "description", "value") if isinstance(value.get(name), str)]
        return "".join([*told, _text(value.get("options") or []), _text(value.get("choices") or [])])
    return ""


def _scope(request: Request) -> str | None:
    """The guild whose commands they are."""
    return request.path.get("guild_id")


def _own(platform: Platform, request: Request) -> list[Json]:
    """The commands of a scope. Raises Refused."""
    if request.id("application_id") != platform.scene.application_id:
        raise refused(10002)
    if _scope(request) is not None:
        platform.guild(request)
    return [command for command in platform.scene.commands if command.get("guild_id") == _scope(request)]


def _made(platform: Platform, request: Request, given: Json, old: Json | None) -> Json:
    """An ApplicationCommandResponse."""
    permissions = given.get("default_member_permissions")
    kind = given.get("type") or _SLASH
    own: Json = {"id": old["id"] if old else str(platform.scene.snowflake()), "type": kind}
    own |= {"application_id": str(platform.scene.application_id), "version": str(platform.scene.snowflake())}
    own |= {"name": given["name"], "description": given.get("description") or "", "nsfw": bool(given.get("nsfw"))}
    own |= {name: given.get(name) for name in _NULLABLE}
    own["default_member_permissions"] = None if permissions is None else str(permissions)
    own["options"] = [_option(option) for option in given.get("options") or []]
    if (guild := _scope(request)) is not None:
        return own | {"guild_id": guild, "integration_types": [0]}
    private = given.get("dm_permission") is not False
    return own | {"dm_permission": private, "integration_types": given.get("integration_types") or [0]}


def _option(option: Json) -> Json:
    """An option as the platform gives it back: without null, and its options alike."""
    kept = {name: value for name, value in option.items() if value is not None}
    if "options" in kept:
        kept["options"] = [_option(inner) for inner in kept["options"]]
    return kept


async def _list(platform: Platform, request: Request) -> list[Json]:
    return _own(platform, request)


async def _bulk(platform: Platform, request: Request) -> list[Json]:
    """Overwrite all: what isn't named is gone, what has the name and type of an old one keeps its id."""
    own = _own(platform, request)
    given = request.body or []
    counts: dict[int, int] = {}
    names: set[tuple[int, str]] = set()
    for at, command in enumerate(given):
        _check(command, f"{at}.")
        kind = command.get("type") or _SLASH
        counts[kind] = counts.get(kind, 0) + 1
        if (kind, command["name"]) in names:
            raise invalid(
                f"{at}.name", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique"
            )
        names.add((kind, command["name"]))
        if counts[kind] > _MOST.get(kind, 1):
            raise invalid(
                str(at), "APPLICATION_COMMAND_MAX", f"More than {_MOST.get(kind, 1)} commands of type {kind}."
            )
    made = [_made(platform, request, command, _same(own, command)) for command in given]
    others = [command for command in platform.scene.commands if command not in own]
    platform.scene.commands[:] = others + made
    return made


def _same(own: list[Json], command: Json) -> Json | None:
    kind = command.get("type") or _SLASH
    return next((c for c in own if c["name"] == command["name"] and c["type"] == kind), None)


async def _create(platform: Platform, request: Request) -> Json:
    own = _own(platform, request)
    _check(request.body, "")
    old = _same(own, request.body)
    if old is not None:
        platform.scene.commands.remove(old)
    made = _made(platform, request, request.body, old)
    platform.scene.commands.append(made)
    return made


def _command(platform: Platform, request: Request) -> Json:
    for command in _own(platform, request):
        if command["id"] == request.path["command_id"]:
            return command
    raise refused(10063)


async def _get(platform: Platform, request: Request) -> Json:
    return _command(platform, request)


async def _delete(platform: Platform, request: Request) -> None:
    platform.scene.commands.remove(_command(platform, request))


async def _update(platform: Platform, request: Request) -> Json:
    old = _command(platform, request)
    given = {name: value for name, value in old.items() if name != "default_member_permissions"} | request.body
    _check(given, "")
    made = _made(platform, request, given, old)
    platform.scene.commands[platform.scene.commands.index(old)] = made
    return made


HANDLERS: dict[str, Handler] = {
    f"{verb}{guild}application_command{plural}": handler
    for guild in ("", "guild_")
    for verb, plural, handler in (
        ("list_", "s", _list),
        ("bulk_set_", "s", _bulk),
        ("create_", "", _create),
        ("get_", "", _get),
        ("delete_", "", _delete),
        ("update_", "", _update),
    )
}
