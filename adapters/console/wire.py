"""The wire of the local socket: JSON bodies that are what they must be, and errors in words."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bot.cleaning import clean
from bot.errors import DatabaseError
from bot.messages import Outgoing

PLATFORM = "console"
ACCOUNT = "local"
"""The bot account where one process alone uses the database."""
RETRY_AFTER = "Retry-After"
"""On a 503: the message was not taken and is to be sent again (RFC 9110, section 10.2.3). Other 503s are final."""
RESTART_SECONDS = 3
"""How long after its process is gone a client leaves the place to whoever starts it anew. systemd does after 0.1 s, and
Python's imports take a second or two until the database is locked."""

MAX_COUNT = 2**63
"""Above what both databases count with."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def body(request: web.Request) -> dict[str, Any]:
    """The request's JSON object. Raises HTTPBadRequest."""
    try:
        data = await request.json()
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text="the body is not JSON") from error
    if not isinstance(data, dict):
        raise web.HTTPBadRequest(text="the body is not a JSON object")
    return data


def text(data: dict[str, Any], field: str) -> str:
    """A field that must be text, cleaned. Raises HTTPBadRequest."""
    value = data.get(field)
    if not isinstance(value, str):
        raise web.HTTPBadRequest(text=f"{field}: must be text")
    return clean(value)


def paths(data: dict[str, Any], field: str) -> list[str]:
    """A field that may be a list of absolute paths. Raises HTTPBadRequest."""
    values = data.get(field, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and value.startswith("/") for value in values):
        raise web.HTTPBadRequest(text=f"{field}: must be a list of absolute paths")
    return [clean(value) for value in values]


def texts(data: dict[str, Any], field: str) -> list[str]:
    """A field that must be a list of texts, cleaned. Raises HTTPBadRequest."""
    values = data.get(field)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise web.HTTPBadRequest(text=f"{field}: must be a list of texts")
    return [clean(value) for value in values]


def number(data: dict[str, Any], field: str) -> int:
    """A field that must be a count that a database can hold. Raises HTTPBadRequest."""
    value = data.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_COUNT:
        raise web.HTTPBadRequest(text=f"{field}: must be a whole number, 0 or more")
    return value


def state(number: int, what: Outgoing) -> dict[str, Any]:
    """A message as a client is told of it."""
    files = [
        {"name": file.name, "media_type": file.media_type, "data": base64.b64encode(file.data).decode()}
        for file in what.files
    ]
    return {"message": number, "text": what.text, "final": what.final, "failed": what.failed, "files": files}


@web.middleware
async def told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An error of the database becomes an answer in its own words: 503, for it may be over in a moment."""
    try:
        return await handler(request)
    except DatabaseError as error:
        raise web.HTTPServiceUnavailable(text=str(error)) from error
