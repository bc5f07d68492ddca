"""Changes to messages that are there."""

from __future__ import annotations

from tests.telegram.chats import EDIT_NOT_FOUND, not_modified, own_message
from tests.telegram.entities import message_text
from tests.telegram.errors import Json, bad_request, not_implemented
from tests.telegram.methods.markups import inline_keyboard
from tests.telegram.methods.sending import written
from tests.telegram.people import Chat
from tests.telegram.platform import Handler, Platform
from tests.telegram.records import Message

DELETE_SECONDS = 48 * 3600.0
"""How long a bot can delete a message after it was sent."""


def _target(platform: Platform, given: Json) -> tuple[Chat, Message]:
    for name in ("inline_message_id", "business_connection_id", "rich_message"):
        if name in given:
            raise not_implemented(name)
    if "chat_id" not in given:
        raise bad_request("chat_id is empty")
    chat = platform.world.find(given["chat_id"])
    chat.must_let_bot_in()
    if "message_id" not in given:
        raise bad_request(EDIT_NOT_FOUND)
    return chat, own_message(chat, given["message_id"])


def _apply(
    platform: Platform, method: str, chat: Chat, message: Message, content: Json, without: tuple[str, ...]
) -> Json:
    """An edit that gives no keyboard takes the keyboard away."""
    kept = {name: value for name, value in message.json.items() if name not in without}
    if kept | content == message.json:
        raise not_modified()
    platform.flood.count(method, chat, platform.scene.now())
    chat.change(message, content, without=without)
    return message.json


async def edit_message_text(platform: Platform, given: Json) -> Json:
    """Another text, and another keyboard or none."""
    chat, message = _target(platform, given)
    content = message_text(given)
    if "text" not in message.json:
        raise bad_request("there is no text in the message to edit")
    changed = written(platform, content) | inline_keyboard(given)
    return _apply(platform, "editMessageText", chat, message, changed, ("text", "entities", "reply_markup"))


async def edit_message_reply_markup(platform: Platform, given: Json) -> Json:
    """Another keyboard, or none."""
    chat, message = _target(platform, given)
    return _apply(platform, "editMessageReplyMarkup", chat, message, inline_keyboard(given), ("reply_markup",))


async def delete_message(platform: Platform, given: Json) -> bool:
    """Remove the bot's message; another's too in a private chat, and where the bot is an administrator."""
    chat = platform.world.find(given["chat_id"])
    chat.must_let_bot_in()
    message = chat.find(given["message_id"])
    if message is None:
        raise bad_request("message to delete not found")
    administrator = chat.bot_status == "administrator"
    old = platform.scene.now() - message.versions[0][0] > DELETE_SECONDS
    if (old and not administrator) or not (message.by_bot or administrator or chat.type == "private"):
        raise bad_request("message can't be deleted")
    message.deleted = True
    return True


async def set_message_reaction(platform: Platform, given: Json) -> bool:
    """The bot's reaction to a message; one at most."""
    chat = platform.world.find(given["chat_id"])
    chat.must_let_bot_in()
    message = chat.find(given["message_id"])
    if message is None:
        raise bad_request("message to react not found")
    reactions = given.get("reaction", [])
    if len(reactions) > 1:
        raise bad_request("REACTIONS_TOO_MANY")
    if any(reaction["type"] != "emoji" for reaction in reactions):
        raise not_implemented("a reaction that is no plain emoji")
    message.reactions = [reaction["emoji"] for reaction in reactions]
    return True


HANDLERS: dict[str, Handler] = {
    "editMessageText": edit_message_text,
    "editMessageReplyMarkup": edit_message_reply_markup,
    "deleteMessage": delete_message,
    "setMessageReaction": set_message_reaction,
}
