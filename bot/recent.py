"""The last errors of the log, for the owner's view: a processor of structlog that keeps what passes."""

from __future__ import annotations

from collections import deque
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

KEPT = 20
_LEVELS = frozenset({"error", "critical"})
_NOT_TOLD = frozenset({"event", "level", "timestamp", "exc_info", "exception", "stack_info"})
"""What has its own place, and traces: those are for the log."""
LONGEST = 300
"""Characters of what is told of each."""


class LastErrors:
    """What went wrong lately, in the log's words: they hold nobody's own."""

    def __init__(self, kept: int = KEPT) -> None:
        self._rows: deque[dict[str, Any]] = deque(maxlen=kept)

    def __call__(self, _: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Let an event of the log pass."""
        if event.get("level") in _LEVELS:
            more = ", ".join(f"{key}: {value}" for key, value in event.items() if key not in _NOT_TOLD)
            words = f"{event.get('event', '')} ({more})" if more else str(event.get("event", ""))
            self._rows.append({"at": datetime.now(UTC).isoformat(), "words": words[:LONGEST]})
        return event

    def rows(self) -> list[dict[str, Any]]:
        """When, and what; newest first."""
        return list(reversed(self._rows))
