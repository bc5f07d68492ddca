"""The files that come with a message, as attachments, and their way here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import aiohttp
import discord
from discord.http import Route

from adapters.discord.client import as_platform_errors
from bot.errors import MessageGone, PlatformError, TooLarge, Unreachable
from bot.messages import Attachment

FILE_BYTES = 512 * 2**20
"""The most that anybody can upload to Discord."""
CHUNK = 2**16
_EXPIRED = frozenset({403, 404})
WAIT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)


def attachments(sent: discord.Message) -> tuple[Attachment, ...]:
    """What came with a message, and with what it passes on. `reference` is the address, which is good for a day."""
    return tuple(_all(sent))


def _all(sent: discord.Message) -> Iterator[Attachment]:
    sources: list[Any] = [sent, *sent.message_snapshots]
    for source in sources:
        for item in source.attachments:
            yield _file(item)
        for sticker in source.stickers:
            yield Attachment(kind="image", name=sticker.name, media_type="image/*", size=None, reference=sticker.url)


def _file(item: discord.Attachment) -> Attachment:
    media_type = (item.content_type or "").partition(";")[0]
    return Attachment(
        kind=_kind(item, media_type),
        name="" if item.is_voice_message() else item.filename,
        media_type=media_type,
        size=item.size,
        reference=item.url,
        duration=item.duration,
    )


def _kind(item: discord.Attachment, media_type: str) -> Literal["voice", "audio", "image", "video", "file"]:
    if item.is_voice_message():
        return "voice"
    match media_type.partition("/")[0]:
        case "audio":
            return "audio"
        case "image":
            return "image"
        case "video":
            return "video"
    return "file"


async def fetch(client: discord.Client, session: aiohttp.ClientSession, attachment: Attachment, most: int) -> bytes:
    """Load a file; where its address has expired, by a new one. Raises MessageGone, TooLarge, Unreachable."""
    if attachment.size is not None and attachment.size > most:
        raise TooLarge(most)
    if not attachment.reference.startswith(("https://", "http://")):
        raise MessageGone("the file has no address")
    try:
        return await _load(session, attachment.reference, most)
    except MessageGone:
        return await _load(session, await _refreshed(client, attachment.reference), most)


async def _load(session: aiohttp.ClientSession, url: str, most: int) -> bytes:
    with as_platform_errors():
        async with session.get(url, timeout=WAIT) as response:
            if response.status in _EXPIRED:
                raise MessageGone("the file is no longer there")
            if response.status != 200:
                raise Unreachable(f"status {response.status}")
            data = bytearray()
            async for chunk in response.content.iter_chunked(CHUNK):
                data += chunk
                if len(data) > most:
                    raise TooLarge(most)
            return bytes(data)


async def _refreshed(client: discord.Client, url: str) -> str:
    """A new address for a file. Raises MessageGone if it is there no more."""
    try:
        with as_platform_errors():
            found: Any = await client.http.request(
                Route("POST", "/attachments/refresh-urls"), json={"attachment_urls": [url]}
            )
    except PlatformError as error:
        raise MessageGone("the file is no longer there") if type(error) is PlatformError else error from error
    new = found["refreshed_urls"][0]["refreshed"]
    if not new:
        raise MessageGone("the file is no longer there")
    return str(new)
