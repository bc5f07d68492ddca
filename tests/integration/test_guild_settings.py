"""What is set for a guild: by whom, and what of it holds in its conversations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.commands import menu
from bot.config import Config
from bot.messages import ActionName, Author, GuildKey, GuildSettings, Limits, Outgoing, Role, Settings
from bot.settings import ONLY_MANAGERS
from bot.testing import MemoryAdapter
from tests.house import House, configuration, house, until

GUILD = GuildKey("memory", "bot", "5")
MEMBER = Author("2", "Bea", guild="5")
MANAGER = Author("3", "Cy", guild="5", manages=True)
OWNER = Author("9", "Owner", guild="5")


def configured(**sections: Any) -> Config:
    """With something to choose."""
    rich = {
        "models": {"big": {"path": "big.fake"}},
        "personas": {"pirate": {"system": "You are a pirate."}},
        "permissions": {"admins": ["memory:9"]},
    }
    return configuration(**(rich | sections))


def buttons() -> MemoryAdapter:
    return MemoryAdapter(
        limits=Limits(text=2000, seconds_per_call=0.0, buttons=True, private_answers=True, guilds=True)
    )


async def asked(h: House, text: str, author: Author = MANAGER, **how: Any) -> str:
    return await h.ask(text, author=author, group=True, **how)


def shown(h: House) -> Outgoing:
    return h.platform.messages[0].now


async def press(h: House, label: str, author: Author = MANAGER) -> None:
    """Press one of the buttons that are shown, and wait until all is done."""
    [found] = [button.id for button in shown(h).buttons if button.label == label]
    name, _, choice = found.partition(":")
    await h.press(ActionName(name), h.platform.messages[0].ref.message_id, choice=choice, author=author)
    await until(lambda: not h.dispatcher._control.tasks, "the press to take effect")


# By command


@pytest.mark.parametrize(
    ("typed", "after", "told"),
    [
        ("persona pirate", GuildSettings(settings=Settings(persona="pirate")), "Persona: pirate."),
        ("PERSONA  pirate", GuildSettings(settings=Settings(persona="pirate")), "Persona: pirate."),
        ("model big", GuildSettings(settings=Settings(model="big")), "Model: big."),
        ("trigger always", GuildSettings(trigger="always"), "What I answer: everything that people say."),
        ("trigger mention", GuildSettings(trigger="mention"), "What I answer: what is addressed to me."),
        ("transcripts never", GuildSettings(settings=Settings(transcripts="never")), "What I hear: not shown."),
        ("privacy 7", GuildSettings(settings=Settings(retention_days=7)), "Messages: kept for 7 days."),
        ("privacy 0", GuildSettings(settings=Settings(retention_days=0)), "Messages: not kept."),
    ],
)
async def test_each_setting_is_set_and_taken_back(tmp_path: Path, typed: str, after: GuildSettings, told: str) -> None:
    async with house(tmp_path, configured()) as h:
        word = await asked(h, f"/server {typed}")
        assert word == f"From now on, where a conversation on this server has nothing of its own: {told}"
        assert await h.store.guild(GUILD) == after
        await asked(h, f"/server {typed.split(maxsplit=1)[0]} default")
        assert await h.store.guild(GUILD) == GuildSettings()


async def test_a_system_prompt_is_set_and_taken_back(tmp_path: Path) -> None:
    async with house(tmp_path, configured()) as h:
        assert await asked(h, "/server system Speak like\nthe sea.") == "The server's system prompt is set."
        await asked(h, "hello", MEMBER)
        assert "Speak like\nthe sea." in h.prompts()[-1]
        assert (await asked(h, "/system", MEMBER)).startswith("Speak like\nthe sea.")
        assert await asked(h, "/server system default") == "The server's system prompt is taken back."
        assert await h.store.guild(GUILD) == GuildSettings()


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (
            "colour red",
            "There is no setting 'colour'. There are: persona, model, system, trigger, transcripts, privacy.",
        ),
        ("persona queen", "There is no 'queen'. There are: pirate, default."),
        ("model tiny", "There is no 'tiny'. There are: big, default."),
        ("trigger often", "There is no 'often'. There are: mention, always, default."),
        ("transcripts often", "There is no 'often'. There are: always, asked, never, default."),
        ("privacy -1", "A number of days from 0 to 36500, please, or default."),
        ("system " + "x" * 8001, "A system prompt has at most 8000 characters; this one has 8001."),
    ],
)
async def test_what_cannot_be_is_told_and_changes_nothing(tmp_path: Path, typed: str, told: str) -> None:
    before = GuildSettings(settings=Settings(persona="pirate"), trigger="mention")
    async with house(tmp_path, configured()) as h:
        await h.store.set_guild(GUILD, before)
        assert await asked(h, f"/server {typed}") == told
        assert await h.store.guild(GUILD) == before


async def test_what_is_set_is_shown_with_buttons(tmp_path: Path) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.store.set_guild(GUILD, GuildSettings(trigger="always"))
        assert "What I answer: everything that people say" in await asked(h, "/server")
        assert [button.label for button in shown(h).buttons][-2:] == ["This conversation", "Close"]


async def test_who_may(tmp_path: Path) -> None:
    """Who manages the guild, and owners; nobody where there is no guild."""
    async with house(tmp_path, configured()) as h:
        for typed in ("/server", "/server trigger always", "/persona pirate"):
            assert await asked(h, typed, MEMBER) == ONLY_MANAGERS
        assert await h.store.guild(GUILD) == GuildSettings()
        for author, trigger in ((MANAGER, "always"), (OWNER, "mention")):
            await asked(h, f"/server trigger {trigger}", author)
            assert await h.store.trigger(GUILD) == trigger
        none = "This is no server's channel: /settings shows what holds here."
        for author in (OWNER, MANAGER):
            assert await h.ask("/server trigger always", author=author) == none, "in private"
        assert await asked(h, "/server trigger always", replace(OWNER, guild="")) == none, "in a group of no guild"
        assert await asked(h, "/server trigger always", replace(MANAGER, guild="6")) != none
        assert await h.store.trigger(GUILD) == "mention"
        assert await h.store.trigger(replace(GUILD, guild="6")) == "always"


async def test_who_manages_the_guild_may_change_a_conversation_in_it(tmp_path: Path) -> None:
    async with house(tmp_path, configured()) as h:
        await asked(h, "/persona pirate")
        assert (await h.conversation()).settings == Settings(persona="pirate")
        assert await asked(h, "/persona pirate", replace(MANAGER, guild="", manages=False)) == (
            "In a group only the bot's owners may change that."
        )


async def test_it_is_in_the_help_of_who_can_use_it_and_in_the_menus_of_platforms_with_guilds(tmp_path: Path) -> None:
    async with house(tmp_path, configured()) as h:
        for author, listed in ((MANAGER, True), (OWNER, True), (MEMBER, False), (replace(OWNER, guild=""), False)):
            lines = (await asked(h, "/help", author)).splitlines()
            assert ("/server [SETTING VALUE] - shows or changes what holds for this whole server" in lines) is listed
    [server] = [entry for entry in menu(configured, guilds=True) if entry.manages]
    assert server.suggestions is not None
    assert {"persona pirate", "persona default", "model big", "trigger always", "privacy 0"} <= {*server.suggestions()}
    assert (server.name, server.changes, server.private) == ("server", True, False)


# By buttons


async def test_the_pages_of_the_server_are_reached_from_those_of_a_conversation(tmp_path: Path) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await asked(h, "/settings")
        await press(h, "This server")
        assert shown(h).text.startswith("The settings of this server, for every conversation in it")
        await press(h, "What I answer: as configured")
        await press(h, "Everything that people say")
        assert await h.store.trigger(GUILD) == "always"
        await press(h, "Back")
        await press(h, "Persona: default")
        await press(h, "pirate", MEMBER)
        assert h.texts()[-1] == ONLY_MANAGERS
        await press(h, "pirate", OWNER)
        assert await h.store.guild(GUILD) == GuildSettings(settings=Settings(persona="pirate"), trigger="always")
        await press(h, "Back")
        await press(h, "This conversation")
        assert "Persona: pirate" in [button.label for button in shown(h).buttons]
        await press(h, "Persona: pirate")
        assert "✓ As the server has it (pirate)" in [button.label for button in shown(h).buttons]
        await press(h, "default")
        assert (await h.conversation()).settings == Settings(persona="default")
        assert (await h.store.guild(GUILD)).settings == Settings(persona="pirate")


async def test_a_press_about_a_server_where_none_is_shows_the_conversation(tmp_path: Path) -> None:
    """Some clients send what they like."""
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings")
        await h.press(ActionName.CHOOSE, h.platform.messages[0].ref.message_id, choice="server.trigger:always")
        await until(lambda: not h.dispatcher._control.tasks, "the press to take effect")
        assert shown(h).text.startswith("The settings of this conversation:")
        assert "This server" not in [button.label for button in shown(h).buttons]


# What holds


async def test_a_conversation_has_what_the_server_says_until_it_has_its_own(tmp_path: Path) -> None:
    async with house(tmp_path, configured()) as h:
        await asked(h, "/server persona pirate")
        await asked(h, "hello", MEMBER)
        assert "You are a pirate." in h.prompts()[-1]
        assert "* pirate: You are a pirate." in await asked(h, "/persona", MEMBER)
        await asked(h, "/persona default")
        await asked(h, "hello", MEMBER)
        assert "You are a pirate." not in h.prompts()[-1]
        await asked(h, "hello", MEMBER, chat="another")
        assert "You are a pirate." in h.prompts()[-1]
        await asked(h, "hello", replace(MEMBER, guild="6"), chat="of another server")
        await h.ask("hello", author=MANAGER, chat="private")
        assert not any("You are a pirate." in prompt for prompt in h.prompts()[-2:])


async def test_what_the_server_keeps_is_kept(tmp_path: Path) -> None:
    async with house(tmp_path, configured()) as h:
        await asked(h, "/server privacy 0")
        assert (await asked(h, "/privacy", MEMBER)).startswith("Messages here and my answers are not kept")
        await asked(h, "hello", MEMBER)
        assert await h.line() == []
        told = await asked(h, "/privacy many", MANAGER)
        assert told.endswith("/privacy default for the usual 0.")
        assert (
            await asked(h, "/privacy 2", MANAGER)
        ) == "From now on messages here and my answers are kept for 2 days and then removed."
        await asked(h, "hello", MEMBER)
        assert await h.line() == [(Role.USER, "hello"), (Role.ASSISTANT, "You said: Bea: hello")]
        await asked(h, "/privacy default", MANAGER)
        assert (await h.conversation()).settings == Settings()


async def test_the_model_and_what_is_heard_are_the_server_s_too(tmp_path: Path) -> None:
    async with house(tmp_path, configured()) as h:
        await asked(h, "/server model big")
        await asked(h, "/server transcripts never")
        assert "* big: " in await asked(h, "/model", MEMBER)
        assert "not shown" in await asked(h, "/transcripts", MEMBER)
        assert await asked(h, "/transcript", MEMBER) == "What I hear is not shown here. /transcripts changes that."


# What is answered


@pytest.mark.parametrize(
    ("trigger", "configured_always", "answered"),
    [
        (None, [], False),
        (None, ["memory:guild/5"], True),
        ("always", [], True),
        ("mention", ["memory:*"], False),
        ("mention", [], False),
    ],
)
async def test_the_server_s_trigger_goes_before_the_configuration(
    tmp_path: Path, trigger: Any, configured_always: list[str], answered: bool
) -> None:
    async with house(tmp_path, configured(groups={"always": configured_always})) as h:
        await h.store.set_guild(GUILD, GuildSettings(trigger=trigger))
        await h.say("hello all", author=MEMBER, group=True, addressed=False)
        await h.settled()
        assert h.texts() == (["You said: Bea: hello all"] if answered else [])
        assert await asked(h, "and you?", MEMBER) == "You said: Bea: and you?"


async def test_where_everything_is_answered_bots_others_commands_and_strangers_are_not(tmp_path: Path) -> None:
    config = configured(permissions={"allow": ["memory:2", "memory:7"], "admins": ["memory:9"]})
    async with house(tmp_path, config) as h:
        await asked(h, "/server trigger always", OWNER)
        told = h.texts()
        for text, author in (
            ("hello", Author("7", "Other", is_bot=True, guild="5")),
            ("/help@otherbot", MEMBER),
            ("hello", Author("8", "Eve", guild="5")),
            ("hello", replace(MEMBER, guild="6")),
        ):
            await h.say(text, author=author, group=True, addressed=False)
        await h.settled()
        assert h.texts() == told
        await asked(h, "hello", MEMBER, addressed=False)
        assert h.texts() == [*told, "You said: Bea: hello"]
