"""Which messages of a group reach a bot.

https://core.telegram.org/bots/features#privacy-mode
"""

from __future__ import annotations

from tests.telegram.chats import ChatState
from tests.telegram.records import Message
from tests.telegram.scene import TELEGRAM_ID, User

_SERVICE = frozenset(
    {
        *("new_chat_members", "left_chat_member", "new_chat_title", "group_chat_created", "pinned_message"),
        *("migrate_to_chat_id", "migrate_from_chat_id", "forum_topic_created"),
    }
)


def meant_for_bot(chat: ChatState, message: Message, sender: User | None) -> bool:
    """Whether the bot is told of a message."""
    if chat.bot_status in {"left", "kicked"}:
        return False
    if sender is not None and sender.is_bot and "sender_chat" not in message.json:
        chat.last_bot = sender.id
        return False
    if chat.type in {"private", "channel"} or not chat.scene.privacy or chat.bot_status == "administrator":
        return True
    return bool(_SERVICE & message.json.keys()) or _addressed(chat, message) or _is_channels(message)


def _is_channels(message: Message) -> bool:
    """Posts of a channel come into its discussion group by an account of the platform's own."""
    return bool(message.json.get("from", {}).get("id") == TELEGRAM_ID)


def _addressed(chat: ChatState, message: Message) -> bool:
    bot = chat.scene.bot
    replied = chat.find(message.reply_to) if message.reply_to else None
    if replied is not None and "forum_topic_created" not in replied.json and (replied.by_bot or replied.meant_for_bot):
        return True
    if message.json.get("via_bot", {}).get("id") == bot.id:
        return True
    for entity in message.entities:
        words = message.content.slice(entity).lower()
        if entity["type"] == "mention" and words == bot.mention.lower():
            return True
        if entity["type"] == "text_mention" and entity["user"]["id"] == bot.id:
            return True
        if entity["type"] == "bot_command" and _commanded(chat, words):
            return True
    return False


def _commanded(chat: ChatState, command: str) -> bool:
    """A command without a name is for the bot that spoke last."""
    whom = command.partition("@")[2]
    return whom == chat.scene.bot.username.lower() if whom else chat.last_bot in {None, chat.scene.bot.id}
