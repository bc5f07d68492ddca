"""Who somebody is: tokens, the sessions that a login begins, and how often a login may fail."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from bot.config import WebConfig
from bot.ways_in import WEB_OWNER

log = structlog.get_logger(__name__)

SESSION_SECONDS = 30 * 86400
"""How long a login holds."""
SESSIONS_EACH = 20
"""Of one person: beyond these the oldest login ends."""
ID_BYTES = 32
"""OWASP asks for 8 of a session's id."""
FAILURES = 10
"""So often in FAILURE_SECONDS a network may be wrong. Tokens have 60 bits: not one in a billion years is guessed so."""
FAILURE_SECONDS = 600.0
NETWORKS = 10_000
"""So many networks are remembered; those that failed longest ago are let go."""

Clock = Callable[[], float]
"""Seconds since the epoch."""


class People:
    """Everybody who has a token."""

    def __init__(self, config: WebConfig) -> None:
        tokens = {WEB_OWNER: config.token} if config.token else {}
        self.tokens: Mapping[str, str] = {**tokens, **config.people}
        self._metrics = _digest(config.metrics_token) if config.metrics_token else None
        self._digests = {person: _digest(token) for person, token in self.tokens.items()}

    def who(self, token: str) -> str | None:
        """Whose token this is. Takes the same time whoever it is, and however much of it is right."""
        given, found = _digest(token), None
        for person, digest in self._digests.items():
            if hmac.compare_digest(given, digest):
                found = person
        return found

    def may_scrape(self, token: str) -> bool:
        """Whether this is the token for the metrics."""
        return self._metrics is not None and hmac.compare_digest(_digest(token), self._metrics)


@dataclass(frozen=True, slots=True)
class _Session:
    person: str
    until: float
    proof: str
    """Of the token with which it began: a new token ends it."""


class Sessions:
    """The logins that hold. What is kept of an id, also in the file, does not tell it, and nothing tells a token."""

    def __init__(self, people: People, file: Path, clock: Clock = time.time) -> None:
        self._people = people
        self._file = file
        self._clock = clock
        self._known: dict[str, _Session] = {}

    def load(self) -> None:
        """Take over what an earlier process knew. What cannot be read are logins that have ended."""
        try:
            rows = json.loads(self._file.read_text("utf-8"))
            known = {
                key: _Session(str(person), float(until), str(proof)) for key, (person, until, proof) in rows.items()
            }
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("the logins of earlier are not known", file=str(self._file), error=str(error))
            return
        self._known = known
        self._prune()

    def begin(self, person: str) -> str:
        """A new session's id. Ids that a client brings along are never taken."""
        self._prune()
        session = secrets.token_urlsafe(ID_BYTES)
        until = self._clock() + SESSION_SECONDS
        self._known[_key(session)] = _Session(person, until, _proof(session, self._people.tokens[person]))
        own = [key for key, known in self._known.items() if known.person == person]
        for key in own[:-SESSIONS_EACH]:
            del self._known[key]
        return session

    def who(self, session: str) -> str | None:
        """Whose session this is, as long as it holds."""
        known = self._known.get(_key(session))
        if known is None or known.until <= self._clock():
            return None
        token = self._people.tokens.get(known.person)
        holds = token is not None and hmac.compare_digest(known.proof, _proof(session, token))
        return known.person if holds else None

    def end(self, session: str) -> None:
        """Log out."""
        self._known.pop(_key(session), None)

    def save(self) -> None:
        """Write the file anew, for its owner's eyes only. Raises OSError."""
        rows = {key: (known.person, known.until, known.proof) for key, known in self._known.items()}
        part = self._file.with_name(f"{self._file.name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(rows, file)
            part.replace(self._file)
        finally:
            part.unlink(missing_ok=True)

    def _prune(self) -> None:
        now = self._clock()
        self._known = {key: known for key, known in self._known.items() if known.until > now}


class Failures:
    """How often each network was wrong lately."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._at: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, network: str) -> float:
        """Seconds until another token is looked at, right or wrong; 0 if it is now."""
        recent = self._recent(network)
        return max(0.0, recent[0] + FAILURE_SECONDS - self._clock()) if len(recent) >= FAILURES else 0.0

    def failed(self, network: str) -> None:
        """A token was wrong."""
        self._at[network] = [*self._recent(network), self._clock()][-FAILURES:]
        self._at.move_to_end(network)
        while len(self._at) > NETWORKS:
            self._at.popitem(last=False)

    def _recent(self, network: str) -> list[float]:
        start = self._clock() - FAILURE_SECONDS
        return [at for at in self._at.get(network, []) if at > start]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _key(session: str) -> str:
    return _digest(session).hex()


def _proof(session: str, token: str) -> str:
    return hmac.new(token.encode(), session.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
