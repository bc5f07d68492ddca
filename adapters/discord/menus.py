"""Hearth's commands as Discord's: slash commands, and what can be done with a message. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from bot.messages import Command

Json = dict[str, Any]

SLASH, ON_MESSAGE = 1, 3
"""Types of commands."""
TEXT = 3
"""The type of an option."""
MANAGE_GUILD = 1 << 5
LONGEST_HELP = 100
LONGEST_ARGUMENT = 6000
MOST_SUGGESTIONS = 25
EVERYWHERE: Final[Json] = {"integration_types": [0, 1], "contexts": [0, 1, 2]}
"""For guilds and for people who have the app for themselves; in guilds, in DMs with the bot, in DMs of others."""
ASK = "ask"
"""Not a command of Hearth's: it says something to the bot, where it would not hear it otherwise."""
ARGUMENT = "text"
"""The name of what follows a command."""
_ASK_HELP = "asks me something, also where I am no member"
_ASK_GERMAN = "fragt mich etwas, auch wo ich kein Mitglied bin"


def listed(commands: Sequence[Command]) -> list[Json]:
    """What is to be registered."""
    asked = _slash(ASK, _ASK_HELP, {"de": _ASK_GERMAN})
    asked["options"] = [_option("QUESTION", required=True)]
    slash = [_command(command) for command in commands]
    return [asked, *slash, *(_on_message(command) for command in commands if command.on_message)]


def digest(payload: Sequence[Json]) -> str:
    """Tells whether anything has changed since they were registered."""
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


def typed(commands: Iterable[Command], name: str, argument: str) -> str:
    """A command that was chosen, as somebody would have typed it."""
    if name == ASK:
        return argument
    on_message = next((command.name for command in commands if command.on_message and command.menu_title == name), name)
    return f"/{on_message} {argument}".rstrip()


def suggestions(commands: Iterable[Command], name: str, begun: str) -> list[str]:
    """What could follow a command, by what was typed of it."""
    found = next((command for command in commands if command.name == name), None)
    if found is None or found.suggestions is None:
        return []
    wanted = begun.casefold()
    return [one for one in found.suggestions() if wanted in one.casefold() and len(one) <= LONGEST_HELP][
        :MOST_SUGGESTIONS
    ]


def _command(command: Command) -> Json:
    made = _slash(command.name, command.help, command.translations)
    if command.changes or command.manages:
        made["default_member_permissions"] = MANAGE_GUILD
    if command.manages:
        made |= {"integration_types": [0], "contexts": [0]}
    if command.argument:
        made["options"] = [
            _option(
                command.argument,
                required=not command.argument.startswith("["),
                suggested=command.suggestions is not None,
            )
        ]
    return made


def _slash(name: str, help_text: str, translations: Any) -> Json:
    localised = {language: _short(words) for language, words in translations.items()}
    return {
        "type": SLASH,
        "name": name,
        "description": _short(help_text),
        "description_localizations": localised or None,
        **EVERYWHERE,
    }


def _on_message(command: Command) -> Json:
    changing = {"default_member_permissions": MANAGE_GUILD} if command.changes else {}
    return {"type": ON_MESSAGE, "name": command.menu_title, **EVERYWHERE, **changing}


def _option(argument: str, *, required: bool, suggested: bool = False) -> Json:
    made: Json = {"type": TEXT, "name": ARGUMENT, "description": argument.strip("[]"), "required": required}
    return made | ({"autocomplete": True} if suggested else {}) | {"max_length": LONGEST_ARGUMENT}


def _short(words: str) -> str:
    return words if len(words) <= LONGEST_HELP else words[: LONGEST_HELP - 1] + "…"
