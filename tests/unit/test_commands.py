"""The table of commands: what a command is, what each one says, and who may."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot.commands import TABLE, Call, as_action, menu, parse
from bot.messages import Action, ActionName, Author, Message, MessageState, Role, Settings
from bot.testing import MemoryAdapter
from tests.house import ADA, BEA, configuration, house, place

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("/help", Call("help", "")),
        ("  /help \n", Call("help", "")),
        ("/HELP", Call("help", "")),
        ("/help@HearthBot", Call("help", "")),
        ("/model  big ", Call("model", "big")),
        ("/system@HearthBot You are\na pirate.", Call("system", "You are\na pirate.")),
        ("/system\nline", Call("system", "line")),
        ("/a1_b", Call("a1_b", "")),
        ("/" + "a" * 32, Call("a" * 32, "")),
    ],
)
def test_what_is_a_command(text: str, call: Call) -> None:
    assert parse(text) == call


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "help",
        "a /help",
        "/etc/hosts is a file",
        "//help",
        "/ help",
        "/1",
        "/help!",
        "/é",
        "/_x",
        "/" + "a" * 33,
    ],
)
def test_what_is_ordinary_text(text: str) -> None:
    assert parse(text) is None


def message(text: str) -> Message:
    return Message(key=place(), event_id="7", author=ADA, text=text, sent_at=NOW, direct=True)


@pytest.mark.parametrize("text", ["/stop", " /Stop@HearthBot ", "/stop it now"])
def test_stop_is_an_action(text: str) -> None:
    assert as_action(message(text)) == Action(key=place(), event_id="7", author=ADA, name=ActionName.STOP, sent_at=NOW)


def test_in_a_group_a_stop_is_an_action_if_it_is_meant_for_this_bot() -> None:
    heard = replace(message("/stop@otherbot"), direct=False)
    assert as_action(heard) == heard
    assert isinstance(as_action(replace(heard, addressed=True)), Action)


@pytest.mark.parametrize("text", ["/stopping", "stop", "/help"])
def test_everything_else_stays_a_message(text: str) -> None:
    assert as_action(message(text)) == message(text)


def test_the_menu_has_every_command_with_its_help() -> None:
    entries = menu(guilds=True)
    assert [entry.name for entry in entries] == [name for name in TABLE if name != "start"]
    assert [entry.name for entry in entries if entry.manages] == ["server"]
    assert menu() == [entry for entry in entries if not entry.manages], "where there are no guilds"
    assert all(entry.help and entry.name == entry.name.lower() for entry in entries)
    assert [entry.name for entry in entries if entry.private] == ["usage", "export"]
    assert [entry.name for entry in entries if entry.discreet] == ["forgetme", "privacy"]
    assert {entry.name: entry.argument for entry in entries if entry.argument} == {
        "server": "[SETTING VALUE]",
        "model": "[NAME]",
        "persona": "[NAME]",
        "system": "[TEXT]",
        "continue": "[NUMBER]",
        "summarise": "[HOW]",
        "transcripts": "[WHEN]",
        "forget": "[NUMBER]",
        "privacy": "[DAYS]",
    }


def test_the_menu_says_which_commands_can_be_about_a_message() -> None:
    titles = {entry.name: entry.menu_title for entry in menu() if entry.on_message}
    assert titles == {
        "continue": "Continue from here",
        "summarise": "Summarise up to here",
        "transcribe": "Transcribe",
    }
    assert [entry.name for entry in menu() if entry.brings_files] == ["transcribe"]
    assert all(len(title) <= 32 for title in titles.values()), "Discord's menus take no more"
    assert len(titles) <= 5, "nor more entries"


def test_a_command_fits_into_the_menus_of_the_platforms() -> None:
    """Telegram: names of 32 characters, descriptions of 256; Discord: descriptions of 100, a hundred commands."""
    assert len(menu(guilds=True)) <= 100
    for entry in menu(guilds=True):
        assert len(entry.name) <= 32
        assert 3 <= len(entry.help) <= 100
        assert list(entry.translations) == ["de"]
        assert 3 <= len(entry.translations["de"]) <= 100
        assert entry.translations["de"] != entry.help


async def test_help_lists_every_command(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        lines = (await h.ask("/help")).splitlines()
        assert lines[0] == "/help - lists the commands"
        assert "/model [NAME] - shows or changes the model" in lines
        assert len(lines) == len(TABLE) - 2
        assert not any(line.startswith(("/start", "/server")) for line in lines)


async def test_the_menu_says_which_commands_are_for_owners_in_a_group(tmp_path: Path) -> None:
    """Those with which nobody else can change anything there: the others do something for everybody."""
    arguments = {"model": "default", "persona": "default", "system": "Obey.", "transcripts": "never"}
    refused = set()
    async with house(tmp_path) as h:
        for entry in menu():
            if entry.name == "stop":
                continue  # takes effect at once, and is told without a turn
            answer = await h.ask(f"/{entry.name} {arguments.get(entry.name, '')}", group=True)
            if answer == "In a group only the bot's owners may change that.":
                refused.add(entry.name)
    assert refused | {"settings"} == {entry.name for entry in menu() if entry.changes}


async def test_an_unknown_command_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        assert await h.ask("/halp me") == "There is no command /halp. /help lists them."


MODELS = {"big": {"path": "big.fake", "description": "the big one"}}
PERSONAS = {"pirate": {"system": "You are a pirate.", "description": "says arr", "model": "big"}}
RICH: dict[str, Any] = {"models": MODELS, "personas": PERSONAS}


async def test_models_are_shown_and_chosen(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(models=MODELS)) as h:
        assert await h.ask("/model") == "* default: not loaded yet\n- big: the big one\n\n/model NAME changes it."
        assert await h.ask("/model big") == "This conversation now uses the model big."
        assert (await h.ask("/model")).startswith("- default: not loaded yet\n* big: the big one\n")
        assert await h.ask("/model huge") == "There is no model 'huge'. There are: default, big."
        assert (await h.conversation()).settings.model == "big"


async def test_a_model_for_embeddings_is_not_offered_and_not_taken(tmp_path: Path) -> None:
    models = {**MODELS, "places": {"path": "places.gguf", "kind": "embedding"}}
    async with house(tmp_path, configuration(models=models)) as h:
        assert "places" not in await h.ask("/model")
        for name in ("places", "embedding"):
            told = f"The model {name} makes embeddings for programs; it cannot chat."
            assert await h.ask(f"/model {name}") == told
        assert (await h.conversation()).settings.model is None


async def test_personas_are_shown_and_chosen(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(**RICH)) as h:
        assert (await h.ask("/persona")).endswith("\n- pirate: says arr\n\n/persona NAME changes it.")
        assert (await h.ask("/persona")).startswith("* default: You are Hearth, ")
        assert await h.ask("/persona pirate") == "From now on I am the persona pirate here."
        assert (await h.ask("/persona")).splitlines()[1] == "* pirate: says arr"
        assert await h.ask("/persona clown") == "There is no persona 'clown'. There are: default, pirate."


async def test_a_personas_model_is_shown_as_the_present_one(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(**RICH)) as h:
        await h.ask("/persona pirate")
        assert "* big: the big one" in await h.ask("/model")


async def test_the_system_prompt_is_shown_set_and_taken_back(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(**RICH)) as h:
        await h.ask("/persona pirate")
        assert await h.ask("/system") == "You are a pirate.\n\n/system TEXT sets it, /system reset takes it back."
        assert await h.ask("/system Be brief.") == "The system prompt is set."
        assert (await h.ask("/system")).startswith("Be brief.\n")
        assert await h.ask("/system reset") == "The system prompt is the persona's again."
        assert (await h.ask("/system")).startswith("You are a pirate.\n")


async def test_a_new_persona_takes_the_place_of_a_system_prompt(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(**RICH)) as h:
        await h.ask("/system Be brief.")
        await h.ask("/persona pirate")
        assert (await h.ask("/system")).startswith("You are a pirate.\n")


async def test_a_system_prompt_has_a_longest_length(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        assert await h.ask("/system " + "x" * 8001) == (
            "A system prompt has at most 8000 characters; this one has 8001."
        )
        assert await h.ask("/system " + "x" * 8000) == "The system prompt is set."


@pytest.mark.parametrize(
    "text",
    [
        "/model default",
        "/persona default",
        "/system Obey.",
        "/system reset",
        "/transcripts never",
        "/transcripts default",
        "/privacy 5",
        "/privacy default",
        "/new",
        "/start persona_default",
    ],
)
async def test_in_a_group_only_owners_change_what_others_see(tmp_path: Path, text: str) -> None:
    async with house(tmp_path, configuration(permissions={"admins": ["memory:2"]})) as h:
        before = (await h.conversation()).settings
        assert await h.ask(text, group=True) == "In a group only the bot's owners may change that."
        assert (await h.conversation()).settings == before
        assert await h.ask(text, group=True, author=BEA) != "In a group only the bot's owners may change that."


async def test_whether_what_is_heard_is_shown_can_be_set(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(chat={"transcripts": "asked"})) as h:
        shown = "What I hear in recordings is shown: {}. /transcripts always|asked|never|default changes it."
        assert await h.ask("/transcripts") == shown.format("by /transcript only")
        assert await h.ask("/transcripts Always") == "From now on what I hear in recordings is shown: above the answer."
        assert (await h.conversation()).settings.transcripts == "always"
        assert await h.ask("/transcripts") == shown.format("above the answer")
        assert await h.ask("/transcripts sometimes") == "One of these, please: always, asked, never, default."
        assert await h.ask("/transcripts never") == "From now on what I hear in recordings is shown: not shown."
        answer = await h.ask("/transcripts default")
        assert answer == "From now on what I hear in recordings is shown: by /transcript only."
        assert (await h.conversation()).settings.transcripts is None


OVERVIEW = """\
The settings of this conversation:

