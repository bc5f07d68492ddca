"""The thread that owns a model on the GPU, with a backend that counts instead of computing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.engines.exllama.failures import Failure, failure_of, one_line
from bot.engines.exllama.jobs import Event, Job
from bot.engines.exllama.worker import EXIT_CODE, Worker
from bot.errors import BadRequest, EngineBroken, EngineError, ModelError, Told
from bot.generation import Delta, Finish, Generation, Usage
from tests.house import DEADLINE

LONG = 10**9
STUCK = 1000.0


class Counting:
    """Counts up for each job, a number a step. What a step does before is up to a test."""

    def __init__(self) -> None:
        self.jobs: dict[int, tuple[Job, int]] = {}
        self.before_step: Callable[[], None] = lambda: None
        self.before_load: Callable[[], None] = lambda: None
        self.before_rebuild: Callable[[], None] = lambda: None
        self.steps = 0
        self.history: list[str] = []
        self.threads: set[int] = set()

    def _note(self, what: str) -> None:
        self.history.append(what)
        self.threads.add(threading.get_ident())

    def load(self) -> None:
        self._note("load")
        self.before_load()

    def submit(self, job: Job) -> None:
        self._note("submit")
        if not job.request.prompt:
            raise BadRequest("empty")
        if job.request.prompt == (666,):
            raise AssertionError("Job requires 9 pages")
        if job.request.prompt == (667,):
            raise RuntimeError("CUDA out of memory")
        self.jobs[id(job)] = (job, 0)

    def cancel(self, job: Job) -> None:
        self._note("cancel")
        self.jobs.pop(id(job), None)

    @property
    def busy(self) -> bool:
        return bool(self.jobs)

    def step(self) -> Iterable[tuple[Job, Event | Told]]:
        self.threads.add(threading.get_ident())
        self.steps += 1
        self.before_step()
        events: list[tuple[Job, Event | Told]] = []
        for key, (job, number) in list(self.jobs.items()):
            events.append((job, Delta(str(number), (number,))))
            self.jobs[key] = (job, number + 1)
            if number + 1 == job.max_tokens:
                del self.jobs[key]
                events.append((job, Finish(reason="length", usage=Usage())))
        return events

    def rebuild(self, *, smaller: bool) -> None:
        self._note(f"rebuild smaller={smaller}")
        self.before_rebuild()
        self.jobs.clear()

    def unload(self) -> None:
        self._note("unload")
        self.jobs.clear()


def job(tokens: int = 3, prompt: tuple[int, ...] = (1,)) -> Job:
    return Job(Generation(prompt=prompt, max_tokens=tokens), tokens)


async def told(one: Job) -> str:
    async with asyncio.timeout(DEADLINE):
        return "".join([event.text async for event in one.events() if isinstance(event, Delta)])


def held_by(go_on: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        go_on.wait(DEADLINE)

    return wait


@asynccontextmanager
async def working(
    backend: Counting, *, stuck_after: float = STUCK, deaths: list[str] | None = None
) -> AsyncIterator[Worker]:
    die = (deaths if deaths is not None else []).append
    worker = Worker(backend, name="big", stuck_after=stuck_after, die=die)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.aclose()


async def test_everything_happens_in_one_thread_that_is_not_the_loops() -> None:
    backend = Counting()
    async with working(backend) as worker:
        one = job()
        worker.submit(one)
        assert await told(one) == "012"
    assert backend.history == ["load", "submit", "unload"]
    assert len(backend.threads) == 1
    assert threading.get_ident() not in backend.threads


async def test_wrapper_d_jobs_run_side_by_side_and_an_idle_thread_makes_no_steps() -> None:
    """exllamav2's own wrapper (d): a job that was refused stayed in its list, and the loop went round for ever."""
    backend = Counting()
    async with working(backend) as worker:
        refused = job(prompt=(666,))
        worker.submit(refused)
        with pytest.raises(EngineBroken):
            await told(refused)
        jobs = [job(5) for _ in range(4)]
        for one in jobs:
            worker.submit(one)
        assert [await told(one) for one in jobs] == ["01234"] * 4
        steps = backend.steps
        assert steps < 20
        assert not backend.busy
        await asyncio.sleep(0)
        assert backend.steps == steps


