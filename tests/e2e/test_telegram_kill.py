"""SIGKILL while twenty people write on Telegram, and the network fails: nothing is lost, nothing is answered twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.checks import Processes, Written
from tests.e2e.crowd import PER_CHARACTER, Killed, seeded
from tests.e2e.hunting import PATIENT
from tests.e2e.killing import CI_GOAL, LEASE_SECONDS, SOAK_GOAL, kill_and_check
from tests.e2e.platform_thread import platform
from tests.e2e.server import Options
from tests.e2e.telegram_checks import check_calls, written
from tests.e2e.telegram_crowd import TelegramCrowd
from tests.telegram import TelegramServer

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
    with platform(TelegramServer(privacy=False)) as telegram:
        server = telegram.server
        options = Options(per_token=PER_CHARACTER, lease=lease, telegram=True)
        sections = SECTIONS.format(token=server.token, url=server.url)
        crowd = TelegramCrowd(Killed(folder / "killed", options, url, sections=sections), telegram, seeded())

        def calls() -> tuple[list[Written], Processes, Counter[str]]:
            return *written(server.calls), check_calls(server.calls)

        kill_and_check(crowd, url, goal, calls)
