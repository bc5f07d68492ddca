"""How aiohttp's sites begin to listen."""

from __future__ import annotations

import asyncio

from aiohttp import web


async def started(site: web.BaseSite) -> None:
    """Let it listen; raises OSError if it cannot. Cancelled meanwhile, it listens first and is then its runner's to clean up.

    The event loop listens a turn before the site knows of it. Who gave up in between would leave a socket that goes on
    listening, and that nobody can close.
    """
    starting = asyncio.ensure_future(site.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.gather(starting, return_exceptions=True)
        raise
