"""Answers longer than a message: all of the text arrives, in well-formed parts, and Telegram refuses none of the calls."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.delivery import Delivery
from adapters.telegram.adapter import Telegram
from adapters.text import cut, telegram_html, telegram_length
from adapters.text.telegram import visible_text
from bot.messages import Claim, ConversationKey, Piece, Text
from bot.testing import ScriptedEngine
from tests.staging import Memo, a_claim, done, in_group
from tests.telegram import Chat, Message, TelegramServer, User, serving
from tests.telegram_house import telegram_config, telegram_house

LIMIT = 4096
NOT_MODIFIED = "message is not modified"
TOKENS = {"max_tokens": 50_000}
PACE = {"private_pace": 0.05, "group_pace": 0.05}
"""Some dozens of edits, not thousands."""

PROSE = "The embers glow 🔥, the kettle hums, and **Zoë** reads of [wood & fire](https://example.org/wood?a=1&b=2). 👩‍👩‍👧 🇩🇪 "
PYTHON = "".join(
    f"def step_{n}(logs: list[int]) -> int:\n    return {n} if logs < [{n}] & 1 else {n * n}\n\n" for n in range(24)
)
SHELL = "".join(f"echo 'line {n} of a long script' && test -f /tmp/{n} || exit {n}  # 字 😀\n" for n in range(68))
JSON = "".join(f'  {{"log": {n}, "wood": "oak <{n}>"}},\n' for n in range(20))
TABLE = "| log | wood | hours |\n|-----|------|------:|\n" + "".join(f"| {n} | oak 🌳 | {n}.5 |\n" for n in range(8))
LONG = f"""\
# A fire that lasts

{PROSE * 6}

```python
{PYTHON}```

{TABLE}
{PROSE * 3}

```sh
{SHELL}```

1. First, {PROSE * 2}
2. then the rest:

```json
[
{JSON}]
```

{PROSE * 3}The end: https://example.org/end"""
CODE = [PYTHON, SHELL, f"[\n{JSON}]"]


def bare(text: str) -> str:
    """Without white space, of which the seams may take some."""
    return "".join(text.split())


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
    engine = ScriptedEngine(lambda _: LONG, context_length=100_000)
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


# Any Markdown

PIECES = [
    "word", "Mär", "字字", "😀", "👩\u200d👩\u200d👧", "e\u0301", "🇩🇪🇫🇷", " ", "\n", "\n\n", "\n    ", "\t", "```", "```py\n",
    "\n```\n", "\n~~~\n", "~~~ text\n", "````md\n", "\n````\n", "\n  ```\n", "- ```sh\n", "> ```\n> x\n", "- ", "\n- item",
    "\n  - sub", "\n1. ", "> ", "# ", "\n## Head\n", "**", "*", "_", "`", "~~", "[", "](", ")", "\\", "|", "<b>", "&amp;", "&lt;",
    "[text](http://example.com/x)", "![alt](http://e.x/i.png)", "[me](tg://user?id=1)", "http://example.com/aaa", "@hearth_bot",
    "\n| a | b |\n|---|---|\n| c | d |\n", "\n|x|long cell with words|\n", "\n---\n", "\n===\n",
]  # fmt: skip
FILLINGS = [
    "",
    " and so on",
    " words and more words",
    "\nline\nline",
    "x" * 90,
    "😀" * 60,
    "\n\nA paragraph of some words.\n\n",
    " `a` ",
]


def written(parts: list[tuple[str, str, int]]) -> str:
    """Each piece is followed by a pair of words of its own, where they are neither a fence's language nor an address."""
    fences = ("```", "~~~")
    return "".join(
        piece + ("\n" if any(fence in piece for fence in fences) else " ") + f"w{number}w w{number}w" + filling * times
        for number, (piece, filling, times) in enumerate(parts)
    )


markdown = st.lists(
    st.tuples(st.sampled_from(PIECES), st.sampled_from(FILLINGS), st.integers(1, 15)), min_size=10, max_size=50
).map(written)


class Line:
    """A bot and its chats, without a Hearth, on an event loop of its own: for many texts in a row."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._numbers = count(1)

    def open(self) -> None:
        self._runner.run(self._open())

    async def _open(self) -> None:
        self.server = await self._stack.enter_async_context(serving(privacy=False))
        self.adapter = Telegram(telegram_config(Path("/nonexistent"), self.server).telegram)
        self.delivery = Delivery(Memo())
        self.ada = self.server.world.user("Ada")

    def close(self) -> None:
        self._runner.run(self.adapter._bot.request.shutdown())  # as `listen` does at its end
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def deliver(self, text: str, *pieces: str) -> Chat:
        """One answer in a new group, which has come in these pieces or at once."""
        return self._runner.run(self._deliver(text, pieces))

    async def _deliver(self, text: str, pieces: tuple[str, ...]) -> Chat:
        chat = self.server.world.supergroup("Group", self.ada)
        number = next(self._numbers)
        claim = in_group(a_claim(number, ConversationKey("telegram", self.adapter.account, str(chat.id))))
        await self.delivery.deliver(claim, self.adapter, self._pieces(claim, text, pieces))
        return chat

    async def _pieces(self, claim: Claim, text: str, pieces: tuple[str, ...]) -> AsyncIterator[Piece]:
        for piece in pieces:
            yield Text(piece)
            await asyncio.sleep(0.002)  # twice the pace: each may be shown
        yield done(text)


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    made = Line()
    made.open()
    yield made
    made.close()


def check_whole(text: str, chat: Chat) -> None:
    """Part by part, what is seen is what the renderer says; together it is all of the text."""
    parts, end = cut(text, LIMIT, telegram_length), 0
    for part in parts:
        assert not text[end : part.start].strip()
        end = part.stop
    assert not text[end:].strip()
    assert [bare(m.text) for m in chat.from_bot] == [bare(visible_text(telegram_html(part.text))) for part in parts]
    assert all(0 < m.content.length <= LIMIT for m in chat.from_bot)
    assert re.findall(r"w\d+w", "\n".join(m.text for m in chat.from_bot)) == re.findall(r"w\d+w", text)


@given(markdown, st.one_of(st.just([]), st.lists(st.integers(1, 6000), max_size=6)))
@settings(max_examples=500, deadline=None)
def test_any_markdown_arrives_whole(line: Line, text: str, ends: list[int]) -> None:
    """At once, or streamed: whatever stood there meanwhile, it ends as if it had come at once."""
    line.server.calls.clear()
    at = [0, *sorted({end for end in ends if end < len(text)}), len(text)]
    pieces = [text[begin:end] for begin, end in pairwise(at)] if ends else []
    chat = line.deliver(text, *pieces)
    check_whole(text, chat)
    check_calls(line.server)


def test_nine_thousand_characters_at_once(line: Line) -> None:
    line.server.calls.clear()
    chat = line.deliver(LONG)
    check_long(chat.from_bot)
    assert len(line.server.calls) == len(chat.from_bot), "each part is sent once, as it is to be"
    check_calls(line.server)
