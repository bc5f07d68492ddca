"""SIGKILL while twenty people write on Telegram, and the network fails: nothing is lost, nothing is answered twice."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.e2e.hearth import serving
from tests.e2e.hunting import PATIENT, PHASES, hunt
from tests.e2e.server import Options
from tests.e2e.telegram_checks import (
    check_calls,
    check_doubles,
    check_order,
    check_place,
    completed,
    ledger,
    written,
)
from tests.e2e.telegram_crowd import Crowd, Killed
from tests.e2e.telegram_thread import Platform, platform

CI_GOAL, SOAK_GOAL = 2, 20
"""Kills that hit each phase."""
LEASE_SECONDS = 1.5
"""As in `tests/e2e/test_kill.py`."""
SECTIONS = """
[telegram]
token = "{token}"
api_base = "{url}"
private_pace = 0.02
group_pace = 0.02
calls_per_second = 10000
[models.default]
path = "telegram.script"
"""
PER_CHARACTER = 0.003
"""Seconds that the model takes."""


@PATIENT
def test_kills_while_twenty_people_write(tmp_path: Path) -> None:
    """Two kills or more in each phase: every question is answered once, whole, in order."""
    kill_and_check(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", CI_GOAL)


@pytest.mark.soak
def test_many_kills_while_twenty_people_write(tmp_path: Path) -> None:
    """Twenty kills or more in each phase."""
    kill_and_check(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", SOAK_GOAL)


@pytest.mark.soak
def test_many_kills_while_twenty_people_write_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """The same where the next process must wait for the dead one's leases."""
    kill_and_check(tmp_path, postgres_url, SOAK_GOAL, lease=LEASE_SECONDS)


def kill_and_check(folder: Path, url: str, goal: int, *, lease: float = 60.0) -> None:
    """Kill, start a last time, and look at what stands on the platform and in the database."""
    seed = int(os.environ.get("HEARTH_TEST_SEED", random.randrange(2**32)))
    print(f"\nseed {seed}: HEARTH_TEST_SEED={seed} repeats what is asked and the aims of the kills")
    with platform(privacy=False) as telegram:
        hearth = made(folder, url, telegram, lease)
        crowd = Crowd(hearth, telegram, random.Random(seed))
        hearth.tell = crowd.note
        with serving(hearth):
            hits, watch = hunt(hearth, crowd, goal)
            watch.start()
            crowd.finish()
            watch.read()
            assert hearth.stop() == 0
        found, calls = ledger(url, crowd), telegram.server.calls
        faults = check_calls(calls)
        every = list(written(calls))
        check_order(every, crowd, found)
        for place in crowd.places:
            check_place(place, found, watch)
        doubles = check_doubles(calls, every, crowd, found)
    print(f"{hits['kills']} kills, which hit: " + ", ".join(f"{phase} {hits[phase]}" for phase in PHASES))
    print(f"{dict(crowd.done)}; completed by another process: {completed(every, found)}; faults: {dict(faults)}")
    print(f"doubled platform messages: {dict(doubles)}; given up after three killed attempts: {len(watch.last_tried)}")
    assert min(hits[phase] for phase in PHASES) >= goal


def made(folder: Path, url: str, telegram: Platform, lease: float) -> Killed:
    """A Hearth that serves this platform."""
    options = Options(per_token=PER_CHARACTER, lease=lease, telegram=True)
    sections = SECTIONS.format(token=telegram.server.token, url=telegram.server.url)
    return Killed(folder / "killed", options, url, sections=sections)
