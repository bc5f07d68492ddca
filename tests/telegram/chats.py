"""A chat's own state: who is in it, what was written, and what the bot may do there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.telegram.errors import Json, Refused, bad_request, forbidden
from tests.telegram.records import DRAFT_SECONDS, Activity, Draft, Message, Topic
from tests.telegram.scene import Scene, User

ChatType = Literal["private", "group", "supergroup", "channel"]
GENERAL = 1
"""The topic of which messages say nothing."""
EDIT_NOT_FOUND = "message to edit not found"


@dataclass
class ChatState:
    """A chat without the people's hands: see people.Chat for what they do in it."""

    scene: Scene
    id: int
    type: ChatType
    title: str = ""
    username: str = ""
    forum: bool = False
    members: dict[int, str] = field(default_factory=dict)
    """The status of each user who is or was here."""
    everything: list[Message] = field(default_factory=list)
    """All messages, those that were deleted too."""
    drafts: list[Draft] = field(default_factory=list)
    """Every state of every draft, also of those that have gone."""
    actions: list[Activity] = field(default_factory=list)
    topics: dict[int, Topic] = field(default_factory=dict)
    muted: bool = False
    """Members may not write."""
    migrated_to: int | None = None
    linked_id: int | None = None
    """Of a channel's discussion group."""
    last_bot: int | None = None
    first_id: int = 1
    """Of messages. In a forum the number 1 is taken: it is the General topic."""
    drafts_gone: int = 0
    """How many states of drafts a message has wiped away."""

    @property
    def json(self) -> Json:
        """A Chat of the Bot API."""
        own: Json = {"id": self.id, "type": self.type}
        if self.type == "private":
            user = self.scene.users[self.id]
            named = {"first_name": user.first_name, "last_name": user.last_name, "username": user.username}
        else:
            named = {"title": self.title, "username": self.username}
        return own | {key: name for key, name in named.items() if name} | ({"is_forum": True} if self.forum else {})

    @property
    def messages(self) -> list[Message]:
        """What is there to read, oldest first."""
        return [message for message in self.everything if not message.deleted]

    @property
    def from_bot(self) -> list[Message]:
        """What the bot wrote and did not delete."""
        return [message for message in self.messages if message.by_bot]

    def texts_of_bot(self) -> list[str]:
        """The texts and captions of what the bot wrote, as they are now."""
        return [message.text for message in self.from_bot]

    def draft(self, thread: int | None = None) -> Draft | None:
        """The draft that is shown now."""
        for shown in reversed(self.drafts[self.drafts_gone :]):
            if shown.thread == thread:
                return shown if self.scene.now() - shown.at < DRAFT_SECONDS else None
        return None

    @property
    def next_id(self) -> int:
        """Of the next message: its place in the chat."""
        return self.first_id + len(self.everything)

    @property
    def bot_status(self) -> str:
        """member, administrator, left, kicked; in a private chat, kicked is blocked."""
        return self.members.get(self.scene.bot.id, "left")

    def find(self, message_id: int) -> Message | None:
        """A message that is there to read."""
        at = message_id - self.first_id
        found = self.everything[at] if 0 <= at < len(self.everything) else None
        return None if found is None or found.deleted else found

    def add(self, content: Json, *, by_bot: bool, sender: User | None = None) -> Message:
        """Write a message down."""
        now = self.scene.now()
        own: Json = {"message_id": self.next_id, "date": int(now), "chat": self.json}
        if sender is not None:
            own["from"] = sender.json
        message = Message(own | content, by_bot=by_bot)
        message.versions.append((now, message.json))
        self.everything.append(message)
        return message

    def change(self, message: Message, content: Json, *, without: tuple[str, ...] = ()) -> None:
        """Edit a message."""
        now = self.scene.now()
        kept = {name: value for name, value in message.json.items() if name not in without}
        message.json = kept | content | {"edit_date": int(now)}
        message.versions.append((now, message.json))

    def must_let_bot_in(self) -> None:
        """Raise Refused unless the bot can act here."""
        if self.migrated_to is not None:
            words = "group chat was upgraded to a supergroup chat"
            raise bad_request(words, migrate_to_chat_id=self.migrated_to)
        if self.bot_status == "kicked":
            place = f"kicked from the {self.type} chat"
            raise forbidden("bot was blocked by the user" if self.type == "private" else f"bot was {place}")
        if self.bot_status == "left":
            raise forbidden(f"bot is not a member of the {self.type} chat")

    def must_let_bot_write(self) -> None:
        """Raise Refused unless the bot can write here."""
        self.must_let_bot_in()
        if self.muted and self.bot_status != "administrator":
            raise bad_request("not enough rights to send text messages to the chat")
        if self.type == "channel" and self.bot_status != "administrator":
            raise bad_request("need administrator rights in the channel chat")

    def must_have_thread(self, thread: int | None, *, general: bool = False) -> None:
        """Raise Refused for an unknown thread. `general`: chat actions alone take 1 for the General topic."""
        if thread is None or thread in self.topics or (general and self.forum and thread == GENERAL):
            return
        in_thread = any(message.thread == thread for message in self.messages)
        if self.forum or self.type != "supergroup" or not in_thread:
            raise bad_request("message thread not found")

    def hanging(self, replied: Message | None, thread: int | None) -> Json:
        """The fields that say in which thread a new message is, and to what it replies.

        In a supergroup without topics a reply makes a thread of the first message and all that hangs on it, and its
        messages have a message_thread_id, but no is_topic_message. In a forum, what replies to nothing is a reply to
        the message that opened the topic.
        """
        if replied is not None and thread is None and self.type == "supergroup":
            thread = replied.thread or (None if self.forum else replied.id)
        if replied is None and thread is not None and self.forum:
            replied = self.find(thread)
        found: Json = {} if replied is None else {"reply_to_message": replied.as_replied()}
        if thread is not None:
            found["message_thread_id"] = thread
        return found | ({"is_topic_message": True} if thread in self.topics else {})

    def wipe_drafts(self) -> None:
        """A message takes the draft's place."""
        self.drafts_gone = len(self.drafts)


def own_message(chat: ChatState, message_id: int) -> Message:
    """A message that the bot may edit. Raises Refused."""
    message = chat.find(message_id)
    if message is None:
        raise bad_request(EDIT_NOT_FOUND)
    if not message.by_bot:
        raise bad_request("message can't be edited")
    return message


def not_modified() -> Refused:
    """What a change that changes nothing is answered with."""
    return bad_request(
        "message is not modified: specified new message content and reply markup are exactly the same as a current "
        "content and reply markup of the message"
    )
