"""Commands as Discord registers them: held against its specification, and found again by what people choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from adapters.discord.menus import ASK, MANAGE_GUILD, MOST_SUGGESTIONS, digest, listed, suggestions, typed
from bot.commands import menu
from bot.messages import Command
from tests.discord_fake.errors import Json
from tests.discord_fake.spec import api

NEW = Command(name="new", help="starts a new conversation", changes=True, translations={"de": "beginnt neu"})
MODEL = Command(name="model", help="chooses", argument="[NAME]", suggestions=lambda: ["small", "large", "x" * 101])
SERVER = Command(name="server", help="about the server", manages=True)
GO_ON = Command(name="continue", help="goes on", argument="[NUMBER]", on_message=True, menu_title="Continue from here")
COMMANDS = (NEW, MODEL, SERVER, GO_ON)


def by_name(payload: Sequence[Json]) -> dict[str, Json]:
    return {command["name"]: command for command in payload}


def test_all_of_hearth_s_commands_are_taken() -> None:
    payload = listed(menu(guilds=True))
    operation, _ = api().find("PUT", "/applications/1/commands")
    api().body(operation, payload)
    assert len(payload) == len({(command["type"], command["name"]) for command in payload})


def test_a_command_is_offered_everywhere_but_one_about_a_server_where_there_is_one() -> None:
    found = by_name(listed(COMMANDS))
    assert (found["model"]["integration_types"], found["model"]["contexts"]) == ([0, 1], [0, 1, 2])
    assert (found["server"]["integration_types"], found["server"]["contexts"]) == ([0], [0])
    assert found[ASK]["options"][0]["required"]


def test_what_changes_what_others_see_is_for_who_manages_the_server() -> None:
    found = by_name(listed([*COMMANDS, replace(GO_ON, name="c2", menu_title="Change", changes=True)]))
    guarded = {name for name, command in found.items() if "default_member_permissions" in command}
    assert guarded == {"new", "server", "c2", "Change"}
    assert found["new"]["default_member_permissions"] == MANAGE_GUILD


def test_help_in_other_languages_comes_along_and_is_cut_where_it_is_too_long() -> None:
    long = replace(NEW, help="x" * 200, translations={"de": "y" * 200})
    assert by_name(listed(COMMANDS))["new"]["description_localizations"] == {"de": "beginnt neu"}
    (command,) = listed([long])[1:]
    assert command["description"] == "x" * 99 + "…"
    assert len(command["description_localizations"]["de"]) == 100


def test_what_can_be_done_with_a_message_is_in_its_menu_too() -> None:
    (entry,) = (command for command in listed(COMMANDS) if command["type"] == 3)
    assert entry["name"] == "Continue from here"
    assert "description" not in entry


def test_only_an_argument_that_has_suggestions_asks_for_them() -> None:
    found = by_name(listed(COMMANDS))
    assert found["model"]["options"][0]["autocomplete"]
    assert "autocomplete" not in found["continue"]["options"][0]
    assert not found["model"]["options"][0]["required"]
    assert "options" not in found["new"]


@pytest.mark.parametrize(
    ("name", "argument", "text"),
    [
        ("new", "", "/new"),
        ("model", "large", "/model large"),
        (ASK, "what is moss?", "what is moss?"),
        ("Continue from here", "", "/continue"),
        ("Unknown", "", "/Unknown"),
    ],
)
def test_what_was_chosen_is_what_somebody_would_have_typed(name: str, argument: str, text: str) -> None:
    assert typed(COMMANDS, name, argument) == text


def test_suggestions_are_those_that_fit_in_any_case() -> None:
    assert suggestions(COMMANDS, "model", "") == ["small", "large"]
    assert suggestions(COMMANDS, "model", "LAR") == ["large"]
    assert suggestions(COMMANDS, "model", "huge") == []
    assert suggestions(COMMANDS, "new", "") == []
    assert suggestions(COMMANDS, "nothing", "") == []
    many = replace(MODEL, suggestions=lambda: [f"model {number}" for number in range(100)])
    assert len(suggestions([many], "model", "")) == MOST_SUGGESTIONS


def test_the_digest_tells_whether_anything_has_changed() -> None:
    assert digest(listed(COMMANDS)) == digest(listed(COMMANDS))
    assert digest(listed(COMMANDS)) != digest(listed([replace(NEW, help="begins anew"), *COMMANDS[1:]]))
