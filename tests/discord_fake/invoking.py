"""Buttons, menus and commands, as the tests say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.discord_fake.errors import Json
from tests.discord_fake.invocations import AUTOCOMPLETE, COMMAND, COMPONENT, Interaction, begin
from tests.discord_fake.permissions import EVERYTHING, Permission
from tests.discord_fake.records import Message
from tests.discord_fake.scene import StoredFile, User
from tests.discord_fake.state import ChannelState
from tests.discord_fake.threads import Threads

_SUBCOMMANDS = frozenset({1, 2})
_USER, _CHANNEL, _ROLE, _MENTIONABLE, _ATTACHMENT = 6, 7, 8, 9, 11
_MESSAGE_MENU = 3


@dataclass(eq=False)
class Invoking(Threads):
    """A channel in which people use what the bot offers."""

    def press(self, user: User, message: Message, button: str) -> Interaction:
        """Press a button, named by its label or its custom_id."""
        found = [part for part in message.buttons if button in {part.get("label"), part.get("custom_id")}]
        assert found, f"no button {button!r} among {message.buttons}"
        assert not found[0].get("disabled"), f"the button {button!r} can't be pressed"
        return self._use(user, message, found[0], {})

    def select(self, user: User, message: Message, menu: str, *values: str) -> Interaction:
        """Choose from a menu, named by its custom_id; the values are those of the options, or ids."""
        found = [part for part in message.selects if part["custom_id"] == menu]
        assert found, f"no menu {menu!r} among {message.selects}"
        known = {option["value"] for option in found[0].get("options", [])}
        assert not known or known >= set(values), f"{values} are not all among {known}"
        assert found[0]["min_values"] <= len(values) <= found[0]["max_values"]
        more: Json = {"values": list(values)}
        if not known:
            more["resolved"] = self._resolved([int(value) for value in values])
        return self._use(user, message, found[0], more)

    def _use(self, user: User, message: Message, part: Json, more: Json) -> Interaction:
        assert not message.deleted
        data = {"custom_id": part["custom_id"], "component_type": part["type"], "id": part["id"]} | more
        return begin(self, user, COMPONENT, data, owners=self._owners(user, None), message=message)

    def command(self, user: User, name: str, /, **options: Any) -> Interaction:
        """Use a slash command. A subcommand's name follows after a space."""
        command = self._offered(user, name.partition(" ")[0], 1)
        data = self._command_data(command, name, options, focused="")
        return begin(self, user, COMMAND, data, owners=self._owners(user, command))

    def autocomplete(self, user: User, name: str, focused: str, /, **options: Any) -> Interaction:
        """Type into an option of a command; `focused` is its name, and what was typed is among the options."""
        command = self._offered(user, name.partition(" ")[0], 1)
        data = self._command_data(command, name, options, focused=focused)
        return begin(self, user, AUTOCOMPLETE, data, owners=self._owners(user, command))

    def menu(self, user: User, name: str, message: Message) -> Interaction:
        """Use a command from a message's context menu. It comes with the message, whatever the intents."""
        command = self._offered(user, name, _MESSAGE_MENU)
        resolved = {"messages": {str(message.id): self.shown(message)}}
        data = {"id": command["id"], "name": name, "type": _MESSAGE_MENU, "target_id": str(message.id)}
        data |= {"resolved": resolved} | self._of_guild(command)
        return begin(self, user, COMMAND, data, owners=self._owners(user, command))

    def offers(self, user: User) -> list[str]:
        """The names of the commands that a user is shown here."""
        return [command["name"] for command in self.scene.commands if self._shown_to(user, command)]

    def _offered(self, user: User, name: str, kind: int) -> Json:
        found = [c for c in self.scene.commands if c["name"] == name and c["type"] == kind]
        assert found, f"no command {name!r} among {[c['name'] for c in self.scene.commands]}"
        shown = [command for command in found if self._shown_to(user, command)]
        assert shown, f"{user.username} is not shown {name!r} here: {found}"
        # A guild's own command hides a global one of the same name.
        return max(shown, key=lambda command: "guild_id" in command)

    def _shown_to(self, user: User, command: Json) -> bool:
        if "guild_id" in command and (self.guild is None or command["guild_id"] != str(self.guild.id)):
            return False
        installed = set(command.get("integration_types") or [0])
        present = {0} if self._bot_is_here else set()
        present |= {1} if user.id in self.scene.installed_by else set()
        if not installed & present:
            return False
        context = 0 if self.guild else 1 if self._bot_is_here else 2
        contexts = command.get("contexts")
        if contexts is not None and context not in contexts:
            return False
        if contexts is None and (context == 2 or (context == 1 and command.get("dm_permission") is False)):
            return False
        return self.guild is None or self._permitted(user, command)

    def _permitted(self, user: User, command: Json) -> bool:
        granted = self.may(user.id)
        needed = command["default_member_permissions"]
        if Permission.USE_APPLICATION_COMMANDS not in granted:
            return False
        if needed is None or granted == EVERYTHING:
            return True
        # "0" is for administrators only.
        return int(needed) != 0 and int(granted) & int(needed) == int(needed)

    @property
    def _bot_is_here(self) -> bool:
        return self.guild.has_bot if self.guild else self.scene.bot in self.recipients

    def _owners(self, user: User, command: Json | None) -> Json:
        """Who brought the app here: the guild (0 for the bot's DM), the user, or both."""
        found: Json = {}
        kinds = set((command or {}).get("integration_types") or [0, 1])
        if 0 in kinds and self._bot_is_here:
            found["0"] = str(self.guild.id) if self.guild else "0"
        if 1 in kinds and user.id in self.scene.installed_by:
            found["1"] = str(user.id)
        return found

    def _of_guild(self, command: Json) -> Json:
        return {"guild_id": command["guild_id"]} if "guild_id" in command else {}

    def _command_data(self, command: Json, name: str, given: dict[str, Any], *, focused: str) -> Json:
        data: Json = {"id": command["id"], "name": command["name"], "type": 1} | self._of_guild(command)
        known, path = command.get("options", []), name.split(" ")[1:]
        chain: list[Json] = []
        for word in path:
            sub = next(option for option in known if option["name"] == word and option["type"] in _SUBCOMMANDS)
            chain.append({"name": word, "type": sub["type"]})
            known = sub.get("options", [])
        options = self._options({option["name"]: option for option in known}, given, focused)
        for level in reversed(chain):
            options = [level | {"options": options}]
        resolved = self._resolved([value.id for value in given.values() if hasattr(value, "id")])
        return data | {"options": options} | ({"resolved": resolved} if resolved else {})

    def _options(self, known: dict[str, Json], given: dict[str, Any], focused: str) -> list[Json]:
        assert set(given) <= set(known), f"{sorted(given)} are not all among {sorted(known)}"
        if not focused:
            missing = [name for name, option in known.items() if option.get("required") and name not in given]
            assert not missing, f"the client asks for {missing} first"
        found: list[Json] = []
        for name, value in given.items():
            kind = known[name]["type"]
            choices = [choice["value"] for choice in known[name].get("choices", [])]
            assert not choices or value in choices or name == focused, f"{value!r} is not among {choices}"
            by_id = kind in {_USER, _CHANNEL, _ROLE, _MENTIONABLE, _ATTACHMENT}
            own = {"name": name, "type": kind, "value": str(value.id) if by_id else value}
            found.append(own | ({"focused": True} if name == focused else {}))
        assert not focused or known[focused].get("autocomplete"), f"{focused} has no suggestions"
        return found

    def _resolved(self, ids: list[int]) -> Json:
        """What the ids of an interaction stand for."""
        found: Json = {}
        for number in ids:
            stored = self.scene.files.get(number)
            if isinstance(stored, StoredFile):
                found.setdefault("attachments", {})[str(number)] = self.scene.attachment(stored) | {"ephemeral": True}
            if user := self.scene.users.get(number):
                found.setdefault("users", {})[str(number)] = user.json
                if self.guild and number in self.guild.members:
                    member = self.guild.members[number].brief | {"permissions": str(int(self.may(number)))}
                    found.setdefault("members", {})[str(number)] = member
            if self.guild and number in self.guild.roles:
                found.setdefault("roles", {})[str(number)] = self.guild.roles[number].json
            if isinstance(channel := self.scene.channels.get(number), ChannelState):
                found.setdefault("channels", {})[str(number)] = channel.json | {"permissions": "0"}
        return found
