"""Is the bot meant? And what is said when the words that only call it are taken away. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from telegram import Message, MessageEntity


@dataclass(frozen=True, slots=True)
class Me:
    """The bot, as others call it."""

    id: int
    username: str
    """Without the @, as Telegram writes it."""
    commands: Collection[str] = field(default=())
    """Names of the commands that it knows."""
    bringing: Collection[str] = field(default=())
    """Those of them that bring files (`Command.brings_files`)."""


def is_meant(message: Message, me: Me) -> bool:
    """Whether a message in a group is for the bot: a mention, a reply to it, or one of its commands."""
    return replies_to(message, me) or _mentions(message, me) or _commands(message, me)


def is_for_another(message: Message, me: Me) -> bool:
    """Whether a message is another bot's command (`/new@other_bot`)."""
    _, at, bot = _command(message).partition("@")
    return bool(at) and bot.lower() != me.username.lower()


def replies_to(message: Message, me: Me) -> bool:
    """Whether a message replies to one of the bot's. In a topic everything replies to its first, which says nothing."""
    replied = message.reply_to_message
    if replied is None or replied.forum_topic_created is not None or replied.from_user is None:
        return False
    return replied.from_user.id == me.id and replied.sender_chat is None


def words(message: Message, me: Me) -> str:
    """The text or caption, without a mention of the bot at its beginning or end."""
    text = message.text if message.text is not None else (message.caption or "")
    for entity, name in reversed(_entities(message, MessageEntity.MENTION, MessageEntity.TEXT_MENTION)):
        if not _is_me(entity, name, me):
            continue
        before, after = _around(text, entity)
        if not before.strip():
            text = after.lstrip(" \t,:\n")
        elif not after.strip(" \t.!?\n"):
            text = before.rstrip(" \t,") + after
    return text.strip()


def _around(text: str, entity: MessageEntity) -> tuple[str, str]:
    """What stands before and behind an entity, whose place is counted in UTF-16 units."""
    units = text.encode("utf-16-le")
    before, after = units[: 2 * entity.offset], units[2 * (entity.offset + entity.length) :]
    return before.decode("utf-16-le", "replace"), after.decode("utf-16-le", "replace")


def _mentions(message: Message, me: Me) -> bool:
    found = _entities(message, MessageEntity.MENTION, MessageEntity.TEXT_MENTION)
    return any(_is_me(entity, name, me) for entity, name in found)


def _is_me(entity: MessageEntity, name: str, me: Me) -> bool:
    if entity.type == MessageEntity.TEXT_MENTION:
        return entity.user is not None and entity.user.id == me.id
    return name.lower() == f"@{me.username.lower()}"


def _commands(message: Message, me: Me) -> bool:
    """Whether it is a command of this bot: named with it, or one that it knows and nobody else is named."""
    name, at, bot = _command(message).partition("@")
    return bot.lower() == me.username.lower() if at else name in me.commands


def _command(message: Message) -> str:
    """The command that a message is, without its slash; empty if it is none."""
    for entity, text in _entities(message, MessageEntity.BOT_COMMAND):
        if entity.offset == 0:
            return text[1:].lower()
    return ""


def _entities(message: Message, *kinds: str) -> list[tuple[MessageEntity, str]]:
    """Entities with their text, in the order of their places (which are counted in UTF-16 units)."""
    found = message.parse_entities(list(kinds)) if message.text is not None else {}
    if message.caption is not None:
        found = message.parse_caption_entities(list(kinds))
    return sorted(found.items(), key=lambda pair: pair[0].offset)
