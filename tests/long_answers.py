"""Answers longer than a message, and what their tests have in common on every platform."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from itertools import count, pairwise
from typing import Any, TypeVar

from hypothesis import strategies as st

from adapters.delivery import Delivery
from adapters.text import Part, cut
from bot.messages import Claim, ConversationKey, Piece, Text
from bot.ports import Adapter
from tests.staging import Memo, a_claim, done, in_group

T = TypeVar("T")
TOKENS = {"max_tokens": 50_000}

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


def words(text: str) -> list[str]:
    """The words by which a generated text is known again."""
    return re.findall(r"w\d+w", text)


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


MARKDOWN = st.lists(
    st.tuples(st.sampled_from(PIECES), st.sampled_from(FILLINGS), st.integers(1, 15)), min_size=10, max_size=50
).map(written)
ENDS: st.SearchStrategy[list[int]] = st.one_of(st.just([]), st.lists(st.integers(1, 6000), max_size=6))
"""Where the pieces end in which a text comes; none: it comes at once."""


def streamed(text: str, ends: list[int]) -> list[str]:
    """The text in such pieces."""
    at = [0, *sorted({end for end in ends if end < len(text)}), len(text)]
    return [text[begin:end] for begin, end in pairwise(at)] if ends else []


def parts_of(text: str, limit: int, measure: Callable[[str], int]) -> list[Part]:
    """The parts that a text is to be sent in: all of it, but for white space between them."""
    parts, end = cut(text, limit, measure), 0
    for part in parts:
        assert not text[end : part.start].strip()
        end = part.stop
    assert not text[end:].strip()
    return parts


class Line:
    """An adapter without a Hearth, on an event loop of its own: for many texts in a row."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        """What is to be closed at the end."""
        self._runner = asyncio.Runner()
        self._delivery = Delivery(Memo())
        self._numbers = count(1)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the line's event loop."""
        return self._runner.run(work)

    def close(self) -> None:
        """End everything."""
        self._runner.run(self.stack.aclose())
        self._runner.close()

    def deliver(self, adapter: Adapter, key: ConversationKey, text: str, pieces: list[str]) -> None:
        """One answer in a group, which has come in these pieces or at once."""
        claim = in_group(a_claim(next(self._numbers), key))
        self._runner.run(self._deliver(adapter, claim, text, pieces))

    async def _deliver(self, adapter: Adapter, claim: Claim, text: str, pieces: list[str]) -> None:
        await self._delivery.deliver(claim, adapter, self._pieces(text, pieces))

    async def _pieces(self, text: str, pieces: list[str]) -> AsyncIterator[Piece]:
        for piece in pieces:
            yield Text(piece)
            await asyncio.sleep(0.002)  # twice the pace: each may be shown
        yield done(text)
