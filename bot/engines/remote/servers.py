"""The servers of one model: which is asked next, and which rest.

A conversation goes back to the server that answered it last, whose cache knows its beginning, unless that one has much
more to do than another. A server that failed rests, longer each time, and then gets one question until it answers; one
that says when to come again is left alone until then.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from bot.config import QueueConfig
from bot.engines.remote.faults import BUSY_WORDS
from bot.errors import EngineError
from bot.prompt.memo import Memo

log = structlog.get_logger(__name__)

REST_SECONDS, REST_MOST = 1.0, 60.0
"""How long a server that failed rests: doubled each time, until it works again."""
LONGEST_WAIT = 20.0
"""Seconds that a person is kept waiting for a server that asks for time; where it asks for more, they are told."""
CLOSED_MOST = 300.0
"""Seconds that a server is left alone at its own word, whatever it names: a date in a year would close it for good."""
SPREAD = 4
"""A conversation leaves its server if that has so many answers more in progress than the idlest: reading a prompt anew
costs a second or so, and so many streams more slow each other by more than that."""
SILENCE = 30.0
"""Seconds without a word after which a server may hang: a loaded one may well need ten to read a long prompt."""
REMEMBERED = 10_000
"""Prompts whose server is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Waits that do not depend on the person who asks, in seconds."""

    backoff: float = 0.5
    """Before a second try on the same server; doubled each time, and shortened at random, so that many who failed
    together do not come back together."""
    silence: float = SILENCE
    """A server that says nothing for so long is given up before the first words, if another can be asked. It rests,
    whoever gave it up."""
    stall: float = SILENCE
    """The same after the first words, where nobody else is asked."""
    usage: float = 5.0
    """After the last word, for the usage; an answer that is complete does not wait longer for it."""

    @classmethod
    def within(cls, queue: QueueConfig) -> Patience:
        """Short enough for these time-outs: three servers may be silent before a fourth answers, and what the queue
        gives up was silent.
        """
        return cls(silence=min(SILENCE, queue.first_token_timeout / 4), stall=min(SILENCE, queue.stall_timeout / 2))


@dataclass(eq=False)
class Server:
    """One server, and how it is."""

    url: str
    in_flight: int = 0
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    """By the loop's clock; it is asked before only if all rest."""
    closed_until: float = 0.0
    """It asked not to be asked before."""
    trials: set[object] = field(default_factory=set)
    """Requests that began after it failed and run; another one would be too many until it works."""

    @contextmanager
    def asked(self) -> Iterator[None]:
        """A request runs within the block."""
        request = object()
        self.in_flight += 1
        if self.failures:
            self.trials.add(request)
        try:
            yield
        finally:
            self.in_flight -= 1
            self.trials.discard(request)

    def away(self, now: float) -> float:
        """Until when another should be asked, by the loop's clock; 0 if it may be asked now."""
        if self.is_open(now) and not self.trials:
            return 0.0
        return max(self.rests_until, self.closed_until, now)

    def is_open(self, now: float) -> bool:
        """Whether it neither rests nor asked for time, by the loop's clock."""
        return max(self.rests_until, self.closed_until) <= now

    def is_well(self, now: float) -> bool:
        """Whether its last answer did not fail and it asks for no time."""
        return not self.failures and self.closed_until <= now

    def works(self) -> None:
        """It has begun to answer."""
        self.failures, self.rests_until, self.closed_until = 0, 0.0, 0.0
        self.trials.clear()

    def failed(self, reason: str) -> None:
        """It rests, longer each time; what fails while it rests began before."""
        now = asyncio.get_running_loop().time()
        if now < self.rests_until:
            return
        rest = min(REST_SECONDS * 2**self.failures, REST_MOST)
        self.failures = min(self.failures + 1, 30)
        self.rests_until = now + rest
        log.warning("a model's server failed", reason=reason, rests=rest)

    def close_for(self, seconds: float) -> None:
        """It says when to come again; it is asked after CLOSED_MOST in any case."""
        seconds = min(seconds, CLOSED_MOST)
        self.closed_until = asyncio.get_running_loop().time() + seconds
        log.warning("a model's server asks for time", server=self.url, seconds=round(seconds, 1))


class Pool:
    """The servers of one model."""

    def __init__(self, urls: Sequence[str], patience: Patience) -> None:
        self.servers = [Server(url) for url in urls]
        self._backoff = patience.backoff
        self._last: Memo[str, Server] = Memo(REMEMBERED)

    def remember(self, keys: Sequence[str], server: Server) -> None:
        """This server has the prompt in its cache."""
        self._last.put(keys[-1], server, 1)

    def choose(self, keys: Sequence[str], failed: Sequence[Server] = (), but: Collection[Server] = ()) -> Server:
        """The best server for a prompt. `keys` tell its beginnings, the shortest first: the longest that a server knows
        counts. `failed`: those that failed it; `but`: never these.
        """
        now = asyncio.get_running_loop().time()
        open_ = [server for server in self.servers if server not in but]

        def rank(server: Server) -> tuple[bool, int, float, int, bytes]:
            return (
                server.closed_until - now > LONGEST_WAIT,
                failed.count(server),
                server.away(now),
                server.in_flight,
                _draw(server, keys[0]),
            )

        best = min(open_, key=rank)
        last = next((known for key in reversed(keys) if (known := self._last.get(key)) is not None), None)
        if last in open_ and last is not None and rank(last)[:3] == rank(best)[:3]:
            return last if last.in_flight < best.in_flight + SPREAD else best
        return best

    def has_other(self, than: Server, failed: Collection[Server], but: Collection[Server]) -> bool:
        """Whether one can be asked now that did not fail this prompt."""
        now = asyncio.get_running_loop().time()
        tried = {than, *failed, *but}
        return any(not server.away(now) for server in self.servers if server not in tried)

    async def turn(self, keys: Sequence[str], failed: Sequence[Server], but: Collection[Server]) -> Server:
        """The best server, when it may be asked. Raises EngineError if that is too long to wait for."""
        server = self.choose(keys, failed, but)
        wait = server.closed_until - asyncio.get_running_loop().time()
        if wait > LONGEST_WAIT:
            raise EngineError(BUSY_WORDS, detail=f"{server.url}: asks for {wait:.0f} s")
        if tries := failed.count(server):
            wait = max(wait, self._backoff * 2 ** (tries - 1) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        if wait > 0:  # else without a step of the loop: the next to choose is to see that this one is taken
            await asyncio.sleep(wait)
        return server


def _draw(server: Server, key: str) -> bytes:
    """The same server for the same conversation among equals, also after a restart (rendezvous hashing)."""
    return hashlib.blake2b(f"{server.url}\n{key}".encode(), digest_size=8).digest()
