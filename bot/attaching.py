"""Attaching: a command uses the process that runs, or is one itself for as long as it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from adapters.console.client import Client
from adapters.console.socket import answers
from bot.config import Config
from bot.errors import InUse, StartError

if TYPE_CHECKING:
    from bot.app import App

T = TypeVar("T")

LOCK_SECONDS = 60.0
"""How long another process that owns the database may take until it answers or ends: a large model is loaded first."""
POLL_SECONDS = 0.1

Start = Callable[[], "AbstractAsyncContextManager[App]"]
"""Makes a process: `bot.app.running` with all that it needs."""


async def connected(
    config: Config, use: Callable[[Client], Awaitable[T]], *, answering: bool = True, preload: bool = False
) -> T:
    """Do something with the process that runs, or with the one that this is meanwhile.

    `answering`: whether questions are asked; if not, a process that this becomes answers none. Raises StartError.
    """

    def start() -> AbstractAsyncContextManager[App]:
        from bot.app import configure_logging, running  # a command that finds a process needs none of it

        configure_logging(config.log, quiet=True)
        return running(config, answering=answering, preload=preload)

    return await attached(config.socket, start, use, stays=answering)


async def attached(socket: Path, start: Start, use: Callable[[Client], Awaitable[T]], *, stays: bool = True) -> T:
    """The same with a process that `start` makes. `stays`: if the process goes away, another one is found or made."""
    async with AsyncExitStack() as stack:

        async def find(patience: float = 0.0) -> Path:
            return await _find(stack, socket, start, patience)

        async with Client(await find(), find if stays else None) as client:
            return await use(client)


async def _find(stack: AsyncExitStack, socket: Path, start: Start, patience: float) -> Path:
    """The socket of the process that answers, or of the one that this becomes until the stack is closed.

    `patience`: seconds for which it becomes none.
    """
    began = time.monotonic()
    while not await answers(socket):
        if time.monotonic() < began + patience:
            await asyncio.sleep(POLL_SECONDS)
            continue
        try:
            return await stack.enter_async_context(_being(start))
        except InUse:  # its owner is about to answer, or to end
            if time.monotonic() > began + patience + LOCK_SECONDS:
                raise
            await asyncio.sleep(POLL_SECONDS)
        except ExceptionGroup as error:
            # On PostgreSQL nobody is locked out: of two that began together one has the socket now.
            if error.split(StartError)[1] is not None or not await answers(socket):
                raise
    return socket


@asynccontextmanager
async def _being(start: Start) -> AsyncIterator[Path]:
    """Be the process; at the end for as long as others wait for their answers, who may have found it."""
    async with start() as app:
        yield app.socket
        app.console.refuse(retry_after=0)  # nobody starts this process again
        await app.console.unwatched.wait()
