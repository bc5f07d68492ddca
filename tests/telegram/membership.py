"""Who comes and goes: blocks, kicks, additions, promotions."""

from __future__ import annotations

from tests.telegram.chats import ChatState
from tests.telegram.errors import Json
from tests.telegram.scene import User

_RIGHTS = (
    *("can_be_edited", "is_anonymous", "can_manage_chat", "can_delete_messages", "can_manage_video_chats"),
    *("can_restrict_members", "can_promote_members", "can_change_info", "can_invite_users", "can_post_stories"),
    *("can_edit_stories", "can_delete_stories"),
)


def member_json(user: User, status: str) -> Json:
    """A ChatMember of the Bot API."""
    own: Json = {"status": status, "user": user.json}
    if status == "creator":
        return own | {"is_anonymous": False}
    if status == "administrator":
        return own | dict.fromkeys(_RIGHTS, False) | {"can_manage_chat": True, "can_delete_messages": True}
    return own | ({"until_date": 0} if status == "kicked" else {})


class Membership(ChatState):
    """The part of a chat in which people join and leave."""

    def _bot_becomes(self, status: str, by: User) -> None:
        old, self.members[self.scene.bot.id] = self.bot_status, status
        told = {"chat": self.json, "from": by.json, "date": int(self.scene.now())}
        told["old_chat_member"] = member_json(self.scene.bot, old)
        self.scene.tell("my_chat_member", told | {"new_chat_member": member_json(self.scene.bot, status)})

    def note(self, by: User, service: Json) -> None:
        """A service message. The bot gets it if it is here."""
        message = self.add(service, by_bot=False, sender=by)
        message.meant_for_bot = self.bot_status not in {"left", "kicked"}
        if message.meant_for_bot:
            self.scene.tell("message", message.json)

    def block(self) -> None:
        """The person of a private chat blocks the bot."""
        assert self.type == "private"
        self._bot_becomes("kicked", self.scene.users[self.id])

    def unblock(self) -> None:
        """The person of a private chat lets the bot write again."""
        assert self.type == "private"
        self._bot_becomes("member", self.scene.users[self.id])

    def add_bot(self, by: User) -> None:
        """Somebody adds the bot to a group, or to a channel, whose bots are administrators."""
        self._bot_becomes("administrator" if self.type == "channel" else "member", by)
        if self.type != "channel":
            self.note(by, {"new_chat_members": [self.scene.bot.json]})

    def kick_bot(self, by: User) -> None:
        """Somebody throws the bot out."""
        self._bot_becomes("kicked", by)

    def promote_bot(self, by: User) -> None:
        """Somebody makes the bot an administrator: it sees everything then."""
        self._bot_becomes("administrator", by)

    def join(self, user: User, by: User | None = None) -> None:
        """A user comes in."""
        self.members[user.id] = "member"
        self.note(by or user, {"new_chat_members": [user.json]})

    def leave(self, user: User, by: User | None = None) -> None:
        """A user goes, or is removed by somebody."""
        self.members[user.id] = "kicked" if by else "left"
        self.note(by or user, {"left_chat_member": user.json})

    def rename(self, by: User, title: str) -> None:
        """The group gets another title."""
        self.title = title
        self.note(by, {"new_chat_title": title})
