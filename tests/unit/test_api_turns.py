"""The fair queue of the API's callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from adapters.web.openai.body import LARGE, Intake
from adapters.web.openai.turns import Turns
from bot.aside import HUGE
from bot.errors import Busy


class House:
    """Work that is begun in turn, and ends when it is told to."""

    def __init__(self, turns: Turns) -> None:
        self.begun: list[str] = []
        self._turns = turns
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """The first letter is the caller."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._work(name))
        await self._settled()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await self._settled()

    async def leave(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await self._settled()

    async def _work(self, name: str) -> None:
        async with self._turns.turn(name[0]):
            self.begun.append(name)
            await self._ends[name].wait()

    async def _settled(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_as_many_at_once_as_there_are_places() -> None:
    house = House(Turns(at_once=2, each=9, most=9))
    await house.come("a1", "a2", "a3")
    assert house.begun == ["a1", "a2"]
    await house.end("a2")
    assert house.begun == ["a1", "a2", "a3"]


async def test_callers_take_turns_whoever_has_more_waiting() -> None:
    house = House(Turns(at_once=1, each=9, most=9))
    await house.come("a1", "a2", "a3", "b1", "c1", "b2")
    await house.end("a1", "a2", "b1", "c1", "a3", "b2")
    assert house.begun == ["a1", "a2", "b1", "c1", "a3", "b2"]


async def test_who_leaves_takes_no_turn() -> None:
    house = House(Turns(at_once=1, each=9, most=9))
    await house.come("a1", "a2", "b1", "c1")
    await house.leave("a2", "b1")
    await house.end("a1", "c1")
    assert house.begun == ["a1", "c1"]
    await house.come("d1")
    assert house.begun == ["a1", "c1", "d1"]


async def test_who_leaves_at_the_moment_of_the_turn_passes_it_on() -> None:
    turns = Turns(at_once=1, each=9, most=9)
    house = House(turns)
    await house.come("a1", "b1", "c1")
    house._ends["a1"].set()
    await asyncio.sleep(0)  # b1 has been given the place, and does not know it yet
    await house.leave("b1")
    assert house.begun == ["a1", "c1"]
    await house.end("c1")
    await house.come("d1")
    assert house.begun[-1] == "d1"


@pytest.mark.parametrize("first", ["leaves", "ends"])
async def test_who_leaves_in_the_very_step_of_the_turn_is_passed_over(first: str) -> None:
    house = House(Turns(at_once=1, each=9, most=9))
    await house.come("a1", "b1", "c1")
    acts: dict[str, Callable[[], object]] = {"leaves": house._tasks["b1"].cancel, "ends": house._ends["a1"].set}
    for act in sorted(acts, key=lambda act: act != first):
        acts[act]()
    await house.leave("b1")
    assert house.begun == ["a1", "c1"]


def test_so_many_of_one_and_of_all_are_here() -> None:
    turns = Turns(at_once=1, each=2, most=3)
    with ExitStack() as stack:
        for caller in ("a", "a"):
            stack.enter_context(turns.here(caller))
        with pytest.raises(Busy), turns.here("a"):
            pass
        stack.enter_context(turns.here("b"))
        with pytest.raises(Busy), turns.here("c"):
            pass
    with turns.here("a"), turns.here("a"), turns.here("c"):
        pass


async def test_large_bodies_are_read_one_at_a_time_and_small_ones_do_not_wait() -> None:
    intake, order, go = Intake(), [], asyncio.Event()

    async def read(name: str, size: int = LARGE + 1) -> None:
        async with intake.turn(name[0], size):
            order.append(name)
            await go.wait()

    names = ("a1", "a2", "a3", "b1")
    tasks = [asyncio.create_task(read(name)) for name in names]
    others = [
        asyncio.create_task(read(name, size)) for name, size in (("c1", LARGE), ("d1", HUGE + 1), ("d2", HUGE + 1))
    ]
    while len(order) < 3:
        await asyncio.sleep(0)
    assert order == ["a1", "c1", "d1"], "what is large does not wait for what is huge"
    go.set()
    await asyncio.gather(*tasks, *others)
    assert [name for name in order if name[0] in "ab"] == ["a1", "a2", "b1", "a3"]
    assert order.index("d2") > 2
