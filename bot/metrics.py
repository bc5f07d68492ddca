"""What a running Hearth counts and measures, for Prometheus. No label holds anybody's id, chat or words.

Labels are platforms, models' aliases, states and kinds of errors: few values, and none that a stranger can add to.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from bot.errors import FloodWait, PlatformError
from bot.messages import AnswerState, Claim, Event, Finished, Message, Outcome, Triage

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""Of what `Metrics.render` returns."""
LAG_SECONDS = 0.2
"""How often the event loop is looked at: five wake-ups a second, and a stall of so long is never missed."""

_ANSWERING = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
"""Seconds: from an answer out of the cache to one that waited for the whole queue's time."""
_MACHINE = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: what a commit takes and how late the loop may be; 20 ms is the most that it should be while it answers."""


@dataclass(frozen=True, slots=True)
class ModelNow:
    """A model at one moment."""

    alias: str
    loaded: bool
    running: int | None
    """Answers that it writes; None for another name of a model, which would count them twice."""
    waiting: int | None
    """Answers in its queue; None as above."""
    servers: Mapping[str, int] = field(default_factory=dict)
    """How many of its servers are how; none for a model in this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What is looked at and not counted: the state of a process at the moment of a scrape."""

    version: str
    ready: bool
    open_questions: int | None
    """Waiting or in progress, in the database; None if it does not answer."""
    in_progress: int
    models: Sequence[ModelNow]
    adapters: Mapping[tuple[str, str], bool]
    """By platform and bot account: whether it listens."""


class Metrics:
    """The numbers of one process, on a registry of its own.

    Who is given none makes one that nobody renders: counting costs two microseconds, so there is no second kind that
    does nothing.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._messages = self._counter("hearth_messages", "Messages received.", "platform", "triage")
        self._answers = self._counter("hearth_answers", "Answers closed.", "platform", "outcome")
        self._first_token = self._histogram(
            "hearth_first_token_seconds",
            "From the commit of a question to the first words of its answer.",
            "platform",
            buckets=_ANSWERING,
        )
        self._answer = self._histogram(
            "hearth_answer_seconds",
            "From the commit of a question to the end of its answer on the platform.",
            "platform",
            buckets=_ANSWERING,
        )
        self._tokens = self._counter("hearth_tokens", "Tokens of answers.", "model", "kind")
        self._queue = self._histogram(
            "hearth_queue_seconds", "How long an answer waited for a model's slot.", "model", buckets=_ANSWERING
        )
        self._errors = self._counter("hearth_errors", "Errors, by the name of their class.", "kind")
        self._refused = self._counter("hearth_platform_errors", "Calls that a platform refused.", "platform", "kind")
        self._flood = self._counter("hearth_flood_wait_seconds", "Seconds that a platform told to wait.", "platform")
        self._database = self._histogram("hearth_database_seconds", "Database operations.", "kind", buckets=_MACHINE)
        self._lag = Histogram(
            "hearth_loop_lag_seconds", "How late the event loop is.", buckets=_MACHINE, registry=registry
        )
        self._gauges = _Gauges(registry)

    def _counter(self, name: str, what: str, *labels: str) -> Callable[..., Counter]:
        """A counter by the values of its labels. The library's own way to find one takes longer than to count."""
        return cache(Counter(name, what, labels, registry=self._registry).labels)

    def _histogram(self, name: str, what: str, *labels: str, buckets: Sequence[float]) -> Callable[..., Histogram]:
        """The same of a histogram."""
        return cache(Histogram(name, what, labels, buckets=buckets, registry=self._registry).labels)

    def received(self, event: Event, triage: Triage, *, duplicate: bool = False) -> None:
        """A platform gave an event; of these the messages are counted."""
        if isinstance(event, Message):
            self._messages(event.key.platform, "duplicate" if duplicate else triage).inc()

    def first_token(self, claim: Claim) -> None:
        """The first words of an answer are there."""
        self._first_token(claim.event.key.platform).observe(_since(claim))

    def closed(self, claim: Claim, outcome: Outcome, finished: Finished | None) -> None:
        """An answer is closed, and its person has seen it; if it expired, nobody has."""
        platform = claim.event.key.platform
        self._answers(platform, outcome).inc()
        if outcome is not AnswerState.EXPIRED:
            self._answer(platform).observe(_since(claim))
        if finished is None:
            return
        if finished.error:
            self._errors(finished.error).inc()
        if finished.model:
            used, model = finished.usage, _alias(finished.model)
            self._tokens(model, "evaluated").inc(max(0, used.prompt_tokens - used.cached_tokens))
            self._tokens(model, "cached").inc(used.cached_tokens)
            self._tokens(model, "generated").inc(used.completion_tokens)

    def queued(self, model: str, seconds: float) -> None:
        """An answer has a slot of a model, after so long. `model`: as `ChatEngine.name`."""
        self._queue(_alias(model)).observe(seconds)

    def failed(self, error: BaseException) -> None:
        """Something went wrong that nobody is told, or not yet."""
        self._errors(type(error).__name__).inc()

    def refused(self, platform: str, error: PlatformError) -> None:
        """A platform refused a call."""
        self._refused(platform, type(error).__name__).inc()
        if isinstance(error, FloodWait):
            self._flood(platform).inc(error.seconds)

    def database(self, kind: str, seconds: float, error: BaseException | None = None) -> None:
        """An operation of the database has ended. `kind`: read or write."""
        self._database(kind).observe(seconds)
        if error is not None:
            self.failed(error)

    async def watch_loop(self) -> None:
        """Measure, until cancelled, how late the event loop is."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._lag.observe(max(0.0, loop.time() - due))

    def render(self, now: Now | None = None) -> bytes:
        """Everything in Prometheus's text format, as CONTENT_TYPE says."""
        if now is not None:
            self._gauges.set(now)
        return generate_latest(self._registry)


