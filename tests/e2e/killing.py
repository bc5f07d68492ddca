"""A bot on a chat platform is killed while people write to it; what came of it is looked at, and told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tests.e2e.checks import Processes, Written, check_doubles, check_order, check_place, completed, ledger
from tests.e2e.crowd import Crowd
from tests.e2e.hearth import serving
from tests.e2e.hunting import WINDOWS, Watch, hunt

CI_GOAL, SOAK_GOAL = 2, 20
"""Kills that hit each phase."""
LEASE_SECONDS = 1.5
"""As in `tests/e2e/test_kill.py`."""

Calls = Callable[[], tuple[list[Written], Processes, Counter[str]]]
"""What the bot wrote, by which of its processes, and what went wrong with its calls, by kind."""


def kill_and_check(
    crowd: Crowd[Any], url: str, goal: int, calls: Calls, *, windows: Mapping[str, float] = WINDOWS
) -> None:
    """Kill, start a last time, and look at what stands on the platform and in the database."""
    hearth = crowd.hearth
    hearth.tell = crowd.note
    with serving(hearth):
        hits, watch = hunt(hearth, crowd, goal, windows)
        watch.start()
        crowd.finish()
        watch.read()
        assert hearth.stop() == 0
    phases = ("starting", *windows)
    print(f"{hits['kills']} kills, which hit: " + ", ".join(f"{phase} {hits[phase]}" for phase in phases))
    check(crowd, url, calls, watch)
    assert min(hits[phase] for phase in phases) >= goal


def check(crowd: Crowd[Any], url: str, calls: Calls, watch: Watch) -> None:
    """Every question is answered once, whole, in order; and what came of the rest."""
    found, (every, processes, faults) = ledger(url, crowd), calls()
    check_order(every, crowd, found)
    lost = sum((check_place(place, found, watch) for place in crowd.places), Counter[str]())
    doubles = check_doubles(every, processes, crowd, found)
    print(f"{dict(crowd.done)}; completed by another process: {completed(every, found)}; faults: {dict(faults)}")
    print(f"doubled platform messages: {dict(doubles)}; given up after three killed attempts: {len(watch.last_tried)}")
    print(f"not promised and not answered: {dict(lost)}")
