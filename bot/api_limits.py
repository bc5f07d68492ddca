"""Who the API hears and what is left of their limits: the values, and the ports that its face sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, Self

from bot.api import Caller

MINUTE, HOUR = 60, 3600
MILLISECONDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is left of a caller's limits. All three of a limit are None where there is none, or it is not known."""

    limit_requests: int | None = None
    """In a minute."""
    remaining_requests: int | None = None
    reset_requests: float | None = None
    """Seconds until all of them are there again, if no more come."""
    limit_tokens: int | None = None
    """In a day, midnight to midnight UTC."""
    remaining_tokens: int | None = None
    reset_tokens: float | None = None
    """Seconds until midnight."""

    def headers(self) -> dict[str, str]:
        """As a response says it: `x-ratelimit-limit-requests` and the others of the limits that there are."""
        values = {
            "limit-requests": self.limit_requests,
            "remaining-requests": self.remaining_requests,
            "reset-requests": None if self.reset_requests is None else duration(self.reset_requests),
            "limit-tokens": self.limit_tokens,
            "remaining-tokens": self.remaining_tokens,
            "reset-tokens": None if self.reset_tokens is None else duration(self.reset_tokens),
        }
        return {f"x-ratelimit-{name}": str(value) for name, value in values.items() if value is not None}


def duration(seconds: float) -> str:
    """Seconds as OpenAI's headers have them: `0s`, `20ms`, `1.5s`, `6m0s`, `1h0m0s`. To the millisecond, rounded up."""
    total = math.ceil(round(max(seconds, 0.0) * MILLISECONDS, 6))
    whole, rest = divmod(total, MILLISECONDS)
    if not whole and rest:
        return f"{rest}ms"
    minutes, last = divmod(whole, MINUTE)
    words = f"{last}.{rest:03}".rstrip("0") + "s" if rest else f"{last}s"
    if minutes:
        words = f"{minutes % MINUTE}m{words}"
    return f"{whole // HOUR}h{words}" if whole >= HOUR else words


class Spending:
    """A request in progress, of a caller who may do as they like. A context manager, to be left after its use was counted."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        """When it was let in, itself counted: for the response's headers."""

    def took(self, tokens: int) -> None:
        """It has taken so many more by now: they count for the day's limit until the counts of usage have them."""

    def end(self) -> None:
        """It is over, and was counted. Again, it changes nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Door(Protocol):
    """Who a program is."""

    async def caller(self, secret: str | None, organisation: str = "") -> Caller:
        """Who has this key. `secret`: what `Authorization` says after `Bearer`; `organisation`: `OpenAI-Organization`.

        Raises BadKey, and DatabaseError. A header that names another organisation than the key's is refused, also
        where the key has none; without the header the key's own counts.
        """

    async def is_guarded(self) -> bool:
        """Whether a key was ever made: from then on nobody is heard without one. Raises DatabaseError."""


class Limits(Protocol):
    """What callers may still do."""

    async def admit(self, caller: Caller) -> Spending:
        """Let a request in, which takes a token at least; of more the spending is told when they are taken.

        Raises LimitReached, for which nothing was taken, and DatabaseError.
        """

    def standing(self, caller: Caller) -> Standing:
        """As it was last known: for the headers of a refusal. Of today's tokens that is nothing before the first request."""
