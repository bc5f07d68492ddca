"""Kills of a running server, aimed at the phases of an answer."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from tests.e2e import topics
from tests.e2e.hearth import Hearth, wait

WINDOWS = {
    "committed": 0.014,
    "prefill": 0.038,
    "streaming": 0.2,
    "sent": 0.014,
    "kept": 0.03,
    "closed": 0.004,
}
"""Phase -> seconds after its mark within which it is likely to last."""
PHASES = ("starting", *WINDOWS)
READING = "reading back"
"""A phase of platforms whose history is read at a start."""
CLOSED_SECONDS = 0.02
"""A kill so soon after an answer was closed counts as one in that phase."""
BACKLOG = 8
"""So many questions wait or are being answered while kills are aimed."""
ATTEMPTS = 3
"""`bot.dispatcher` gives an answer up after so many: a question that has one left is spared."""
FIRST_STARTS = 3
FIRST_START_SECONDS = (0.5, 2.0)
"""A first start reaches the making of the tables in this time."""
CHATS = 5
"""Conversations at once."""
PATIENT = pytest.mark.timeout(1200)
"""Of a test with a few kills: each costs a start, and a machine that is busy with other things misses a phase more often."""


@dataclass
class Watch:
    """Follows the trace: where every question is."""

    hearth: Hearth
    stage: dict[str, str] = field(default_factory=dict)
    unacknowledged: set[str] = field(default_factory=set)
    unrecorded: set[str] = field(default_factory=set)
    working: set[str] = field(default_factory=set)
    """Questions that this process claimed and has not closed."""
    closing: set[str] = field(default_factory=set)
    """Those of them of which nobody would know, after a kill, whether they are closed; the next claim would tell."""
    killed: Counter[str] = field(default_factory=Counter)
    """Attempts that ended with a process, of the questions that are not closed."""
    closed_at: float = 0.0
    last_tried: set[str] = field(default_factory=set)
    """Questions whose three attempts were all killed."""
    ready: int = 0
    """The process that served last."""
    reading: bool = False
    """Whether the platform's history is being read."""

    def start(self) -> None:
        """Start the server, if it does not run, and wait until it serves. It may have claimed answers by then."""
        if not self.hearth.running:
            self.hearth.spawn()

        def serves() -> bool:
            self.read()
            assert self.hearth.running, self.hearth.log[-3000:]
            return self.serving

        wait(serves, "the start")

    @property
    def serving(self) -> bool:
        """Whether the process answers."""
        return self.hearth.running and self.ready == self.hearth.pid

    def read(self) -> list[dict[str, Any]]:
        """The new marks."""
        marks = list(self.hearth.trace.read())
        for mark in marks:
            self._take(mark)
        return marks

    def _take(self, mark: dict[str, Any]) -> None:
        question = mark["question"]
        match mark["phase"]:
            case "ready":
                self.ready = mark["pid"]
            case "committed":
                self.unacknowledged.add(question)
            case "acknowledged":
                self.unacknowledged.discard(question)
            case "sent":
                self.unrecorded.add(question)
            case "recorded":
                self.unrecorded.discard(question)
            case "claimed":
                self.stage[question] = "claimed"
                self.working.add(question)
                self.killed[question] = mark["attempt"] - 1
                if mark["attempt"] > ATTEMPTS:
                    self.last_tried.add(question)
            case "closing":
                self.closing.add(question)
            case "closed":
                self.stage[question] = "closed"
                self.working.discard(question)
                self.closing.discard(question)
                del self.killed[question]
                self.closed_at = mark["time"]
            case "reading back" | "read back" as phase:
                self.reading = phase == READING
            case "prefill" | "streaming" | "kept" as phase:
                self.stage[question] = phase

    def spares(self) -> bool:
        """Whether a kill now leaves every question an attempt, also one whose claim is not marked yet."""
        return all(killed < ATTEMPTS - 1 for killed in self.killed.values())

    def hit(self, at: float) -> set[str]:
        """The phases that the kill at this time has hit; what the process had in hand is forgotten."""
        phases = {self.stage[question] for question in self.working} & set(WINDOWS)
        if self.unacknowledged:
            phases.add("committed")
        if self.unrecorded:
            phases.add("sent")
        if 0 <= at - self.closed_at < CLOSED_SECONDS:
            phases.add("closed")
        if self.reading:
            phases.add(READING)
            self.reading = False
        self.killed.update(self.working)
        for question in self.closing:
            del self.killed[question]
        self.working.clear()
        self.closing.clear()
        self.unrecorded.clear()
        self.unacknowledged.clear()
        return phases


