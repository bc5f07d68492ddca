"""Threads and forum posts: how they begin, end, and whom they have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from tests.discord_fake.errors import Json, refused
from tests.discord_fake.permissions import Permission
from tests.discord_fake.records import Message
from tests.discord_fake.scene import User
from tests.discord_fake.state import (
    ANNOUNCEMENT,
    ANNOUNCEMENT_THREAD,
    FORUM,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    ChannelState,
)

_THREAD_CREATED, _THREAD_STARTER = 18, 21
"""Types of messages."""


@dataclass(eq=False)
class Threads(ChannelState):
    """A channel with what hangs on it."""

    threads: list[Self] = field(default_factory=list)

    def open_thread(
        self, by: User, name: str, *, of: Message | None = None, private: bool = False, member: bool = True
    ) -> Self:
        """A new thread. Made from a message it has that message's id. `member`: whether its maker is in it."""
        assert self.guild is not None
        kind = ANNOUNCEMENT_THREAD if self.type == ANNOUNCEMENT else PRIVATE_THREAD if private else PUBLIC_THREAD
        number = of.id if of is not None else self.scene.snowflake()
        made = type(self)(self.scene, number, kind, name, self.guild, parent=self, owner_id=by.id)
        made.created_at = self.scene.now()
        made.thread_members = [by.id] if member else []
        self.threads.append(made)
        self.scene.channels[number] = made  # type: ignore[assignment]  # everything is made as people.Channel
        made.tell("THREAD_CREATE", made.json | {"newly_created": True})
        if of is not None:
            self.change(of, {"flags": of.flags | 1 << 5, "thread": made.json}, edited=False)
            made.write(by, {"type": _THREAD_STARTER, "message_reference": self.reference(of)})
        elif self.type != FORUM and not private:
            there = {"type": 0, "channel_id": str(number), "guild_id": str(self.guild.id)}
            # It is the bot's own doing, but nothing that the bot wrote.
            self.write(by, {"type": _THREAD_CREATED, "content": name, "message_reference": there})
        return made

    def reference(self, message: Message) -> Json:
        """A MessageReferenceResponse to a message of this channel."""
        here = {"guild_id": str(self.guild.id)} if self.guild else {}
        return {"type": 0, "channel_id": str(self.id), "message_id": str(message.id)} | here

    def archive(self, *, locked: bool = False) -> None:
        """Close a thread; nobody but a moderator opens a locked one again."""
        assert self.is_thread
        self.archived, self.locked = True, locked
        self.tell("THREAD_UPDATE", self.json)

    def reopen(self) -> None:
        """Open a thread again."""
        self.archived = self.locked = False
        self.tell("THREAD_UPDATE", self.json)

    def discard(self) -> None:
        """Delete the channel or the thread; the bot is told."""
        del self.scene.channels[self.id]
        here = {"id": str(self.id), "type": self.type}
        if self.parent is not None:
            self.parent.threads[:] = [thread for thread in self.parent.threads if thread is not self]
            self.tell("THREAD_DELETE", here | {"parent_id": str(self.parent.id)})
        else:
            self.tell("CHANNEL_DELETE", self.json)

    def join(self, user: User) -> None:
        """Add somebody to a thread. The bot learns by it of a private one."""
        if user.id in self.thread_members:
            return
        self.thread_members.append(user.id)
        if user.id == self.scene.bot.id:
            self.tell("THREAD_CREATE", self.json)
        members = {"id": str(self.id), "member_count": len(self.thread_members)}
        joined = self.bot_member | {"user_id": str(user.id)}
        self.tell("THREAD_MEMBERS_UPDATE", members | {"added_members": [joined]})

    def must_let_bot_write(self) -> None:
        """Raise Refused unless the bot can write here."""
        if self.closed:
            raise refused(50007)
        if self.type == FORUM:
            raise refused(50008)
        self.must_let_bot(self.sending)
        if self.locked and Permission.MANAGE_THREADS not in self.may(self.scene.bot.id):
            raise refused(50083 if self.archived else 160005)

    def must_let_bot_change(self) -> None:
        """Raise Refused where messages can't be edited or deleted: in an archived thread."""
        self.must_let_bot()
        if self.archived:
            raise refused(50083)
