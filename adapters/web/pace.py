"""How much one person may ask of the page in a minute: what writes, and what reads everything there is."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from aiohttp import web

from adapters.web.guard import SAFE

ACTIONS = 240
"""In a minute: four a second is more than a person clicks; the limit on messages is in the permissions."""
MINUTE = 60.0
HEAVY = ("/api/search", "/api/export", "/api/owner/check")
"""What reads all of a person's messages, or every file that a start needs."""
TOO_MUCH = "This is too much at once. Please wait a little."


class Pace:
    """Counts what each person does. People are those with tokens: few, and known."""

    def __init__(self, actions: int = ACTIONS, clock: Callable[[], float] = time.monotonic) -> None:
        self._actions = actions
        self._clock = clock
        self._done: dict[str, deque[float]] = {}

    def admit(self, request: web.Request, person: str) -> None:
        """Count a request that counts. Raises HTTPTooManyRequests beyond the limit."""
        if request.method in SAFE and not (request.path in HEAVY or request.path.endswith("/export")):
            return
        now, done = self._clock(), self._done.setdefault(person, deque())
        while done and now - done[0] >= MINUTE:
            done.popleft()
        if len(done) >= self._actions:
            wait = math.ceil(done[0] + MINUTE - now)
            raise web.HTTPTooManyRequests(text=TOO_MUCH, headers={"Retry-After": str(wait)})
        done.append(now)
