"""What people do in a chat, as the tests say it; each act reaches the bot as the platform would send it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, Unpack

from tests.telegram import content
from tests.telegram.content import Mentions
from tests.telegram.errors import Json
from tests.telegram.markup import units
from tests.telegram.membership import Membership
from tests.telegram.privacy import meant_for_bot
from tests.telegram.records import Message, Topic
from tests.telegram.scene import CHANNEL_BOT, GROUP_ANONYMOUS_BOT, TELEGRAM, Query, User


class Where(TypedDict, total=False):
    """How a message hangs in its chat."""

    reply_to: Message
    quote: str
    """The part of that message that is quoted."""
    topic: Topic
    via_bot: User
    extra: Json
    """Any other fields of a Message."""


@dataclass
class Chat(Membership):
    """A chat of any kind, and what people do in it."""

    discussion: Chat | None = None
    """Of a channel: the group into which its posts are forwarded."""

    def post(self, sender: User | None, body: Json, **where: Unpack[Where]) -> Message:
        """Any message. Without a sender it is a channel's post."""
        assert sender is None or self.type == "private" or self.members.get(sender.id) != "left", "not a member"
        assert self.migrated_to is None, "people write in the supergroup now"
        message = self.add(self._hanging(where) | body, by_bot=False, sender=sender)
        message.meant_for_bot = meant_for_bot(self, message, sender)
        self._tell(message, edited=False)
        if sender is None and self.discussion is not None:
            self.forward_into_discussion(message)
        return message

    def _hanging(self, where: Where) -> Json:
        replied = where.get("reply_to")
        topic = where.get("topic")
        found = self.hanging(replied, topic.id if topic else None)
        if replied is not None and (quote := where.get("quote")):
            at = replied.text.index(quote)
            found["quote"] = {"text": quote, "position": units(replied.text[:at]), "is_manual": True}
        if via := where.get("via_bot"):
            found["via_bot"] = via.json
        return found | where.get("extra", {})

    def _tell(self, message: Message, *, edited: bool) -> None:
        kind = "channel_post" if self.type == "channel" else "message"
        if message.meant_for_bot:
            self.scene.tell(f"edited_{kind}" if edited else kind, message.json)

    def forward_into_discussion(self, post: Message) -> None:
        """What the platform does by itself with each post of a channel, the bot's own included."""
        assert self.discussion is not None
        origin = {"type": "channel", "date": post.json["date"], "chat": self.json, "message_id": post.id}
        skipped = {"message_id", "date", "chat", "sender_chat", "reply_to_message"}
        body = {name: value for name, value in post.json.items() if name not in skipped}
        body |= {"forward_origin": origin, "is_automatic_forward": True, "sender_chat": self.json}
        self.discussion.post(TELEGRAM, body)

    def say(self, user: User, text: str, mentions: Mentions | None = None, **where: Unpack[Where]) -> Message:
        """Write. `mentions` are words of the text that mention users who have no username."""
        return self.post(user, content.text(text, mentions), **where)

    def say_as_admin(self, text: str, **where: Unpack[Where]) -> Message:
        """Write as an administrator who is anonymous."""
        return self.post(GROUP_ANONYMOUS_BOT, content.text(text) | {"sender_chat": self.json}, **where)

    def say_as_channel(self, channel: Chat, text: str, **where: Unpack[Where]) -> Message:
        """Write in the name of a channel."""
        return self.post(CHANNEL_BOT, content.text(text) | {"sender_chat": channel.json}, **where)

    def publish(self, text: str, **where: Unpack[Where]) -> Message:
        """A post of this channel; it is forwarded into the discussion group."""
        assert self.type == "channel"
        return self.post(None, content.text(text) | {"sender_chat": self.json}, **where)

    def voice(
        self,
        user: User,
        recording: bytes,
        *,
        duration: int,
        mime: str = "audio/ogg",
        size: int | None = None,
        caption: str = "",
        **where: Unpack[Where],
    ) -> Message:
        """A voice message."""
        told = {"duration": duration, "mime_type": mime}
        stored = self.scene.store("voice", ".oga", recording, size)
        return self.post(user, {"voice": stored.json | told} | content.caption(caption), **where)

    def audio(
        self,
        user: User,
        recording: bytes,
        *,
        duration: int,
        mime: str = "audio/mpeg",
        file_name: str = "audio.mp3",
        size: int | None = None,
        caption: str = "",
        **where: Unpack[Where],
    ) -> Message:
        """A piece of music."""
        told = {"duration": duration, "mime_type": mime, "file_name": file_name}
        stored = self.scene.store("music", content.suffix(file_name), recording, size)
        return self.post(user, {"audio": stored.json | told} | content.caption(caption), **where)

    def video_note(
        self, user: User, video: bytes, *, duration: int, size: int | None = None, **where: Unpack[Where]
    ) -> Message:
        """A round video. It has no caption."""
        stored = self.scene.store("video_notes", ".mp4", video, size)
        return self.post(user, {"video_note": stored.json | {"duration": duration, "length": 240}}, **where)

    def document(
        self,
        user: User,
        file: bytes,
        *,
        file_name: str,
        mime: str = "application/octet-stream",
        size: int | None = None,
        caption: str = "",
        **where: Unpack[Where],
    ) -> Message:
        """A file. `size` is what the platform says, if it is not the content's."""
        stored = self.scene.store("documents", content.suffix(file_name), file, size)
        told = {"file_name": file_name, "mime_type": mime}
        return self.post(user, {"document": stored.json | told} | content.caption(caption), **where)

    def photo(self, user: User, picture: bytes, *, caption: str = "", **where: Unpack[Where]) -> Message:
        """A photo, of which there is a smaller size too."""
        sizes = [
            (90, self.scene.store("photos", ".jpg", picture[:64])),
            (1280, self.scene.store("photos", ".jpg", picture)),
        ]
        told = [stored.json | {"width": side, "height": side} for side, stored in sizes]
        return self.post(user, {"photo": told} | content.caption(caption), **where)

    def sticker(self, user: User, emoji: str = "👍", **where: Unpack[Where]) -> Message:
        """A sticker."""
        stored = self.scene.store("stickers", ".webp", b"sticker")
        told = {"type": "regular", "width": 512, "height": 512, "is_animated": False, "is_video": False}
        return self.post(user, {"sticker": stored.json | told | {"emoji": emoji}}, **where)

    def edit(self, message: Message, text: str | None = None) -> None:
        """Change a text or a caption. Without a text something changes of which the bot is told nothing."""
        assert not message.by_bot
        changed = {}
        if text is not None:
            changed = content.caption(text) if "caption" in message.json else content.text(text)
        self.change(message, changed, without=("entities", "caption_entities") if changed else ())
        self._tell(message, edited=True)

    def delete(self, message: Message) -> None:
        """Remove a message: the bot is not told."""
        message.deleted = True

    def open_topic(self, user: User, name: str) -> Topic:
        """A new topic of a forum, or of the private chat of a bot with topics."""
        assert self.forum or (self.type == "private" and self.scene.topics)
        topic = Topic(self.next_id, name)
        self.topics[topic.id] = topic
        created = {"name": name, "icon_color": 7322096}
        self.post(user, {"forum_topic_created": created, "message_thread_id": topic.id, "is_topic_message": True})
        return topic

    def close_topic(self, topic: Topic) -> None:
        """Delete a topic and what was written in it: the bot is not told."""
        del self.topics[topic.id]
        for message in self.messages:
            message.deleted = message.thread == topic.id

    def press(self, user: User, message: Message, button: str, *, readable: bool = True, forged: bool = False) -> Query:
        """Press a button, named by its text or its data. `readable`: whether the message comes along.

        `forged`: the data are not on any button of the message, which a client can do.
        """
        found = [b["callback_data"] for b in message.buttons if button in {b["text"], b.get("callback_data")}]
        assert found or forged, f"no button {button!r} among {message.buttons}"
        query = Query(f"{next(self.scene.numbers):019}", user, found[0] if found else button, self.scene.now())
        self.scene.queries[query.id] = query
        shown = message.json if readable else {"chat": self.json, "message_id": message.id, "date": 0}
        told = {"id": query.id, "from": user.json, "message": shown, "chat_instance": str(self.id), "data": query.data}
        self.scene.tell("callback_query", told)
        return query
