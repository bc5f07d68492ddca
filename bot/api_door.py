"""The API's door: which key is whose, and whether its caller may make one more request now."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from bot.api import ApiStore, Caller, Key, key_caller
from bot.api_limits import Spending, Standing, duration
from bot.errors import BadKey, LimitReached

PREFIX = "hk-"
SECRET_BYTES = 32
"""Of randomness: nobody guesses one, so it needs no slow hash where it is kept."""
MINUTE = 60.0
LEAST = 1
"""Tokens that a request counts for before it has taken any."""
SWEPT = 1000
"""So many callers are remembered before those are looked for of whom nothing need be."""
MISSING = "No API key was sent: it belongs into the header Authorization, as `Bearer hk-...`."
UNKNOWN = "Incorrect API key: nobody has this one."

_SECRET = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_DAY = timedelta(days=1)


def new_secret() -> str:
    """A key's secret: `hk-` and 43 random characters that need no quoting anywhere."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def _utc() -> datetime:
    return datetime.now(UTC)


class KeyDoor:
    """Implements `bot.api_limits.Door` over the keys of a store. `now`: the time in UTC.

    A key is found by the SHA-256 of its secret, so how long that takes tells nothing about any secret. What was found
    is known in memory: one that is revoked in this process opens nothing from that moment on, elsewhere within a minute.
    """

    def __init__(self, store: ApiStore, now: Callable[[], datetime] = _utc) -> None:
        self._store = store
        self._now = now

    async def caller(self, secret: str | None, organisation: str = "") -> Caller:
        """See Door."""
        if not secret:
            raise BadKey(MISSING, code=None, formed=False)
        # What cannot be a key is not looked up: every other try costs the database a look.
        if not _SECRET.fullmatch(secret):
            raise BadKey(UNKNOWN, formed=False)
        key = await self._store.find_key(secret)
        if key is None:
            raise BadKey(UNKNOWN)
        self._check(key, organisation)
        await self._store.note_key_use(key.id)
        return Caller(
            id=key_caller(key.id),
            name=key.name,
            organisation=key.organisation,
            models=frozenset(key.models) or None,
            requests_per_minute=key.requests_per_minute,
            tokens_per_day=key.tokens_per_day,
        )

    async def is_guarded(self) -> bool:
        """See Door."""
        return await self._store.has_keys()

    def _check(self, key: Key, organisation: str) -> None:
        """Raises BadKey."""
        if key.revoked_at is not None:
            raise BadKey(f"The API key {key.hint} was revoked.")
        if key.expires_at is not None and key.expires_at <= self._now():
            raise BadKey(f"The API key {key.hint} has expired.")
        if organisation and organisation != key.organisation:
            words = "The header OpenAI-Organization names another organisation than that of the API key."
            raise BadKey(words, code="mismatched_organization")


@dataclass(slots=True)
class _Account:
    """What is remembered of a caller: how many requests there were at which moment, and what is in flight."""

    requests: float
    at: float
    open: int = 0
    """Requests that are being let in or are in progress."""
    in_flight: int = 0
    """Tokens that these have taken."""
    counted: int = 0
    """Tokens of a day by the counts of usage, when they were last read."""
    day: date | None = None
    """Which day; None: they were not read yet."""


class _Admitted(Spending):
    """A request in progress, of a caller with limits."""

    def __init__(self, standing: Standing, account: _Account) -> None:
        super().__init__(standing)
        self._account: _Account | None = account
        self._tokens = 0

    def took(self, tokens: int) -> None:
        """See Spending."""
        if self._account is not None:
            before = self._counted
            self._tokens += tokens
            self._account.in_flight += self._counted - before

    def end(self) -> None:
        """See Spending."""
        if self._account is not None:
            self._account.in_flight -= self._counted
            self._account.open -= 1
            self._account = None

    @property
    def _counted(self) -> int:
        return max(self._tokens, LEAST)


class Allowance:
    """Implements `bot.api_limits.Limits`: a bucket of requests for each caller, and the day's tokens from the store.

    The bucket holds a minute's requests and fills evenly. Of requests in progress the tokens so far count; those of
    other processes on the same database only once they have ended. `clock`: seconds, never goes back; `now`: UTC.
    """

    def __init__(
        self, store: ApiStore, clock: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = _utc
    ) -> None:
        self._store = store
        self._clock = clock
        self._now = now
        self._accounts: dict[str, _Account] = {}
        self._sweep_at = SWEPT

    async def admit(self, caller: Caller) -> Spending:
        """See Limits."""
        if not caller.requests_per_minute and not caller.tokens_per_day:
            return Spending(Standing())
        account = self._account(caller)
        self._take_request(caller, account)
        account.open += 1
        try:
            if caller.tokens_per_day:
                account.counted = await self._store.api_tokens_today(caller.id)
                account.day = self._now().date()
                self._check_tokens(caller, account)
        except BaseException:
            account.open -= 1
            account.requests += 1.0
            raise
        account.in_flight += LEAST
        return _Admitted(self.standing(caller), account)

    def standing(self, caller: Caller) -> Standing:
        """See Limits."""
        account = self._accounts.get(caller.id) or _Account(caller.requests_per_minute, self._clock())
        requests, there = caller.requests_per_minute, self._filled(caller, account)
        tokens = caller.tokens_per_day if account.day == self._now().date() else 0
        return Standing(
            limit_requests=requests or None,
            remaining_requests=max(int(there), 0) if requests else None,
            reset_requests=(requests - there) / requests * MINUTE if requests else None,
            limit_tokens=tokens or None,
            remaining_tokens=max(tokens - account.counted - account.in_flight, 0) if tokens else None,
            reset_tokens=self._until_midnight() if tokens else None,
        )

    def _account(self, caller: Caller) -> _Account:
        account = self._accounts.get(caller.id)
        if account is None:
            if len(self._accounts) >= self._sweep_at:
                self._sweep()
            account = self._accounts[caller.id] = _Account(caller.requests_per_minute, self._clock())
        return account

    def _sweep(self) -> None:
        """Forget who has no request in progress and made none for a minute: their buckets are full."""
        old = self._clock() - MINUTE
        self._accounts = {id_: one for id_, one in self._accounts.items() if one.open or one.at > old}
        self._sweep_at = max(SWEPT, 2 * len(self._accounts))

    def _filled(self, caller: Caller, account: _Account) -> float:
        """The requests that there are in a caller's bucket now."""
        most = caller.requests_per_minute
        return min(account.requests + (self._clock() - account.at) * most / MINUTE, float(most))

    def _take_request(self, caller: Caller, account: _Account) -> None:
        """Raises LimitReached, and leaves the bucket as it is."""
        most, there = caller.requests_per_minute, self._filled(caller, account)
        account.requests, account.at = there, self._clock()
        if most and there < 1.0:
            seconds = (1.0 - there) / most * MINUTE
            words = f"Rate limit reached: {most} requests a minute. Please try again in {duration(seconds)}."
            raise LimitReached(words, kind="requests", seconds=seconds)
        account.requests -= 1.0

    def _check_tokens(self, caller: Caller, account: _Account) -> None:
        """Raises LimitReached."""
        most, taken = caller.tokens_per_day, account.counted + account.in_flight
        if taken + LEAST > most:
            seconds = self._until_midnight()
            words = (
                f"Rate limit reached: {most} tokens a day, of which {taken} are used. "
                f"The day ends in {duration(seconds)}, at midnight UTC."
            )
            raise LimitReached(words, kind="tokens", seconds=seconds)

    def _until_midnight(self) -> float:
        now = self._now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
        return (midnight - now).total_seconds()
