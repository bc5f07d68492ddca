"""One thread owns a model on the GPU: commands go in, what happened comes out, once for each step.

Everything of torch and of the libraries happens in it: import, load, steps, cancels, unload. The libraries' own
asyncio wrappers are not used: exllamav2's runs steps on the event loop and leaves callers waiting for ever when a job
is cancelled, refused, or breaks a step.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import structlog

from bot.engines.exllama.failures import Failure, failure_of, one_line
from bot.engines.exllama.jobs import Event, Job
from bot.errors import EngineBroken, EngineError, ModelError, Told
from bot.generation import Finish

log = structlog.get_logger(__name__)

T = TypeVar("T")
Die = Callable[[str], None]
"""Ends the process, for the supervisor to start it again; the reason is for the log."""
EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""
AGAIN_SECONDS = 600.0
"""Memory that is not enough twice within this time: a smaller generator did not help, the model is loaded anew."""
LOOK_SECONDS = 1.0
"""How often the watchdog looks, at most."""


class Backend(Protocol):
    """A model and its generator. Every method is called in the worker's thread alone."""

    def load(self) -> None:
        """Import the library and load the model. Raises ModelError, or anything that the library raises."""

    def submit(self, job: Job) -> None:
        """Take a job. Raises Told, or what the library raises: this job fails alone."""

    def cancel(self, job: Job) -> None:
        """Forget a job wherever it is and free what it holds; one that has ended is nothing."""

    @property
    def busy(self) -> bool:
        """Whether there is a step to make."""

    def step(self) -> Iterable[tuple[Job, Event | Told]]:
        """Compute once for all jobs. Whoever is told a Finish or an error has ended."""

    def rebuild(self, *, smaller: bool) -> None:
        """A new generator over the same model and cache; every job is forgotten."""

    def unload(self) -> None:
        """Free all memory. May be called at any time, and again."""


