"""Telegram's limits of rate: they are kept, and a chat that must wait holds up nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.config import TelegramConfig
from bot.testing import ScriptedEngine
from tests.telegram import TelegramServer, serving
from tests.telegram_house import telegram_house

MINUTE = 60


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with serving(privacy=False) as running:
        yield running


async def test_while_one_chat_waits_a_minute_all_others_are_answered(tmp_path: Path, server: TelegramServer) -> None:
    """Its own answer, and the next question in it, are not given up."""
    async with telegram_house(tmp_path, server, chat={"drain": 0.1}) as h:
        people = [server.world.user(f"P{number}") for number in range(10)]
        flooded, *others = [server.world.private(person) for person in people]
        fault = server.fail("sendMessage", "429", retry_after=MINUTE, chat=flooded.id)
        flooded.say(people[0], "first")
        await server.wait_for(lambda: fault.happened == 1, "the flood")
        flooded.say(people[0], "second")
        for number in range(5):
            for person, chat in zip(people[1:], others, strict=True):
                chat.say(person, f"question {number}")
        expected = [f"You said: question {number}" for number in range(5)]
        await server.wait_for(lambda: all(chat.texts_of_bot() == expected for chat in others), "the other answers")
        called = [c for c in server.called("sendMessage") if str(c.given["chat_id"]) == str(flooded.id)]
        assert [call.fault for call in called] == ["429"], "the minute is not over"
        await server.wait_for(lambda: h.app.dispatcher.in_progress == 1, "the others' end")
        assert await h.app.store.pending() == 2, "the first, and behind it the second"


async def test_the_default_pace_is_within_what_telegram_takes(tmp_path: Path, server: TelegramServer) -> None:
    """Some seconds of streaming in a private chat, in a group, and in a forum with two topics."""
    server.flood.enable()
    default = TelegramConfig()
    paces = {"private_pace": default.private_pace, "group_pace": default.group_pace, "calls_per_second": 30}
    words = " ".join(f"word{number}" for number in range(120))
    engine = ScriptedEngine(lambda _: words, seconds_per_token=0.006)
    async with telegram_house(tmp_path, server, engine=engine, telegram=paces) as h:
        ada = server.world.user("Ada")
        server.fail("sendMessageDraft", "refuse", description="Bad Request: TEXTDRAFT_PEER_INVALID")
        private, group = server.world.private(ada), server.world.supergroup("Friends", ada)
        forum = server.world.supergroup("Forum", ada, forum=True)
        topics = [forum.open_topic(ada, name) for name in ("One", "Two")]
        private.say(ada, "tell me")
        group.say(ada, "@hearth_bot tell me")
        for topic in topics:
            forum.say(ada, "@hearth_bot tell me", topic=topic)
        for chat, texts in ((private, 1), (group, 1), (forum, 2)):
            await h.answered(chat, *[words] * texts)
    assert server.flood.refused == []
    assert len(private.from_bot[0].edits) > 4
    assert len(group.from_bot[0].edits) > 2
