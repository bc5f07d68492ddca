"""Several choices of one request, as one stream, through the queue that everybody shares."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from bot.completions import choices
from bot.config import QueueConfig
from bot.engines.scheduler import Scheduler
from bot.errors import Busy
from bot.generation import Delta, Finish, Generation
from bot.testing import ScriptedEngine

ASK = Generation(prompt=(65,) * 20, max_tokens=100)


async def ends(scheduler: Scheduler, count: int, *, most: int = 64) -> dict[int, str]:
    """The text of each choice that came to its end."""
    texts = dict.fromkeys(range(count), "")
    ended = {}
    async for number, event in choices.run(scheduler, [ASK] * count, user="key", most=most):
        if isinstance(event, Delta):
            texts[number] += event.text
        if isinstance(event, Finish):
            ended[number] = texts[number]
    return ended


@pytest.mark.parametrize("slots", [1, 2, 9])
async def test_all_choices_end_however_few_slots_there_are(slots: int) -> None:
    engine = ScriptedEngine(lambda _: "words")
    assert await ends(Scheduler(engine, QueueConfig(), slots=slots), 5) == dict.fromkeys(range(5), "words")
    assert engine.active == 0


@pytest.mark.parametrize("most", [1, 2])
async def test_with_room_for_few_at_once_the_others_come_after_them(most: int) -> None:
    scheduler = Scheduler(ScriptedEngine(lambda _: "words"), QueueConfig(), slots=4)
    assert len(await ends(scheduler, 5, most=most)) == 5


async def test_a_queue_that_fills_up_meanwhile_breaks_off_no_choice() -> None:
    scheduler = Scheduler(ScriptedEngine(lambda _: "words"), QueueConfig(length=3), slots=2)
    async with AsyncExitStack() as stack:
        ended: list[int] = []
        async for number, event in choices.run(scheduler, [ASK] * 6, user="key", most=64):
            if not ended and isinstance(event, Delta):
                for other in range(10):
                    try:
                        await stack.enter_async_context(scheduler.ticket(f"other {other}", most=1))
                    except Busy:
                        break
                await stack.aclose()
            if isinstance(event, Finish):
                ended.append(number)
        assert sorted(ended) == list(range(6))


async def test_a_request_without_any_room_is_refused_at_once() -> None:
    scheduler = Scheduler(ScriptedEngine(), QueueConfig(), slots=2)
    async with scheduler.ticket("key"):
        with pytest.raises(Busy):
            await ends(scheduler, 3, most=1)
