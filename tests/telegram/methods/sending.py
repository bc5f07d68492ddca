"""Messages, drafts and signs of activity."""

from __future__ import annotations

from tests.telegram.entities import TEXT_LIMIT, Formatted, caption, formatted, message_text
from tests.telegram.errors import Json, bad_request, not_implemented
from tests.telegram.methods.markups import inline_keyboard
from tests.telegram.people import Chat
from tests.telegram.platform import Handler, Platform
from tests.telegram.records import Activity, Draft, Message
from tests.telegram.scene import StoredFile
from tests.telegram.spec import Upload

_UPLOAD_LIMIT = 50 * 2**20
_ELSEWHERE = ("business_connection_id", "direct_messages_topic_id", "suggested_post_parameters")


def _refuse_elsewhere(given: Json) -> None:
    for name in _ELSEWHERE:
        if name in given:
            raise not_implemented(name)


def _replied(chat: Chat, given: Json) -> Message | None:
    """The message that is replied to. Raises Refused."""
    told = given.get("reply_parameters")
    if told is None:
        return None
    if told.get("chat_id", chat.id) != chat.id:
        raise not_implemented("a reply to another chat's message")
    message = chat.find(told["message_id"])
    if message is None and not told.get("allow_sending_without_reply"):
        raise bad_request("message to be replied not found")
    if message is not None and told.get("quote") and told["quote"] not in message.text:
        raise bad_request("QUOTE_TEXT_INVALID")
    return message


def _send(platform: Platform, method: str, chat: Chat, given: Json, body: Json) -> Json:
    """The part that all kinds of messages have in common."""
    thread = given.get("message_thread_id")
    chat.must_have_thread(thread)
    replied = _replied(chat, given)
    keyboard = inline_keyboard(given)
    platform.flood.count(method, chat, platform.scene.now())
    hanging = chat.hanging(replied, thread)
    sender: Json = {"sender_chat": chat.json} if chat.type == "channel" else {"from": platform.world.bot.json}
    message = chat.add(sender | hanging | body | keyboard, by_bot=True)
    chat.last_bot = platform.world.bot.id
    chat.wipe_drafts()
    if chat.discussion is not None:
        chat.forward_into_discussion(message)
    return message.json


def written(platform: Platform, content: Formatted, key: str = "text") -> Json:
    """The fields of a text or of a caption."""
    entities = platform.scene.text_mentions(content.entities)
    name = "entities" if key == "text" else "caption_entities"
    return ({key: content.text} if content.text else {}) | ({name: entities} if entities else {})


async def send_message(platform: Platform, given: Json) -> Json:
    """A text."""
    _refuse_elsewhere(given)
    chat = platform.world.find(given["chat_id"])
    content = message_text(given)
    chat.must_let_bot_write()
    return _send(platform, "sendMessage", chat, given, written(platform, content))


def _document(platform: Platform, given: Json) -> StoredFile:
    sent = given["document"]
    if not isinstance(sent, Upload):
        if sent not in platform.scene.files:
            raise bad_request("wrong file identifier/HTTP URL specified")
        return platform.scene.files[sent]
    if not sent.content:
        raise bad_request("file must be non-empty")
    if len(sent.content) > _UPLOAD_LIMIT:
        raise bad_request("file is too big")
    suffix = f".{sent.name.rpartition('.')[2]}" if "." in sent.name else ""
    return platform.scene.store("documents", suffix, sent.content)


async def send_document(platform: Platform, given: Json) -> Json:
    """A file with a caption."""
    _refuse_elsewhere(given)
    chat = platform.world.find(given["chat_id"])
    content = caption(given)
    chat.must_let_bot_write()
    sent = given["document"]
    told = _document(platform, given).json
    if isinstance(sent, Upload):
        told |= {"file_name": sent.name, "mime_type": sent.media_type}
    return _send(platform, "sendDocument", chat, given, {"document": told} | written(platform, content, "caption"))


async def send_message_draft(platform: Platform, given: Json) -> bool:
    """A text that is shown for half a minute, in a private chat."""
    chat = platform.world.find(given["chat_id"])
    if chat.type != "private":
        raise bad_request("TEXTDRAFT_PEER_INVALID")
    chat.must_let_bot_write()
    if not given["draft_id"]:
        raise bad_request("draft_id must be non-zero")  # the platform's own words are not documented
    chat.must_have_thread(given.get("message_thread_id"))
    content = formatted(given.get("text", ""), given.get("parse_mode"), given.get("entities"))
    if content.length > TEXT_LIMIT:
        raise bad_request("message is too long")
    draft = Draft(given["draft_id"], content, given.get("message_thread_id"), platform.scene.now())
    chat.drafts.append(draft)
    return True


async def send_chat_action(platform: Platform, given: Json) -> bool:
    """ "typing" and the like; the General topic is named here, and here only."""
    _refuse_elsewhere(given)
    chat = platform.world.find(given["chat_id"])
    chat.must_let_bot_write()
    chat.must_have_thread(given.get("message_thread_id"), general=True)
    chat.actions.append(Activity(given["action"], given.get("message_thread_id"), platform.scene.now()))
    return True


HANDLERS: dict[str, Handler] = {
    "sendMessage": send_message,
    "sendDocument": send_document,
    "sendMessageDraft": send_message_draft,
    "sendChatAction": send_chat_action,
}
