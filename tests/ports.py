"""Ports that nobody uses."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

from tests.workers import MOST

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST = 49_152
"""Where connections are made from, where that file does not say (macOS)."""


def free_port() -> int:
    """A port of this machine that stays free while nobody listens on it.

    It is none of those from which connections are made: one of those could be taken by any of these meanwhile, or a
    connection be made from this very port to itself. Where several processes run tests, each has ports of its own.
    """
    low = int(RANGE.read_text("ascii").split()[0]) if RANGE.exists() else FIRST
    own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % MOST
    while True:
        port = random.randrange(max(1024, low - 12_000) + own, low, MOST)
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)):
                return port