class _Gauges:
    """What is set anew at each scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._build = Gauge("hearth_build_info", "The version that runs.", ["version"], registry=registry)
        self._ready = Gauge("hearth_ready", "1 if /readyz says so.", registry=registry)
        self._open = Gauge(
            "hearth_questions_open", "Questions in the database that wait or are being answered.", registry=registry
        )
        self._in_progress = Gauge(
            "hearth_answers_in_progress", "Answers in progress in this process.", registry=registry
        )
        self._loaded = Gauge("hearth_model_loaded", "1 if the model is in memory.", ["model"], registry=registry)
        self._running = Gauge("hearth_model_answers", "Answers that a model is writing.", ["model"], registry=registry)
        self._waiting = Gauge("hearth_queue_length", "Answers that wait for a model.", ["model"], registry=registry)
        self._servers = Gauge(
            "hearth_model_servers",
            "Servers of a model: well, or failing if the last answer failed or time is asked for.",
            ["model", "state"],
            registry=registry,
        )
        self._listening = Gauge(
            "hearth_adapter_listening",
            "1 if the adapter listens to its platform; 0 if it died and rests.",
            ["platform", "account"],
            registry=registry,
        )

    def set(self, now: Now) -> None:
        """Take over a state."""
        self._build.labels(now.version).set(1)
        self._ready.set(now.ready)
        self._open.set(math.nan if now.open_questions is None else now.open_questions)
        self._in_progress.set(now.in_progress)
        for model in now.models:
            self._loaded.labels(model.alias).set(model.loaded)
            if model.running is not None:
                self._running.labels(model.alias).set(model.running)
            if model.waiting is not None:
                self._waiting.labels(model.alias).set(model.waiting)
            for state, servers in model.servers.items():
                self._servers.labels(model.alias, state).set(servers)
        for (platform, account), listens in now.adapters.items():
            self._listening.labels(platform, account).set(listens)


def _since(claim: Claim) -> float:
    """Seconds since the commit of a question; the clock of the machine may have been set back meanwhile."""
    return max(0.0, (datetime.now(UTC) - claim.received_at).total_seconds())


def _alias(model: str) -> str:
    """The alias alone: a digest would begin a new series with every new file."""
    return model.partition("@")[0]
