"""`hearth run` on Discord, on Telegram and with its page, as their users meet it: one process, the embedded models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests import speech
from tests.discord_fake import Channel, DiscordServer, Guild, Interaction, Message, User
from tests.e2e import answers
from tests.e2e.conftest import CommandLine
from tests.e2e.hearth import Hearth, serving
from tests.e2e.platform_thread import Platform, platform
from tests.e2e.server import Options
from tests.e2e.test_cli_page import address, asked
from tests.e2e.ways_in import as_sections, on_discord, on_telegram
from tests.telegram import TelegramServer

PERSONAS = '[personas.pirate]\nsystem = "You are a pirate."\n'


@dataclass
class Friends:
    """A guild with one channel, and two who are in it."""

    platform: Platform[DiscordServer]
    guild: Guild
    ada: User
    bea: User
    general: Channel

    @property
    def bot(self) -> User:
        return self.platform.server.world.bot

    def answered(self, channel: Channel, act: Callable[[], object], text: str, more: int = 1, **how: object) -> Message:
        return answers.answered(self.platform, channel, act, text, more, **how)  # type: ignore[arg-type]

    def used(self, act: Callable[[], Interaction], ends: Callable[[Interaction], object], what: str) -> Interaction:
        """Use a command, a button or a menu, and return when that is so of it."""
        interaction = self.platform.do(act)
        self.platform.wait(lambda: bool(ends(interaction)), what)
        return interaction


@pytest.fixture
def friends() -> Iterator[Friends]:
    with platform(DiscordServer()) as discord:
        world = discord.server.world
        ada, bea = discord.do(lambda: (world.user("Ada"), world.user("Bea")))
        guild = discord.do(lambda: world.guild("Friends", ada, bea))
        yield Friends(discord, guild, ada, bea, discord.do(lambda: guild.text("general")))


@pytest.fixture
def telegram() -> Iterator[Platform[TelegramServer]]:
    with platform(TelegramServer()) as running:
        yield running


@pytest.fixture
def bot(hearth: CommandLine, friends: Friends, telegram: Platform[TelegramServer]) -> CommandLine:
    """The command line with both tokens; everybody may talk to it."""
    hearth.configure(PERSONAS)
    settings = on_discord(friends.platform.server) | on_telegram(telegram.server)
    return replace(hearth, settings={**settings, "HEARTH_PERMISSIONS__ALLOW": '["discord:*", "telegram:*"]'})


def test_one_process_serves_discord_telegram_and_the_page(
    bot: CommandLine, friends: Friends, telegram: Platform[TelegramServer]
) -> None:
    """Every way to talk on Discord, and between them a question on Telegram and one on the page; SIGTERM ends it with 0."""
    with bot.running():
        server = friends.platform.server
        friends.platform.wait(lambda: bool(server.ws.online and server.called("bulk_set_application_commands")), "it")
        in_the_channel(friends)
        in_a_thread(friends)
        person = telegram.do(lambda: telegram.server.world.user("Tom"))
        chat = telegram.do(lambda: telegram.server.world.private(person))
        answers.answered(telegram, chat, lambda: chat.say(person, "Count to 3."), "1 2 3")
        in_private(friends)
        assert asked(address(bot), "What is my name?") == "I do not know your name yet."
        by_command(friends)
        by_select(friends)
    assert server.token not in bot.log


def in_the_channel(friends: Friends) -> None:
    """Only who calls the bot is answered, in reply; an edit is answered in place, a reply goes on, a button asks again."""
    channel, ada, bea, bot = friends.general, friends.ada, friends.bea, friends.bot
    friends.platform.do(lambda: channel.say(bea, "What is my name?"))
    said = friends.answered(channel, lambda: channel.say(ada, "Count to 4.", mention=bot), "1 2 3 4")
    question = friends.platform.do(lambda: channel.messages[-2])
    assert said.reply_to == question.id
    friends.answered(channel, lambda: channel.edit(question, f"{bot.mention} Count to 6."), "1 2 3 4 5 6", 0)
    assert "1 2 3 4" in said.edits
    more = friends.answered(channel, lambda: channel.say(bea, "Count to 7.", reply_to=said), "1 2 3 4 5 6 7")
    again = ("Retry", "Other answer")
    friends.answered(channel, lambda: channel.press(bea, more, "Retry"), "1 2 3 4 5 6 7", buttons=again)
    note = speech.opus("what is my name")
    heard = "> what is my name\n\nYour name is Bea."
    friends.answered(channel, lambda: channel.voice(bea, note, duration=2.0, reply_to=said), heard)


def in_a_thread(friends: Friends) -> None:
    """A thread is a conversation of its own."""
    channel, ada, bot = friends.general, friends.ada, friends.bot
    thread = friends.platform.do(lambda: channel.thread(ada, "Names"))
    friends.answered(thread, lambda: thread.say(ada, "My name is Zelda.", mention=bot), "Nice to meet you, Zelda!")
    friends.answered(thread, lambda: thread.say(ada, "What is my name?", mention=bot), "Your name is Zelda.")
    friends.answered(channel, lambda: channel.say(ada, "What is my name?", mention=bot), "Your name is Ada.")


def in_private(friends: Friends) -> None:
    """Nobody needs to call it there: by text, by voice, and with a file."""
    ada = friends.ada
    chat = friends.platform.do(lambda: friends.platform.server.world.dm(ada))
    friends.answered(chat, lambda: chat.say(ada, "What is my name?"), "I do not know your name yet.")
    notes = ("notes.txt", b"My name is Zora.")
    friends.answered(chat, lambda: chat.say(ada, attachments=[notes]), "Nice to meet you, Zora!")
    note = speech.opus("what is my name")
    heard = "> what is my name\n\nYour name is Zora."
    friends.answered(chat, lambda: chat.voice(ada, note, duration=2.0), heard)


def by_command(friends: Friends) -> None:
    """An answer that is long in coming is shown to be on its way; it then takes that place."""
    channel, bea, server = friends.general, friends.bea, friends.platform.server
    stuck = server.fail("create_message", "503", times=10**6, channel=channel.id)
    friends.platform.do(lambda: channel.say(bea, "Count to 3.", mention=friends.bot))
    friends.platform.wait(lambda: stuck.happened > 0, "the answer that cannot be sent")
    asked_ = friends.used(lambda: channel.command(bea, "ask", text="Count to 5."), lambda i: i.thinking, "the sign")
    friends.platform.do(server.faults.planned.clear)
    friends.platform.wait(lambda: asked_.texts == ["1 2 3 4 5"], "the answer")
    assert channel.texts_of_bot()[-2:] == ["1 2 3 4 5", "1 2 3"]


def by_select(friends: Friends) -> None:
    """Who manages the guild chooses another persona from a menu; what only one person may know only that one sees."""
    channel, ada = friends.general, friends.ada
    shown = friends.used(lambda: channel.command(ada, "settings"), lambda i: i.messages and i.messages[0].selects, "it")
    menu = shown.messages[0].selects[0]
    [pirate] = [option["value"] for option in menu["options"] if option["label"] == "pirate"]
    friends.used(
        lambda: channel.select(ada, shown.messages[0], menu["custom_id"], pirate),
        lambda i: "Persona: pirate" in "".join(shown.messages[0].texts),
        "the choice",
    )
    used = friends.used(lambda: channel.command(ada, "usage"), lambda i: i.texts, "the numbers")
    assert used.ephemeral


def test_an_answer_is_stopped_while_it_streams(tmp_path: Path, friends: Friends) -> None:
    """By the button under what there is of it; what was said stays."""
    channel, ada, platform_ = friends.general, friends.ada, friends.platform
    server = platform_.server
    sections = as_sections(server, pace=0.001)
    with serving(Hearth(tmp_path / "hearth", Options(discord=True), sections=sections)) as hearth:
        hearth.hold("1 2 3")
        hearth.start()
        platform_.wait(lambda: bool(server.ws.online), "the bot")
        platform_.do(lambda: channel.say(ada, "Count to 20.", mention=friends.bot))
        platform_.wait(lambda: channel.texts_of_bot() == ["1 2 3"], "what it says before it stands still")
        pressed = friends.used(
            lambda: channel.press(ada, channel.from_bot[0], "Stop"), lambda i: i.answered, "the sign"
        )
        platform_.wait(lambda: answers.labels(channel.from_bot[0]) == ["Retry"], "the end")
        hearth.finish()
        assert hearth.stop() == 0
    assert channel.texts_of_bot() == ["1 2 3"]
    assert not pressed.failed()
