"""Large work is done beside the event loop, in steps, and one after the other."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import aside
from tests.house import DEADLINE

WORD = contextvars.ContextVar("word", default="none")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
LARGE, HUGE = aside.LARGE + 1, aside.HUGE + 1


def thread() -> str:
    return threading.current_thread().name


@pytest.fixture(autouse=True)
def of_a_program() -> Iterator[None]:
    with aside.for_a_program():
        yield


async def test_people_wait_for_no_program() -> None:
    go, waiting = threading.Event(), []
    for size in (LARGE, HUGE):
        waiting.append(asyncio.create_task(aside.run(size, lambda: go.wait(DEADLINE))))
    await asyncio.sleep(0)

    async def person() -> str:
        return await aside.run(LARGE, lambda: "answered") + await aside.run(HUGE, lambda: " at length")

    assert await asyncio.create_task(person(), context=contextvars.Context()) == "answered at length"
    assert not any(task.done() for task in waiting)
    go.set()
    assert await asyncio.gather(*waiting) == [True, True]


async def test_a_schema_is_more_than_its_text() -> None:
    schemas = [{"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(120)}}] * 20
    assert aside.amount_of_schemas({"type": "string"}) <= aside.LARGE
    assert aside.LARGE < aside.amount_of_schemas(schemas[0]) <= aside.HUGE * 1.1
    assert aside.amount_of_schemas(schemas) > aside.HUGE


async def test_what_is_small_is_done_at_once_and_what_is_large_in_a_thread() -> None:
    here = thread()
    assert await aside.run(aside.LARGE, thread) == here
    assert await aside.run(5, thread, large=5) == here
    large, huge = await aside.run(LARGE, thread), await aside.run(HUGE, thread)
    assert await aside.run(6, thread, large=5) == large
    assert large.startswith(aside.NAME)
    assert huge.startswith(aside.NAME)
    assert huge != large
    assert {await aside.run(LARGE, thread) for _ in range(5)} == {large}, "always the same thread"


@pytest.mark.parametrize("size", [1, LARGE, HUGE])
async def test_work_has_the_context_and_its_errors_are_the_callers(size: int) -> None:
    WORD.set("here")
    assert await aside.run(size, WORD.get) == "here"
    with pytest.raises(ZeroDivisionError):
        await aside.run(size, lambda: 1 // 0)
    assert gc.isenabled()


async def test_the_loop_goes_on_meanwhile_and_small_work_does_not_wait() -> None:
    begun, go = threading.Event(), threading.Event()

    def long() -> str:
        begun.set()
        assert go.wait(DEADLINE)
        return "done"

    waiting = asyncio.create_task(aside.run(HUGE, long))
    while not begun.is_set():
        await asyncio.sleep(0)
    assert await aside.run(1, thread) == thread()
    assert await aside.run(LARGE, lambda: "large") == "large"
    assert not waiting.done()
    go.set()
    assert await waiting == "done"


async def test_who_is_cancelled_does_not_wait_and_work_that_had_not_begun_is_left_out() -> None:
    begun, go = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        begun.set()
        assert go.wait(DEADLINE)
        done.append("first")

    tasks = [asyncio.create_task(aside.run(HUGE, first))]
    while not begun.is_set():
        await asyncio.sleep(0)
    tasks += [asyncio.create_task(aside.run(HUGE, partial(done.append, name))) for name in ("second", "third")]
    await asyncio.sleep(0)
    for task in tasks[:2]:
        task.cancel()
    for task in tasks[:2]:
        with pytest.raises(asyncio.CancelledError):
            await task
    assert done == [], "the first still works, and the third waits for it"
    go.set()
    await tasks[2]
    assert done == ["first", "third"]


async def test_cycles_are_not_collected_while_there_is_large_work() -> None:
    begun, go = threading.Event(), threading.Event()

    def long() -> bool:
        begun.set()
        assert go.wait(DEADLINE)
        return gc.isenabled()

    assert gc.isenabled()
    waiting = asyncio.create_task(aside.run(HUGE, long))
    while not begun.is_set():
        await asyncio.sleep(0)
    assert await aside.run(LARGE, gc.isenabled) is False
    assert not gc.isenabled(), "the other one goes on"
    go.set()
    assert await waiting is False
    assert gc.isenabled()
    gc.disable()
    try:
        await aside.run(LARGE, lambda: None)
        assert not gc.isenabled(), "it was off before"
    finally:
        gc.enable()


async def test_where_there_is_always_large_work_cycles_are_collected_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go = threading.Event(), threading.Event()

    def long() -> None:
        begun.set()
        assert go.wait(DEADLINE)

    collected: list[str] = []
    gc.callbacks.append(told := lambda phase, _: collected.append(phase))
    waiting = asyncio.create_task(aside.run(HUGE, long))
    while not begun.is_set():
        await asyncio.sleep(0)
    try:
        await aside.run(LARGE, lambda: None)
        assert collected == []
        monkeypatch.setattr(aside, "MOST_SECONDS", -1.0)
        await aside.run(LARGE, lambda: None)
        assert collected == ["start", "stop"]
    finally:
        gc.callbacks.remove(told)
        go.set()
        await waiting


def test_amounts_are_not_looked_through_further_than_needed() -> None:
    class Endless(list[Any]):
        def __len__(self) -> int:
            raise AssertionError("looked at")

    assert aside.amount("ab", ["c", {"d": 5}], None) == 4 + 7 * aside.EACH
    assert aside.amount("ab", ["c", {"d": 5}], None, each=0) == 4
    assert aside.amount([["x"] * 10] * 10, most=50) <= 50 + aside.EACH + 1
    assert aside.amount(["y" * 100, "x" * 100], most=aside.EACH) == 2 * aside.EACH + 100


@given(VALUES)
def test_json_in_steps_is_the_same_json(value: Any) -> None:
    text = json.dumps(value)
    assert aside.written(value, LARGE) == aside.written(value, 0) == text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aside, "LARGE", -1)
        for given_ in (text, text.encode()):
            assert repr(aside.parsed(given_)) == repr(json.loads(given_))


@pytest.mark.parametrize("text", ["", "{", '{"a": 1,}', "[" * 100_000, "1" * 5000, '"\n"'])
def test_what_is_no_json_is_told_in_the_same_words(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(aside, "LARGE", -1)
    errors = []
    for read in (json.loads, aside.parsed):
        with pytest.raises((ValueError, RecursionError)) as told:
            read(text)
        errors.append((type(told.value), str(told.value)))
    assert errors[0] == errors[1]


@given(st.text(max_size=40))
def test_the_steps_of_a_text_are_the_text(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aside, "STEP", 7)
        steps = list(aside.steps(text))
    assert "".join(steps) == text
    assert max(map(len, steps)) <= 7
