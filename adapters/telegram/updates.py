"""What Telegram sends -> Hearth's events. Pure; what is of no concern is None.

Decided by the kind of the update: the library's `effective_message` would take a channel's post, a guest's or a business
account's message for one that was written to the bot.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from telegram import CallbackQuery, Chat, ChatMember, ChatMemberRestricted, ChatMemberUpdated, Update
from telegram import Message as Sent

from adapters.talk import as_edit, brings_files, pressed, quoted, with_quotes
from adapters.telegram.addressing import Me, is_for_another, is_meant, replies_to, words
from adapters.telegram.files import attachments
from bot.messages import Action, Attachment, Author, ConversationKey, Event, Left, Message, Migrated

PLATFORM: Final = "telegram"
KINDS: Final = ("message", "edited_message", "callback_query", "my_chat_member")
"""`allowed_updates`: Telegram sends no others."""
_OUT = frozenset({ChatMember.LEFT, ChatMember.BANNED})
_SECOND = 2**20
"""Revisions that fit into a second: two edits of one second are told apart by the low bits of their update's id."""


def event_of(update: Update, me: Me, account: str) -> Event | None:
    """The event that an update is."""
    if update.message:
        return _message(update.message, me, account)
    if update.edited_message:
        return _edited(update.edited_message, update.update_id, me, account)
    if update.callback_query:
        return _press(update.callback_query, account)
    if update.my_chat_member:
        return _membership(update.my_chat_member, update.update_id, account)
    return None


def is_direct(chat: Chat) -> bool:
    """Whether a chat is a person's with the bot alone."""
    return chat.type == Chat.PRIVATE


def _message(sent: Sent, me: Me, account: str, revision: int = 0) -> Message | Migrated | None:
    if moved := _moved(sent, account):
        return moved
    author = _author(sent)
    if author is None or is_for_another(sent, me) or not _is_said(sent):
        return None
    direct, meant, replied = is_direct(sent.chat), is_meant(sent, me), _replied(sent)
    return Message(
        key=_key(sent, account),
        event_id=str(sent.message_id),
        author=author,
        text=_text(sent, me),
        sent_at=sent.date,
        revision=revision,
        direct=direct,
        addressed=meant,
        reply_to=None if replied is None else str(replied.message_id),
        attachments=_attached(sent, me, meant=direct or meant),
    )


def _edited(sent: Sent, update_id: int, me: Me, account: str) -> Event | None:
    edited_at = sent.edit_date or sent.date
    revision = int(edited_at.timestamp()) * _SECOND + update_id % _SECOND
    message = _message(sent, me, account, revision)
    return as_edit(message, edited_at) if isinstance(message, Message) else message


def _press(query: CallbackQuery, account: str) -> Action | None:
    asked = pressed(query.data or "")
    if query.message is None or asked is None:
        return None
    if query.message.chat.is_forum and not query.message.is_accessible:
        return None  # too old for Telegram to say in which topic it is
    key = ConversationKey(PLATFORM, account, str(query.message.chat.id))
    if isinstance(query.message, Sent):
        key = _key(query.message, account)
    return Action(
        key=key,
        event_id=f"press-{query.id}",
        author=Author(str(query.from_user.id), query.from_user.full_name, query.from_user.is_bot),
        name=asked[0],
        sent_at=datetime.now(UTC),
        target=str(query.message.message_id),
        choice=asked[1],
    )


def _membership(change: ChatMemberUpdated, update_id: int, account: str) -> Left | None:
    """The bot was removed from a chat, or its person has blocked it."""
    now = change.new_chat_member
    if now.status not in _OUT and not (isinstance(now, ChatMemberRestricted) and not now.is_member):
        return None
    key = ConversationKey(PLATFORM, account, str(change.chat.id))
    return Left(key=key, event_id=f"left-{update_id}", sent_at=change.date)


def _moved(sent: Sent, account: str) -> Migrated | None:
    """A group became a supergroup: told in both chats, once is enough."""
    old, new = sent.chat.id, sent.migrate_to_chat_id
    if sent.migrate_from_chat_id:
        old, new = sent.migrate_from_chat_id, sent.chat.id
    if not new:
        return None
    key = ConversationKey(PLATFORM, account, str(old))
    return Migrated(key=key, event_id=f"moved-{new}", new_chat=str(new), sent_at=sent.date)


def _key(sent: Sent, account: str) -> ConversationKey:
    """A topic is a conversation of its own. The thread of a reply in an ordinary group is none."""
    thread = str(sent.message_thread_id) if sent.is_topic_message and sent.message_thread_id else ""
    return ConversationKey(PLATFORM, account, str(sent.chat.id), thread)


def _author(sent: Sent) -> Author | None:
    """Who wrote it. An admin who stays anonymous writes as the group.

    Who writes as a channel is not known: it is let in by the channel's own id alone, as another bot is.
    """
    if (chat := sent.sender_chat) is not None:
        return Author(str(chat.id), chat.title or chat.username or "anonymous", is_bot=chat.id != sent.chat.id)
    user = sent.from_user
    return None if user is None else Author(str(user.id), user.full_name or str(user.id), user.is_bot)


def _is_said(sent: Sent) -> bool:
    """Whether somebody said or sent something: that a member came or a message was pinned is no message."""
    new = (
        "rich_message" in sent.api_kwargs
    )  # of a later Bot API than the library's: it is told that it is not understood
    return bool(sent.text or sent.caption or sent.effective_attachment or sent.story or sent.checklist or new)


def _text(sent: Sent, me: Me) -> str:
    return with_quotes(words(sent, me), _quote(sent, me))


def _quote(sent: Sent, me: Me) -> str:
    """What somebody refers to, where the history does not tell it: a part of a message, or somebody else's message."""
    replied = _replied(sent)
    said = sent.quote.text if sent.quote else ""
    if not said and replied is not None and not replies_to(sent, me) and not _is_known(sent, replied):
        said = replied.text or replied.caption or ""
    if not said.strip():
        return ""
    author = _author(replied) if replied is not None else None
    return quoted(said, author.name if author and not replies_to(sent, me) else "")


def _is_known(sent: Sent, replied: Sent) -> bool:
    """Whether the history has it anyway: in a private chat one's own words."""
    return is_direct(sent.chat) and replied.from_user == sent.from_user and replied.forward_origin is None


def _replied(sent: Sent) -> Sent | None:
    """The message that this one replies to. In a topic everything replies to its first, which says nothing."""
    replied = sent.reply_to_message
    return None if replied is None or replied.forum_topic_created else replied


def _attached(sent: Sent, me: Me, *, meant: bool) -> tuple[Attachment, ...]:
    """The files of a message; of one that only refers to another's, that one's."""
    own, replied = attachments(sent), _replied(sent)
    if not meant or own or replied is None or replies_to(sent, me) or not brings_files(words(sent, me), me.bringing):
        return own
    return attachments(replied)
