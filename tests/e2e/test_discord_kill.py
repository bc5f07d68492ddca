"""SIGKILL while twenty people write on Discord, and the network fails: nothing is lost, nothing is answered twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.discord_checks import looked_at
from tests.e2e.discord_crowd import crowded
from tests.e2e.hunting import PATIENT, READING, WINDOWS
from tests.e2e.killing import CI_GOAL, LEASE_SECONDS, SOAK_GOAL, kill_and_check

PHASES = {**WINDOWS, READING: 0.06}


@PATIENT
def test_kills_while_twenty_people_write(tmp_path: Path) -> None:
    """Two kills or more in each phase: every question is answered once, whole, in order."""
    killed(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", CI_GOAL)


@pytest.mark.soak
def test_many_kills_while_twenty_people_write(tmp_path: Path) -> None:
    """Twenty kills or more in each phase."""
    killed(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", SOAK_GOAL)


@pytest.mark.soak
def test_many_kills_while_twenty_people_write_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """The same where the next process must wait for the dead one's leases."""
    killed(tmp_path, postgres_url, SOAK_GOAL, lease=LEASE_SECONDS)


def killed(folder: Path, url: str, goal: int, *, lease: float = 60.0) -> None:
    """The whole of it."""
    with crowded(folder, url, lease=lease) as crowd:
        kill_and_check(crowd, url, goal, lambda: looked_at(crowd), windows=PHASES)
