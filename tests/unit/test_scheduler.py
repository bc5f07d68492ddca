"""The fair queue: who is next, who must wait, and that every wait has an end."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bot.config import QueueConfig
from bot.engines.scheduler import QueueTicket, Scheduler
from bot.errors import Busy, EngineBroken, EngineError, EngineTimeout
from bot.generation import Delta, Finish, Generation, Prefill
from bot.testing import ScriptedEngine
from tests.house import DEADLINE

PROMPT = Generation(prompt=(65,) * 200, max_tokens=100)


def make(*, slots: int = 1, engine: ScriptedEngine | None = None, **config: object) -> Scheduler:
    return Scheduler(engine or ScriptedEngine(), QueueConfig.model_validate(config), slots=slots)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0)


async def has_slot(ticket: QueueTicket) -> bool:
    await asyncio.sleep(0)
    return ticket.has_slot


class Skipping(selectors.DefaultSelector):
    """Where an event loop would wait, it takes the time as passed."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits and nobody sleeps"
            self.passed += timeout
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """Its time passes only while everybody sleeps, and then at once: time-outs are exact on the slowest machine."""

    def __init__(self) -> None:
        self._skipping = Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.passed


def in_exact_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on such a loop."""

    @functools.wraps(test)
    def run(*arguments: Any) -> None:
        with asyncio.Runner(loop_factory=SkippingLoop) as runner:
            runner.run(test(*arguments))

    return run


class TestTurns:
    async def test_a_free_slot_is_given_at_once(self) -> None:
        scheduler = make(slots=2)
        async with scheduler.ticket("ann") as one, scheduler.ticket("ben") as two:
            assert one.has_slot
            assert two.has_slot
            assert [place async for place in one.waiting(0.001)] == []

    async def test_a_hundred_questions_of_one_person_delay_another_by_one(self) -> None:
        scheduler = make(per_user=200)
        served: list[str] = []

        async def ask(user: str) -> None:
            async with scheduler.ticket(user) as ticket:
                async for _ in ticket.stream(PROMPT):
                    pass
                served.append(user)

        tasks = [asyncio.create_task(ask("ann")) for _ in range(100)]
        await until(lambda: scheduler.running == 1 and scheduler.waiting == 99)
        tasks += [asyncio.create_task(ask("ben")) for _ in range(3)]
        await asyncio.gather(*tasks)
        assert served[:7] == ["ann", "ann", "ben", "ann", "ben", "ann", "ben"]
        assert len(served) == 103

    async def test_the_last_free_slot_is_for_whoever_has_none(self) -> None:
        scheduler = make(slots=4)
        async with AsyncExitStack() as stack:
            flood = [await stack.enter_async_context(scheduler.ticket("key", most=64)) for _ in range(64)]
            assert [ticket.has_slot for ticket in flood[:5]] == [True, True, True, False, False]
            ann = await stack.enter_async_context(scheduler.ticket("ann"))
            assert ann.has_slot, "nobody ended, and she is served"
            scheduler.leave(flood[0])
            assert not flood[3].has_slot, "the one that is free again is kept back too"
            ben = await stack.enter_async_context(scheduler.ticket("ben"))
            assert ben.has_slot
            scheduler.leave(ann)
            scheduler.leave(ben)
            assert flood[3].has_slot

    async def test_who_may_have_more_places_has_them(self) -> None:
        scheduler = make(slots=1, per_user=2)
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(scheduler.ticket("key", most=3))
            with pytest.raises(Busy):
                await stack.enter_async_context(scheduler.ticket("key", most=3))

    async def test_the_place_is_that_of_the_turn_and_moves_up(self) -> None:
        scheduler = make()
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(AsyncExitStack())
            await first.enter_async_context(scheduler.ticket("ann"))
            tickets = [await stack.enter_async_context(scheduler.ticket(user)) for user in ("ann", "ann", "ben", "cy")]
            assert [scheduler.place(ticket) for ticket in tickets] == [1, 4, 2, 3]
            await first.aclose()
            assert [scheduler.place(ticket) for ticket in tickets] == [0, 3, 1, 2]

    @in_exact_time
    async def test_who_waits_is_told_the_place_again_and_again(self) -> None:
        scheduler = make()
        async with scheduler.ticket("ann"), scheduler.ticket("ben") as ticket:
            places = ticket.waiting(0.001)
            assert [await anext(places), await anext(places)] == [1, 1]

    async def test_waiting_ends_when_the_slot_is_there(self) -> None:
        scheduler = make()
        async with AsyncExitStack() as first, scheduler.ticket("ben") as waits_not:
            assert waits_not.has_slot
            ticket = await first.enter_async_context(scheduler.ticket("ann"))
            listening = asyncio.create_task(_collect(ticket))
            await asyncio.sleep(0)
            scheduler.leave(waits_not)
            assert await listening == []

    async def test_a_slot_is_kept_through_several_streams(self) -> None:
        scheduler = make()
        async with scheduler.ticket("ann") as ticket, scheduler.ticket("ben") as other:
            for _ in range(3):
                events = [event async for event in ticket.stream(PROMPT)]
                assert isinstance(events[-1], Finish)
                assert not await has_slot(other)
            scheduler.leave(ticket)
            assert await has_slot(other)

    async def test_as_many_streams_run_as_there_are_slots(self) -> None:
        engine = ScriptedEngine()
        engine.stall_after = 1
        scheduler = make(slots=3, engine=engine)

        async def ask(user: str) -> None:
            async with scheduler.ticket(user) as ticket:
                async for _ in ticket.stream(PROMPT):
                    pass

        tasks = [asyncio.create_task(ask(f"user {n}")) for n in range(5)]
        await until(lambda: engine.active == 3)
        assert (scheduler.running, scheduler.waiting) == (3, 2)
        engine.resume.set()
        await asyncio.gather(*tasks)
        assert (scheduler.running, scheduler.waiting) == (0, 0)


async def _collect(ticket: QueueTicket) -> list[int]:
    return [place async for place in ticket.waiting(60)]


class TestLimits:
    async def test_a_full_queue_refuses_at_once_and_tells_how_many_wait(self) -> None:
        scheduler = make(length=1)
        async with scheduler.ticket("ann"), scheduler.ticket("ben"):
            with pytest.raises(Busy) as refused:
                async with scheduler.ticket("ben"):
                    pass
            assert refused.value.words == "The queue is full: 1 waiting. Please ask again in a minute."
            async with scheduler.ticket("cy"):
                with pytest.raises(Busy) as refused:
                    async with scheduler.ticket("dan"):
                        pass
                assert refused.value.words == "The queue is full: 2 waiting. Please ask again in a minute."

    async def test_who_has_nothing_waiting_finds_a_place_in_a_queue_that_others_have_filled(self) -> None:
        scheduler = make(slots=2, length=6)
        async with AsyncExitStack() as stack:
            for key in ("one", "two"):
                for _ in range(4):
                    await stack.enter_async_context(scheduler.ticket(key, most=64))
            assert (scheduler.running, scheduler.waiting) == (2, 6)
            with pytest.raises(Busy):
                await stack.enter_async_context(scheduler.ticket("one", most=64))
            assert not scheduler.has_place("one", most=64)
            for number in range(6):
                await stack.enter_async_context(scheduler.ticket(f"person {number}"))
            with pytest.raises(Busy):
                await stack.enter_async_context(scheduler.ticket("one too many"))
            await stack.enter_async_context(scheduler.ticket("one", most=64, again=True))

    async def test_a_person_has_a_limit_of_waiting_and_running_questions(self) -> None:
        scheduler = make(per_user=2)
        async with scheduler.ticket("ann"), scheduler.ticket("ann"):
            with pytest.raises(Busy):
                async with scheduler.ticket("ann"):
                    pass
            async with scheduler.ticket("ben"):
                assert scheduler.waiting == 2

    @in_exact_time
    async def test_the_wait_in_the_queue_ends_with_busy_and_frees_the_place(self) -> None:
        scheduler = make(queue_timeout=0.01)
        async with scheduler.ticket("ann"), scheduler.ticket("ben") as ticket:
            with pytest.raises(Busy):
                await _collect(ticket)
            assert scheduler.waiting == 0

    @in_exact_time
    async def test_a_stream_that_never_gets_its_slot_ends_with_busy(self) -> None:
        scheduler = make(queue_timeout=0.01)
        async with scheduler.ticket("ann"), scheduler.ticket("ben") as ticket:
            with pytest.raises(Busy):
                await anext(ticket.stream(PROMPT))


class TestTimeouts:
    @in_exact_time
    async def test_no_first_token_is_a_timeout(self) -> None:
        engine = ScriptedEngine()
        engine.stall_in_prefill = True
        scheduler = make(engine=engine, first_token_timeout=0.01)
        async with scheduler.ticket("ann") as ticket:
            with pytest.raises(EngineTimeout) as raised:
                async for event in ticket.stream(PROMPT):
                    assert isinstance(event, Prefill)
        assert str(raised.value) == "first token time-out"
        assert (engine.active, scheduler.running) == (0, 0)

    @in_exact_time
    async def test_progress_in_reading_the_prompt_is_no_timeout(self) -> None:
        engine = ScriptedEngine(seconds_per_batch=0.04, batch=20)
        scheduler = make(engine=engine, first_token_timeout=0.2)
        async with scheduler.ticket("ann") as ticket:
            events = [event async for event in ticket.stream(PROMPT)]
        assert isinstance(events[-1], Finish)
        assert sum(isinstance(event, Prefill) for event in events) == 11  # 0.4 s in all, twice the time-out

    @in_exact_time
    async def test_a_stall_between_tokens_is_a_timeout(self) -> None:
        engine = ScriptedEngine(lambda prompt: "abc")
        engine.stall_after = 2
        scheduler = make(engine=engine, stall_timeout=0.01)
        text = ""
        async with scheduler.ticket("ann") as ticket:
            with pytest.raises(EngineTimeout) as raised:
                async for event in ticket.stream(PROMPT):
                    text += event.text if isinstance(event, Delta) else ""
        assert (text, str(raised.value), engine.active) == ("ab", "stall time-out", 0)

    @in_exact_time
    async def test_the_whole_answer_has_an_end(self) -> None:
        engine = ScriptedEngine(lambda prompt: "x" * 100, seconds_per_token=0.005)
        scheduler = make(engine=engine, total_timeout=0.05)
        async with scheduler.ticket("ann") as ticket:
            with pytest.raises(EngineTimeout) as raised:
                async for _ in ticket.stream(PROMPT):
                    pass
        assert str(raised.value) == "total time-out"

    @in_exact_time
    async def test_a_slow_consumer_is_not_the_engines_fault(self) -> None:
        scheduler = make(engine=ScriptedEngine(lambda prompt: "abc"), stall_timeout=0.02)
        text = ""
        async with scheduler.ticket("ann") as ticket:
            async for event in ticket.stream(PROMPT):
                if isinstance(event, Delta):
                    await asyncio.sleep(0.03)
                    text += event.text
        assert text == "abc"


class TestStopping:
    @pytest.mark.parametrize("where", ["waiting", "prefill", "generation"])
    async def test_cancelling_anywhere_frees_the_place_at_once(self, where: str) -> None:
        engine = ScriptedEngine()
        engine.stall_in_prefill = where == "prefill"
        engine.stall_after = 3
        scheduler = make(engine=engine)

        async def ask() -> None:
            async with scheduler.ticket("ann") as ticket:
                async for _ in ticket.stream(PROMPT):
                    pass

        async with AsyncExitStack() as blocker:
            if where == "waiting":
                await blocker.enter_async_context(scheduler.ticket("ben"))
            task = asyncio.create_task(ask())
            reached: dict[str, Callable[[], bool]] = {
                "waiting": lambda: scheduler.waiting == 1,
                "prefill": lambda: engine.prefilled == 64,
                "generation": lambda: engine.generated == 3,
            }
            await until(reached[where])
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert (engine.active, scheduler.waiting) == (0, 0)
            assert scheduler.running == (1 if where == "waiting" else 0)

    async def test_closing_the_stream_stops_the_engine_and_keeps_the_slot(self) -> None:
        engine = ScriptedEngine()
        scheduler = make(engine=engine)
        async with scheduler.ticket("ann") as ticket:
            stream = ticket.stream(PROMPT)
            await anext(stream)
            assert engine.active == 1
            await stream.aclose()
            assert (engine.active, scheduler.running) == (0, 1)

    async def test_a_stream_that_was_left_open_ends_with_its_ticket(self) -> None:
        engine = ScriptedEngine()
        scheduler = make(engine=engine)
        async with scheduler.ticket("ann") as ticket:
            await anext(ticket.stream(PROMPT))
            assert engine.active == 1
        assert (engine.active, scheduler.running) == (0, 0)

    async def test_an_engines_failure_is_passed_on_and_frees_the_slot(self) -> None:
        engine = ScriptedEngine()
        engine.fail_with = EngineBroken(detail="it broke")
        scheduler = make(engine=engine)
        with pytest.raises(EngineBroken):
            async with scheduler.ticket("ann") as ticket:
                async for _ in ticket.stream(PROMPT):
                    pass
        assert (engine.active, scheduler.running) == (0, 0)

    async def test_an_engines_own_timeout_error_is_not_taken_for_a_limit(self) -> None:
        engine = ScriptedEngine()
        engine.fail_with = TimeoutError("the engine's")
        scheduler = make(engine=engine)
        with pytest.raises(TimeoutError, match="the engine's"):
            async with scheduler.ticket("ann") as ticket:
                async for _ in ticket.stream(PROMPT):
                    pass

    async def test_a_ticket_that_was_given_back_streams_no_more(self) -> None:
        scheduler = make()
        async with scheduler.ticket("ann") as ticket:
            pass
        with pytest.raises(EngineError):
            await anext(ticket.stream(PROMPT))


class TestDraining:
    async def test_idle_returns_when_nobody_runs_or_waits(self) -> None:
        scheduler = make()
        await scheduler.idle()
        async with AsyncExitStack() as one, AsyncExitStack() as two:
            await one.enter_async_context(scheduler.ticket("ann"))
            await two.enter_async_context(scheduler.ticket("ben"))
            idle = asyncio.create_task(scheduler.idle())
            await one.aclose()
            await asyncio.sleep(0)
            assert not idle.done()
            await two.aclose()
            await idle

    async def test_a_pause_waits_for_the_running_and_holds_the_others(self) -> None:
        scheduler = make(slots=2)
        paused, go_on = asyncio.Event(), asyncio.Event()

        async def pause() -> None:
            async with scheduler.paused():
                paused.set()
                await go_on.wait()

        async with AsyncExitStack() as running:
            await running.enter_async_context(scheduler.ticket("ann"))
            task = asyncio.create_task(pause())
            await asyncio.sleep(0)
            async with scheduler.ticket("ben") as ticket:
                assert not ticket.has_slot
                assert not paused.is_set()
                await running.aclose()
                await paused.wait()
                assert not ticket.has_slot
                go_on.set()
                await task
                assert ticket.has_slot

    async def test_who_waits_for_an_engine_that_goes_away_is_told(self) -> None:
        scheduler = make()
        async with scheduler.ticket("ann"), scheduler.ticket("ben") as ticket:
            scheduler.retire()
            with pytest.raises(EngineError):
                await anext(ticket.stream(PROMPT))
