"""A channel's own state: what was written, who may do what, and how the bot is told of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from tests.discord_fake.errors import Json, refused
from tests.discord_fake.permissions import (
    IN_PRIVATE,
    NOTHING,
    UNASKED,
    Intent,
    Overwrite,
    Permission,
    in_channel,
    ordered,
)
from tests.discord_fake.places import GuildState
from tests.discord_fake.records import Message, Typing
from tests.discord_fake.scene import Event, Scene, User
from tests.discord_fake.spec import api

TEXT, DM, ANNOUNCEMENT, FORUM = 0, 1, 5, 15
ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD = 10, 11, 12
THREADS = frozenset({ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD})
_MESSAGES = (Intent.GUILD_MESSAGES, Intent.DIRECT_MESSAGES)
_REACTIONS = (Intent.GUILD_MESSAGE_REACTIONS, Intent.DIRECT_MESSAGE_REACTIONS)
_TYPING = (Intent.GUILD_MESSAGE_TYPING, Intent.DIRECT_MESSAGE_TYPING)
_INTENTS = {"MESSAGE_REACTION": _REACTIONS, "MESSAGE_": _MESSAGES, "TYPING_START": _TYPING}


@dataclass(eq=False)
class ChannelState:
    """A channel, a thread or a DM without the people's hands: see people.Channel for what they do in it."""

    scene: Scene
    id: int
    type: int
    name: str = ""
    guild: GuildState | None = None
    recipients: list[User] = field(default_factory=list)
    """Of a DM, the bot among them if it is one of the bot's."""
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    """By the id of a role or a user."""
    everything: list[Message] = field(default_factory=list)
    """All messages, those that were deleted and those that only one user sees too."""
    typing: list[Typing] = field(default_factory=list)
    parent: Self | None = None
    """Of a thread."""
    owner_id: int = 0
    created_at: float = 0.0
    archived: bool = False
    locked: bool = False
    thread_members: list[int] = field(default_factory=list)
    closed: bool = False
    """Of a DM: the user takes no messages from the bot."""
    nonces: dict[str, Message] = field(default_factory=dict)

    @property
    def is_thread(self) -> bool:
        """Whether it hangs on a channel."""
        return self.type in THREADS

    @property
    def mention(self) -> str:
        """As it stands in a text."""
        return f"<#{self.id}>"

    @property
    def messages(self) -> list[Message]:
        """What is there to read for everybody, oldest first."""
        return [message for message in self.everything if not (message.deleted or message.ephemeral)]

    @property
    def from_bot(self) -> list[Message]:
        """What the bot wrote and did not delete, what only one user sees too."""
        return [message for message in self.everything if message.by_bot and not message.deleted]

    def texts_of_bot(self) -> list[str]:
        """The contents of what the bot wrote, as they are now."""
        return ["\n".join(message.texts) for message in self.from_bot]

    def find(self, message_id: int) -> Message:
        """A message that is there to read. Raises Refused."""
        for message in self.everything:
            if message.id == message_id and not message.deleted:
                return message
        raise refused(10008)

    def may(self, user_id: int) -> Permission:
        """What a user may do here."""
        if self.guild is None:
            return IN_PRIVATE if user_id in {user.id for user in self.recipients} else NOTHING
        if user_id not in self.guild.members:
            return NOTHING
        overwrites = self.parent.overwrites if self.parent is not None else self.overwrites
        roles = frozenset(self.guild.members[user_id].roles)
        found = in_channel(self.guild.base(user_id), ordered(overwrites, self.guild.id, roles, user_id))
        if self.type == PRIVATE_THREAD and user_id not in self.thread_members:
            return found if Permission.MANAGE_THREADS in found else NOTHING
        return found

    @property
    def sending(self) -> Permission:
        """What somebody needs to write here."""
        return Permission.SEND_MESSAGES_IN_THREADS if self.is_thread else Permission.SEND_MESSAGES

    def must_let_bot(self, *needed: Permission) -> None:
        """Raise Refused unless the bot sees this channel and may do all that."""
        granted = self.may(self.scene.bot.id)
        if Permission.VIEW_CHANNEL not in granted:
            raise refused(50001)
        if any(permission not in granted for permission in needed):
            raise refused(50013)

    @property
    def bot_sees(self) -> bool:
        """Whether events of this channel reach the bot."""
        return Permission.VIEW_CHANNEL in self.may(self.scene.bot.id)

    def overwrite(self, who: User | int, *, allow: Permission = NOTHING, deny: Permission = NOTHING) -> None:
        """Set what a user, or a role by its id, is allowed and denied here; the bot is told."""
        self.overwrites[who.id if isinstance(who, User) else who] = Overwrite(allow, deny)
        self.tell("CHANNEL_UPDATE", self.json)

    def tell(self, name: str, data: Json) -> None:
        """An event, if the bot may see this channel."""
        if not self.bot_sees or (self.guild is not None and self.guild.unavailable):
            return
        intents = Intent.GUILDS if self.guild else UNASKED
        for prefix, (in_guild, in_dm) in _INTENTS.items():
            if name.startswith(prefix):
                intents = in_guild if self.guild else in_dm
                break
        here: Json = {"guild_id": str(self.guild.id)} if self.guild else {}
        self.scene.emit(Event(name, data | here, self.guild.id if self.guild else None, intents))

    def write(
        self, author: User, fields: Json, *, by_bot: bool = False, ephemeral: bool = False, nonce: str | None = None
    ) -> Message:
        """Write a message down, and tell the bot."""
        now = self.scene.now()
        empty = ("mentions", "mention_roles", "attachments", "embeds", "components")
        own: Json = {"id": str(self.scene.snowflake()), "channel_id": str(self.id), "author": author.json}
        own |= {"type": 0, "content": "", "timestamp": self.scene.timestamp(now), "edited_timestamp": None}
        own |= {"flags": 0, "pinned": False, "mention_everyone": False, "tts": False} | {key: [] for key in empty}
        message = Message(own | fields, by_bot=by_bot, ephemeral=ephemeral, nonce=nonce)
        message.versions.append((now, message.json))
        if self.is_thread:
            self.wake(author.id)
        self.everything.append(message)
        if not ephemeral:
            self.tell("MESSAGE_CREATE", self.as_event(message))
        return message

    def wake(self, author_id: int) -> None:
        """A message in a thread opens it again, and its author is in it from now on."""
        if author_id not in self.thread_members:
            self.thread_members.append(author_id)
        if self.archived and not self.locked:
            self.archived = False
            self.tell("THREAD_UPDATE", self.json)

    def change(self, message: Message, fields: Json, *, edited: bool = True) -> None:
        """Edit a message, and tell the bot. `edited`: whether it says so; a suppressed embed or a thread doesn't."""
        now = self.scene.now()
        stamp = {"edited_timestamp": self.scene.timestamp(now)} if edited else {}
        message.json = message.json | fields | stamp
        message.versions.append((now, message.json))
        if not message.ephemeral:
            self.tell("MESSAGE_UPDATE", self.as_event(message))

    def remove(self, messages: Iterable[Message], *, bulk: bool = False) -> None:
        """Delete messages, and tell the bot."""
        gone = list(messages)
        for message in gone:
            message.deleted = True
        if bulk:
            self.tell("MESSAGE_DELETE_BULK", {"ids": [str(m.id) for m in gone], "channel_id": str(self.id)})
            return
        for message in gone:
            if not message.ephemeral:
                self.tell("MESSAGE_DELETE", {"id": str(message.id), "channel_id": str(self.id)})

    def shown(self, message: Message) -> Json:
        """A MessageResponse, with what it replies to as that is now."""
        found = dict(message.json)
        if message.reactions:
            found["reactions"] = [self._reaction(emoji, users) for emoji, users in message.reactions.items()]
        if message.reply_to is not None:
            replied = [m for m in self.everything if m.id == message.reply_to and not m.deleted]
            found["referenced_message"] = replied[0].json if replied else None
        if message.type_of_starter and self.parent is not None:
            start = [m for m in self.parent.everything if m.id == self.id and not m.deleted]
            found["referenced_message"] = start[0].json if start else None
        return found

    def _reaction(self, emoji: str, users: list[int]) -> Json:
        count = {"burst": 0, "normal": len(users)}
        own: Json = {"emoji": {"id": None, "name": emoji}, "count": len(users), "count_details": count}
        return own | {"burst_colors": [], "me_burst": False, "me": self.scene.bot.id in users}

    def as_event(self, message: Message) -> Json:
        """The same with what only the gateway tells."""
        shown = self.shown(message)
        # Everything that is told passes here, so a slip of the fake is found where it was made.
        complaints = api().complaints("MessageResponse", shown)
        assert not complaints, f"the fake made a message that the platform never sends: {complaints}"
        if message.nonce is not None:
            shown["nonce"] = message.nonce
        if self.guild is None:
            return shown
        members = self.guild.members
        with_members = [
            user | ({"member": members[int(user["id"])].brief} if int(user["id"]) in members else {})
            for user in shown["mentions"]
        ]
        author = {"member": members[message.author_id].brief} if message.author_id in members else {}
        return shown | {"mentions": with_members} | ({} if "webhook_id" in shown else author)

    @property
    def json(self) -> Json:
        """The channel as its kind has it: GuildChannelResponse, ThreadResponse or PrivateChannelResponse."""
        last = str(self.everything[-1].id) if self.everything else None
        own: Json = {"id": str(self.id), "type": self.type, "flags": 0, "last_message_id": last}
        if self.guild is None:
            others = [user.json for user in self.recipients if user.id != self.scene.bot.id]
            return own | {"recipients": others}
        own |= {"guild_id": str(self.guild.id), "name": self.name, "rate_limit_per_user": 0}
        if self.is_thread:
            return own | self._thread_json()
        told = [self._overwrite_json(who, overwrite) for who, overwrite in self.overwrites.items()]
        own |= {"position": 0, "parent_id": None, "topic": None, "nsfw": False, "permission_overwrites": told}
        return own | ({"available_tags": [], "default_forum_layout": 0} if self.type == FORUM else {})

    def _overwrite_json(self, who: int, overwrite: Overwrite) -> Json:
        allow, deny = str(int(overwrite.allow)), str(int(overwrite.deny))
        return {"id": str(who), "type": int(who in self.scene.users), "allow": allow, "deny": deny}

    def _thread_json(self) -> Json:
        assert self.parent is not None
        created = self.scene.timestamp(self.created_at)
        data: Json = {"archived": self.archived, "archive_timestamp": created, "auto_archive_duration": 1440}
        data |= {"locked": self.locked, "create_timestamp": created}
        data |= {"invitable": True} if self.type == PRIVATE_THREAD else {}
        count = len(self.messages)
        own: Json = {"parent_id": str(self.parent.id), "owner_id": str(self.owner_id), "thread_metadata": data}
        own |= {"message_count": count, "total_message_sent": count, "member_count": len(self.thread_members)}
        return own | ({"member": self.bot_member} if self.scene.bot.id in self.thread_members else {})

    @property
    def bot_member(self) -> Json:
        """The bot's ThreadMemberResponse."""
        joined = self.scene.timestamp(self.created_at)
        return {"id": str(self.id), "user_id": str(self.scene.bot.id), "join_timestamp": joined, "flags": 0}