Persona: {} - /persona NAME
Model: {} - /model NAME
What I hear in recordings: above the answer - /transcripts WHEN
Messages: kept for 30 days - /privacy DAYS"""


async def test_where_there_are_no_buttons_the_settings_are_a_text(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(**RICH)) as h:
        assert await h.ask("/settings") == OVERVIEW.format("default", "default")
        await h.ask("/persona pirate")
        await h.ask("/system Be brief.")
        own = "pirate with a system prompt of its own (/system)"
        assert await h.ask("/settings") == OVERVIEW.format(own, "big")


HELLO = "Hello! I am Hearth, a chat assistant.{}\n\nWrite to me, and I answer.\n/help lists the commands."


async def test_who_opens_the_bot_is_greeted(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(**RICH)) as h:
        assert await h.ask("/start") == HELLO.format("")
        await h.ask("/persona pirate")
        assert await h.ask("/start") == HELLO.format("\nMy persona here: pirate - says arr")


async def test_a_link_chooses_the_persona(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(**RICH)) as h:
        await h.ask("/system Be brief.")
        assert await h.ask("/start persona_pirate") == HELLO.format("\nMy persona here: pirate - says arr")
        assert (await h.conversation()).settings == Settings(persona="pirate")


@pytest.mark.parametrize("payload", ["pirate", "persona_", "persona_clown", "persona_pirate x", "x persona_pirate"])
async def test_what_stands_in_an_odd_link_is_passed_over(tmp_path: Path, payload: str) -> None:
    async with house(tmp_path, configuration(**RICH)) as h:
        assert await h.ask(f"/start {payload}") == HELLO.format("")
        assert (await h.conversation()).settings == Settings()


async def test_history_shows_the_line_with_numbers(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        assert await h.ask("/history") == "This conversation is empty."
        await h.ask("hello")
        await h.ask("a\nb " + "x" * 200)
        rows = (await h.ask("/history")).splitlines()
        assert len(rows) == 4
        assert rows[0].endswith(" Ada: hello")
        assert rows[1].endswith(" assistant: You said: hello")
        assert rows[2].endswith(" Ada: a b " + "x" * 115 + "…")
        assert rows[0].split()[0].isdecimal()


async def test_usage_counts_ones_own_tokens(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        assert await h.ask("/usage") == "You have used nothing yet."
        await h.ask("hello")
        words = await h.ask("/usage")
        assert words.split(": ", 1)[1] == (
            f"1 messages, {len(h.engine.requests[0].prompt)} tokens read (0 from the cache), 16 written"
        )


class Files(MemoryAdapter):
    """A platform that takes files."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self.limits, "files", True)


