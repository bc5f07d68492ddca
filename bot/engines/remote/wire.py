"""HTTP to a model's server: sessions, and bodies that are never longer than we can bear."""

from __future__ import annotations

import asyncio
import io
from contextlib import closing
from typing import Any

import aiohttp

from bot import aside
from bot.config import RemoteModelConfig
from bot.errors import EngineError

FAILURES = (aiohttp.ClientError, OSError, ValueError, RuntimeError)
"""What a lost connection or an odd answer can look like; aiohttp's closed sessions are RuntimeErrors."""


def session(config: RemoteModelConfig) -> aiohttp.ClientSession:
    """A session for one model: no cookies, no compression (a small body could be a huge one), no limit of its own."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "hearth"}
    if key := config.api_key.get_secret_value():
        headers["Authorization"] = f"Bearer {key}"
    return aiohttp.ClientSession(
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0, force_close=True),  # one that was kept could be dead without a sign
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=config.connect_timeout),
        auto_decompress=False,
    )


async def post(http: aiohttp.ClientSession, url: str, body: object) -> aiohttp.ClientResponse:
    """Send JSON. A redirect is not followed: it would take the key and people's words elsewhere."""
    size = aside.amount(body, most=aside.HUGE)
    written = await aside.run(size, lambda: aside.written(body, size).encode())
    data = io.BytesIO(written)  # in pieces: a long conversation as one would hold the event loop up
    return await http.post(url, data=data, headers={"Content-Type": "application/json"}, allow_redirects=False)


async def read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body's first `most` bytes and perhaps some more."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) >= most:
            break
    return bytes(body)


async def ask(
    http: aiohttp.ClientSession, url: str, body: object = None, *, seconds: float, most: int
) -> tuple[int, Any]:
    """The status, and the answer as JSON; None if it is none, or too long. Raises EngineError if there is no answer."""
    try:
        async with asyncio.timeout(seconds):
            response = await (http.get(url, allow_redirects=False) if body is None else post(http, url, body))
            with closing(response):
                text = await read(response, most)
    except TimeoutError as error:
        raise EngineError(detail=f"{url}: no answer in time") from error
    except FAILURES as error:
        raise EngineError(detail=f"{url}: {reason(error)}") from error
    if len(text) >= most:
        return response.status, None
    return response.status, await aside.run(len(text), lambda: parsed(text))


def parsed(text: bytes) -> Any:
    """JSON, or None if it is none."""
    try:
        return aside.parsed(text)
    except (ValueError, RecursionError):
        return None


def reason(error: Exception) -> str:
    """An error in a few words."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
