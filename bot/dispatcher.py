"""The dispatcher: which unanswered message next, one at a time in a conversation, many conversations at once."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from bot.config import Config
from bot.control import Adapters, Control, Running
from bot.errors import Barred, DatabaseError, LeaseLost, PlatformError, Unreachable
from bot.manager import Manager
from bot.messages import Action, AnswerState, Claim, Event, Finished, Message, Outcome, Piece, Quote, Text
from bot.metrics import Metrics
from bot.ports import Adapter, Deliver, Forgotten, Received, Store

log = structlog.get_logger(__name__)

ATTEMPTS = 3
"""After so many the answer is closed as failed: a message that crashes the process cannot do so for ever."""
LEASE_SECONDS = 60.0
"""On PostgreSQL what a dead process had begun is taken up after this time; on SQLite at the next start."""
RENEWALS = 3
"""A lease is renewed so often before it would end."""
RETRY_SECONDS = 2.0
"""How soon an answer that failed in passing is tried again; twice and three times that after its next failures."""
REST_SECONDS = 30.0
"""How long an answer rests whose platform is away. That is no failed attempt, and goes on while the answer is wanted."""
AT_ONCE = 16
"""So many answers are claimed in one transaction at most: what else is to be written waits for it."""
HEAD_START_SECONDS = 0.02
"""How long an answer that has just begun has the database for itself, where nothing else is known to wait: to look for more
at once was measured to cost it a third of the time until its model begins."""
POLL_SECONDS = 5.0
"""How often the store is asked although nobody called: for leases that ran out and retries that are due."""
GIVEN_UP = "I tried to answer this three times and failed each time. The reason is in my owner's log."


class Dispatcher:
    """Claims answers and sees each to its end. `run` until `drain`."""

    def __init__(
        self,
        store: Store,
        manager: Manager,
        deliver: Deliver,
        adapters: Adapters,
        config: Callable[[], Config],
        *,
        lease: float = LEASE_SECONDS,
        retry: float = RETRY_SECONDS,
        rest: float = REST_SECONDS,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._manager = manager
        self._deliver = deliver
        self._adapters = adapters
        self._config = config
        self._lease = lease
        self._retry = retry
        self._rest = rest
        self._metrics = metrics or Metrics()
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._running: dict[int, Running] = {}
        self._wake = asyncio.Event()
        self._draining = asyncio.Event()
        self._claiming = asyncio.Lock()
        """Held by `run`."""
        self._control = Control(store, adapters, config, self._running, deliver=deliver, rest=rest)
        self._due = math.inf
        """How many answers wait at most: questions that came, and conversations that may go on. It is a guess until fewer are
        found than were asked for; what waited at the start is not known until then."""
        self._asking = False
        """A claim is on its way."""
        self._failed: set[int] = set()
        """Answers of which an attempt failed in passing, in this process."""
        self._side: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer until cancelled or drained."""
        async with self._claiming:
            while not self._draining.is_set():
                self._wake.clear()
                try:
                    await self._claim_all()
                except DatabaseError as error:
                    log.error("the database refuses; trying again", error=str(error))
                await _set_within(self._wake, POLL_SECONDS)

    def coming(self) -> None:
        """A question is about to be committed.

        SQLite has one writer, which takes operations in their order and those that wait together: a claim that is asked for
        now finds the question, and is in the same commit. To PostgreSQL it would only be one more.
        """
        if not self._config().shared_database:
            self._due += 1
            self._wake.set()

    def committed(self, event: Event, received: Received) -> None:
        """An event was committed: begin what is new, stop what is superseded, and obey actions at once."""
        self._control.committed(event, received)
        if self._config().shared_database:
            self._due += received.work
        elif received.work and self._asking:
            return  # it was asked for after `coming`, or that has woken what asks for it next
        self._wake.set()

    def removed(self, gone: Forgotten) -> None:
        """Something was removed from the store: its answers end at once, and what was sent of them is deleted."""
        self._control.removed(gone)
        self._wake.set()

    def say(self, event: Message | Action, words: str) -> None:
        """Answer a message or a press with a passing word that is neither kept nor waited for."""
        self._control.say(event, words)

    async def drain(self, seconds: float) -> None:
        """Take no new answers, give those in progress so long, and leave the rest pending for the next start."""
        self._draining.set()
        self._wake.set()
        async with self._claiming:  # so that a claim on its way is among them
            tasks = [r.task for r in self._running.values() if r.task] + [*self._control.tasks]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        sides = [*self._side, *self._control.tasks]
        for side in sides:
            side.cancel()
        await asyncio.gather(*sides, return_exceptions=True)

    @property
    def draining(self) -> bool:
        """Whether no new answer is begun any more."""
        return self._draining.is_set()

    @property
    def in_progress(self) -> int:
        """How many answers are being made."""
        return len(self._running)

    async def _claim_all(self) -> None:
        while most := self._room():
            # To PostgreSQL claims that find nothing are transactions of their own.
            asked = 1 if self._config().shared_database else int(min(most, AT_ONCE, max(1, self._due)))
            known, last, started = self._due, None, 0
            for last in await self._claims(asked):
                self._start(last)
                started += 1
            if started == asked or (last and last.attempt > 1):
                self._due = max(0, self._due - started)
            else:  # what is known by now came meanwhile
                self._due = 0 if math.isinf(known) else self._due - known
            if not started:
                return
            if not self._due:
                await _set_within(self._wake, HEAD_START_SECONDS)

    def _room(self) -> int:
        """How many more may be answered at once."""
        if self._draining.is_set() or any(running.alone for running in self._running.values()):
            return 0
        return max(0, self._config().chat.concurrent_conversations - len(self._running))

    async def _claims(self, most: int) -> Iterable[Claim]:
        busy = {running.claim.conversation.id for running in self._running.values()}
        accounts = set(self._adapters)
        claiming = asyncio.ensure_future(
            self._store.claims(self._owner, lease=self._lease, accounts=accounts, busy=busy, most=most)
        )
        self._asking = True
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:  # nobody begins them: that is no attempt
            with suppress(DatabaseError):
                for claim in await claiming:
                    await self._give_back(claim)
            raise
        finally:
            self._asking = False

    def _start(self, claim: Claim) -> None:
        claim = self._control.marked(claim)
        alone = claim.attempt == ATTEMPTS and claim.id not in self._failed
        running = self._running[claim.id] = Running(claim, alone)
        running.task = asyncio.create_task(self._answer(running), name=f"answer {claim.id}")
        running.task.add_done_callback(lambda _: self._ended(claim.id))

    def _ended(self, answer: int) -> None:
        del self._running[answer]
        if not self._config().shared_database:
            self._due += 1  # perhaps the conversation goes on
        self._wake.set()

    async def _answer(self, running: Running) -> None:
        """One answer, to its end or to a state in which the next attempt finds everything."""
        claim = running.claim
        bound = log.bind(conversation=str(claim.event.key), answer=claim.id, attempt=claim.attempt)
        try:
            with self._renewed(claim):
                if running.alone:
                    await self._others_end(running)
                    running.claim = replace(claim, path=None)  # what was read by then may have changed
                outcome = await self._see_through(running)
            self._failed.discard(claim.id)
            bound.info("closed" if outcome else "left for later", outcome=outcome and str(outcome))
        except LeaseLost:
            bound.info("superseded, or taken over by another worker")
        except asyncio.CancelledError:
            await self._give_back(claim)
            raise
        except Exception as error:  # noqa: BLE001 - whatever one answer meets, the others go on; the attempts are counted in the store
            bound.exception("attempt failed")
            self._metrics.failed(error)
            await self._try_again(claim)

    async def _others_end(self, running: Running) -> None:
        others = [other.task for other in self._running.values() if other is not running and other.task]
        if others:
            await asyncio.wait(others)

    async def _see_through(self, running: Running) -> Outcome | None:
        """Answer, deliver and close; None if it must wait for better times and was given back."""
        claim = running.claim
        adapter = self._adapters[claim.event.key.platform, claim.event.key.account]
        if claim.attempt > ATTEMPTS + 1:
            return await self._bury(claim)
        if self._is_late(claim) and not claim.parts and claim.kept is None:  # a half-sent answer is completed
            return await self._close(claim, AnswerState.EXPIRED, None)
        try:
            return await self._deliver_all(running, adapter)
        except Unreachable as error:
            if self._is_old(claim):
                raise
            log.warning("the platform is away; the answer waits", platform=adapter.name, error=str(error))
            running.alone = False
            self._wake.set()
            await _set_within(self._draining, self._rest)
            await self._store.release(claim)
            return None

    async def _deliver_all(self, running: Running, adapter: Adapter) -> Outcome:
        """Answer, deliver and close."""
        claim = running.claim
        last = claim.attempt > ATTEMPTS and not claim.stopped
        try:
            async with aclosing(self._last_word(claim) if last else self._pieces(running, adapter)) as pieces:
                finished = await self._deliver.deliver(claim, adapter, pieces)
        except Barred as error:
            log.info("not wanted there any more", conversation=str(claim.event.key), error=str(error))
            finished = _unheard(running.last or claim.kept)
        except PlatformError as error:
            if not last or (isinstance(error, Unreachable) and not self._is_old(claim)):
                raise
            log.error("the last word could not be delivered", conversation=str(claim.event.key), error=str(error))
            finished = claim.kept or _given_up()
        else:
            self._metrics.closed(claim, finished.outcome, finished)
            return finished.outcome
        return await self._close(claim, finished.outcome, finished)

    async def _pieces(self, running: Running, adapter: Adapter) -> AsyncGenerator[Piece, None]:
        """The manager's pieces, looked at on their way."""
        silent = True
        selects = adapter.limits.selects
        async with aclosing(
            self._manager.answer(running.claim, running.stop, adapter.fetch, selects=selects)
        ) as pieces:
            async for piece in pieces:
                if silent and isinstance(piece, Text) and not isinstance(piece, Quote):
                    silent = False
                    self._metrics.first_token(running.claim)
                if isinstance(piece, Finished):
                    running.last = piece
                yield piece

    async def _last_word(self, claim: Claim) -> AsyncGenerator[Piece, None]:
        log.error("given up after three attempts", conversation=str(claim.event.key), answer=claim.id)
        yield claim.kept or _given_up()

    async def _bury(self, claim: Claim) -> Outcome:
        """The last word too has failed: close without it, so that the conversation goes on."""
        # If even the kept answer cannot be closed, it is what stands in the way.
        last = claim.kept if claim.kept and claim.attempt == ATTEMPTS + 2 else _given_up()
        log.error(
            "closed without a word", conversation=str(claim.event.key), answer=claim.id, outcome=str(last.outcome)
        )
        return await self._close(claim, last.outcome, last)

    async def _close(self, claim: Claim, outcome: Outcome, finished: Finished | None) -> Outcome:
        await self._store.close(claim, outcome, finished)
        self._metrics.closed(claim, outcome, finished)
        return outcome

    def _is_old(self, claim: Claim) -> bool:
        return datetime.now(UTC) - claim.received_at > timedelta(seconds=self._config().chat.answer_within)

    def _is_late(self, claim: Claim) -> bool:
        """Whether a question is not worth an answer any more. It may have been written long before it was received, in an outage."""
        if claim.retry or claim.event.revision:  # what it asks is as young as the retry or the edit
            return self._is_old(claim)
        written = min(claim.event.sent_at, claim.received_at)
        return datetime.now(UTC) - written > timedelta(seconds=self._config().chat.answer_within)

    @contextmanager
    def _renewed(self, claim: Claim) -> Iterator[None]:
        """Within the block the lease does not end. Most answers end before there is anything to do for it."""
        tasks: list[asyncio.Task[None]] = []
        begin = asyncio.get_running_loop().call_later(
            self._lease / RENEWALS, lambda: tasks.append(asyncio.create_task(self._renew(claim)))
        )
        try:
            yield
        finally:
            begin.cancel()
            for task in tasks:
                task.cancel()

    async def _renew(self, claim: Claim) -> None:
        while True:
            try:
                await self._store.extend(claim, lease=self._lease)
            except LeaseLost:
                if running := self._running.get(claim.id):
                    running.cancel()
                return
            except DatabaseError as error:
                log.warning("the lease could not be renewed", answer=claim.id, error=str(error))
            await asyncio.sleep(self._lease / RENEWALS)

    async def _give_back(self, claim: Claim) -> None:
        """A drain: the answer waits for the next start, and this attempt is not held against it."""
        try:
            await self._store.release(claim)
        except (LeaseLost, DatabaseError) as error:
            log.debug("not given back", answer=claim.id, error=str(error))

    async def _try_again(self, claim: Claim) -> None:
        """Let the lease run out soon: the next claim takes the answer up with one attempt more."""
        self._failed.add(claim.id)
        try:
            await self._store.extend(claim, lease=self._retry * claim.attempt)
        except (LeaseLost, DatabaseError) as error:
            log.warning("left to its lease", answer=claim.id, error=str(error))
        self._keep(self._wake_after(self._retry * claim.attempt))

    async def _wake_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._wake.set()

    def _keep(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)


def _given_up() -> Finished:
    """What ended the process three times is not put into the next question's prompt."""
    return Finished(outcome=AnswerState.FAILED, text=GIVEN_UP, moves_head=False)


def _unheard(last: Finished | None) -> Finished:
    """Of an answer that nobody wants there: no part of the history, but what it cost is counted, and what was to go goes."""
    if last is None:
        return Finished(outcome=AnswerState.FAILED, text="")
    return replace(last, outcome=AnswerState.FAILED, text="", drafts=(), files=(), window_start=None, error="")


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, or for so long."""
    if event.is_set():
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
