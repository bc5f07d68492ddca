"""What Discord sends -> Hearth's events. What is of no concern is None."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import discord

from adapters.discord.files import attachments
from adapters.discord.places import Place
from adapters.talk import as_edit, brings_files, quoted, with_quotes
from bot.messages import Attachment, Author, Edited, Message

_SAID = frozenset({discord.MessageType.default, discord.MessageType.reply})
_MENTION = re.compile(r"<(?:@!?(?P<user>\d+)|@&(?P<role>\d+)|#(?P<channel>\d+)|a?:(?P<emoji>\w+):\d+)>")


@dataclass(frozen=True, slots=True)
class Me:
    """The bot."""

    id: int
    bringing: Collection[str] = ()
    """Its commands that bring files (`Command.brings_files`)."""


def message_of(sent: discord.Message, place: Place, bot: Me, member: Any = None) -> Message | None:
    """What somebody has written. `member`: who wrote it, where the message does not say as whom."""
    me = bot.id
    if sent.type not in _SAID or sent.author.id == me or not _is_said(sent):
        return None
    meant = place.own_thread or _mentions(sent, me) or replies_to(sent, me)
    edited = 0 if sent.edited_at is None else int(sent.edited_at.timestamp() * 1000)
    return Message(
        key=place.key,
        event_id=str(sent.id),
        author=author_of(member or sent.author, place, webhook=sent.webhook_id is not None),
        text=_text(sent, place, me),
        sent_at=sent.created_at,
        revision=edited,
        direct=place.direct,
        addressed=meant,
        reply_to=str(sent.reference.message_id) if _is_reply(sent) and sent.reference else None,
        attachments=_attached(sent, bot, meant=meant or place.direct),
        opens=str(sent.id) if place.can_open else "",
    )


def edit_of(sent: discord.Message, place: Place, bot: Me) -> Message | Edited | None:
    """A message that has new text. That the platform has shown a link's card is no edit."""
    if sent.edited_at is None:
        return None
    message = message_of(sent, place, bot)
    return None if message is None else as_edit(message, sent.edited_at)


def author_of(who: Any, place: Place, *, webhook: bool = False) -> Author:
    """Who wrote or pressed something, with the roles of a guild's member. What comes by a webhook is a bot's."""
    # The library's roles are those that it has in memory; these are what the message says.
    roles = frozenset(str(role) for role in getattr(who, "_roles", ()))
    rights = getattr(who, "guild_permissions", None)
    return Author(
        str(who.id),
        who.display_name,
        is_bot=who.bot or webhook,
        roles=roles,
        guild=place.guild,
        manages=rights is not None and bool(rights.manage_guild or rights.administrator),
    )


def replies_to(sent: discord.Message, me: int) -> bool:
    """Whether a message replies to one of the bot's."""
    replied = _replied(sent)
    return replied is not None and replied.author.id == me


def now() -> datetime:
    """For what Discord gives no time for."""
    return datetime.now(UTC)


def _is_said(sent: discord.Message) -> bool:
    """Whether there are words or files. A poll and a card of another program are neither."""
    return bool(sent.content.strip() or sent.attachments or sent.stickers or sent.message_snapshots)


def _mentions(sent: discord.Message, me: int) -> bool:
    """By name, or by the role that is the bot's own: their names are the same, and people take either."""
    if any(user.id == me for user in sent.mentions) and f"{me}>" in sent.content:
        return True
    own = None if sent.guild is None else sent.guild.self_role
    return own is not None and own.id in sent.raw_role_mentions


def _is_reply(sent: discord.Message) -> bool:
    """A forward refers to a message too, and so do words about a pinned one."""
    return sent.type is discord.MessageType.reply


def _replied(sent: discord.Message) -> discord.Message | None:
    """The message that this one replies to, if it is there still."""
    found = sent.reference.resolved if _is_reply(sent) and sent.reference is not None else None
    return found if isinstance(found, discord.Message) else None


def _text(sent: discord.Message, place: Place, me: int) -> str:
    return with_quotes(_words(sent, me), *_forwarded(sent), _quote(sent, place, me))


def _quote(sent: discord.Message, place: Place, me: int) -> str:
    """Somebody else's message that this one replies to: the history need not have it."""
    replied = _replied(sent)
    if replied is None or replied.author.id == me or (place.direct and replied.author == sent.author):
        return ""
    said = _plain(replied, replied.content)
    return quoted(said, replied.author.display_name) if said.strip() else ""


def _forwarded(sent: discord.Message) -> list[str]:
    return [quoted(_plain(sent, shot.content)) for shot in sent.message_snapshots if shot.content.strip()]


def _words(sent: discord.Message, me: int) -> str:
    """The text without a mention of the bot at its beginning or end, the other mentions as people see them."""
    own = [f"<@{me}>", f"<@!{me}>"]
    if sent.guild is not None and sent.guild.self_role is not None:
        own.append(sent.guild.self_role.mention)
    text = sent.content.strip()
    if name := next((name for name in own if text.startswith(name)), ""):
        text = text.removeprefix(name).lstrip(" \t,:\n")
    elif name := next((name for name in own if text.rstrip(" \t.!?\n").endswith(name)), ""):
        before, _, after = text.rpartition(name)
        text = before.rstrip(" \t,") + after
    return _plain(sent, text).strip()


def _plain(sent: discord.Message, text: str) -> str:
    """Mentions as names, channels and emoji as words."""
    users = {str(user.id): user.display_name for user in sent.mentions}

    def name(found: re.Match[str]) -> str:
        if found["user"]:
            return f"@{users.get(found['user'], 'somebody')}"
        if found["emoji"]:
            return f":{found['emoji']}:"
        if sent.guild is None:
            return found.group()
        if found["role"]:
            role = sent.guild.get_role(int(found["role"]))
            return f"@{role.name}" if role else "@somebody"
        channel = sent.guild.get_channel_or_thread(int(found["channel"]))
        return f"#{channel.name}" if channel else "#somewhere"

    return _MENTION.sub(name, text)


def _attached(sent: discord.Message, bot: Me, *, meant: bool) -> tuple[Attachment, ...]:
    """The files of a message; of one that only refers to another's, that one's."""
    own, replied = attachments(sent), _replied(sent)
    if not meant or own or replied is None or replied.author.id == bot.id:
        return own
    return attachments(replied) if brings_files(_words(sent, bot.id), bot.bringing) else own
