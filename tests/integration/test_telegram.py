"""A whole Hearth on Telegram: what people write there, and what they see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.telegram import TelegramServer, serving
from tests.telegram_house import telegram_house


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with serving(privacy=False) as running:
        yield running


async def test_a_question_in_a_private_chat_is_answered(tmp_path: Path, server: TelegramServer) -> None:
    ada = server.world.user("Ada")
    chat = server.world.private(ada)
    chat.say(ada, "hello")
    async with telegram_house(tmp_path, server) as h:
        await h.answered(chat, "You said: hello")
        assert chat.drafts
        chat.say(ada, "again")
        await h.answered(chat, "You said: hello", "You said: again")
