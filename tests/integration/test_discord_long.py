"""Answers longer than a message: all of the text arrives, in well-formed parts, and Discord refuses none of the calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from adapters.text import Part, discord_length, discord_markdown
from bot.messages import ConversationKey
from bot.testing import ScriptedEngine
from tests import long_answers
from tests.discord_fake import Channel, DiscordServer, Message, serving
from tests.discord_house import Ferns, discord_config, hurried
from tests.discord_online import Online
from tests.long_answers import CODE, ENDS, LONG, MARKDOWN, TOKENS, bare, parts_of, streamed, words

LIMIT = 2000
TICKS = "```"
PACE = {"pace": 0.2}
"""Some dozens of edits, not thousands."""
LANGUAGES = ("python", "sh", "json")


def check_calls(server: DiscordServer) -> None:
    """Nothing was refused."""
    assert [call for call in server.calls if not call.ok] == []


def fenced(text: str) -> Iterator[str]:
    """The blocks of code in a message, with the lines of their fences' languages."""
    yield from text.split(TICKS)[1::2]


def without_fences(text: str) -> str:
    """All but the lines of fences, and white space."""
    return bare("\n".join(line for line in text.splitlines() if not line.startswith(TICKS)))


def check_long(messages: list[Message]) -> None:
    """All of LONG is there."""
    texts = [message.content for message in messages]
    assert len(texts) > 4
    assert all(0 < len(text) <= LIMIT for text in texts)
    assert all(text.count(TICKS) % 2 == 0 for text in texts)
    blocks = [block.partition("\n") for text in texts for block in fenced(text)]
    code = [(language, said) for language, _, said in blocks if language]
    assert list(dict.fromkeys(language for language, _ in code)) == list(LANGUAGES)
    assert len(code) > len(LANGUAGES), "no block goes over two messages"
    assert bare("".join(said for _, said in code)) == bare("".join(CODE))
    (table,) = (said for language, _, said in blocks if not language)
    assert table.startswith("log | wood   | hours\n")
    assert without_fences("\n".join(texts)) == without_fences(discord_markdown(LONG))
    assert "".join(texts).count("](https://example.org/wood?a=1&b=2)") == LONG.count("[wood")


@pytest.mark.parametrize("way", ["channel", "thread", "command"])
async def test_nine_thousand_characters_that_stream(ferns: Ferns, way: str) -> None:
    assert 9000 <= len(LONG) <= 9500
    engine = ScriptedEngine(lambda _: LONG, context_length=100_000, seconds_per_token=0.0002)
    async with ferns.house(engine=engine, chat=TOKENS, discord=PACE) as h:
        channel = ferns.general.thread(ferns.ada, "Fires") if way == "thread" else ferns.general
        if way == "command":
            channel.command(ferns.ada, "ask", text="tell me everything")
        else:
            channel.say(ferns.ada, "tell me everything", mention=ferns.bot)
        await h.server.wait_for(lambda: channel.from_bot and "The end" in channel.texts_of_bot()[-1], "the end")
        await h.settled()
    check_long(channel.from_bot)
    assert [[b["label"] for b in m.buttons] for m in channel.from_bot[-2:]] == [[], ["Retry"]]
    assert max(len(m.edits) for m in channel.from_bot) > 2
    assert [m.reply_to for m in channel.from_bot[1:]] == [None] * (len(channel.from_bot) - 1)
    check_calls(ferns.server)


class Line(long_answers.Line):
    """A bot and its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.run(self._open())

    async def _open(self) -> None:
        self.server = await self.stack.enter_async_context(serving())
        self.stack.enter_context(hurried(self.server))
        self.adapter = Online(discord_config(Path("/nonexistent"), self.server).discord, self.server)
        self.stack.push_async_callback(self.adapter.rest)
        self.guild = self.server.world.guild("Ferns", self.server.world.user("Olga"))
        await self.adapter.begin()

    def answer(self, text: str, pieces: list[str]) -> Channel:
        """One answer in a new channel."""
        channel = self.guild.text("channel")
        self.deliver(self.adapter, ConversationKey("discord", self.adapter.account, str(channel.id)), text, pieces)
        return channel


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def well_formed(part: Part, shown: str) -> bool:
    """Whether code that goes over two messages has its fences in both."""
    begins = not part.opening or shown.lstrip("> ").startswith(TICKS)
    return begins and (not part.closing or shown.endswith(TICKS))


def check_whole(text: str, channel: Channel) -> None:
    """Part by part, what stands there is what the renderer says; together it is all of the text."""
    parts, texts = parts_of(text, LIMIT, discord_length), channel.texts_of_bot()
    assert [bare(shown) for shown in texts] == [bare(discord_markdown(part.text)) for part in parts]
    assert all(0 < len(shown) <= LIMIT for shown in texts)
    assert words("\n".join(texts)) == words(text)
    assert all(well_formed(part, shown) for part, shown in zip(parts, texts, strict=True))


@given(MARKDOWN, ENDS)
@settings(max_examples=500, deadline=None)
def test_any_markdown_arrives_whole(line: Line, text: str, ends: list[int]) -> None:
    """At once, or streamed: whatever stood there meanwhile, it ends as if it had come at once."""
    line.server.calls.clear()
    channel = line.answer(text, streamed(text, ends))
    check_whole(text, channel)
    check_calls(line.server)


def test_nine_thousand_characters_at_once(line: Line) -> None:
    line.server.calls.clear()
    channel = line.answer(LONG, [])
    check_long(channel.from_bot)
    assert len(line.server.calls) == len(channel.from_bot), "each part is sent once, as it is to be"
    check_calls(line.server)
