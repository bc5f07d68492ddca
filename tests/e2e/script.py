"""Questions whose answers are known: an answer names its question in every word, and says how many came before it."""

from __future__ import annotations

import re

_USER = re.compile(r"<\|im_start\|>user\n(.*?)<\|im_end\|>", re.DOTALL)
_QUESTION = re.compile(r"q(\d+) in (\d+) words")


def question(number: int, words: int) -> str:
    """What somebody asks."""
    return f"q{number} in {words} words"


def expected(number: int, words: int, turn: int) -> str:
    """The answer to it, if it is the so manieth question of its conversation."""
    return " ".join([*(f"{number}:{word}" for word in range(1, words + 1)), f"{number}:turn{turn}"])


def answer(prompt: str) -> str:
    """What the model says to a prompt."""
    asked = _USER.findall(prompt)
    found = _QUESTION.search(asked[-1])
    assert found, prompt
    return expected(int(found[1]), int(found[2]), len(asked))


def number_of(text: str) -> int | None:
    """The question that a part of an answer is about, if it has a whole word."""
    found = re.match(r"(\d+):", text)
    return int(found[1]) if found else None


def asked_in(text: str) -> int:
    """The number of a question."""
    found = _QUESTION.search(text)
    assert found, text
    return int(found[1])
