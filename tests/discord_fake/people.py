"""What people do in a channel, as the tests say it; each act reaches the bot as the platform would send it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from tests.discord_fake import content
from tests.discord_fake.errors import Json
from tests.discord_fake.invoking import Invoking
from tests.discord_fake.permissions import Permission
from tests.discord_fake.records import VOICE, Message, Typing
from tests.discord_fake.scene import StoredFile, User
from tests.discord_fake.state import FORUM

File = tuple[str, bytes] | tuple[str, bytes, str] | StoredFile
"""Name and content, and the media type if the name doesn't say it."""
_TYPES = {"ogg": "audio/ogg", "mp3": "audio/mpeg", "wav": "audio/x-wav", "txt": "text/plain; charset=utf-8"}
_TYPES |= {"md": "text/markdown; charset=utf-8", "png": "image/png", "jpg": "image/jpeg", "pdf": "application/pdf"}
_REPLY = 19


@dataclass(eq=False)
class Channel(Invoking):
    """A channel of any kind, and what people do in it."""

    def say(
        self,
        user: User,
        text: str = "",
        *,
        reply_to: Message | None = None,
        ping: bool = True,
        mention: User | Sequence[User] = (),
        attachments: Iterable[File] = (),
        extra: Json | None = None,
    ) -> Message:
        """Write. `ping`: a reply tells whom it answers; `mention`: these stand at the beginning of the text.

        `extra`: any other fields of a MessageResponse, such as a type.
        """
        self.must_let(user)
        named = [mention] if isinstance(mention, User) else mention
        text = " ".join([*(who.mention for who in named), text]).strip()
        author = None
        fields: Json = {"content": text}
        if reply_to is not None:
            fields |= {"type": _REPLY, "message_reference": self.reference(reply_to)}
            author = self.scene.users[reply_to.author_id] if ping else None
        everyone = Permission.MENTION_EVERYONE in self.may(user.id)
        fields |= content.mentions(self.scene, self.guild, text, replied=author, allowed=None, everyone=everyone)
        fields["attachments"] = [self.scene.attachment(self.upload(file)) for file in attachments]
        return self.write(user, fields | (extra or {}))

    def must_let(self, user: User) -> None:
        """Fail the test unless this user can write here."""
        assert self.type != FORUM, "in a forum people post"
        assert self.sending in self.may(user.id), f"{user.username} can't write here"
        assert not self.locked, "the thread is locked"

    def hook(self, name: str, text: str) -> Message:
        """A message by a webhook: its author is no member, and has a name of its own."""
        user = User(self.scene.snowflake(), name, bot=True)
        return self.write(user, {"content": text, "webhook_id": str(user.id)})

    def upload(self, file: File, size: int | None = None) -> StoredFile:
        """Put a file on the CDN."""
        if isinstance(file, StoredFile):
            return file
        media_type = file[2] if len(file) == 3 else _TYPES.get(file[0].rpartition(".")[2], "application/octet-stream")
        return self.scene.store(self.id, file[0], file[1], media_type, size)

    def voice(
        self, user: User, recording: bytes, *, duration: float, size: int | None = None, reply_to: Message | None = None
    ) -> Message:
        """A voice message."""
        stored = self.upload(("voice-message.ogg", recording), size)
        wave = base64.b64encode(bytes(range(0, 256, 4))).decode()
        stored.extra = {"duration_secs": duration, "waveform": wave}
        return self.say(user, reply_to=reply_to, attachments=[stored], extra={"flags": VOICE})

    def forward(self, user: User, message: Message, source: Channel) -> Message:
        """Pass on a message of another channel: it comes as a snapshot, with no text of its own."""
        kept = ("content", "attachments", "embeds", "timestamp", "edited_timestamp", "flags", "components", "type")
        snapshot = {name: message.json[name] for name in (*kept, "mentions", "mention_roles")}
        reference = source.reference(message) | {"type": 1}
        return self.say(user, extra={"message_reference": reference, "message_snapshots": [{"message": snapshot}]})

    def edit(self, message: Message, text: str) -> None:
        """Change what somebody wrote."""
        assert not message.by_bot
        everyone = Permission.MENTION_EVERYONE in self.may(message.author_id)
        named = content.mentions(self.scene, self.guild, text, replied=None, allowed=None, everyone=everyone)
        self.change(message, {"content": text} | named)

    def embed(self, message: Message, title: str, url: str) -> None:
        """What the platform does by itself with a link in a message: an update that is no edit."""
        self.change(message, {"embeds": [{"type": "link", "title": title, "url": url}]}, edited=False)

    def delete(self, message: Message) -> None:
        """Remove a message."""
        self.remove([message])

    def delete_many(self, messages: Iterable[Message]) -> None:
        """Remove messages at once, as a moderator does."""
        self.remove(messages, bulk=True)

    def type_(self, user: User) -> None:
        """Be seen typing."""
        now = self.scene.now()
        self.typing.append(Typing(user.id, now))
        told: Json = {"channel_id": str(self.id), "user_id": str(user.id), "timestamp": int(now)}
        member = {"member": self.guild.members[user.id].json} if self.guild else {}
        self.tell("TYPING_START", told | member)

    def react(self, user: User, message: Message, emoji: str) -> None:
        """Add a reaction."""
        who = message.reactions.setdefault(emoji, [])
        if user.id not in who:
            who.append(user.id)
            member = {"member": self.guild.members[user.id].json} if self.guild else {}
            author = {"message_author_id": str(message.author_id)}
            self.tell("MESSAGE_REACTION_ADD", self._reaction_event(user, message, emoji) | member | author)

    def unreact(self, user: User, message: Message, emoji: str) -> None:
        """Take a reaction back."""
        who = message.reactions.get(emoji, [])
        if user.id in who:
            who.remove(user.id)
            if not who:
                del message.reactions[emoji]
            self.tell("MESSAGE_REACTION_REMOVE", self._reaction_event(user, message, emoji))

    def _reaction_event(self, user: User, message: Message, emoji: str) -> Json:
        own: Json = {"user_id": str(user.id), "channel_id": str(self.id), "message_id": str(message.id)}
        return own | {"emoji": {"id": None, "name": emoji}, "burst": False, "type": 0}

    def thread(self, user: User, name: str, *, of: Message | None = None, private: bool = False) -> Self:
        """Begin a thread, from a message or without one."""
        return self.open_thread(user, name, of=of, private=private)

    def post(self, user: User, title: str, text: str, *, attachments: Iterable[File] = ()) -> Self:
        """A new post of a forum: a thread whose first message has the thread's id."""
        assert self.type == FORUM
        made = self.open_thread(user, title)
        made.say(user, text, attachments=attachments, extra={"id": str(made.id)})
        return made
