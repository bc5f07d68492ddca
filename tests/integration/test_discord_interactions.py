"""Slash commands, menus and buttons on Discord: answered in time, to those whom they concern, also after a restart."""

from __future__ import annotations

import json

import pytest

from adapters.discord import interactions
from bot.errors import DatabaseError
from bot.testing import ScriptedEngine
from storage.store import SqlStore
from tests.discord_fake import Interaction, Message, Permission
from tests.discord_fake.errors import Json
from tests.discord_fake.faults import Kind
from tests.discord_fake.records import COMPONENTS_V2
from tests.discord_house import DiscordHouse, Ferns

QUARTER = 15 * 60.0 + 1
"""Seconds after which an interaction's token is good for nothing."""
PERSONAS = {"default": {"system": "You are helpful."}, "pirate": {"system": "You are a pirate."}}
MODELS = {"default": {"path": "scripted.fake"}, "large": {"path": "large.fake"}}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said at all is said at once, however slow this machine is."""
    monkeypatch.setattr(interactions, "DEFER_SECONDS", 60.0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for the model takes longer than this."""
    monkeypatch.setattr(interactions, "DEFER_SECONDS", 0.01)


async def answered(h: DiscordHouse, interaction: Interaction) -> Interaction:
    """Wait for the first answer, and for the end of what it is about."""
    await h.server.wait_for(lambda: interaction.answered, "the interaction's answer")
    await h.settled()
    return interaction


# Commands


async def test_a_command_is_answered_at_once(ferns: Ferns, patient: None) -> None:
    async with ferns.house() as h:
        used = await answered(h, ferns.general.command(ferns.ada, "help"))
        assert used.kind == 4
        assert not used.ephemeral
        assert "/new - starts a new conversation" in used.texts[0]
        assert ferns.general.from_bot == used.messages
        asked = ferns.general.command(ferns.ada, "ask", text="what is moss?")
        await h.told(asked, "You said: Ada: what is moss?")
        assert asked.kind == 4
        assert [button["label"] for button in asked.messages[0].buttons] == ["Retry"]
        ferns.general.say(ferns.bea, "and lichen?", mention=ferns.bot)
        await h.server.wait_for(lambda: "You said: Bea: and lichen?" in ferns.general.texts_of_bot(), "the answer")
        assert "what is moss?" in h.prompts()[-1], "who asks by a command is in the same conversation"
        assert not h.server.called("trigger_typing_indicator"), "a command shows by itself that it is being answered"


async def test_what_takes_longer_is_deferred_and_takes_that_place(ferns: Ferns, hasty: None) -> None:
    async with ferns.house() as h:
        h.engine.stall_in_prefill = True
        asked = ferns.general.command(ferns.ada, "ask", text="what is moss?")
        await h.server.wait_for(lambda: asked.thinking, "the sign that it takes longer")
        assert not asked.ephemeral
        h.engine.resume.set()
        await h.told(asked, "You said: Ada: what is moss?")
        assert not asked.thinking
        assert [message.id for message in ferns.general.from_bot] == [message.id for message in asked.messages]
        assert asked.followups == []


async def test_a_long_answer_goes_on_in_follow_ups(ferns: Ferns, hasty: None) -> None:
    words = " ".join(f"moss{number}" for number in range(700))
    engine = ScriptedEngine(lambda _: words, context_length=20_000)
    async with ferns.house(engine=engine, chat={"max_tokens": 10_000}, discord={"pace": 0.05}) as h:
        asked = ferns.general.command(ferns.ada, "ask", text="what is moss?")
        await h.server.wait_for(lambda: asked.texts and "moss699" in asked.texts[-1], "the end")
        await h.settled()
        assert " ".join(asked.texts).split() == words.split()
        assert len(asked.followups) >= 2


@pytest.mark.parametrize("name", ["usage", "export", "forgetme", "privacy"])
async def test_what_is_for_one_person_alone_is_seen_by_nobody_else(ferns: Ferns, patient: None, name: str) -> None:
    async with ferns.house() as h:
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: hello")
        used = await answered(h, ferns.general.command(ferns.ada, name))
        await h.server.wait_for(lambda: used.texts, "the words")
        assert used.ephemeral
        assert (used.kind, len(used.messages)) == (4, 1)
        if name == "export":
            (file,) = used.messages[0].attachments
            assert file["filename"] == "hearth-export.json"
            said = json.loads(h.server.world.scene.files[int(file["id"])].content)
            assert "hello" in json.dumps(said)
        if name == "forgetme":
            assert await h.app.store.find_conversation(h.key(ferns.general)) is not None
            assert "hello" not in str(await h.app.store.export("discord", str(ferns.ada.id)))