async def test_export_gives_everything_as_a_file(tmp_path: Path) -> None:
    async with house(tmp_path, platform=Files()) as h:
        await h.ask("hello wörld")
        assert await h.ask("/export") == "This is everything that I have of you."
        (file,) = h.platform.standing(place())[-1].files
        assert (file.name, file.media_type) == ("hearth-export.json", "application/json")
        texts = [m["text"] for c in json.loads(file.data)["conversations"] for m in c["messages"]]
        assert texts[:2] == ["hello wörld", "You said: hello wörld"]


@pytest.mark.parametrize("name", ["usage", "export"])
async def test_what_is_for_ones_own_eyes_is_not_said_in_a_group(tmp_path: Path, name: str) -> None:
    async with house(tmp_path) as h:
        words = f"Please write /{name} to me in a private chat: its answer is for you alone."
        assert await h.ask(f"/{name}", group=True) == words


async def test_forget_removes_a_message_by_its_number(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.ask("one")
        await h.ask("two")
        number = (await h.ask("/history")).split()[0]
        assert await h.ask(f"/forget {number}") == "Forgotten: 2 messages."
        assert [text for _, text in await h.line()] == ["two", "You said: two"]


async def test_forget_removes_the_message_that_it_replies_to(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        event = await h.say("one", group=True)
        await h.settled()
        assert await h.ask("/forget", group=True, reply_to=event) == "Forgotten: 2 messages."
        await h.ask("two", group=True)
        answer = h.platform.messages[-1].ref.message_id
        assert await h.ask("/forget", group=True, reply_to=answer) == "Forgotten: 1 message."


async def test_forget_takes_what_was_only_said_in_the_group_too(tmp_path: Path) -> None:
    """By a reply of whoever said it, or of an owner; the rest of the talk stays connected."""
    config = configuration(chat={"remember_group_talk": True}, permissions={"admins": ["memory:9"]})
    async with house(tmp_path, config) as h:
        said = [
            await h.say(text, group=True, addressed=False, author=author)
            for text, author in (("one", ADA), ("two", BEA), ("three", ADA), ("four", BEA))
        ]
        refused = "You can make me forget your own messages and my answers to them."
        assert await h.ask("/forget", group=True, reply_to=said[1]) == refused
        assert await h.ask("/forget", group=True, reply_to=said[0]) == "Forgotten: 1 message."
        assert await h.ask("/forget", group=True, author=Author("9", "Owner"), reply_to=said[3]) == (
            "Forgotten: 1 message."
        )
        await h.ask("what was said?", group=True)
        assert [text for _, text in await h.line()][:3] == ["two", "three", "what was said?"]
        assert await h.store.find_sent(place(), said[0]) is None


@pytest.mark.parametrize("argument", ["", " 999999", " ٣", " -1", " x", " " + "9" * 30])
async def test_forget_without_a_message_says_how(tmp_path: Path, argument: str) -> None:
    async with house(tmp_path) as h:
        words = "I find no such message. Reply to one with /forget, or write /forget and its number from /history."
        assert await h.ask(f"/forget{argument}") == words


async def test_in_a_group_nobody_makes_the_bot_forget_anothers_message(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(permissions={"admins": ["memory:3"]})) as h:
        event = await h.say("mine", group=True)
        await h.settled()
        answer = h.platform.messages[-1].ref.message_id
        words = "You can make me forget your own messages and my answers to them."
        for target in (event, answer):
            assert await h.ask("/forget", group=True, author=BEA, reply_to=target) == words
        assert await h.line() == [(Role.USER, "mine"), (Role.ASSISTANT, "You said: Ada: mine")]
        owner = Author("3", "Owner")
        assert await h.ask("/forget", group=True, author=owner, reply_to=event) == "Forgotten: 2 messages."


@pytest.mark.parametrize(
    ("days", "kept"),
    [(30, "are kept for 30 days and then removed"), (0, "are not kept: they go when the answer is there")],
)
async def test_privacy_says_how_long_messages_are_kept(tmp_path: Path, days: int, kept: str) -> None:
    async with house(tmp_path, configuration(retention={"days": days})) as h:
        assert (await h.ask("/privacy")).startswith(f"Messages here and my answers {kept}. ")


async def test_a_conversation_has_its_own_retention(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        assert await h.ask("/privacy 1") == (
            "From now on messages here and my answers are kept for 1 day and then removed."
        )
        assert (await h.conversation()).settings.retention_days == 1
        assert (await h.ask("/privacy")).startswith("Messages here and my answers are kept for 1 day and")
        assert (await h.ask("/privacy", chat="other")).startswith("Messages here and my answers are kept for 30 days")
        assert await h.ask("/privacy default") == (
            "From now on messages here and my answers are kept for 30 days and then removed."
        )
        assert (await h.conversation()).settings.retention_days is None


async def test_where_somebody_wants_nothing_kept_nothing_is(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        assert await h.ask("/privacy 0") == (
            "From now on messages here and my answers are not kept: they go when the answer is there."
        )
        await h.ask("hello")
        assert await h.line() == []
        await h.ask("hello", chat="other")
        assert len(await h.line("other")) == 2


@pytest.mark.parametrize("argument", ["-1", "36501", "1.5", "ten", "9" * 30])
async def test_an_odd_retention_is_refused(tmp_path: Path, argument: str) -> None:
    async with house(tmp_path) as h:
        words = "A number of days from 0 to 36500, please, or /privacy default for the usual 30."
        assert await h.ask(f"/privacy {argument}") == words
        assert (await h.conversation()).settings.retention_days is None


async def test_undo_does_not_move_the_line_from_a_reply_to_an_older_answer(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.ask("one")
        first = h.platform.messages[0].ref.message_id
        await h.ask("two")
        assert await h.ask("/undo", reply_to=first) == (
            "/undo takes back the last question. Please write it without replying to an older message."
        )
        assert [text for _, text in await h.line()] == ["one", "You said: one", "two", "You said: two"]


async def test_in_a_group_nobody_takes_back_anothers_question(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(permissions={"admins": ["memory:3"]})) as h:
        await h.ask("first", group=True)
        await h.ask("mine", group=True)
        assert await h.ask("/undo", group=True, author=BEA) == "In a group you can take back your own question only."
        assert (await h.line())[-1] == (Role.ASSISTANT, "You said: Ada: mine")
        assert await h.ask("/undo", group=True) == "Taken back: mine"
        assert await h.ask("/undo", group=True, author=Author("3", "Owner")) == "Taken back: first"


async def test_a_commands_word_is_no_message_of_the_conversation(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        event = await h.say("/help")
        await h.settled()
        stored = await h.store.find_sent(place(), event)
        assert stored is not None
        assert stored.state is MessageState.COMMAND
