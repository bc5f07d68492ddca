"""Files that come to a conversation from the page, each as a message: a recording from the microphone, or what was dropped.

The body is the file; what else is to be said of the message stands in a header. A message with its file is committed as
one, so a browser that was told of it may forget the file.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import unquote

from aiohttp import web

from adapters.web import wire
from bot.messages import Attachment, Author, ConversationKey, Message

MAX_FILE = 25 * 2**20
"""Bytes. What is read of a recording or a document may be less (`speech.max_bytes`, `chat.max_document_bytes`)."""
AT_ONCE = 8
"""So many files are on their way in at once, all people together: each is held in memory until it is committed."""
EACH = 2
"""So many of one person, that nobody keeps the others out. A page sends one after the other; two may be open."""
SECONDS = 300.0
"""A file has so long to arrive: 90 KB a second for the largest."""
MESSAGE = "X-Hearth-Message"
"""JSON in the form of a URL: headers hold ASCII only (RFC 9110, section 5.5)."""
MAX_NAME = 255
BUSY = "Too many files are on their way. Please try again in a moment."


class Uploads:
    """Reads requests that bring a file."""

    def __init__(self) -> None:
        self._coming: Counter[str] = Counter()
        """By person."""

    async def message(self, request: web.Request, key: ConversationKey) -> Message:
        """The message that a request makes. Raises HTTPException in words for the page."""
        told = _told(request)
        with self._place(key.chat):
            data = await _file(request)
        event = wire.event(told)
        return Message(
            key=key,
            event_id=event,
            author=Author(id=key.chat, name=key.chat),
            text=wire.text(told, "text"),
            sent_at=datetime.now(UTC),
            direct=True,
            attachments=(await asyncio.to_thread(_attachment, told, data),),
            interaction=event,
            can_reply_privately=True,
            follows=wire.number(told, "follows") if told.get("follows") is not None else None,
        )

    @contextmanager
    def _place(self, person: str) -> Iterator[None]:
        """For one file. Raises HTTPServiceUnavailable."""
        if self._coming[person] >= EACH or self._coming.total() >= AT_ONCE:
            raise web.HTTPServiceUnavailable(text=BUSY, headers={"Retry-After": "3"})
        self._coming[person] += 1
        try:
            yield
        finally:
            self._coming[person] -= 1
            if not self._coming[person]:
                del self._coming[person]


def _told(request: web.Request) -> dict[str, Any]:
    """What stands in the header. Raises HTTPBadRequest."""
    try:
        told = json.loads(unquote(request.headers.get(MESSAGE, ""), errors="strict"))
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"The header {MESSAGE} is not JSON.") from error
    if not isinstance(told, dict):
        raise web.HTTPBadRequest(text=f"The header {MESSAGE} is not a JSON object.")
    return told


async def _file(request: web.Request) -> bytes:
    """The body. Raises HTTPBadRequest, HTTPRequestTimeout and HTTPRequestEntityTooLarge."""
    found = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.content.iter_any():
                found += chunk
                if len(found) > MAX_FILE:
                    raise web.HTTPRequestEntityTooLarge(MAX_FILE, len(found))
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="The file takes too long to arrive.") from error
    if not found:
        raise web.HTTPBadRequest(text="The file is empty.")
    return bytes(found)


def _attachment(told: dict[str, Any], data: bytes) -> Attachment:
    """Raises HTTPBadRequest."""
    kind: Literal["voice", "file"] = "voice" if told.get("kind") == "voice" else "file"
    return Attachment(
        kind=kind,
        name=wire.text(told, "name")[:MAX_NAME],
        media_type=wire.text(told, "media_type")[:MAX_NAME],
        size=len(data),
        reference=sha256(data).hexdigest(),
        data=data,
    )
