"""What the bot can ask about chats."""

from __future__ import annotations

from tests.telegram.errors import Json, bad_request
from tests.telegram.membership import member_json
from tests.telegram.people import Chat
from tests.telegram.platform import Handler, Platform

_GIFTS = (
    *("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription"),
    "gifts_from_channels",
)


def _chat(platform: Platform, given: Json) -> Chat:
    chat = platform.world.find(given["chat_id"])
    if chat.type != "private":
        chat.must_let_bot_in()
    return chat


async def get_chat(platform: Platform, given: Json) -> Json:
    """Everything that is known of a chat."""
    chat = _chat(platform, given)
    told = chat.json | {"accent_color_id": 0, "max_reaction_count": 11}
    linked = {"linked_chat_id": chat.linked_id} if chat.linked_id else {}
    return told | {"accepted_gift_types": dict.fromkeys(_GIFTS, False)} | linked


async def get_chat_member(platform: Platform, given: Json) -> Json:
    """Somebody's status in a chat."""
    chat = _chat(platform, given)
    user = {platform.world.bot.id: platform.world.bot, **platform.scene.users}.get(given["user_id"])
    if user is None:
        raise bad_request("invalid user_id specified")
    return member_json(user, chat.members.get(user.id, "left"))


async def get_chat_administrators(platform: Platform, given: Json) -> list[Json]:
    """The owner and the administrators, other bots left out."""
    chat = _chat(platform, given)
    if chat.type == "private":
        raise bad_request("there are no administrators in the private chat")
    ruling = {user: status for user, status in chat.members.items() if status in {"creator", "administrator"}}
    known = {platform.world.bot.id: platform.world.bot, **platform.scene.users}
    return [member_json(known[user], status) for user, status in ruling.items()]


async def get_chat_member_count(platform: Platform, given: Json) -> int:
    """How many are in a chat, the bot included."""
    return sum(status not in {"left", "kicked"} for status in _chat(platform, given).members.values())


async def leave_chat(platform: Platform, given: Json) -> bool:
    """The bot goes."""
    chat = platform.world.find(given["chat_id"])
    if chat.type == "private":
        raise bad_request("chat member status can't be changed in private chats")
    chat.must_let_bot_in()
    chat.members[platform.world.bot.id] = "left"
    return True


HANDLERS: dict[str, Handler] = {
    "getChat": get_chat,
    "getChatMember": get_chat_member,
    "getChatAdministrators": get_chat_administrators,
    "getChatMemberCount": get_chat_member_count,
    "leaveChat": leave_chat,
}