@pytest.mark.parametrize("kind", ["503", "drop", "lost", "garbage"])
async def test_a_first_answer_that_does_not_get_through_is_given_again(ferns: Ferns, patient: None, kind: Kind) -> None:
    """If it did after all, it is not said twice; and what is for one person alone stays theirs."""
    async with ferns.house() as h:
        trouble = h.server.fail("create_interaction_response", kind)
        used = await answered(h, ferns.general.command(ferns.ada, "usage"))
        await h.told(used, "You have used nothing yet.")
        assert (trouble.happened, used.ephemeral, len(used.messages)) == (1, True, 1)
        assert ferns.general.from_bot == used.messages


@pytest.mark.parametrize("kind", ["503", "lost"])
async def test_a_sign_that_does_not_get_through_is_given_again(ferns: Ferns, hasty: None, kind: Kind) -> None:
    async with ferns.house() as h:
        h.engine.stall_in_prefill = True
        trouble = h.server.fail("create_interaction_response", kind)
        asked = ferns.general.command(ferns.ada, "ask", text="what is moss?")
        await h.server.wait_for(lambda: asked.thinking, "the sign that it takes longer")
        h.engine.resume.set()
        await h.told(asked, "You said: Ada: what is moss?")
        assert trouble.happened == 1
        assert ferns.general.from_bot == asked.messages


async def test_a_command_that_is_told_twice_is_one(ferns: Ferns, hasty: None) -> None:
    async with ferns.house() as h:
        h.engine.stall_in_prefill = True
        asked = ferns.general.command(ferns.ada, "ask", text="what is moss?")
        await h.server.wait_for(lambda: asked.thinking, "the sign that it takes longer")
        h.server.ws.push({"op": 0, "t": "INTERACTION_CREATE", "s": 10_000, "d": told_last(h)})
        h.engine.resume.set()
        await h.told(asked, "You said: Ada: what is moss?")
        assert ferns.general.from_bot == asked.messages
        assert len(h.engine.requests) == 1


def told_last(h: DiscordHouse) -> Json:
    """What came with the last interaction."""
    (session,) = h.server.ws.online
    found: Json = next(told["d"] for told in reversed(session.log) if told["t"] == "INTERACTION_CREATE")
    return found


async def test_what_is_deferred_for_one_person_stays_theirs(ferns: Ferns, hasty: None) -> None:
    async with ferns.house() as h:
        h.engine.stall_in_prefill = True
        ferns.general.say(ferns.bea, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: h.engine.active == 1, "the question before it")
        used = ferns.general.command(ferns.ada, "usage")
        await h.server.wait_for(lambda: used.thinking, "the sign that it takes longer")
        h.engine.resume.set()
        await h.told(used, "You have used nothing yet.")
        assert used.ephemeral


async def test_in_a_dm_nothing_need_be_hidden(ferns: Ferns, patient: None) -> None:
    async with ferns.house() as h:
        used = await answered(h, ferns.world.dm(ferns.ada).command(ferns.ada, "usage"))
        await h.told(used, "You have used nothing yet.")
        assert not used.ephemeral


async def test_names_are_suggested_while_one_types(ferns: Ferns) -> None:
    async with ferns.house(personas=PERSONAS, models=MODELS) as h:
        all_models = ferns.general.autocomplete(ferns.olga, "model", "text", text="")
        some = ferns.general.autocomplete(ferns.olga, "persona", "text", text="PIR")
        none = ferns.general.autocomplete(ferns.olga, "persona", "text", text="viking")
        await h.server.wait_for(lambda: all(one.answered for one in (all_models, some, none)), "the suggestions")
        assert (all_models.kind, all_models.choices) == (8, ["default", "large"])
        assert some.choices == ["pirate"]
        assert none.choices == []
        used = ferns.general.command(ferns.olga, "persona", text="pirate")
        await h.told(used, "From now on I am the persona pirate here.")


