"""What Telegram sends -> Hearth's events. Pure; what is of no concern is None.

Decided by the kind of the update: the library's `effective_message` would take a channel's post, a guest's or a business
account's message for one that was written to the bot.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from telegram.constants import ChatMemberStatus, ChatType, MessageAttachmentType

from adapters.talk import as_edit, brings_files, pressed, quoted, with_quotes
from adapters.telegram.addressing import Me, is_for_another, is_meant, replies_to, said, words
from adapters.telegram.files import attachments
from adapters.telegram.raw import Raw, full_name, time_of
from bot.messages import Action, Attachment, Author, ConversationKey, Event, Left, Message, Migrated

PLATFORM: Final = "telegram"
KINDS: Final = ("message", "edited_message", "callback_query", "my_chat_member")
"""`allowed_updates`: Telegram sends no others."""
_OUT = frozenset({ChatMemberStatus.LEFT, ChatMemberStatus.BANNED})
_SAID = frozenset({"text", "caption", "checklist", "rich_message", *MessageAttachmentType})
"""What a message has of which somebody said or sent something. A rich message is told that it is not understood."""
_SECOND = 2**20
"""Revisions that fit into a second: two edits of one second are told apart by the low bits of their update's id."""


def event_of(update: Raw, me: Me, account: str) -> Event | None:
    """The event that an update is."""
    if (sent := update.get("message")) is not None:
        return _message(sent, me, account)
    if (sent := update.get("edited_message")) is not None:
        return _edited(sent, update["update_id"], me, account)
    if (query := update.get("callback_query")) is not None:
        return _press(query, account)
    if (change := update.get("my_chat_member")) is not None:
        return _membership(change, update["update_id"], account)
    return None


def chat_of(update: Raw) -> int | None:
    """The chat that an update is about; None for an update that nobody can read."""
    try:
        press = update.get("callback_query")
        about = press["message"] if press else next(update[kind] for kind in KINDS if kind in update)
        return int(about["chat"]["id"])
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return None


def _message(sent: Raw, me: Me, account: str, revision: int = 0) -> Message | Migrated | None:
    key, sent_at = _key(sent, account), time_of(sent["date"])
    if moved := _moved(sent, account):
        return moved
    author = _author(sent)
    if author is None or is_for_another(sent, me) or _SAID.isdisjoint(sent):  # such as: a member came
        return None
    direct, meant, replied = _is_direct(sent), is_meant(sent, me), _replied(sent)
    return Message(
        key=key,
        event_id=str(sent["message_id"]),
        author=author,
        text=with_quotes(words(sent, me), _quote(sent, me)),
        sent_at=sent_at,
        revision=revision,
        direct=direct,
        addressed=meant,
        reply_to=None if replied is None else str(replied["message_id"]),
        attachments=_attached(sent, me, meant=direct or meant),
    )


def _is_direct(sent: Raw) -> bool:
    """Whether its chat is a person's with the bot alone."""
    return bool(sent["chat"]["type"] == ChatType.PRIVATE)


def _edited(sent: Raw, update_id: int, me: Me, account: str) -> Event | None:
    edited_at = sent.get("edit_date") or sent["date"]
    message = _message(sent, me, account, edited_at * _SECOND + update_id % _SECOND)
    return as_edit(message, time_of(edited_at)) if isinstance(message, Message) else message


def _press(query: Raw, account: str) -> Action | None:
    sent, asked = query.get("message"), pressed(query.get("data", ""))
    if sent is None or asked is None:
        return None
    if sent["chat"].get("is_forum") and not sent["date"]:
        return None  # too old for Telegram to say in which topic it is
    user = query["from"]
    return Action(
        key=_key(sent, account),
        event_id=f"press-{query['id']}",
        author=Author(str(user["id"]), full_name(user), user["is_bot"]),
        name=asked[0],
        sent_at=datetime.now(UTC),
        target=str(sent["message_id"]),
        choice=asked[1],
    )


def _membership(change: Raw, update_id: int, account: str) -> Left | None:
    """The bot was removed from a chat, or its person has blocked it."""
    now = change["new_chat_member"]
    if now["status"] not in _OUT and not (now["status"] == ChatMemberStatus.RESTRICTED and not now["is_member"]):
        return None
    key = ConversationKey(PLATFORM, account, str(change["chat"]["id"]))
    return Left(key=key, event_id=f"left-{update_id}", sent_at=time_of(change["date"]))


def _moved(sent: Raw, account: str) -> Migrated | None:
    """A group became a supergroup: told in both chats, once is enough."""
    old, new = sent["chat"]["id"], sent.get("migrate_to_chat_id")
    if before := sent.get("migrate_from_chat_id"):
        old, new = before, old
    if not new:
        return None
    key = ConversationKey(PLATFORM, account, str(old))
    return Migrated(key=key, event_id=f"moved-{new}", new_chat=str(new), sent_at=time_of(sent["date"]))


def _key(sent: Raw, account: str) -> ConversationKey:
    """A topic is a conversation of its own. The thread of a reply in an ordinary group is none."""
    thread = sent.get("message_thread_id") if sent.get("is_topic_message") else None
    return ConversationKey(PLATFORM, account, str(sent["chat"]["id"]), str(thread or ""))


def _author(sent: Raw) -> Author | None:
    """Who wrote it. An admin who stays anonymous writes as the group.

    Who writes as a channel is not known: it is let in by the channel's own id alone, as another bot is.
    """
    if (chat := sent.get("sender_chat")) is not None:
        name = chat.get("title") or chat.get("username") or "anonymous"
        return Author(str(chat["id"]), name, is_bot=chat["id"] != sent["chat"]["id"])
    user = sent.get("from")
    return None if user is None else Author(str(user["id"]), full_name(user) or str(user["id"]), user["is_bot"])


def _quote(sent: Raw, me: Me) -> str:
    """What somebody refers to, where the history does not tell it: a part of a message, or somebody else's message."""
    replied = _replied(sent)
    marked = sent["quote"]["text"] if "quote" in sent else ""
    if not marked and replied is not None and not replies_to(sent, me) and not _is_known(sent, replied):
        marked = said(replied)
    if not marked.strip():
        return ""
    author = _author(replied) if replied is not None else None
    return quoted(marked, author.name if author and not replies_to(sent, me) else "")


def _is_known(sent: Raw, replied: Raw) -> bool:
    """Whether the history has it anyway: in a private chat one's own words."""
    one, other = (message.get("from", {}).get("id") for message in (sent, replied))
    return _is_direct(sent) and one == other and "forward_origin" not in replied


def _replied(sent: Raw) -> Raw | None:
    """The message that this one replies to. In a topic everything replies to its first, which says nothing."""
    replied: Raw | None = sent.get("reply_to_message")
    return None if replied is None or "forum_topic_created" in replied else replied


def _attached(sent: Raw, me: Me, *, meant: bool) -> tuple[Attachment, ...]:
    """The files of a message; of one that only refers to another's, that one's."""
    own, replied = attachments(sent), _replied(sent)
    if not meant or own or replied is None or replies_to(sent, me) or not brings_files(words(sent, me), me.bringing):
        return own
    return attachments(replied)
