"""A unix socket that one process at a time answers on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from bot.errors import StartError

DIRECTORY_MODE = 0o700
"""The socket's directory is its owner's alone: whoever can connect owns the bot."""
SHUTDOWN_SECONDS = 1.0


@asynccontextmanager
async def listening(app: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve `app` on the socket at `path`. Raises StartError if another process answers there."""
    await asyncio.to_thread(_prepare, path)
    if await answers(path):
        raise StartError(f"Another Hearth process answers on {path}. Stop it first, or choose another data directory.")
    path.unlink(missing_ok=True)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        yield
    finally:
        await runner.cleanup()
        path.unlink(missing_ok=True)


async def answers(path: Path) -> bool:
    """Whether somebody listens on this socket."""
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    return True


def _prepare(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
    if path.parent.stat().st_uid != os.getuid():
        raise StartError(f"{path.parent} belongs to somebody else: remove it, or choose another data directory.")
    path.parent.chmod(DIRECTORY_MODE)
