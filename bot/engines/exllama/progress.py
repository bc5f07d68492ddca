"""How far a load is, in the log."""

from __future__ import annotations

import structlog

log = structlog.get_logger(__name__)

STEPS = 4
"""Lines for each model."""


class Progress:
    """The libraries' callback: called with a module's number and their count, in the thread that loads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._told = 0

    def __call__(self, done: int, total: int) -> None:
        """Tell each quarter once."""
        part = done * STEPS // max(1, total)
        if part > self._told:
            self._told = part
            log.info("loading", model=self._name, percent=100 * part // STEPS)
