"""What the gateway keeps of a client between its connections."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from tests.discord_fake.errors import Json
from tests.discord_fake.permissions import Intent
from tests.discord_fake.redact import without_content
from tests.discord_fake.scene import Event

DISPATCH = 0
REPLAY_LIFE = 180.0
"""Seconds after which a session that has no connection can't be resumed."""
_WITH_CONTENT = frozenset({"MESSAGE_CREATE", "MESSAGE_UPDATE"})


class Wire(Protocol):
    """A connection, as its session sees it."""

    def push(self, payload: Json) -> None:
        """Send this, after what was pushed before."""


@dataclass(eq=False)
class Session:
    """From an IDENTIFY to the client's end, or to the gateway's own forgetting."""

    id: str
    shard: tuple[int, int]
    intents: Intent
    bot_id: int
    log: deque[Json] = field(default_factory=deque)
    """Every event with its number, for those who missed it."""
    wire: Wire | None = None
    lost_at: float = 0.0
    """When it lost its connection."""
    alive: bool = True
    """Whether it can be resumed."""
    sequence: int = 0

    def tell(self, event: Event) -> None:
        """Send an event if it is for this session."""
        if self.wants(event):
            self.dispatch(event.name, self._fitting(event))

    def wants(self, event: Event) -> bool:
        """Whether the intents ask for it, and the guild is one of this shard's. DMs are the first shard's."""
        number, shards = self.shard
        if (0 if event.guild_id is None else (event.guild_id >> 22) % shards) != number:
            return False
        return not event.intents or bool(self.intents & event.intents)

    def _fitting(self, event: Event) -> Json:
        blank = event.guild_id is not None and Intent.MESSAGE_CONTENT not in self.intents
        return without_content(event.data, self.bot_id) if blank and event.name in _WITH_CONTENT else event.data

    def dispatch(self, name: str, data: Json) -> None:
        """Send an event, now or when the session is resumed."""
        self.sequence += 1
        payload: Json = {"op": DISPATCH, "t": name, "s": self.sequence, "d": data}
        self.log.append(payload)
        if self.wire is not None:
            self.wire.push(payload)

    def replay(self, after: int) -> None:
        """Send again what came after an event."""
        assert self.wire is not None
        for payload in self.log:
            if payload["s"] > after:
                self.wire.push(payload)
        self.dispatch("RESUMED", {"_trace": ["fake"]})