async def test_wrapper_a_the_event_loop_lives_while_a_step_lasts() -> None:
    """exllamav2's own wrapper (a): it made its steps on the event loop."""
    backend, go_on = Counting(), threading.Event()
    backend.before_step = held_by(go_on)
    async with working(backend) as worker:
        one = job(1)
        worker.submit(one)
        for _ in range(100):  # the loop goes round although the step does not end
            await asyncio.sleep(0)
        go_on.set()
        assert await told(one) == "0"


async def test_wrapper_b_a_cancelled_job_ends_and_whoever_waits_elsewhere_is_not_held_up() -> None:
    """exllamav2's own wrapper (b): a cancel from another task left the reader waiting, a second one was an error."""
    backend = Counting()
    async with working(backend) as worker:
        one, other = job(LONG), job(4)
        worker.submit(one)
        events = one.events()
        await anext(events)
        worker.cancel(one)
        worker.cancel(one)
        worker.submit(other)
        assert await told(other) == "0123"
        worker.cancel(other)
        again = job(2)
        worker.submit(again)
        assert await told(again) == "01"
        assert backend.history.count("cancel") == 1


async def test_a_job_that_is_cancelled_before_its_turn_is_never_computed() -> None:
    backend, go_on, in_step = Counting(), threading.Event(), threading.Event()

    def wait() -> None:
        in_step.set()
        go_on.wait(DEADLINE)

    backend.before_step = wait
    async with working(backend) as worker:
        first, second = job(2), job(LONG)
        worker.submit(first)
        await asyncio.to_thread(in_step.wait, DEADLINE)
        worker.submit(second)
        worker.cancel(second)
        go_on.set()
        assert await told(first) == "01"
        assert backend.history == ["load", "submit", "submit", "cancel"]


async def test_wrapper_c_an_exception_in_a_step_is_told_to_all_that_run_and_later_jobs_work() -> None:
    """exllamav2's own wrapper (c): one exception ended the task that makes the steps, and later jobs hung for ever."""
    backend = Counting()
    async with working(backend) as worker:

        def fail() -> None:
            backend.before_step = lambda: None
            raise ZeroDivisionError("one")

        backend.before_step = fail
        jobs = [job(), job()]
        for one in jobs:
            worker.submit(one)
        for one in jobs:
            with pytest.raises(EngineError) as failed:
                await told(one)
            assert not isinstance(failed.value, EngineBroken)
        later = job()
        worker.submit(later)
        assert await told(later) == "012"
        assert "rebuild smaller=False" in backend.history


async def test_a_bad_request_fails_alone() -> None:
    async with working(Counting()) as worker:
        good, empty, odd = job(200), job(prompt=()), job(prompt=(666,))
        for one in (good, empty, odd):
            worker.submit(one)
        with pytest.raises(BadRequest):
            await told(empty)
        with pytest.raises(EngineBroken):
            await told(odd)
        assert (await told(good)).startswith("0123")


async def test_too_little_memory_fails_those_that_run_as_worth_another_try_and_builds_a_smaller_generator() -> None:
    backend = Counting()
    async with working(backend) as worker:

        def fail() -> None:
            backend.before_step = lambda: None
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

        for expected in (["rebuild smaller=True"], ["unload", "load"]):  # the second time the model is loaded anew
            backend.history.clear()
            backend.before_step = fail
            one = job()
            worker.submit(one)
            with pytest.raises(EngineError) as failed:
                await told(one)
            assert not isinstance(failed.value, EngineBroken)
            again = job()
            worker.submit(again)
            assert await told(again) == "012"
            assert [what for what in backend.history if what != "submit"] == expected


async def test_too_little_memory_for_a_new_job_is_no_fault_of_the_jobs() -> None:
    backend = Counting()
    async with working(backend) as worker:
        one = job(prompt=(667,))
        worker.submit(one)
        with pytest.raises(EngineError) as failed:
            await told(one)
        assert not isinstance(failed.value, EngineBroken)
        again = job()
        worker.submit(again)  # whoever waits is told before the generator is built
        assert await told(again) == "012"
        assert "rebuild smaller=True" in backend.history


