"""Is the bot meant? And what is said when the words that only call it are taken away. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from telegram.constants import MessageEntityType

from adapters.telegram.raw import Raw


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


def is_meant(message: Raw, me: Me) -> bool:
    """Whether a message in a group is for the bot: a mention, a reply to it, or one of its commands."""
    return replies_to(message, me) or _mentions(message, me) or _commands(message, me)


def is_for_another(message: Raw, me: Me) -> bool:
    """Whether a message is another bot's command (`/new@other_bot`)."""
    _, at, bot = _command(message).partition("@")
    return bool(at) and bot.lower() != me.username.lower()


def replies_to(message: Raw, me: Me) -> bool:
    """Whether a message replies to one of the bot's. In a topic everything replies to its first, which says nothing."""
    replied = message.get("reply_to_message")
    if replied is None or "forum_topic_created" in replied or "from" not in replied:
        return False
    return replied["from"]["id"] == me.id and "sender_chat" not in replied


def words(message: Raw, me: Me) -> str:
    """The text or caption, without a mention of the bot at its beginning or end."""
    text = said(message)
    for entity, name in reversed(_entities(message, MessageEntityType.MENTION, MessageEntityType.TEXT_MENTION)):
        if not _is_me(entity, name, me):
            continue
        before, after = _around(text, entity)
        if not before.strip():
            text = after.lstrip(" \t,:\n")
        elif not after.strip(" \t.!?\n"):
            text = before.rstrip(" \t,") + after
    return text.strip()


def said(message: Raw) -> str:
    """The text or caption as it was sent; empty if there is none."""
    text: str = message.get("text") or message.get("caption") or ""
    return text


def _around(text: str, entity: Raw) -> tuple[str, str]:
    """What stands before and behind an entity, whose place is counted in UTF-16 units."""
    units = text.encode("utf-16-le", "surrogatepass")
    before, after = units[: 2 * entity["offset"]], units[2 * (entity["offset"] + entity["length"]) :]
    return before.decode("utf-16-le", "replace"), after.decode("utf-16-le", "replace")


def _mentions(message: Raw, me: Me) -> bool:
    found = _entities(message, MessageEntityType.MENTION, MessageEntityType.TEXT_MENTION)
    return any(_is_me(entity, name, me) for entity, name in found)


def _is_me(entity: Raw, name: str, me: Me) -> bool:
    if entity["type"] == MessageEntityType.TEXT_MENTION:
        return "user" in entity and entity["user"]["id"] == me.id
    return name.lower() == f"@{me.username.lower()}"


def _commands(message: Raw, me: Me) -> bool:
    """Whether it is a command of this bot: named with it, or one that it knows and nobody else is named."""
    name, at, bot = _command(message).partition("@")
    return bot.lower() == me.username.lower() if at else name in me.commands


def _command(message: Raw) -> str:
    """The command that a message is, without its slash; empty if it is none."""
    for entity, text in _entities(message, MessageEntityType.BOT_COMMAND):
        if entity["offset"] == 0:
            return text[1:].lower()
    return ""


def _entities(message: Raw, *kinds: str) -> list[tuple[Raw, str]]:
    """Entities with their text, in the order of their places (which are counted in UTF-16 units)."""
    found = message.get("entities") or message.get("caption_entities") or ()
    wanted = sorted((entity for entity in found if entity["type"] in kinds), key=lambda entity: entity["offset"])
    if not wanted:
        return []
    units = said(message).encode("utf-16-le", "surrogatepass")
    places = [(2 * entity["offset"], 2 * (entity["offset"] + entity["length"])) for entity in wanted]
    return [
        (one, units[start:end].decode("utf-16-le", "replace")) for one, (start, end) in zip(wanted, places, strict=True)
    ]
