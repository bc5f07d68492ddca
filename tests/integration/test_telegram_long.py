"""Answers longer than a message: all of the text arrives, in well-formed parts, and Telegram refuses none of the calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from adapters.telegram.adapter import Telegram
from adapters.text import telegram_html, telegram_length
from adapters.text.telegram import visible_text
from bot.messages import ConversationKey
from bot.testing import ScriptedEngine
from tests import long_answers
from tests.long_answers import CODE, ENDS, LONG, MARKDOWN, TOKENS, bare, parts_of, streamed, words
from tests.telegram import Chat, Message, TelegramServer, User, serving
from tests.telegram_house import telegram_config, telegram_house

LIMIT = 4096
NOT_MODIFIED = "message is not modified"
PACE = {"private_pace": 0.05, "group_pace": 0.05}
"""Some dozens of edits, not thousands."""


def code(messages: list[Message]) -> str:
    """What stands in blocks of code."""
    return "".join(m.content.slice(e) for m in messages for e in m.entities if e["type"] == "pre" and "language" in e)


def check_calls(server: TelegramServer) -> None:
    """Nothing was refused, but an edit to what a message is already."""
    refused = [call for call in server.calls if call.error and NOT_MODIFIED not in call.error.description]
    assert refused == []


def check_long(messages: list[Message]) -> None:
    """All of LONG is there."""
    assert len(messages) > 2
    assert bare("".join(m.text for m in messages)) == bare(visible_text(telegram_html(LONG)))
    assert bare(code(messages)) == bare("".join(CODE))
    assert not any("```" in m.text for m in messages)
    languages = [e["language"] for m in messages for e in m.entities if "language" in e]
    assert list(dict.fromkeys(languages)) == ["python", "sh", "json"]
    assert len(languages) > 3, "no block goes over two messages"
    links = [e for m in messages for e in m.entities if e["type"] == "text_link"]
    assert {e["url"] for e in links} == {"https://example.org/wood?a=1&b=2"}
    assert len(links) == LONG.count("[wood")
    assert all(m.content.length <= LIMIT for m in messages)


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with serving(privacy=False) as running:
        yield running


@pytest.fixture
def ada(server: TelegramServer) -> User:
    return server.world.user("Ada")


@pytest.mark.parametrize("way", ["drafts", "edits", "group"])
async def test_nine_thousand_characters_that_stream(
    tmp_path: Path, server: TelegramServer, ada: User, way: str
) -> None:
    assert 9000 <= len(LONG) <= 9500
    engine = ScriptedEngine(lambda _: LONG, context_length=100_000, seconds_per_token=0.0002)
    async with telegram_house(tmp_path, server, engine=engine, chat=TOKENS, telegram=PACE) as h:
        chat = server.world.supergroup("Friends", ada) if way == "group" else server.world.private(ada)
        if way == "edits":
            server.fail("sendMessageDraft", "refuse", description="Bad Request: TEXTDRAFT_PEER_INVALID")
        chat.say(ada, "@hearth_bot tell me everything")
        await server.wait_for(lambda: chat.from_bot and "The end" in chat.texts_of_bot()[-1], "the end")
        await h.settled()
    check_long(chat.from_bot)
    assert [[b["text"] for b in m.buttons] for m in chat.from_bot[-2:]] == [[], ["Retry"]]
    assert (len(chat.drafts) > 2) is (way == "drafts")
    assert (max(len(m.edits) for m in chat.from_bot) > 2) is (way != "drafts")
    server.calls = [call for call in server.calls if not call.fault]
    check_calls(server)


class Line(long_answers.Line):
    """A bot and its chats."""

    def __init__(self) -> None:
        super().__init__()
        self.run(self._open())

    async def _open(self) -> None:
        self.server = await self.stack.enter_async_context(serving(privacy=False))
        self.adapter = Telegram(telegram_config(Path("/nonexistent"), self.server).telegram)
        self.stack.push_async_callback(self.adapter.aclose)
        self.ada = self.server.world.user("Ada")

    def answer(self, text: str, pieces: list[str]) -> Chat:
        """One answer in a new group."""
        chat = self.server.world.supergroup("Group", self.ada)
        self.deliver(self.adapter, ConversationKey("telegram", self.adapter.account, str(chat.id)), text, pieces)
        return chat


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def check_whole(text: str, chat: Chat) -> None:
    """Part by part, what is seen is what the renderer says; together it is all of the text."""
    parts = parts_of(text, LIMIT, telegram_length)
    assert [bare(m.text) for m in chat.from_bot] == [bare(visible_text(telegram_html(part.text))) for part in parts]
    assert all(0 < m.content.length <= LIMIT for m in chat.from_bot)
    assert words("\n".join(m.text for m in chat.from_bot)) == words(text)


@given(MARKDOWN, ENDS)
@settings(max_examples=500, deadline=None)
def test_any_markdown_arrives_whole(line: Line, text: str, ends: list[int]) -> None:
    """At once, or streamed: whatever stood there meanwhile, it ends as if it had come at once."""
    line.server.calls.clear()
    chat = line.answer(text, streamed(text, ends))
    check_whole(text, chat)
    check_calls(line.server)


def test_nine_thousand_characters_at_once(line: Line) -> None:
    line.server.calls.clear()
    chat = line.answer(LONG, [])
    check_long(chat.from_bot)
    assert len(line.server.calls) == len(chat.from_bot), "each part is sent once, as it is to be"
    check_calls(line.server)