async def test_stop_by_a_command(ferns: Ferns, patient: None) -> None:
    async with ferns.house() as h:
        nothing = ferns.general.command(ferns.ada, "stop")
        await h.told(nothing, "There is nothing to stop.")
        assert nothing.ephemeral
        h.engine.stall_after = 5
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.from_bot[1:], "the placeholder")
        used = ferns.general.command(ferns.ada, "stop")
        await h.told(used, "Stopping.")
        assert used.ephemeral
        assert "You s" in ferns.general.texts_of_bot()


async def test_what_could_not_be_written_down_is_told_to_who_asked(ferns: Ferns, patient: None) -> None:
    async with ferns.house() as h:
        h.engine.stall_after = 3
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.from_bot, "the placeholder")
        with pytest.MonkeyPatch.context() as patch:

            async def fails(*_: object) -> None:
                raise DatabaseError("the disk is full")

            patch.setattr(SqlStore, "receive", fails)
            used = ferns.general.command(ferns.ada, "help")
            pressed = ferns.general.press(ferns.ada, ferns.general.from_bot[0], "Stop")
            await h.server.wait_for(lambda: used.texts and pressed.texts, "a word to each")
        for one in (used, pressed):
            assert one.texts == ["That could not be written down. Please try again."]
            assert one.messages[0].ephemeral
        h.engine.resume.set()
        await h.settled()
        used = await answered(h, ferns.general.command(ferns.ada, "help"))
        assert "/new" in used.texts[0]


# Tokens


@pytest.mark.parametrize("begun", [False, True], ids=["before the first word", "while it streams"])
async def test_past_the_token_s_time_the_answer_goes_to_the_channel(ferns: Ferns, hasty: None, begun: bool) -> None:
    async with ferns.house() as h:
        h.engine.stall_after = 5 if begun else 0
        asked = ferns.general.command(ferns.ada, "ask", text="what is moss?")
        await h.server.wait_for(lambda: asked.texts if begun else asked.thinking, "the beginning")
        h.server.world.scene.pass_(QUARTER)
        h.engine.resume.set()
        await h.settled()
        shown = [message for message in ferns.general.from_bot if not message.loading]
        assert [message.content for message in shown] == ["You said: Ada: what is moss?"]
        assert (shown[0] in asked.messages) is begun, "what it had begun is changed, for the bot is a member there"


async def test_past_the_token_s_time_nobody_else_is_told_what_was_for_one(ferns: Ferns, hasty: None) -> None:
    async with ferns.house() as h:
        h.engine.stall_in_prefill = True
        ferns.general.say(ferns.bea, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: h.engine.active == 1, "the question before it")
        used = ferns.general.command(ferns.ada, "usage")
        await h.server.wait_for(lambda: used.thinking, "the sign that it takes longer")
        h.server.world.scene.pass_(QUARTER)
        h.engine.resume.set()
        await h.settled()
        shown = [message for message in ferns.general.from_bot if not message.loading]
        assert [message.content for message in shown] == ["You said: Bea: hello"]


async def test_people_who_brought_the_app_along_use_it_where_it_is_no_member(ferns: Ferns, hasty: None) -> None:
    ferns.world.install_for(ferns.ada)
    between = ferns.world.dm_between(ferns.ada, ferns.bea)
    async with ferns.house() as h:
        h.engine.stall_after = 5
        asked = between.command(ferns.ada, "ask", text="what is moss?")
        await h.server.wait_for(lambda: asked.texts == ["You s"], "the beginning")
        h.engine.resume.set()
        await h.told(asked, "You said: Ada: what is moss?")
        assert not [call for call in h.server.calls if call.channel == between.id], "there is no other way to it"
        pressed = between.press(ferns.ada, asked.messages[0], "Retry")
        await h.server.wait_for(lambda: len(between.from_bot) == 2, "another answer")
        await h.settled()
        assert pressed.answered
        assert between.texts_of_bot() == ["You said: Ada: what is moss?"] * 2
        elsewhere = ferns.world.guild("Others", ferns.bea, ferns.ada, with_bot=False).text("talk")
        asked = elsewhere.command(ferns.ada, "ask", text="and lichen?")
        await h.told(asked, "You said: Ada: and lichen?")
        assert "moss" not in h.prompts()[-1]


