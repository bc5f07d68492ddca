"""A unix socket that one process at a time answers on."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from adapters.sites import started
from bot.errors import StartError

DIRECTORY_MODE = 0o700
"""The socket's directory is its owner's alone: whoever can connect owns the bot."""
SHUTDOWN_SECONDS = 1.0


@asynccontextmanager
async def listening(app: web.Application, path: Path) -> AsyncIterator[None]:
    """Serve `app` on the socket at `path`. Raises StartError if another process answers there."""
    try:
        await asyncio.to_thread(_prepare, path)
    except OSError as error:
        raise StartError(f"{path.parent} cannot be made or used ({error.strerror}).") from error
    if await answers(path):
        raise StartError(f"Another Hearth process answers on {path}. Stop it first, or choose another data directory.")
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await _bind(runner, path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        await runner.cleanup()


async def _bind(runner: web.AppRunner, path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        await started(web.UnixSite(runner, str(path)))
    except OSError as error:
        raise StartError(f"{path} cannot be opened ({error.strerror or error}).") from error


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
    # Not followed: in a folder that all may write to, a link of somebody else's could lead into one of ours.
    found = path.parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StartError(f"{path.parent} is not a directory of yours: remove it, or choose another data directory.")
    path.parent.chmod(DIRECTORY_MODE)
