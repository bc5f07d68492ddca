"""`hearth run` on Telegram, as its user meets it: a process of its own, the embedded models, the stand-in for the platform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import speech
from tests.e2e.answers import answered
from tests.e2e.conftest import CommandLine
from tests.e2e.platform_thread import Platform, platform
from tests.e2e.test_cli_page import address, asked, opened
from tests.e2e.ways_in import on_telegram
from tests.telegram import Chat, Message, TelegramServer

WRONG = "4839574812:AAFD39kkdpWt3ywyRZergyOLMaJhac60qcX"


@pytest.fixture
def telegram() -> Iterator[Platform[TelegramServer]]:
    with platform(TelegramServer(privacy=False, topics=True)) as running:
        yield running


@pytest.fixture
def bot(hearth: CommandLine, telegram: Platform[TelegramServer]) -> CommandLine:
    """The command line with a bot's token; everybody on Telegram may talk to it."""
    settings = on_telegram(telegram.server)
    return replace(hearth, settings={**settings, "HEARTH_PERMISSIONS__ALLOW": '["telegram:*"]'})


def test_a_person_talks_there_and_on_the_page_at_once(bot: CommandLine, telegram: Platform[TelegramServer]) -> None:
    """By text and by voice, in reply to an older answer, with an edit, and in a topic; SIGTERM ends it with 0."""
    world = telegram.server.world
    with bot.running():
        where = address(bot)
        zelda = telegram.do(lambda: world.user("Zelda"))
        chat = telegram.do(lambda: world.private(zelda))

        def say(text: str, answer: str, **how: object) -> Message:
            return answered(telegram, chat, lambda: chat.say(zelda, text, **how), answer)  # type: ignore[arg-type]

        def speak(text: str, answer: str) -> Message:
            note = speech.opus(text)
            return answered(telegram, chat, lambda: chat.voice(zelda, note, duration=2), answer)

        say("What is my name?", "I do not know your name yet.")
        zelda_is_told = say("My name is Zelda.", "Nice to meet you, Zelda!")
        with opened(where, "/") as page:
            assert page.status == 200
        assert asked(where, "What is my name?") == "I do not know your name yet."
        speak("what is my name", "what is my name\n\nYour name is Zelda.")
        say("My name is Anna.", "Nice to meet you, Anna!")
        question = telegram.do(lambda: next(m for m in chat.messages if m.text == "My name is Anna."))
        said = answered(telegram, chat, lambda: edited(chat, question, "My name is Tom."), "Nice to meet you, Tom!", 0)
        assert said.edits[0] == "Nice to meet you, Anna!"
        say("What is my name?", "Your name is Tom.")
        say("What is my name?", "Your name is Zelda.", reply_to=zelda_is_told)
        topic = telegram.do(lambda: chat.open_topic(zelda, "Elsewhere"))
        assert say("What is my name?", "I do not know your name yet.", topic=topic).thread == topic.id
        assert asked(where, "Count to 5.") == "1 2 3 4 5"
        assert chat.drafts
    assert telegram.server.token not in bot.log


def edited(chat: Chat, message: Message, text: str) -> Message:
    chat.edit(message, text)
    return message


