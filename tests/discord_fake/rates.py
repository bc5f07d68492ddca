"""The platform's limits of rate. Their headers are on every answer; that they are kept, a test turns on.

https://docs.discord.com/developers/topics/rate-limits
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from dataclasses import dataclass, field

from tests.discord_fake.errors import Json

VIA = "1.1 google"
"""The platform's own answers have come through a proxy that says so; Cloudflare's have not."""
_SENT = ("execute_webhook", "update_original_webhook_message", "update_webhook_message")
_NOT_GLOBAL = frozenset({"create_interaction_response", *_SENT})


@dataclass(frozen=True)
class Limit:
    """So many requests in so many seconds."""

    requests: int
    seconds: float


LOOSE = Limit(1000, 1.0)
"""What the headers say while no limit is kept: enough that no client waits."""
GLOBAL = Limit(50, 1.0)
LIMITS = {
    "create_message": Limit(5, 5.0),
    "update_message": Limit(5, 5.0),
    "delete_message": Limit(5, 1.0),
    "trigger_typing_indicator": Limit(5, 5.0),
    "add_my_message_reaction": Limit(1, 0.25),
    **dict.fromkeys(_SENT, Limit(5, 2.0)),
}
"""As they are seen in the headers of the platform; it documents none of them. The others have REST."""
REST = Limit(50, 1.0)


@dataclass(frozen=True)
class Excess:
    """One request too many."""

    retry_after: float
    scope: str = "user"
    """user: this bucket's; global: all requests of the bot; shared: of everybody, which is nobody's fault."""

    @property
    def body(self) -> Json:
        """A RatelimitedResponse."""
        own: Json = {"message": "You are being rate limited.", "retry_after": round(self.retry_after, 3)}
        return own | {"global": self.scope == "global", "code": 0}

    @property
    def headers(self) -> dict[str, str]:
        """What says that it is the platform's own answer."""
        found = {"Retry-After": str(max(1, round(self.retry_after))), "X-RateLimit-Scope": self.scope, "Via": VIA}
        return found | ({"X-RateLimit-Global": "true"} if self.scope == "global" else {})


@dataclass
class Rates:
    """Counts requests, and refuses what is too much."""

    strict: bool = False
    limits: dict[str, Limit] = field(default_factory=lambda: dict(LIMITS))
    """By operation."""
    overall: Limit = GLOBAL
    refused: list[tuple[str, str, float]] = field(default_factory=list)
    """(operation, its major parameters, when) of each refusal."""
    _times: dict[tuple[str, str], deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def enable(self, **limits: Limit) -> None:
        """Keep the limits from now on, these instead of the platform's."""
        self.strict = True
        self.limits |= limits

    def count(self, operation: str, major: str, now: float) -> Excess | None:
        """One more request."""
        if not self.strict:
            return None
        pairs = [((operation, major), self.limits.get(operation, REST), "user")]
        if operation not in _NOT_GLOBAL:
            pairs.append((("", ""), self.overall, "global"))
        for key, limit, scope in pairs:
            times = self._recent(key, limit, now)
            if len(times) >= limit.requests:
                self.refused.append((operation, major, now))
                return Excess(times[0] + limit.seconds - now, scope)
        for key, _, _ in pairs:
            self._times[key].append(now)
        return None

    def _recent(self, key: tuple[str, str], limit: Limit, now: float) -> deque[float]:
        times = self._times[key]
        while times and times[0] <= now - limit.seconds:
            times.popleft()
        return times

    def headers(self, operation: str, major: str, now: float) -> dict[str, str]:
        """What every answer says of its bucket. The bucket's name doesn't tell the channel: a client must add it."""
        limit = self.limits.get(operation, REST) if self.strict else LOOSE
        times = self._recent((operation, major), limit, now)
        reset = times[0] + limit.seconds - now if times else limit.seconds
        return {
            "X-RateLimit-Bucket": hashlib.md5(operation.encode(), usedforsecurity=False).hexdigest(),
            "X-RateLimit-Limit": str(limit.requests),
            "X-RateLimit-Remaining": str(limit.requests - max(1, len(times)) if len(times) < limit.requests else 0),
            "X-RateLimit-Reset": f"{now + reset:.3f}",
            "X-RateLimit-Reset-After": f"{reset:.3f}",
        }
