"""How a client begins with the gateway: IDENTIFY and RESUME, and for what it is turned away."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tests.discord_fake.errors import Json
from tests.discord_fake.permissions import ALL_INTENTS, PRIVILEGED, Intent
from tests.discord_fake.sessions import REPLAY_LIFE, Session, Wire
from tests.discord_fake.world import World

STARTS = 1000
"""Sessions that a bot may begin in a day."""
_STARTS_EVERY = 5.0
"""Seconds between two IDENTIFYs of one bucket of shards."""
_ENDED_BY_CLIENT = frozenset({1000, 1001})
_ENDED_BY_GATEWAY = frozenset({4004, 4007, 4009})
"""After these codes a session is over; after any other one it can be resumed."""


class Turned(Exception):
    """The client is turned away with a close code."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


@dataclass
class Handshake:
    """The sessions, and the rules for a new one."""

    world: World
    token: str
    url: str = ""
    sessions: dict[str, Session] = field(default_factory=dict)
    identified: list[Json] = field(default_factory=list)
    """What came with each IDENTIFY."""
    resumed: list[Json] = field(default_factory=list)
    """What came with each RESUME, those that were refused too."""
    starts_left: int = STARTS
    shards: int = 1
    """How many of them the gateway recommends."""
    concurrency: int = 1
    strict_starts: bool = False
    """Whether IDENTIFYs must keep their distance of five seconds, which takes a test its time."""
    _starts: dict[int, float] = field(default_factory=dict)

    @property
    def limits(self) -> Json:
        """A GatewayBotSessionStartLimitResponse."""
        left = {"total": STARTS, "remaining": self.starts_left}
        return left | {"reset_after": 86_400_000, "max_concurrency": self.concurrency}

    def identify(self, data: Json, wire: Wire) -> Session | None:
        """A new session; None if the client has to try again. Raises Turned."""
        self.identified.append(data)
        if data.get("token") != self.token:
            raise Turned(4004, "Authentication failed.")
        number, shards = data.get("shard") or (0, 1)
        if not 0 <= number < shards:
            raise Turned(4010, "Invalid shard")
        if shards < self.shards:
            raise Turned(4011, "Sharding required")
        intents = data.get("intents")
        if not isinstance(intents, int) or intents & ~ALL_INTENTS:
            raise Turned(4013, "Invalid intent(s).")
        if Intent(intents) & PRIVILEGED & ~self.world.scene.privileged:
            raise Turned(4014, "Disallowed intent(s).")
        if not self._may_start(number):
            return None
        self.starts_left -= 1
        session = Session(f"{len(self.identified):032x}", (number, shards), Intent(intents), self.world.bot.id)
        session.wire = wire
        self.sessions[session.id] = session
        self._welcome(session)
        return session

    def _may_start(self, shard: int) -> bool:
        now, bucket = self.world.scene.now(), shard % self.concurrency
        if self.strict_starts and now - self._starts.get(bucket, 0.0) < _STARTS_EVERY:
            return False
        self._starts[bucket] = now
        return self.starts_left > 0

    def _welcome(self, session: Session) -> None:
        number, shards = session.shard
        guilds = [g for g in self.world.guilds.values() if g.has_bot and (g.id >> 22) % shards == number]
        known = [{"id": str(guild.id), "unavailable": True} for guild in guilds]
        bot = self.world.bot
        ready: Json = {"v": 10, "user": bot.json | {"verified": True, "mfa_enabled": True, "email": None}}
        ready |= {"guilds": known, "session_id": session.id, "resume_gateway_url": self.url}
        ready |= {"shard": [number, shards], "application": {"id": str(bot.id), "flags": 0}, "private_channels": []}
        session.dispatch("READY", ready)
        if Intent.GUILDS in session.intents:
            with_members = Intent.GUILD_MEMBERS in session.intents
            for guild in (guild for guild in guilds if not guild.unavailable):
                # A guild that the bot has just joined doesn't say whether it is there.
                present = {"unavailable": False}
                session.dispatch("GUILD_CREATE", guild.created(with_members=with_members) | present)

    def resume(self, data: Json, wire: Wire) -> Session | None:
        """The session that goes on, with what it missed; None if it can't. Raises Turned."""
        self.resumed.append(data)
        if data.get("token") != self.token:
            raise Turned(4004, "Authentication failed.")
        session = self.sessions.get(str(data.get("session_id")))
        if session is None or not session.alive or not isinstance(data.get("seq"), int):
            return None
        if session.lost_at and self.world.scene.now() - session.lost_at > REPLAY_LIFE:
            return None
        if data["seq"] > session.sequence:
            raise Turned(4007, "Invalid seq")
        session.wire, session.lost_at = wire, 0.0
        session.replay(data["seq"])
        return session

    def lost(self, session: Session, *, by_gateway: int | None, by_client: int | None) -> None:
        """A session's connection has ended with the code of one of the two."""
        session.wire = None
        session.lost_at = self.world.scene.now()
        if by_gateway in _ENDED_BY_GATEWAY or (by_gateway is None and by_client in _ENDED_BY_CLIENT):
            session.alive = False

    def forget(self) -> None:
        """No session can be resumed: what was missed stays missed."""
        for session in self.sessions.values():
            session.alive = False


@dataclass
class Pace:
    """The gateway's limit on what a client sends: 120 in 60 seconds."""

    times: deque[float] = field(default_factory=deque)

    def count(self, now: float) -> None:
        """One more. Raises Turned."""
        while self.times and self.times[0] < now - 60.0:
            self.times.popleft()
        self.times.append(now)
        if len(self.times) > 120:
            raise Turned(4008, "You are being rate limited.")
