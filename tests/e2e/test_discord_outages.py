"""People write on Discord while its gateway is gone, cuts off, forgets, talks nonsense: all of it is answered, once, in order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.discord_fake import DiscordServer
from tests.e2e.discord_checks import looked_at
from tests.e2e.discord_crowd import DiscordCrowd, crowded
from tests.e2e.hearth import serving, wait
from tests.e2e.hunting import PATIENT, Watch
from tests.e2e.killing import LEASE_SECONDS, check

GONE_SECONDS = 30.0
SOAK_TIMES = 3
EVERY_SECONDS = 0.5
"""Somebody writes so often in the meantime."""
FIRST = 10
"""So many write at once when it begins."""
VAIN = 2
"""An outage is over after so many attempts in vain, if not by the clock."""


@PATIENT
def test_nothing_is_missed_whatever_the_gateway_does(tmp_path: Path) -> None:
    """Each trouble once."""
    troubled(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", 1, 0.0)


@pytest.mark.soak
def test_nothing_is_missed_in_long_outages(tmp_path: Path) -> None:
    """Each several times, and the gateway is gone for half a minute each time."""
    troubled(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", SOAK_TIMES, GONE_SECONDS)


@pytest.mark.soak
def test_nothing_is_missed_in_long_outages_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """The same there."""
    troubled(tmp_path, postgres_url, SOAK_TIMES, GONE_SECONDS, lease=LEASE_SECONDS)


def troubled(folder: Path, url: str, times: int, seconds: float, *, lease: float = 60.0) -> None:
    """The whole of it. `seconds`: how long an outage is at least."""
    with crowded(folder, url, lease=lease) as crowd, serving(crowd.hearth):
        crowd.hearth.tell = crowd.note
        crowd.trouble = 0.0
        watch = Watch(crowd.hearth)
        watch.start()
        wait(lambda: _begun(crowd), "the first words in private")
        crowd.settle()
        weather = Weather(crowd, watch, seconds)
        for _ in range(times):
            for trouble in (
                weather.gone,
                weather.cut_off,
                weather.forgetful,
                weather.incomprehensible,
                weather.refusing,
            ):
                weather.goes_through(trouble)
        crowd.finish()
        watch.read()
        assert crowd.hearth.stop() == 0
        for name, count in weather.written.items():
            print(
                f"{name}: {times} times, {count} questions meanwhile, all answered {weather.longest[name]:.1f} s after"
            )
        check(crowd, url, lambda: looked_at(crowd), watch)


def _begun(crowd: DiscordCrowd) -> bool:
    crowd.begin()
    return crowd.have_begun()


@dataclass
class Weather:
    """What the gateway does. Each of its troubles returns when the gateway itself is well again."""

    crowd: DiscordCrowd
    watch: Watch
    seconds: float
    written: Counter[str] = field(default_factory=Counter)
    """Questions from the beginning of a trouble until the bot is back."""
    longest: dict[str, float] = field(default_factory=dict)
    """Seconds from the end of a trouble until the last of them was answered."""

    @property
    def server(self) -> DiscordServer:
        server: DiscordServer = self.crowd.platform.server
        return server

    def goes_through(self, trouble: Callable[[], None]) -> None:
        """Bring it while people write, until all is answered."""
        crowd, name, asked = self.crowd, trouble.__name__.replace("_", " "), self._asked()
        before = crowd.platform.do(self._welcomes)
        for _ in range(FIRST):  # what is being answered when it begins
            crowd.platform.do(crowd.ask)
        trouble()
        well = time.monotonic()
        self._until(lambda: self._welcomes() > before)
        self.written[name] += self._asked() - asked
        crowd.settle()
        self.longest[name] = max(self.longest.get(name, 0.0), time.monotonic() - well)

    def gone(self) -> None:
        """Nobody gets in for a while, and nothing of that time is told later."""
        began, attempts = time.monotonic(), self.server.ws.attempts
        self.crowd.platform.do(self.server.ws.outage)
        self._until(
            lambda: time.monotonic() - began >= self.seconds and self.server.ws.attempts >= attempts + VAIN,
        )
        self.crowd.platform.do(self.server.ws.accept)

    def cut_off(self) -> None:
        """The line breaks, and the session goes on."""
        self.crowd.platform.do(self.server.ws.drop)

    def forgetful(self) -> None:
        """INVALID_SESSION."""
        self.crowd.platform.do(self.server.ws.invalidate)

    def incomprehensible(self) -> None:
        """An event that the library cannot read."""
        self.crowd.platform.do(self.server.ws.unparsable)

    def refusing(self) -> None:
        """A new process is turned away at first."""
        assert self.crowd.hearth.stop() == 0
        self.watch.read()
        self.server.ws.refuse(VAIN)
        self.watch.start()

    def _until(self, holds: Callable[[], bool]) -> None:
        """People write until it holds."""
        next_at = 0.0

        def check_() -> bool:
            nonlocal next_at
            if time.monotonic() > next_at:
                next_at = time.monotonic() + EVERY_SECONDS
                self.crowd.platform.do(self.crowd.ask)
            return self.crowd.platform.do(holds)

        wait(check_, "the gateway")

    def _welcomes(self) -> int:
        """How often the gateway has told somebody that they are in."""
        sessions = self.server.ws.handshake.sessions.values()
        return sum(told["t"] in {"READY", "RESUMED"} for session in sessions for told in session.log)

    def _asked(self) -> int:
        return self.crowd.done["questions"]