class Worker:
    """The thread. Made and used on one event loop."""

    def __init__(self, backend: Backend, *, name: str, stuck_after: float, die: Die | None = None) -> None:
        self._backend = backend
        self._name = name
        self._stuck_after = stuck_after
        self._die = die or _die
        self._loop = asyncio.get_running_loop()
        self._loaded: asyncio.Future[None] = self._loop.create_future()
        self._commands: deque[tuple[Callable[[Job], None], Job]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._ended = threading.Event()
        self._active: dict[int, Job] = {}
        """By identity; of the thread alone."""
        self._out: list[tuple[Job, Event | Told]] = []
        """What this turn of the thread has to tell."""
        self._since: float | None = None
        """When the work that is under way began; None while the thread waits or loads."""
        self._memory_failed_at: float | None = None
        self._thread = threading.Thread(target=self._main, name=f"gpu {name}", daemon=True)

    async def start(self) -> None:
        """Load the model. Raises ModelError."""
        self._thread.start()
        await asyncio.shield(self._loaded)
        threading.Thread(target=self._watch, name=f"gpu watchdog {self._name}", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Hand a job in; what becomes of it is told to the job. Raises EngineBroken if the thread has ended."""
        self._command(self._submit, job)

    def cancel(self, job: Job) -> None:
        """End a job's work after the step that is under way. Nothing is told of it any more."""
        if not self._ended.is_set():
            self._command(self._cancel, job)

    async def aclose(self) -> None:
        """Free the model; jobs that still run are told EngineError. Returns when the thread has ended."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def _command(self, do: Callable[[Job], None], job: Job) -> None:
        with self._wake:
            if self._stopping or self._ended.is_set():
                if do == self._cancel:
                    return
                raise EngineBroken(detail=f"{self._name} is closed")
            self._commands.append((do, job))
            self._wake.notify()

    def _settle(self, error: ModelError | None) -> None:
        if self._loaded.done():
            return
        if error is None:
            self._loaded.set_result(None)
        else:
            self._loaded.set_exception(error)

    def _hand_out(self, batch: list[tuple[Job, Event | Told]]) -> None:
        for job, event in batch:
            job.tell(event)

    # From here on: the thread.

    def _main(self) -> None:
        broken = ""
        try:
            if self._load():
                while self._serve():
                    pass
        except Exception as error:
            log.exception("the GPU's thread ended", model=self._name)
            broken = one_line(error)
        finally:
            self._unload()
            with self._wake:
                self._ended.set()
                late = [job for do, job in self._commands if do == self._submit]
            self._active.update((id(job), job) for job in late)
            self._fail_all("the model was unloaded")
            self._deliver()
        if broken:  # an engine that takes no question any more helps nobody
            self._die(f"{self._name}: the GPU's thread ended ({broken})")

    def _load(self) -> bool:
        try:
            self._backend.load()
        except ModelError as error:
            failed = error
        except Exception as error:
            log.warning("model not loaded", model=self._name, exc_info=True)
            failed = ModelError(f"{self._name}: cannot be loaded ({one_line(error)})")
            traceback.clear_frames(error.__traceback__)  # they hold what was loaded
        else:
            self._call(self._settle, None)
            return True
        self._call(self._settle, failed)
        return False

    def _serve(self) -> bool:
        """One turn: what was asked, then a step. False at the end."""
        with self._wake:
            while not (self._commands or self._stopping or self._backend.busy):
                self._wake.wait()
            if self._stopping:
                return False
            commands = list(self._commands)
            self._commands.clear()
        self._since = time.monotonic()
        if not self._guarded(lambda: [do(job) for do, job in commands]):
            for do, job in commands:  # those that the failure kept from being heard
                if do == self._submit and id(job) not in self._active:
                    self._tell(job, EngineError(detail=f"{self._name}: a job before this one failed"))
        if self._backend.busy:
            self._guarded(self._step)
        self._since = None
        self._deliver()
        return True

    def _step(self) -> None:
        for job, event in self._backend.step():
            self._tell(job, event)

    def _submit(self, job: Job) -> None:
        try:
            self._backend.submit(job)
        except Told as error:
            self._tell(job, error)
        except Exception as error:
            if failure_of(error) is not Failure.STEP:
                self._active[id(job)] = job
                raise
            log.warning("a request was refused", model=self._name, reason=one_line(error))
            self._tell(job, EngineBroken(detail=f"{self._name}: {one_line(error)}"))
        else:
            self._active[id(job)] = job

    def _cancel(self, job: Job) -> None:
        if self._active.pop(id(job), None) is not None:
            self._backend.cancel(job)

    def _tell(self, job: Job, event: Event | Told) -> None:
        self._out.append((job, event))
        if isinstance(event, Told | Finish):
            self._active.pop(id(job), None)

    def _guarded(self, work: Callable[[], object]) -> bool:
        """Do it; whatever it raises ends the jobs, never the thread. Whether it went well."""
        try:
            work()
        except Exception as error:
            failure, words = failure_of(error), one_line(error)
            log.exception("the GPU's step failed", model=self._name, jobs=len(self._active))
            traceback.clear_frames(error.__traceback__)  # they hold tensors
        else:
            return True
        self._recover(failure, words)
        return False

    def _recover(self, failure: Failure, words: str) -> None:
        """Outside of the except block: the error and what its frames hold are gone by now."""
        self._since = None  # loading takes its time
        self._fail_all(words)
        self._deliver()
        if failure is Failure.FATAL:
            self._die(f"{self._name}: the GPU's context is lost ({words})")
            return
        now, before = time.monotonic(), self._memory_failed_at
        memory = failure is Failure.MEMORY
        anew = memory and before is not None and now - before < AGAIN_SECONDS
        self._memory_failed_at = now if memory else before
        try:
            if anew:
                self._backend.unload()
                self._backend.load()
            else:
                self._backend.rebuild(smaller=memory)
        except Exception as error:
            log.exception("the generator cannot be built again", model=self._name)
            self._die(f"{self._name}: the generator cannot be built again ({one_line(error)})")

    def _fail_all(self, words: str) -> None:
        """Everybody is told an error after which the question is asked again."""
        for job in list(self._active.values()):
            self._tell(job, EngineError(detail=f"{self._name}: {words}"))

    def _unload(self) -> None:
        try:
            self._backend.unload()
        except Exception:  # the thread ends in any case
            log.exception("the model was not unloaded cleanly", model=self._name)

    def _deliver(self) -> None:
        """One call of the event loop for all that happened."""
        batch, self._out = self._out, []
        if batch:
            self._call(self._hand_out, batch)

    def _call(self, what: Callable[[T], None], value: T) -> None:
        try:
            self._loop.call_soon_threadsafe(what, value)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.debug("nobody hears the engine any more", model=self._name)

    # From here on: the watchdog's thread.

    def _watch(self) -> None:
        """End the process if work begins and does not end: a call that hangs on the GPU cannot be ended by itself."""
        pause = min(LOOK_SECONDS, self._stuck_after / 4)
        while not self._ended.wait(pause):
            since = self._since
            if since is not None and time.monotonic() - since > self._stuck_after:
                self._die(f"{self._name}: no step ended within {self._stuck_after:.0f} s")
                return


def _die(reason: str) -> None:
    """At once, like a kill: whatever still waited for the GPU would wait for ever; the inbox loses nothing by it."""
    log.critical("this process ends, for its supervisor to start it again", reason=reason)
    os._exit(EXIT_CODE)