async def test_an_answer_where_the_bot_is_no_member_is_finished_after_a_restart(ferns: Ferns, hasty: None) -> None:
    ferns.world.install_for(ferns.ada)
    between = ferns.world.dm_between(ferns.ada, ferns.bea)
    async with ferns.house(chat={"drain": 0.1}) as h:
        h.engine.stall_after = 5
        asked = between.command(ferns.ada, "ask", text="what is moss?")
        await h.server.wait_for(lambda: asked.texts == ["You s"], "the beginning")
        h.engine.stall_after = None
        await h.app.dispatcher.drain(0.0)
    async with ferns.house() as h:
        await h.told(asked, "You said: Ada: what is moss?")
        assert len(between.from_bot) == 1


# Buttons


async def test_stop_and_retry(ferns: Ferns) -> None:
    async with ferns.house() as h:
        h.engine.stall_after = 5
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.texts_of_bot() == ["You s"], "the placeholder")
        (sent,) = ferns.general.from_bot
        stopped = ferns.general.press(ferns.ada, sent, "Stop")
        await h.server.wait_for(lambda: [b["label"] for b in sent.buttons] == ["Retry"], "the stop")
        await h.answered(ferns.general, "You s")
        assert stopped.kind == 6, "a button needs no word"
        assert stopped.texts == []
        h.engine.stall_after = None
        again = ferns.general.press(ferns.ada, sent, "Retry")
        await h.answered(ferns.general, "You s", "You said: Ada: hello")
        assert again.kind == 6
        assert [button["label"] for button in ferns.general.from_bot[1].buttons] == ["Retry", "Other answer"]
        other = ferns.general.press(ferns.ada, ferns.general.from_bot[1], "Other answer")
        await h.told(other, "The conversation goes on from this answer: You s")


