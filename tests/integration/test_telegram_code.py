"""Long code as files on Telegram: sent behind the answer, and gone when the question is answered anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.testing import ScriptedEngine
from tests import coding
from tests.coding import CODE, LINES, answers
from tests.telegram import Chat, TelegramServer, User, serving
from tests.telegram_house import TelegramHouse, telegram_house

SEE_FILE = coding.SEE_FILE.replace("`", "")


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with serving(privacy=False) as running:
        yield running


@pytest.fixture
async def h(tmp_path: Path, server: TelegramServer) -> AsyncIterator[TelegramHouse]:
    engine = ScriptedEngine(answers)
    async with telegram_house(tmp_path, server, engine=engine, chat={"code_file_lines": LINES}) as made:
        yield made


@pytest.fixture
def ada(server: TelegramServer) -> User:
    return server.world.user("Ada")


@pytest.fixture
def private(server: TelegramServer, ada: User) -> Chat:
    return server.world.private(ada)


def standing(chat: Chat) -> list[str]:
    """The texts of the bot's messages, or the names of their files."""
    return [sent.json["document"]["file_name"] if "document" in sent.json else sent.text for sent in chat.from_bot]


async def shows(h: TelegramHouse, chat: Chat, *what: str) -> None:
    await h.server.wait_for(lambda: standing(chat) == list(what), f"{what}")
    await h.settled()


async def test_long_code_comes_as_a_file_and_goes_with_a_new_answer(h: TelegramHouse, private: Chat, ada: User) -> None:
    private.say(ada, "code, please")
    await shows(h, private, SEE_FILE, "code.py")
    assert [b["text"] for b in private.from_bot[0].buttons] == ["Retry"]
    private.say(ada, "and now?")
    await h.settled()
    assert f"```python\n{CODE}```" in h.prompts()[-1], "the model knows what it wrote"
    private.press(ada, private.from_bot[0], "Retry")
    await h.settled()
    assert standing(private)[-2:] == [SEE_FILE, "code.py"]


async def test_a_question_that_is_edited_takes_the_file_away(h: TelegramHouse, private: Chat, ada: User) -> None:
    asked = private.say(ada, "code, please")
    await shows(h, private, SEE_FILE, "code.py")
    private.edit(asked, "hello")
    await shows(h, private, "You said: hello")


async def test_a_file_makes_room_for_a_text(h: TelegramHouse, private: Chat, ada: User) -> None:
    """A command that was edited into a question: its word stood under a file, which no edit turns into a text."""
    command = private.say(ada, "/export")
    await shows(h, private, "hearth-export.json")
    private.edit(command, "hello")
    await shows(h, private, "You said: hello")
