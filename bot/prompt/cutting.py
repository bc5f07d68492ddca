"""The window onto a conversation, the same for every kind of engine: when it is cut, how far, and where it may begin."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from bot import aside
from bot.errors import TooLong
from bot.messages import Role
from bot.turns import Turn

Built = TypeVar("Built")

FULL = 0.9
"""A window this full is cut, down to `KEPT`: seldom, because each cut costs the KV cache all but the system message."""
KEPT = 0.4
LONGEST_TOKEN = 128
"""Characters: the longest tokens of common vocabularies are runs of so many spaces. What has more of them per token of
the context cannot fit, which is known without a look at the text."""
AROUND = 20
"""Characters: what a template writes around a message, roughly."""
PER_TURN = 300
"""So many characters are as much work as a message itself, however short: 20 microseconds, or with long templates twice that."""


def head_of(turns: Sequence[Turn]) -> int:
    """How many system messages are at the beginning: no cut takes them."""
    return next((i for i, turn in enumerate(turns) if turn.role not in {Role.SYSTEM, Role.DEVELOPER}), len(turns))


def work(turns: Sequence[Turn], tools: object = None) -> int:
    """How much it is to put them through a chat template, in characters, for `aside`; not looked through beyond HUGE."""
    found = aside.amount(tools, most=aside.HUGE)
    for turn in turns:
        found += PER_TURN + len(turn.content)
        for call in turn.tool_calls:
            found += PER_TURN + aside.amount(call.arguments, most=aside.HUGE)
        if found > aside.HUGE:
            break
    return found


def earliest(turns: Sequence[Turn], head: int, context_length: int, tools: object = None) -> int:
    """The first turn from which the window can fit by its characters and messages alone; `head` if that is the whole.

    Raises TooLong if it is after the last place where a window may begin.
    """
    most = context_length * LONGEST_TOKEN
    left = most - sum(len(turn.content) for turn in turns[:head]) - aside.amount(tools, most=most, each=0)
    begin = len(turns)
    first = max(head, begin - context_length)  # each message takes a token at least
    while begin > first and left >= len(turns[begin - 1].content):
        begin -= 1
        left -= len(turns[begin].content)
    if left < 0 or begin > max([head, *begins(turns, head)]):
        raise TooLong(detail=f"more than {most} characters, or {context_length} messages")
    return begin


def too_long(tokens: int, room: int) -> TooLong:
    """The error of a prompt of so many tokens (0: more than were counted) where there is room for fewer."""
    return TooLong(detail=f"{tokens or 'too many'} tokens, room for {room}", tokens=tokens, room=room)


def begins(turns: Sequence[Turn], head: int) -> list[int]:
    """Where a window may begin after it was cut: at a user's turn."""
    return [i for i in range(head + 1, len(turns)) if turns[i].role is Role.USER]


def guessed(turns: Sequence[Turn], head: int, places: Sequence[int], tokens: int, most: float) -> int:
    """Which of `places` will be the shortest cut, if the tokens of all turns lie evenly over their characters.

    `tokens`: of all turns; `most`: what is to be left of them.
    """
    weights = [len(turn.content) + AROUND for turn in turns]
    left = most * sum(weights) / tokens - sum(weights[:head])
    begin = len(turns)
    while begin > head and left >= weights[begin - 1]:
        begin -= 1
        left -= weights[begin]
    return min(bisect_left(places, begin), len(places) - 1)


async def shortest_cut(
    places: Sequence[int],
    build: Callable[[int], Awaitable[Built]],
    is_small: Callable[[Built], bool],
    guess: int | None = None,
) -> tuple[int, Built]:
    """The first of `places` from which what is built is small enough, else the last; and what is built there.

    `guess`: which of them it probably is: then little more is built than that one and its neighbour.
    """
    low, high = 0, len(places) - 1
    at, step, before = high // 2 if guess is None else min(guess, high), 1, None
    best: Built | None = None
    while low < high:
        at = min(max(at, low), high - 1)
        built = await build(places[at])
        small = is_small(built)
        if small:
            high, best = at, built
        else:
            low = at + 1
        if guess is not None and before in {None, small}:  # away from the guess, in strides that double
            at, step, before = at - step if small else at + step, 2 * step, small
        else:
            at, guess = (low + high) // 2, None
    return places[high], await build(places[high]) if best is None else best
