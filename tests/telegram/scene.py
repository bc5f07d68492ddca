"""What all chats share: the bot, the users, the files, the time, and the way of an update to the bot."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from tests.telegram.errors import Json, bad_request
from tests.telegram.spec import bot_api

TELEGRAM_ID = 777000
"""The account that writes a channel's posts into its discussion group."""
ANONYMOUS_ADMIN_ID = 1087968824
CHANNEL_ACCOUNT_ID = 136817688


@dataclass(frozen=True)
class User:
    """Somebody with an account: a person, or another bot."""

    id: int
    first_name: str
    last_name: str = ""
    username: str = ""
    is_bot: bool = False
    language_code: str = ""

    @property
    def json(self) -> Json:
        """A User of the Bot API."""
        own: Json = {"id": self.id, "is_bot": self.is_bot, "first_name": self.first_name}
        names = {"last_name": self.last_name, "username": self.username, "language_code": self.language_code}
        return own | {name: value for name, value in names.items() if value}

    @property
    def mention(self) -> str:
        """@username."""
        return f"@{self.username}"


GROUP_ANONYMOUS_BOT = User(ANONYMOUS_ADMIN_ID, "Group", username="GroupAnonymousBot", is_bot=True)
CHANNEL_BOT = User(CHANNEL_ACCOUNT_ID, "Channel", username="Channel_Bot", is_bot=True)
TELEGRAM = User(TELEGRAM_ID, "Telegram")


@dataclass
class StoredFile:
    """A file on the platform's servers. `size` may be more than the content has: nobody need send 21 MB."""

    file_id: str
    unique_id: str
    path: str
    content: bytes
    size: int

    @property
    def json(self) -> Json:
        """The fields that every kind of file has."""
        return {"file_id": self.file_id, "file_unique_id": self.unique_id, "file_size": self.size}


@dataclass
class Query:
    """A press of a button, and what the bot answered to it."""

    id: str
    user: User
    data: str
    pressed_at: float
    answer: Json | None = None
    """The parameters of answerCallbackQuery."""


@dataclass
class Scene:
    """The bot and its surroundings. `emit(kind, payload)` takes an update to the bot."""

    bot: User
    privacy: bool
    topics: bool
    emit: Callable[[str, Json], int]
    users: dict[int, User] = field(default_factory=dict)
    files: dict[str, StoredFile] = field(default_factory=dict)
    queries: dict[str, Query] = field(default_factory=dict)
    skew: float = 0.0
    numbers: count[int] = field(default_factory=lambda: count(1))

    def now(self) -> float:
        """Seconds since 1970, as the platform's clock has it."""
        return time.time() + self.skew

    def pass_(self, seconds: float) -> None:
        """Let time go by: drafts fade, queries grow old, a flood's penalty ends."""
        self.skew += seconds

    def tell(self, kind: str, payload: Json) -> int:
        """Send an update of this kind, after a look whether it is one; returns its update_id."""
        complaints = bot_api().complaints("Update", {"update_id": 1, kind: payload})
        assert not complaints, f"the fake made an update that the platform never sends: {complaints}"
        return self.emit(kind, payload)

    def store(self, folder: str, suffix: str, content: bytes, size: int | None = None) -> StoredFile:
        """Keep a file."""
        number = next(self.numbers)
        path = f"{folder}/file_{number}{suffix}"
        stored = StoredFile(f"AgAD-{number:08}", f"Ag{number:08}", path, content, size or len(content))
        self.files[stored.file_id] = stored
        return stored

    def text_mentions(self, entities: list[Json]) -> list[Json]:
        """The same with the users whom they mention by number; nothing is left of a mention of a stranger."""
        known: list[Json] = []
        for entity in entities:
            if entity["type"] != "text_mention":
                known.append(entity)
            elif user := self.users.get(entity["user"]["id"]):
                known.append(entity | {"user": user.json})
        return known

    def file(self, file_id: str) -> StoredFile:
        """The file of this id. Raises Refused."""
        if file_id not in self.files:
            raise bad_request("invalid file_id")
        return self.files[file_id]
