"""What a chat keeps: messages in all their versions, drafts, and signs of activity."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.telegram.entities import Formatted
from tests.telegram.errors import Json

DRAFT_SECONDS = 30.0
"""How long a draft is shown after its last change (documentation of sendMessageDraft)."""
_ANSWERED = ("reply_to_message", "quote", "external_reply")


@dataclass
class Message:
    """A message as the chat shows it now. `json` is the Bot API's object."""

    json: Json
    by_bot: bool
    meant_for_bot: bool = False
    deleted: bool = False
    versions: list[tuple[float, Json]] = field(default_factory=list)
    """(when, what it was then), the first and every edit."""
    reactions: list[str] = field(default_factory=list)
    """The bot's."""

    @property
    def id(self) -> int:
        """Counts within its chat."""
        return int(self.json["message_id"])

    @property
    def content(self) -> Formatted:
        """The text, or a file's caption."""
        key = "text" if "text" in self.json else "caption"
        entities = self.json.get("entities" if key == "text" else "caption_entities", [])
        return Formatted(self.json.get(key, ""), entities)

    @property
    def text(self) -> str:
        """Without its entities."""
        return self.content.text

    @property
    def html(self) -> str:
        """The text as a reader sees it."""
        return self.content.html

    @property
    def entities(self) -> list[Json]:
        """Of the text or the caption."""
        return self.content.entities

    @property
    def thread(self) -> int | None:
        """message_thread_id."""
        return self.json.get("message_thread_id")

    @property
    def reply_to(self) -> int | None:
        """The id of the message that this one replies to."""
        answered: Json = self.json.get("reply_to_message", {})
        return answered.get("message_id")

    @property
    def buttons(self) -> list[Json]:
        """Of all rows."""
        rows = self.json.get("reply_markup", {}).get("inline_keyboard", [])
        return [button for row in rows for button in row]

    @property
    def edits(self) -> list[str]:
        """The texts that it had, the first one included."""
        return [str(version.get("text", version.get("caption", ""))) for _, version in self.versions]

    def as_replied(self) -> Json:
        """How it stands within a reply to it: without what it replies to itself."""
        return {name: value for name, value in self.json.items() if name not in _ANSWERED}


@dataclass(frozen=True)
class Draft:
    """One state of a draft."""

    draft_id: int
    content: Formatted
    thread: int | None
    at: float

    @property
    def text(self) -> str:
        """Without its entities; empty while it shows "Thinking..."."""
        return self.content.text


@dataclass(frozen=True)
class Activity:
    """A chat action, such as "typing"."""

    action: str
    thread: int | None
    at: float


@dataclass(frozen=True)
class Topic:
    """A topic of a forum, or of a private chat of a bot that has topics."""

    id: int
    name: str
