"""The people and places of a test, and kinds of updates that a chat assistant has no use for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from tests.telegram.chats import GENERAL, ChatType
from tests.telegram.errors import Json, bad_request, forbidden
from tests.telegram.people import Chat
from tests.telegram.records import Message
from tests.telegram.scene import Scene, User

_USERS = 5_000_000_001
"""Users' ids have more than 32 bits."""
_GROUPS = -4_000_000_001
_SUPERGROUPS = -1_002_000_000_001
"""Supergroups and channels are below -10^12."""


class World:
    """Makes users and chats. Everybody of whom the bot can know is made here."""

    def __init__(self, bot: User, emit: Callable[[str, Json], int], *, privacy: bool, topics: bool) -> None:
        self.scene = Scene(bot, privacy, topics, emit)
        self.chats: dict[int, Chat] = {}
        self._numbers = count()

    @property
    def bot(self) -> User:
        """The bot's own account."""
        return self.scene.bot

    def user(
        self, name: str, *, username: str = "", last_name: str = "", language: str = "en", is_bot: bool = False
    ) -> User:
        """A new user. Nobody has a username unless one is given."""
        user = User(_USERS + next(self._numbers), name, last_name, username, is_bot, language)
        self.scene.users[user.id] = user
        return user

    def private(self, user: User) -> Chat:
        """The chat of a user who has started the bot; the same at every call."""
        if user.id not in self.chats:
            self.chats[user.id] = self._chat(user.id, "private", [user])
        return self.chats[user.id]

    def group(self, title: str, *members: User) -> Chat:
        """A basic group with the bot in it; the first member made it."""
        return self._chat(_GROUPS - next(self._numbers), "group", members, title)

    def supergroup(self, title: str, *members: User, forum: bool = False, username: str = "") -> Chat:
        """A supergroup with the bot in it; `forum`: with topics."""
        chat = self._chat(_SUPERGROUPS - next(self._numbers), "supergroup", members, title, forum=forum)
        chat.username = username
        return chat

    def channel(self, title: str, owner: User, discussion: Chat | None = None) -> Chat:
        """A channel with the bot as an administrator."""
        chat = self._chat(_SUPERGROUPS - next(self._numbers), "channel", [owner], title)
        chat.members[self.bot.id] = "administrator"
        chat.discussion = discussion
        if discussion is not None:
            chat.linked_id, discussion.linked_id = discussion.id, chat.id
        return chat

    def _chat(
        self,
        chat_id: int,
        type_: ChatType,
        members: list[User] | tuple[User, ...],
        title: str = "",
        *,
        forum: bool = False,
    ) -> Chat:
        chat = Chat(self.scene, chat_id, type_, title, forum=forum, first_id=GENERAL + 1 if forum else 1)
        chat.members = {user.id: "member" for user in members} | {self.bot.id: "member"}
        if members and type_ != "private":
            chat.members[members[0].id] = "creator"
        self.chats[chat_id] = chat
        return chat

    def migrate(self, group: Chat, by: User) -> Chat:
        """A basic group becomes a supergroup: both are told, and nothing can be sent to the old one."""
        assert group.type == "group"
        new = self._chat(_SUPERGROUPS - next(self._numbers), "supergroup", (), group.title)
        new.members = dict(group.members)
        group.note(by, {"migrate_to_chat_id": new.id})
        new.note(by, {"migrate_from_chat_id": group.id})
        group.migrated_to = new.id
        return new

    def find(self, chat_id: int | str) -> Chat:
        """The chat that a call names. Raises Refused."""
        if isinstance(chat_id, str):
            named = [chat for chat in self.chats.values() if chat.username and f"@{chat.username}" == chat_id]
            if not named:
                raise bad_request("chat not found")
            return named[0]
        if chat_id in self.scene.users and chat_id not in self.chats:
            raise forbidden("bot can't initiate conversation with a user")
        if chat_id not in self.chats:
            raise bad_request("chat not found")
        return self.chats[chat_id]

    def strange(self, kind: str, payload: Json) -> int:
        """An update of any kind of the documentation; returns its update_id."""
        return self.scene.tell(kind, payload)

    def strange_message(self, kind: str, user: User, text: str) -> int:
        """A text in a chat that is not the bot's: a guest_message or a business_message."""
        stranger: Json = {"id": user.id, "type": "private", "first_name": user.first_name}
        own = {"guest_message": {"guest_query_id": "g1"}, "business_message": {"business_connection_id": "b1"}}
        told = {"message_id": 7, "date": int(self.scene.now()), "chat": stranger, "from": user.json, "text": text}
        return self.strange(kind, told | own[kind])

    def inline_query(self, user: User, words: str) -> int:
        """Somebody types the bot's name in another chat."""
        return self.strange("inline_query", {"id": "q1", "from": user.json, "query": words, "offset": ""})

    def poll(self, question: str) -> int:
        """A poll has a new state."""
        option = {"persistent_id": "1", "text": "yes", "voter_count": 1}
        no = ("is_closed", "allows_multiple_answers", "allows_revoting", "members_only")
        told = {"id": "p1", "question": question, "options": [option], "total_voter_count": 1, "is_anonymous": True}
        return self.strange("poll", told | {"type": "regular"} | dict.fromkeys(no, False))

    def messages(self) -> list[Message]:
        """What the bot wrote in all chats."""
        return [message for chat in self.chats.values() for message in chat.from_bot]
