"""What is said in the benchmarks: deterministic questions and answers of known length."""

from __future__ import annotations

import random
from collections.abc import Iterator

from bot.ports import ChatEngine

ASKED, ANSWERED = 40, 60
"""Tokens of a question and of an answer."""
WORDS = (
    "the garden tea rain you please tell me what is a good name for my cat and how do I cook rice today because it "
    "was cold we went home early maybe tomorrow can help with this question about music numbers or the long way"
)


def word_lists(seed: int) -> Iterator[list[str]]:
    """Endless deterministic talk."""
    words = WORDS.split()
    source = random.Random(seed)
    while True:
        yield [source.choice(words) for _ in range(ASKED)]


async def questions(engine: ChatEngine, count: int) -> list[str]:
    """So many different questions of exactly ASKED tokens."""
    found: dict[str, None] = {}
    for words in word_lists(1):
        texts = [" ".join(words[:n]) for n in range(1, len(words) + 1)]
        for text, ids in zip(texts, await engine.encode(texts), strict=True):
            if len(ids) == ASKED:
                found[text] = None
        if len(found) >= count:
            return list(found)[:count]
    raise AssertionError("the word lists are endless")


async def fixed_answer(engine: ChatEngine) -> tuple[str, tuple[int, ...]]:
    """An answer of ANSWERED tokens, as text and as ids."""
    for words in word_lists(2):
        texts = [" ".join((words + words)[:n]) for n in range(1, 2 * len(words))]
        for text, ids in zip(texts, await engine.encode(texts), strict=True):
            if len(ids) == ANSWERED:
                return text, tuple(ids)
    raise AssertionError("the word lists are endless")