class Asking(Protocol):
    """Whoever asks the server under test."""

    rng: random.Random
    """Chooses the aims too."""

    def keep_busy(self) -> None:
        """Called again and again while a phase is waited for, so that it comes."""


@dataclass
class People:
    """Who asks: several conversations at once, each of a few questions whose answers are known."""

    hearth: Hearth
    rng: random.Random
    questions: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Chat -> event id and text of its questions, in order."""
    _open: dict[str, list[str]] = field(default_factory=dict)
    """Chat -> the questions it has yet to ask."""
    redelivered: int = 0

    def keep_busy(self) -> None:
        """Ask until enough is waiting; now and then the platform delivers an old question again."""
        for _ in range(BACKLOG - self.hearth.waiting()):
            self._ask()
        asked = [(chat, *said) for chat, every in self.questions.items() for said in every]
        if self.rng.random() < 0.2:
            chat, event, text = self.rng.choice(asked)
            self.hearth.ask_again(int(event), chat, text)
            self.redelivered += 1

    def _ask(self) -> None:
        while len(self._open) < CHATS:
            self._open[f"chat{len(self.questions)}"] = topics.of_a_chat(self.rng)
            self.questions[f"chat{len(self.questions)}"] = []
        chat = self.rng.choice(list(self._open))
        text = self._open[chat].pop(0)
        if not self._open[chat]:
            del self._open[chat]
        question = self.hearth.ask(chat, text)
        self.questions[chat].append((question.partition("/")[2], text))


def hunt(
    hearth: Hearth, people: Asking, goal: int, windows: Mapping[str, float] = WINDOWS
) -> tuple[Counter[str], Watch]:
    """Kill until each phase was hit `goal` times. Returns the hits by phase; `kills` counts the kills."""
    watch, rng, hits = Watch(hearth), people.rng, Counter[str]()
    for _ in range(min(goal, FIRST_STARTS)):  # while the tables are made
        hearth.spawn()
        time.sleep(rng.uniform(*FIRST_START_SECONDS))
        hits.update(_kill(hearth, watch))
        hits["kills"] += 1
    began = time.monotonic()
    watch.start()
    start_seconds = time.monotonic() - began
    while missing := [phase for phase in ("starting", *windows) if hits[phase] < goal]:
        aim = min(missing, key=lambda phase: (hits[phase], rng.random()))
        if aim in {"starting", READING}:
            hearth.stop() if hearth.running else None
            watch.read()
            watch.hit(0.0)
            hearth.spawn()
            if aim == READING:
                _wait_for_reading(windows[aim], watch, rng)
            else:
                time.sleep(rng.uniform(0, start_seconds))
            watch.read()
            if watch.serving and not (aim == READING and watch.reading and watch.spares()):
                continue  # it was quicker than the first one; what it claims now may be at its third attempt
        else:
            if not watch.serving:
                watch.start()
            _wait_for(aim, windows[aim], watch, people)
        hits.update(_kill(hearth, watch))
        hits["kills"] += 1
    return hits, watch


def _wait_for_reading(window: float, watch: Watch, rng: random.Random) -> None:
    """Return at some instant after it has begun, of which it is likely to last for so many seconds."""

    def begins() -> bool:
        assert watch.hearth.running, watch.hearth.log[-3000:]
        return any(mark["phase"] == READING for mark in watch.read())

    wait(begins, READING)
    time.sleep(rng.uniform(0, window))


def _wait_for(aim: str, window: float, watch: Watch, people: Asking) -> None:
    """Return at some instant within a phase of this kind, which is likely to last for so many seconds."""
    watch.read()
    busy_at = 0.0

    def comes() -> bool:
        nonlocal busy_at
        assert watch.hearth.running, watch.hearth.log[-3000:]
        marks = watch.read()
        if any(mark["phase"] == aim for mark in marks) and watch.spares():
            time.sleep(people.rng.uniform(0, window))
            watch.read()
            return watch.spares()
        if time.monotonic() > busy_at:
            people.keep_busy()
            busy_at = time.monotonic() + 0.2
        return False

    wait(comes, f"the phase {aim}")


def _kill(hearth: Hearth, watch: Watch) -> set[str]:
    assert hearth.running, hearth.log[-3000:]
    pid = hearth.pid
    at = time.monotonic()
    hearth.kill()
    marks = watch.read()
    phases = watch.hit(at)
    served = any(mark["pid"] == pid for mark in marks) or phases
    return phases if served else {"starting"}