async def test_a_lost_gpu_ends_the_process() -> None:
    backend, deaths = Counting(), list[str]()
    async with working(backend, deaths=deaths) as worker:

        def fail() -> None:
            backend.jobs.clear()
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        backend.before_step = fail
        one = job()
        worker.submit(one)
        with pytest.raises(EngineError):
            await told(one)
        async with asyncio.timeout(DEADLINE):
            while not deaths:
                await asyncio.sleep(0)
    assert "illegal memory access" in deaths[0]


LOST = """
import asyncio

from bot.engines.exllama.worker import Worker
from tests.unit.test_exllama_worker import LONG, STUCK, Counting, job


def fail():
    raise RuntimeError("CUDA error: device-side assert triggered")


async def main():
    backend = Counting()
    backend.before_step = fail
    worker = Worker(backend, name="big", stuck_after=STUCK)
    await worker.start()
    worker.submit(job())
    await asyncio.sleep(LONG)


asyncio.run(main())
"""


async def test_a_process_whose_gpu_is_lost_is_gone_although_a_thread_of_it_waits() -> None:
    root = Path(__file__).parents[2]
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", LOST], cwd=root, capture_output=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == EXIT_CODE
    assert b"the GPU's context is lost (RuntimeError: CUDA error: device-side assert triggered)" in done.stdout


async def test_a_generator_that_cannot_be_built_again_ends_the_process() -> None:
    backend, deaths = Counting(), list[str]()

    def fail() -> None:
        backend.jobs.clear()
        raise ValueError("odd")

    async with working(backend, deaths=deaths) as worker:
        backend.before_step = backend.before_rebuild = fail
        one = job()
        worker.submit(one)
        with pytest.raises(EngineError):
            await told(one)
        async with asyncio.timeout(DEADLINE):
            while not deaths:
                await asyncio.sleep(0)
    assert "cannot be built again" in deaths[0]


async def test_a_step_that_does_not_end_ends_the_process() -> None:
    backend, deaths, go_on = Counting(), list[str](), threading.Event()
    backend.before_step = held_by(go_on)
    async with working(backend, stuck_after=0.05, deaths=deaths) as worker:
        one = job(1)
        worker.submit(one)
        async with asyncio.timeout(DEADLINE):
            while not deaths:
                await asyncio.sleep(0.01)
        go_on.set()
        await told(one)
    assert "no step ended" in deaths[0]


async def test_an_idle_thread_is_not_taken_for_one_that_hangs() -> None:
    deaths = list[str]()
    async with working(Counting(), stuck_after=0.01, deaths=deaths):
        await asyncio.to_thread(time.sleep, 0.1)
    assert deaths == []


@pytest.mark.parametrize("error", [ModelError("big: has no weights"), OSError("CUDA_HOME is not set\nmore")])
async def test_a_load_that_fails_is_one_line_and_nothing_stays(error: Exception) -> None:
    backend = Counting()

    def fail() -> None:
        raise error

    backend.before_load = fail
    worker = Worker(backend, name="big", stuck_after=STUCK)
    with pytest.raises(ModelError) as refused:
        await worker.start()
    assert str(refused.value).startswith("big: ")
    assert "\n" not in str(refused.value)
    await worker.aclose()
    assert backend.history == ["load", "unload"]


async def test_a_closed_worker_tells_everybody() -> None:
    backend = Counting()
    async with working(backend) as worker:
        one = job(LONG)
        worker.submit(one)
        events = one.events()
        await anext(events)
    with pytest.raises(EngineError):
        async for _ in events:
            pass
    with pytest.raises(EngineBroken):
        worker.submit(job())
    worker.cancel(one)
    await worker.aclose()


class OutOfMemoryError(Exception):
    """Called as torch's."""


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (OutOfMemoryError("any words"), Failure.MEMORY),
        (MemoryError(), Failure.MEMORY),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), Failure.MEMORY),
        (RuntimeError("Insufficient VRAM for model and cache"), Failure.MEMORY),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), Failure.MEMORY),
        (RuntimeError("CUDA error: device-side assert triggered"), Failure.FATAL),
        (RuntimeError("CUDA error: unspecified launch failure"), Failure.FATAL),
        (RecursionError("maximum recursion depth exceeded"), Failure.STEP),
        (AssertionError(), Failure.STEP),
    ],
)
def test_errors_are_told_apart_by_their_words(error: Exception, failure: Failure) -> None:
    assert failure_of(error) is failure
    assert "\n" not in one_line(error)
