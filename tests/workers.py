"""How many processes the tests run in: one for each core, where there is memory for so many."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

GIB = 2**30
EACH = 3 * GIB
"""What a process of tests takes at most, with the processes that it starts."""
MOST = 8
"""With more, what they all wait for (the disk, the longest tests) is what takes the time."""
CGROUP = Path("/sys/fs/cgroup")


def workers(cgroup: Path = CGROUP) -> int:
    """For this machine, or for the container with its bounds (control groups, version 2). At least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = psutil.virtual_memory().total
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        cores = min(cores, round(int(quota) / int(period)))
    if (bound := _read(cgroup / "memory.max")).isdecimal():
        memory = min(memory, int(bound))
    return max(1, min(cores, memory // EACH, MOST))


def _read(file: Path) -> str:
    """Nothing where there is no such bound."""
    try:
        return file.read_text("ascii").strip()
    except OSError:
        return ""
