"""SIGKILL while twenty people write on Discord, and the network fails: nothing is lost, nothing is answered twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.discord_fake import DiscordServer
from tests.e2e.checks import Processes, Written
from tests.e2e.crowd import Killed
from tests.e2e.discord_checks import check_calls, written
from tests.e2e.discord_crowd import DiscordCrowd
from tests.e2e.hunting import PATIENT, READING, WINDOWS
from tests.e2e.killing import CI_GOAL, LEASE_SECONDS, PER_CHARACTER, SOAK_GOAL, kill_and_check, seeded
from tests.e2e.platform_thread import platform
from tests.e2e.server import Options

SECTIONS = """
[web]
enabled = false
[discord]
token = "{token}"
api_base = "{api_base}"
gateway = "{gateway}"
pace = 0.02
[models.default]
path = "discord.script"
"""
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
    with platform(DiscordServer()) as discord:
        server = discord.server
        options = Options(per_token=PER_CHARACTER, lease=lease, discord=True)
        sections = SECTIONS.format(token=server.token, api_base=server.api_base, gateway=server.gateway)
        hearth = Killed(folder / "killed", options, url, sections=sections)
        crowd = DiscordCrowd(hearth, discord, seeded(), url=url)

        def calls() -> tuple[list[Written], Processes, Counter[str]]:
            return *written(server, crowd), check_calls(server)

        kill_and_check(crowd, url, goal, calls, windows=PHASES)
