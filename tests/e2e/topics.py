"""What people ask the embedded model: only what it is sure of.

How a prompt was computed (its batch, what of it was in the cache) changes the last bits of the model's logits. Where its
two best tokens are nearly equal that changes its words, and an answer could not be compared with that of another run:
it errs, and often by a hair's breadth, when it is to count further than it counted before. In falling order,
and with the same number again and again, the better token was ahead by 4.4 or more in each of 4,200 answers, and each of
them was right.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

NAMES = ("Anna", "Peter", "Maria", "Tom")
NUMBERS = (12, 20)
STEPS = (1, 2)


def of_a_chat(rng: random.Random) -> list[str]:
    """All that is asked in a short conversation."""
    return list(names(rng) if rng.random() < 0.3 else islice(falling(rng), 3))


def names(rng: random.Random) -> Iterator[str]:
    """The second answer shows whether the first question is known."""
    yield f"My name is {rng.choice(NAMES)}."
    yield "What is my name?"


def falling(rng: random.Random) -> Iterator[str]:
    """Without an end, each to a lower number than before."""
    number = rng.randint(*NUMBERS)
    while True:
        yield count_to(number)
        number = max(2, number - rng.randint(*STEPS))


def count_to(number: int) -> str:
    """A question."""
    return f"Count to {number}."
