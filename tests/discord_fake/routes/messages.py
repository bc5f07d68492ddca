"""Messages to read, to delete and to react to."""

from __future__ import annotations

from collections.abc import Callable

from tests.discord_fake.errors import Json, invalid, refused
from tests.discord_fake.people import Channel
from tests.discord_fake.permissions import Permission
from tests.discord_fake.platform import Handler, Platform, Request
from tests.discord_fake.records import Message
from tests.discord_fake.scene import EPOCH

_PAGE = 50
_BULK_AGE = 14 * 24 * 3600
"""Seconds after which a message can't be deleted together with others."""


async def _list(platform: Platform, request: Request) -> list[Json]:
    """The newest first, whatever was asked for."""
    channel, query = platform.channel(request), request.query
    asked = [name for name in ("around", "before", "after") if name in query]
    if len(asked) > 1:
        raise invalid(asked[1], "MUTUALLY_EXCLUSIVE", "around, before and after exclude each other.")
    if channel.guild and Permission.READ_MESSAGE_HISTORY not in channel.may(platform.world.bot.id):
        return []
    limit = query.get("limit", _PAGE)
    page = channel.messages[-limit:]
    if asked:
        page = _PAGES[asked[0]](channel.messages, int(query[asked[0]]), limit)
    return [platform.shown(channel, message) for message in reversed(page)]


def _before(messages: list[Message], pivot: int, limit: int) -> list[Message]:
    return [message for message in messages if message.id < pivot][-limit:]


def _after(messages: list[Message], pivot: int, limit: int) -> list[Message]:
    return [message for message in messages if message.id > pivot][:limit]


def _around(messages: list[Message], pivot: int, limit: int) -> list[Message]:
    own = [message for message in messages if message.id == pivot]
    return _before(messages, pivot, limit // 2) + own + _after(messages, pivot, limit // 2)


_PAGES: dict[str, Callable[[list[Message], int, int], list[Message]]] = {
    "before": _before,
    "after": _after,
    "around": _around,
}


def _message(platform: Platform, request: Request) -> tuple[Channel, Message]:
    channel = platform.channel(request)
    message = channel.find(request.id("message_id"))
    if message.ephemeral:
        raise refused(10008)
    return channel, message


async def _get(platform: Platform, request: Request) -> Json:
    channel, message = _message(platform, request)
    if channel.guild:
        channel.must_let_bot(Permission.READ_MESSAGE_HISTORY)
    return platform.shown(channel, message)


async def _delete(platform: Platform, request: Request) -> None:
    channel, message = _message(platform, request)
    if not message.by_bot:
        channel.must_let_bot(Permission.MANAGE_MESSAGES)
    channel.must_let_bot_change()
    channel.remove([message])


async def _delete_many(platform: Platform, request: Request) -> None:
    channel, wanted = platform.channel(request), {int(number) for number in request.body["messages"]}
    channel.must_let_bot(Permission.MANAGE_MESSAGES)
    oldest = int((platform.scene.now() - _BULK_AGE) * 1000 - EPOCH) << 22
    if min(wanted) < oldest:
        raise refused(50034)
    # Ids that are unknown are passed over.
    channel.remove([message for message in channel.messages if message.id in wanted], bulk=True)


async def _react(platform: Platform, request: Request) -> None:
    channel, message = _message(platform, request)
    emoji = request.path["emoji_name"]
    if emoji.isascii() and ":" not in emoji:
        raise refused(10014)
    if channel.guild:
        needed = [Permission.READ_MESSAGE_HISTORY]
        channel.must_let_bot(*needed, *([] if emoji in message.reactions else [Permission.ADD_REACTIONS]))
    channel.must_let_bot_change()
    channel.react(platform.world.bot, message, emoji)


async def _unreact(platform: Platform, request: Request) -> None:
    channel, message = _message(platform, request)
    channel.must_let_bot_change()
    channel.unreact(platform.world.bot, message, request.path["emoji_name"])


HANDLERS: dict[str, Handler] = {
    "list_messages": _list,
    "get_message": _get,
    "delete_message": _delete,
    "bulk_delete_messages": _delete_many,
    "add_my_message_reaction": _react,
    "delete_my_message_reaction": _unreact,
}
