"""Channels themselves: to look at, to close, and to be seen typing in."""

from __future__ import annotations

from tests.discord_fake.errors import Json, not_implemented, refused
from tests.discord_fake.permissions import Permission
from tests.discord_fake.platform import Handler, Platform, Request
from tests.discord_fake.records import Typing


async def _get(platform: Platform, request: Request) -> Json:
    return platform.channel(request).json


async def _update(platform: Platform, request: Request) -> Json:
    """Of threads alone: their name, and whether they are closed."""
    channel, body = platform.channel(request), request.body
    if not channel.is_thread:
        raise not_implemented("PATCH of a channel that is no thread")
    if strange := set(body) - {"name", "archived", "locked", "auto_archive_duration"}:
        raise not_implemented(f"PATCH of a thread's {sorted(strange)}")
    own = channel.owner_id == platform.world.bot.id and "locked" not in body
    # Who may write in a thread that was only closed may open it again.
    opens = set(body) == {"archived"} and body["archived"] is False and not channel.locked
    channel.must_let_bot(*([channel.sending] if opens else [] if own else [Permission.MANAGE_THREADS]))
    if channel.archived and body.get("archived") is not False:
        raise refused(50083)
    channel.name = body.get("name") or channel.name
    channel.archived = body.get("archived", channel.archived)
    channel.locked = body.get("locked", channel.locked)
    channel.tell("THREAD_UPDATE", channel.json)
    return channel.json


async def _delete(platform: Platform, request: Request) -> Json:
    channel = platform.channel(request)
    shown = channel.json
    if channel.guild is None:
        return shown
    channel.must_let_bot(Permission.MANAGE_THREADS if channel.is_thread else Permission.MANAGE_CHANNELS)
    channel.discard()
    return shown


async def _typing(platform: Platform, request: Request) -> None:
    channel = platform.channel(request)
    channel.must_let_bot_write()
    channel.typing.append(Typing(platform.world.bot.id, platform.scene.now()))


HANDLERS: dict[str, Handler] = {
    "get_channel": _get,
    "update_channel": _update,
    "delete_channel": _delete,
    "trigger_typing_indicator": _typing,
}
