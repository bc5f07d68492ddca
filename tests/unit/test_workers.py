"""How many processes the tests run in."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.workers import EACH, MOST, workers


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 64 cores and a lot of memory."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    real = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: real._replace(total=1000 * EACH))


@pytest.mark.parametrize(
    ("bounds", "number"),
    [
        ({}, MOST),
        ({"cpu.max": "max 100000", "memory.max": "max"}, MOST),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"memory.max": str(3 * EACH + 1)}, 3),
        ({"memory.max": str(EACH // 2)}, 1),
    ],
)
def test_as_many_as_there_are_cores_and_memory_for(
    machine: None, tmp_path: Path, bounds: dict[str, str], number: int
) -> None:
    for name, bound in bounds.items():
        (tmp_path / name).write_text(f"{bound}\n")
    assert workers(tmp_path) == number


def test_without_containers_the_machine_s_own(tmp_path: Path, machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert workers(tmp_path) == 2
