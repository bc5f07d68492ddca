"""The wire of the page's API: bodies that are what they must be, and values as JSON."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict
from typing import Any, get_args

from aiohttp import web

from bot.cleaning import clean
from bot.messages import Attached, Settings, Transcripts
from bot.records import Found, Node, PlatformCount, Thread

MAX_BODY = 2**20
"""Bytes of a request."""
BODY_SECONDS = 20.0
"""A body has so long to arrive: 50 KB a second for the longest."""
MAX_TITLE = 200
_EVENT = re.compile(r"[A-Za-z0-9_-]{8,64}")
_MESSAGE = re.compile(r"[0-9]{1,19}")
_CONVERSATION = re.compile(r"[A-Za-z0-9_-]{1,64}")


async def read(request: web.Request, *, seconds: float = BODY_SECONDS) -> bytes:
    """The request's body. Raises HTTPRequestTimeout and HTTPRequestEntityTooLarge."""
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="The body takes too long to arrive.") from error


async def body(request: web.Request) -> dict[str, Any]:
    """The request's JSON object. Raises HTTPBadRequest and what `read` raises."""
    await read(request)
    try:
        data = await request.json()
    except (ValueError, RecursionError, LookupError) as error:
        raise web.HTTPBadRequest(text="The body is not JSON.") from error
    if not isinstance(data, dict):
        raise web.HTTPBadRequest(text="The body is not a JSON object.")
    return data


async def form_field(request: web.Request, name: str) -> str:
    """A field of a form, empty if it is not there. Raises HTTPBadRequest and what `read` raises."""
    await read(request)
    try:
        value = (await request.post()).get(name, "")
    except (ValueError, LookupError) as error:  # bytes that are no text in their charset; a charset that there is not
        raise web.HTTPBadRequest(text="The form cannot be read.") from error
    return value if isinstance(value, str) else ""


def text(data: dict[str, Any], field: str) -> str:
    """A field that must be text, cleaned. Raises HTTPBadRequest."""
    value = data.get(field)
    if not isinstance(value, str):
        raise web.HTTPBadRequest(text=f"{field}: must be text")
    return clean(value)


def event(data: dict[str, Any]) -> str:
    """The id that the client made for what it does, so that it may say it again. Raises HTTPBadRequest."""
    value = text(data, "event")
    if not _EVENT.fullmatch(value):
        raise web.HTTPBadRequest(text="event: 8 to 64 letters, digits, - or _ (a UUID)")
    return value


def number(data: dict[str, Any], field: str) -> int:
    """A field that must be a message's id. Raises HTTPBadRequest."""
    value = data.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise web.HTTPBadRequest(text=f"{field}: must be the number of a message")
    return value


def new_conversation(data: dict[str, Any]) -> str | None:
    """The id that the client chose for a conversation, so that it may make it again. Raises HTTPBadRequest."""
    if data.get("id") is None:
        return None
    value = text(data, "id")
    if not _CONVERSATION.fullmatch(value):
        raise web.HTTPBadRequest(text="id: at most 64 letters, digits, - or _ (a UUID)")
    return value


def older_than(request: web.Request) -> int | None:
    """The message before which a line is asked for. Raises HTTPBadRequest."""
    value = request.query.get("before", "")
    if not value:
        return None
    if not _MESSAGE.fullmatch(value) or int(value) >= 2**63:
        raise web.HTTPBadRequest(text="before: must be the number of a message")
    return int(value)


def conversation(request: web.Request) -> str:
    """The conversation that the path names. Raises HTTPNotFound for what is no id."""
    value = request.match_info["id"]
    if not _CONVERSATION.fullmatch(value):
        raise web.HTTPNotFound
    return value


def thread(known: Thread) -> dict[str, Any]:
    """A row of the list of conversations."""
    return {
        "id": known.conversation.key.thread,
        "title": known.conversation.title,
        "opening": known.opening,
        "last_at": known.last_at.isoformat(),
        "waiting": known.waiting,
    }


def settings(own: Settings) -> dict[str, Any]:
    """A conversation's own settings; null is what the configuration says."""
    return asdict(own)


def node(known: Node, html: str) -> dict[str, Any]:
    """A message of the line."""
    message = known.message
    told: dict[str, Any] = {
        "id": message.id,
        "parent": message.parent,
        "role": message.role,
        "author": message.author.name if message.author else None,
        "html": html,
        "text": message.text,
        "at": message.created_at.isoformat(),
        "state": message.state,
        "model": message.model,
        "tokens": {
            "prompt": message.prompt_tokens,
            "cached": message.cached_tokens,
            "completion": message.completion_tokens,
        },
        "siblings": list(known.siblings),
        "attachments": [attachment(item) for item in message.attachments],
    }
    if known.outcome is not None:
        told["outcome"] = known.outcome
    if message.event_id is not None:
        told["event"] = message.event_id
    return told


def attachment(item: Attached) -> dict[str, Any]:
    """A file that came with a message."""
    of = item.attachment
    told: dict[str, Any] = {"kind": of.kind, "name": of.name, "media_type": of.media_type, "size": of.size}
    return told if item.speech is None else {**told, "seconds": item.speech.duration, "language": item.speech.language}


def found(known: Found) -> dict[str, Any]:
    """A message that was looked for."""
    return {
        "conversation": known.thread,
        "title": known.title,
        "message": known.message,
        "role": known.role,
        "at": known.at.isoformat(),
        "excerpt": known.excerpt,
    }


def count(known: PlatformCount) -> dict[str, Any]:
    """The numbers of one bot account."""
    return {
        "platform": known.platform,
        "account": known.account,
        "conversations": known.conversations,
        "messages": known.messages,
        "people": known.people,
        "waiting": known.waiting,
    }


def transcripts(data: dict[str, Any], field: str) -> Transcripts | None:
    """A field that must be one of the words for it, or null. Raises HTTPBadRequest."""
    value = data.get(field)
    match value:
        case None | "always" | "asked" | "never":
            return value
    raise web.HTTPBadRequest(text=f"{field}: one of {', '.join(get_args(Transcripts))}, or null for the usual")


def days(data: dict[str, Any], field: str, most: int) -> int | None:
    """A field that must be a number of days, or null. Raises HTTPBadRequest."""
    value = data.get(field)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise web.HTTPBadRequest(text=f"{field}: a number of days from 0 to {most}, or null for the usual")
    return value
