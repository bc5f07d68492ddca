"""Where a window begins after a cut: found with few trials, and the same from whatever guess."""

from __future__ import annotations

import pytest

from bot.messages import Role
from bot.prompt.cutting import guessed, shortest_cut
from bot.turns import Turn


async def found(count: int, first_small: int, guess: int | None) -> tuple[int, int, list[int]]:
    """Search `count` places, of which those from `first_small` on are small enough."""
    built: list[int] = []

    async def build(place: int) -> int:
        built.append(place)
        return place

    places = [10 * i for i in range(count)]
    begin, result = await shortest_cut(places, build, lambda place: place >= 10 * first_small, guess)
    return begin, result, built


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
async def test_it_is_the_first_that_is_small_enough_whatever_was_guessed(count: int) -> None:
    for first_small in range(count + 1):
        expected = 10 * min(first_small, count - 1)
        for guess in (None, *range(count + 2)):
            begin, result, built = await found(count, first_small, guess)
            assert (begin, result) == (expected, expected), (first_small, guess)
            assert len(built) == len(set(built)), "nothing is built twice"


@pytest.mark.parametrize("first_small", [0, 1, 500, 998, 999])
async def test_a_good_guess_saves_trials(first_small: int) -> None:
    _, _, built = await found(1000, first_small, first_small)
    assert len(built) <= 2
    _, _, near = await found(1000, first_small, min(first_small + 1, 999))
    assert len(near) <= 4


@pytest.mark.parametrize("guess", [None, 0, 500, 999])
async def test_a_bad_guess_costs_little(guess: int | None) -> None:
    for first_small in (0, 3, 400, 777, 999):
        _, _, built = await found(1000, first_small, guess)
        assert len(built) <= 21


def test_the_guess_is_right_where_tokens_lie_evenly() -> None:
    turns = [Turn(Role.SYSTEM, "s" * 80), *(Turn(Role.USER if i % 2 else Role.ASSISTANT, "x" * 80) for i in range(40))]
    places = [i for i in range(2, 41) if turns[i].role is Role.USER]
    # 41 turns of 10 tokens each; the system's and twelve more are 130.
    place = places[guessed(turns, 1, places, tokens=410, most=131)]
    assert place == 30
    assert (1 + 41 - place) * 10 <= 131 < (1 + 41 - (place - 2)) * 10


def test_the_guess_is_one_of_the_places() -> None:
    turns = [Turn(Role.USER, "a"), Turn(Role.USER, "b" * 1000)]
    assert guessed(turns, 0, [1], tokens=1000, most=1) == 0
    assert guessed(turns, 0, [1], tokens=1000, most=900) == 0