async def test_buttons_work_after_a_restart(ferns: Ferns) -> None:
    async with ferns.house(chat={"drain": 0.1}) as h:
        ferns.general.say(ferns.ada, "one", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: one")
        h.engine.stall_after = 5
        ferns.general.say(ferns.ada, "two", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.texts_of_bot()[1:] == ["You s"], "the placeholder")
        await h.app.dispatcher.drain(0.0)
    first, second = ferns.general.from_bot
    engine = ScriptedEngine()
    engine.stall_after = 7
    async with ferns.house(engine=engine) as h:
        await h.server.wait_for(lambda: h.engine.active == 1, "the answer that was not finished")
        pressed = ferns.general.press(ferns.ada, second, "Stop")
        await h.settled()
        assert second.content.startswith("You s")
        assert "said: Ada: two" not in second.content
        assert pressed.answered
        h.engine.stall_after = None
        ferns.general.press(ferns.ada, first, "Retry")
        await h.server.wait_for(lambda: ferns.general.texts_of_bot()[2:] == ["You said: Ada: one"], "the other answer")


async def test_who_may_not_press_is_told_so_in_private(ferns: Ferns) -> None:
    async with ferns.house() as h:
        h.engine.stall_after = 5
        ferns.general.say(ferns.ada, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.texts_of_bot() == ["You s"], "the placeholder")
        (sent,) = ferns.general.from_bot
        stop = ferns.general.press(ferns.bea, sent, "Stop")
        await h.server.wait_for(lambda: stop.texts, "the word")
        assert stop.texts == ["Only who asked, or an owner of this bot, can stop that answer."]
        h.engine.resume.set()
        await h.answered(ferns.general, "You said: Ada: hello", *stop.texts)
        retry = ferns.general.press(ferns.bea, sent, "Retry")
        await h.told(retry, "There is nothing here that I could answer again for you.")
        for pressed in (stop, retry):
            assert [message.ephemeral for message in pressed.messages] == [True]
        assert len(h.prompts()) == 1


# Settings


def menu(page: Message, title: str) -> Json:
    """One of the menus of a page."""
    return next(select for select in page.selects if select["placeholder"] == title)


async def choose(ferns: Ferns, page: Message, title: str, label: str) -> str:
    """The owner chooses; gives the text of the page as it is then."""
    value = next(option["value"] for option in menu(page, title)["options"] if option["label"] == label)
    count = len(page.versions)
    pressed = ferns.general.select(ferns.olga, page, menu(page, title)["custom_id"], value)
    await ferns.server.wait_for(lambda: len(page.versions) == count + 1 and pressed.answered, "the page")
    assert [option["label"] for option in menu(page, title)["options"] if option.get("default")] == [label]
    return page.texts[0]


async def test_settings_are_chosen_from_menus(ferns: Ferns, patient: None) -> None:
    async with ferns.house(personas=PERSONAS, models=MODELS) as h:
        shown = await answered(h, ferns.general.command(ferns.olga, "settings"))
        (page,) = shown.messages
        assert page.flags & COMPONENTS_V2
        assert [button["label"] for button in page.buttons] == ["This server", "Close"]
        assert "Persona: pirate" in await choose(ferns, page, "Persona", "pirate")
        assert "Model: large" in await choose(ferns, page, "Model", "large")
        assert "Messages: kept for 7 days" in await choose(ferns, page, "Messages", "Kept for 7 days")
        heard = await choose(ferns, page, "What I hear in recordings", "By /transcript only")
        assert "by /transcript only" in heard
        settings = (await h.app.store.conversation(h.key(ferns.general))).settings
        found = (settings.persona, settings.model, settings.retention_days, settings.transcripts)
        assert found == ("pirate", "large", 7, "asked")
        ferns.general.press(ferns.olga, page, "Close")
        await h.server.wait_for(lambda: not page.buttons and not page.selects, "the page to close")
        assert "Persona: pirate" in page.texts[0]


async def test_settings_of_a_whole_server(ferns: Ferns, patient: None) -> None:
    other = ferns.guild.text("other")
    async with ferns.house(personas=PERSONAS) as h:
        shown = await answered(h, ferns.general.command(ferns.olga, "server"))
        (page,) = shown.messages
        assert "Persona: pirate" in await choose(ferns, page, "Persona", "pirate")
        assert "everything" in await choose(ferns, page, "What I answer", "Everything that people say")
        other.say(ferns.ada, "hello")
        await h.answered(other, "You said: Ada: hello")
        assert "You are a pirate." in h.prompts()[-1]
        ferns.general.press(ferns.olga, page, "This conversation")
        await h.server.wait_for(lambda: "The settings of this conversation" in page.texts[0], "the other page")


async def test_settings_are_shown_to_all_and_chosen_by_who_manages_the_server(ferns: Ferns) -> None:
    ferns.guild.role("Keepers", Permission.MANAGE_GUILD, ferns.bea)
    async with ferns.house() as h:
        asked = ferns.general.say(ferns.bea, "/settings", mention=ferns.bot)
        await h.server.wait_for(lambda: ferns.general.from_bot, "the page")
        await h.settled()
        (page,) = ferns.general.from_bot
        assert page.reply_to == asked.id
        messages = menu(page, "Messages")["custom_id"]
        refused = ferns.general.select(ferns.ada, page, messages, "choose:keep:0")
        await h.told(refused, "Here only who manages the server, or owns the bot, may change that.")
        assert refused.messages[0].ephemeral
        ferns.general.select(ferns.bea, page, messages, "choose:keep:0")
        await h.server.wait_for(lambda: "Messages: not kept" in page.texts[0], "the change")
        assert (await h.app.store.conversation(h.key(ferns.general))).settings.retention_days == 0


async def test_settings_of_an_earlier_process_where_the_bot_is_no_member(ferns: Ferns, patient: None) -> None:
    """They can be changed by tokens alone: a press brings a new one."""
    ferns.world.install_for(ferns.ada)
    between = ferns.world.dm_between(ferns.ada, ferns.bea)
    permissions = {"admins": [f"discord:{ferns.ada.id}"]}
    async with ferns.house(personas=PERSONAS, permissions=permissions) as h:
        page = (await answered(h, between.command(ferns.ada, "settings"))).messages[0]
    async with ferns.house(personas=PERSONAS, permissions=permissions) as h:
        h.server.world.scene.pass_(QUARTER)
        personas = menu(page, "Persona")
        pirate = next(option["value"] for option in personas["options"] if option["label"] == "pirate")
        between.select(ferns.ada, page, personas["custom_id"], pirate)
        await h.server.wait_for(lambda: "Persona: pirate" in page.texts[0], "the change")
