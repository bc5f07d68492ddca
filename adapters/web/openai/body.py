"""JSON bodies, within bounds of size, depth and time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from adapters.web.openai.faults import refused
from adapters.web.openai.parameters.base import MOST_DEPTH, is_shallow

MOST = 16 * 2**20
"""Bytes of a JSON body: a window of a million tokens as text."""
SECONDS = 60.0
"""A body has so long to arrive."""
TOO_DEEP = f"more than {MOST_DEPTH} objects and lists are within one another"
LARGE = 64 * 1024
"""Bytes from which on a body is parsed in a thread: half a millisecond of the event loop."""


async def read(request: web.Request) -> dict[str, Any]:
    """The request's JSON object. Raises Refused."""
    if request.content_type != "application/json":
        raise refused(415, "The body must be JSON (Content-Type: application/json).", code="unsupported_media_type")
    found = await _bytes(request)
    try:
        data = await asyncio.to_thread(_parse, found) if len(found) > LARGE else _parse(found)
    except ValueError as error:
        raise refused(400, f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(data, dict):
        raise refused(400, "The body must be a JSON object.")
    return data


async def _bytes(request: web.Request) -> bytes:
    too_large = refused(413, f"The body is too large: at most {MOST // 2**20} MiB.")
    if _length(request) > MOST:
        raise too_large
    found = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.content.iter_any():
                found += chunk
                if len(found) > MOST:
                    raise too_large
    except TimeoutError as error:
        raise refused(408, "The body takes too long to arrive.") from error
    return bytes(found)


def _length(request: web.Request) -> int:
    """As it is said to be; 0 if that is not said."""
    try:
        return request.content_length or 0
    except ValueError as error:  # thousands of zeros before it
        raise refused(400, "Content-Length is no number.") from error


def _parse(found: bytes) -> Any:
    """Raises ValueError."""
    try:
        data = json.loads(found, parse_constant=_constant)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if found.count(b"{") + found.count(b"[") > MOST_DEPTH and not is_shallow(data):
        raise ValueError(TOO_DEEP)
    return data


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
