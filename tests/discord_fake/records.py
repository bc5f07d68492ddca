"""What a channel keeps: messages in all their versions, reactions, and signs of typing."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.discord_fake.errors import Json

SUPPRESS_EMBEDS = 1 << 2
EPHEMERAL = 1 << 6
LOADING = 1 << 7
SUPPRESS_NOTIFICATIONS = 1 << 12
VOICE = 1 << 13
COMPONENTS_V2 = 1 << 15
_HOLDERS = ("components", "accessory")


@dataclass
class Message:
    """A message as the channel shows it now. `json` is a MessageResponse without what it replies to."""

    json: Json
    by_bot: bool
    ephemeral: bool = False
    """Only one user sees it, and no list has it."""
    deleted: bool = False
    versions: list[tuple[float, Json]] = field(default_factory=list)
    """(when, what it was then), the first and every edit."""
    reactions: dict[str, list[int]] = field(default_factory=dict)
    """For each emoji the users who reacted with it."""
    nonce: str | None = None

    @property
    def id(self) -> int:
        """A snowflake."""
        return int(self.json["id"])

    @property
    def author_id(self) -> int:
        """Of who wrote it."""
        return int(self.json["author"]["id"])

    @property
    def content(self) -> str:
        """The text."""
        return str(self.json["content"])

    @property
    def flags(self) -> int:
        """Bits."""
        return int(self.json["flags"])

    @property
    def loading(self) -> bool:
        """Whether it shows "is thinking..."."""
        return bool(self.flags & LOADING)

    @property
    def embeds(self) -> list[Json]:
        """As they were sent."""
        return list(self.json["embeds"])

    @property
    def attachments(self) -> list[Json]:
        """MessageAttachmentResponse."""
        return list(self.json["attachments"])

    @property
    def components(self) -> list[Json]:
        """The outermost ones."""
        return list(self.json["components"])

    @property
    def parts(self) -> list[Json]:
        """All components, those within others too, in their order."""
        return _flat(self.components)

    @property
    def buttons(self) -> list[Json]:
        """All buttons."""
        return [part for part in self.parts if part["type"] == 2]

    @property
    def selects(self) -> list[Json]:
        """All menus."""
        return [part for part in self.parts if part["type"] in {3, 5, 6, 7, 8}]

    @property
    def texts(self) -> list[str]:
        """What is to read: the content, or the text components of version 2."""
        shown = [part["content"] for part in self.parts if part["type"] == 10]
        return [self.content, *shown] if self.content else shown

    @property
    def reply_to(self) -> int | None:
        """The id of the message that this one replies to."""
        if self.json["type"] != 19:
            return None
        return int(self.json["message_reference"]["message_id"])

    @property
    def type_of_starter(self) -> bool:
        """Whether it stands at the head of a thread for the message from which that was made."""
        return bool(self.json["type"] == 21)

    @property
    def pings(self) -> list[int]:
        """The users who are told of it."""
        return [int(user["id"]) for user in self.json["mentions"]]

    @property
    def edits(self) -> list[str]:
        """The contents that it had, the first one included."""
        return [str(version["content"]) for _, version in self.versions]


@dataclass(frozen=True)
class Typing:
    """Somebody was seen typing."""

    user_id: int
    at: float


def _flat(components: list[Json]) -> list[Json]:
    found: list[Json] = []
    for component in components:
        found.append(component)
        for holder in _HOLDERS:
            inner = component.get(holder, [])
            found += _flat(inner if isinstance(inner, list) else [inner])
    return found