def test_a_group_and_a_forum(bot: CommandLine, telegram: Platform[TelegramServer]) -> None:
    """Only who calls the bot is answered, in reply to the question, and each topic is a conversation of its own."""
    world = telegram.server.world
    with bot.running():
        ada, bea = telegram.do(lambda: (world.user("Ada"), world.user("Bea")))
        group = telegram.do(lambda: world.supergroup("Friends", ada, bea))
        forum = telegram.do(lambda: world.supergroup("Forum", ada, bea, forum=True))
        telegram.do(lambda: group.say(bea, "What is my name?"))
        said = answered(telegram, group, lambda: group.say(ada, "@hearth_bot Count to 4."), "1 2 3 4")
        question = telegram.do(lambda: group.messages[-2])
        assert said.reply_to == question.id
        answered(telegram, group, lambda: edited(group, question, "@hearth_bot Count to 6."), "1 2 3 4 5 6", 0)
        answered(telegram, group, lambda: group.say(bea, "Count to 7.", reply_to=said), "1 2 3 4 5 6 7")
        note, heard = speech.opus("what is my name"), "what is my name\n\nYour name is Bea."
        answered(telegram, group, lambda: group.voice(bea, note, duration=2, reply_to=said), heard)
        one, two = telegram.do(lambda: (forum.open_topic(ada, "One"), forum.open_topic(ada, "Two")))

        def say(text: str, answer: str, **how: object) -> Message:
            return answered(telegram, forum, lambda: forum.say(ada, f"@hearth_bot {text}", **how), answer)  # type: ignore[arg-type]

        assert say("My name is Zelda.", "Nice to meet you, Zelda!", topic=one).thread == one.id
        assert say("What is my name?", "Your name is Ada.", topic=two).thread == two.id
        assert say("What is my name?", "Your name is Zelda.", topic=one).thread == one.id


def test_what_telegram_has_forgotten_at_the_end_is_answered(
    bot: CommandLine, telegram: Platform[TelegramServer]
) -> None:
    """SIGTERM comes when the questions are received: answers on their way are finished, the others come after the next start."""
    world, queue = telegram.server.world, telegram.server.queue
    people = telegram.do(lambda: [world.user(f"P{number}") for number in range(20)])
    chats = telegram.do(lambda: [world.private(person) for person in people])
    with bot.running():
        telegram.wait(lambda: queue.polled, "the bot")
        telegram.do(lambda: [chat.say(person, "Count to 20.") for chat, person in zip(chats, people, strict=True)])
        telegram.wait(lambda: not queue.pending, "the acknowledgement")
    counted = " ".join(map(str, range(1, 21)))
    assert all(chat.texts_of_bot() in ([], [counted]) for chat in chats)
    telegram.do(lambda: chats[0].say(people[0], "Count to 3."))
    with bot.running():
        telegram.wait(lambda: all(chat.from_bot for chat in chats) and len(chats[0].from_bot) == 2, "the answers")
        bot.settled()
    assert [chat.texts_of_bot() for chat in chats] == [[counted, "1 2 3"], *[[counted]] * 19]


def test_a_wrong_token_ends_the_start_with_one_line(bot: CommandLine, telegram: Platform[TelegramServer]) -> None:
    done = replace(bot, settings={**bot.settings, "HEARTH_TELEGRAM__TOKEN": WRONG})("run")
    assert done.returncode == 1
    *log, last = done.stderr.strip().splitlines()
    assert last == (
        "hearth: Telegram refuses the token. BotFather (https://t.me/BotFather) shows the right one (telegram.token)."
    )
    assert [line for line in log if "[info " not in line] == []
    assert WRONG not in done.stdout + done.stderr


def test_it_is_configured_by_a_file_too(bot: CommandLine, telegram: Platform[TelegramServer], tmp_path: Path) -> None:
    """Also the token, by a secret's file; who is not allowed is told an id and no more."""
    server = telegram.server
    ada, eve = telegram.do(lambda: (server.world.user("Ada"), server.world.user("Eve")))
    (tmp_path / "token").write_text(server.token + "\n", "utf-8")
    bot.configure(f'[telegram]\napi_base = "{server.url}"\n[permissions]\nallow = ["telegram:{ada.id}"]\n')
    with replace(bot, settings={"HEARTH_TELEGRAM__TOKEN_FILE": str(tmp_path / "token")}).running():
        hers = telegram.do(lambda: server.world.private(eve))
        telegram.do(lambda: hers.say(eve, "Hello!"))
        chat = telegram.do(lambda: server.world.private(ada))
        answered(telegram, chat, lambda: chat.say(ada, "Count to 3."), "1 2 3")
    assert hers.texts_of_bot() == [f"I do not know you yet. My owner can let you in with this id: telegram:{eve.id}"]
