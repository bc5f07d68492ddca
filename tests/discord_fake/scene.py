"""What all places share: the bot, the users, the files, the time, and the way of an event to the bot."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.discord_fake.errors import Json
from tests.discord_fake.permissions import UNASKED, Intent

if TYPE_CHECKING:
    from tests.discord_fake.invocations import Interaction
    from tests.discord_fake.people import Channel

EPOCH = 1420070400000
"""Milliseconds from 1970 to the first second of 2015, from which snowflakes count."""
FILE_LIFE = 24 * 3600
"""Seconds that the address of an attachment is good for."""


@dataclass(frozen=True)
class User:
    """Somebody with an account: a person, or a bot."""

    id: int
    username: str
    global_name: str | None = None
    bot: bool = False
    locale: str = "en-US"

    @property
    def json(self) -> Json:
        """A UserResponse."""
        own: Json = {"id": str(self.id), "username": self.username, "global_name": self.global_name}
        unset = {"avatar": None, "discriminator": "0000" if self.bot else "0", "public_flags": 0, "flags": 0}
        return own | unset | {"primary_guild": None} | ({"bot": True} if self.bot else {})

    @property
    def mention(self) -> str:
        """As it stands in a text."""
        return f"<@{self.id}>"

    @property
    def name(self) -> str:
        """What others see."""
        return self.global_name or self.username


@dataclass
class StoredFile:
    """A file on the CDN. `size` may be more than the content has: nobody need send 10 MB."""

    id: int
    channel_id: int
    name: str
    content: bytes
    size: int
    media_type: str
    extra: Json = field(default_factory=dict)
    """What else its message tells of it: duration_secs, waveform, description."""


@dataclass(frozen=True)
class Event:
    """Something that the bot may be told by the gateway."""

    name: str
    data: Json
    guild_id: int | None = None
    intents: Intent = UNASKED
    """Of which the connection must have one; UNASKED if everybody is told."""


@dataclass
class Scene:
    """The bot and its surroundings. `emit(event)` takes an event to the gateway."""

    bot: User
    emit: Callable[[Event], None]
    privileged: Intent
    """The intents that the developer portal has switched on."""
    users: dict[int, User] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    """Threads and DMs are channels too."""
    files: dict[int, StoredFile] = field(default_factory=dict)
    interactions: dict[int, Interaction] = field(default_factory=dict)
    commands: list[Json] = field(default_factory=list)
    """The application's commands, those of guilds too."""
    installed_by: set[int] = field(default_factory=set)
    """Users who have the app for themselves, wherever they are."""
    portal: Json = field(default_factory=dict)
    """What else the developer portal has set: `interactions_endpoint_url`, `bot_public`, `bot_require_code_grant`, `id`."""
    cdn: str = ""
    """The CDN's address, once it is known."""
    skew: float = 0.0
    numbers: count[int] = field(default_factory=lambda: count(1))
    _last_id: int = 0

    @property
    def application_id(self) -> int:
        """That of the application, which of the oldest bots is not their own: there it is in `portal`."""
        return int(self.portal.get("id", self.bot.id))

    def now(self) -> float:
        """Seconds since 1970, as the platform's clock has it."""
        return time.time() + self.skew

    def pass_(self, seconds: float) -> None:
        """Let time go by: tokens and addresses of files expire, limits of rate end."""
        self.skew += seconds

    def timestamp(self, when: float | None = None) -> str:
        """A time as the platform writes it; now, if none is given."""
        moment = datetime.fromtimestamp(self.now() if when is None else when, UTC)
        return moment.isoformat(timespec="microseconds")

    def snowflake(self) -> int:
        """A new id. Ids grow with time, and no two are the same."""
        self._last_id = max(self._last_id + 1, int(self.now() * 1000 - EPOCH) << 22)
        return self._last_id

    def store(self, channel_id: int, name: str, content: bytes, media_type: str, size: int | None = None) -> StoredFile:
        """Keep a file."""
        stored = StoredFile(self.snowflake(), channel_id, name, content, size or len(content), media_type)
        self.files[stored.id] = stored
        return stored

    def address(self, stored: StoredFile) -> str:
        """A file's URL, signed from now."""
        begin, end = int(self.now()), int(self.now()) + FILE_LIFE
        path = f"/attachments/{stored.channel_id}/{stored.id}/{quote(stored.name)}"
        return f"{self.cdn}{path}?ex={end:x}&is={begin:x}&hm={self.signature(stored, end)}&"

    def signature(self, stored: StoredFile, end: int) -> str:
        """What stands for the platform's secret in an address."""
        return hashlib.sha256(f"{stored.id} {end:x}".encode()).hexdigest()

    def attachment(self, stored: StoredFile) -> Json:
        """A MessageAttachmentResponse."""
        address = self.address(stored)
        own: Json = {"id": str(stored.id), "filename": stored.name, "size": stored.size, "url": address}
        return own | {"proxy_url": address, "content_type": stored.media_type} | stored.extra
