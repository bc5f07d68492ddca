"""Threads that the bot begins, joins and looks for."""

from __future__ import annotations

from tests.discord_fake import content
from tests.discord_fake.errors import Json, invalid, refused
from tests.discord_fake.people import Channel
from tests.discord_fake.permissions import Permission
from tests.discord_fake.platform import Handler, Platform, Request
from tests.discord_fake.routes.writing import fields_of, must_let_bot_send, write
from tests.discord_fake.state import ANNOUNCEMENT, FORUM, PRIVATE_THREAD, TEXT


def _place(platform: Platform, request: Request) -> Channel:
    channel = platform.channel(request)
    if channel.type not in {TEXT, ANNOUNCEMENT, FORUM}:
        raise refused(50024)
    return channel


async def _from_message(platform: Platform, request: Request) -> Json:
    channel = _place(platform, request)
    message = channel.find(request.id("message_id"))
    channel.must_let_bot(Permission.CREATE_PUBLIC_THREADS)
    if "thread" in message.json:
        raise refused(160004)
    if message.json["type"] not in {0, 19, 20, 23}:
        raise refused(50021)
    return channel.open_thread(platform.world.bot, request.body["name"], of=message).json


async def _create(platform: Platform, request: Request) -> Json:
    channel, body = _place(platform, request), request.body
    if channel.type == FORUM:
        return _post(platform, channel, request)
    if "message" in body:
        raise invalid("message", "UNKNOWN_PROPERTY", "Only a forum's post begins with a message.")
    # The platform's default is a private thread, which surprises those who leave the type out.
    private = (body.get("type") or PRIVATE_THREAD) == PRIVATE_THREAD
    channel.must_let_bot(Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS)
    return channel.open_thread(platform.world.bot, body["name"], private=private).json


def _post(platform: Platform, channel: Channel, request: Request) -> Json:
    body = request.body
    if "message" not in body:
        raise invalid("message", "BASE_TYPE_REQUIRED", "This field is required")
    draft = content.draft(body["message"], request.uploads)
    channel.must_let_bot(Permission.SEND_MESSAGES)
    must_let_bot_send(channel, draft)
    made = channel.open_thread(platform.world.bot, body["name"])
    message = write(made, platform, fields_of(platform, made, draft) | {"id": str(made.id)})
    return made.json | {"message": platform.shown(made, message)}


async def _join(platform: Platform, request: Request) -> None:
    channel = platform.channel(request)
    if not channel.is_thread:
        raise refused(50024)
    channel.must_let_bot_change()
    channel.join(platform.world.bot)


async def _leave(platform: Platform, request: Request) -> None:
    channel = platform.channel(request)
    channel.must_let_bot_change()
    if platform.world.bot.id in channel.thread_members:
        channel.thread_members.remove(platform.world.bot.id)


async def _public_archive(platform: Platform, request: Request) -> Json:
    channel = _place(platform, request)
    channel.must_let_bot(Permission.READ_MESSAGE_HISTORY)
    return _archive(platform, [t for t in channel.threads if t.archived and t.type != PRIVATE_THREAD], request)


async def _private_archive(platform: Platform, request: Request) -> Json:
    channel = _place(platform, request)
    channel.must_let_bot(Permission.READ_MESSAGE_HISTORY, Permission.MANAGE_THREADS)
    return _archive(platform, [t for t in channel.threads if t.archived and t.type == PRIVATE_THREAD], request)


async def _my_archive(platform: Platform, request: Request) -> Json:
    channel, bot = _place(platform, request), platform.world.bot.id
    channel.must_let_bot(Permission.READ_MESSAGE_HISTORY)
    private = [t for t in channel.threads if t.type == PRIVATE_THREAD and bot in t.thread_members]
    return _archive(platform, [thread for thread in private if thread.archived], request)


def _archive(platform: Platform, threads: list[Channel], request: Request) -> Json:
    """The newest first. Of `before`, a time or an id, only ids are understood here."""
    before, limit = str(request.query.get("before", "")), request.query.get("limit", 50)
    found = sorted(threads, key=lambda thread: -thread.id)
    if before.isdecimal():
        found = [thread for thread in found if thread.id < int(before)]
    elif before:
        found = [thread for thread in found if platform.scene.timestamp(thread.created_at) < before]
    return listed(found[:limit], platform, more=len(found) > limit)


def listed(threads: list[Channel], platform: Platform, *, more: bool = False) -> Json:
    """A ThreadsResponse."""
    mine = [thread.bot_member for thread in threads if platform.world.bot.id in thread.thread_members]
    return {"threads": [thread.json for thread in threads], "members": mine, "has_more": more}


HANDLERS: dict[str, Handler] = {
    "create_thread_from_message": _from_message,
    "create_thread": _create,
    "join_thread": _join,
    "leave_thread": _leave,
    "list_public_archived_threads": _public_archive,
    "list_private_archived_threads": _private_archive,
    "list_my_private_archived_threads": _my_archive,
}
