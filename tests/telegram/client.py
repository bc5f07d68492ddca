"""python-telegram-bot's own Bot on the stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from telegram import Bot
from telegram.error import TelegramError
from telegram.request import HTTPXRequest

from tests.telegram.server import DEADLINE, TelegramServer, serving


@asynccontextmanager
async def bot_on(server: TelegramServer, *, token: str = "", patience: float = DEADLINE) -> AsyncIterator[Bot]:
    """A bot that has not asked for anything yet. `patience`: seconds it waits for an answer."""
    requests = [
        HTTPXRequest(read_timeout=patience, write_timeout=DEADLINE, connect_timeout=DEADLINE, pool_timeout=DEADLINE)
        for _ in range(2)
    ]
    for request in requests:
        await request.initialize()
    try:
        with pytest.MonkeyPatch.context() as environ:
            # Otherwise reading a duration, or being told to wait, is a DeprecationWarning.
            environ.setenv("PTB_TIMEDELTA", "true")
            yield Bot(
                token or server.token,
                base_url=server.base_url,
                base_file_url=server.base_file_url,
                request=requests[0],
                get_updates_request=requests[1],
            )
    finally:
        for request in requests:
            await request.shutdown()


@asynccontextmanager
async def talking(**how: Any) -> AsyncIterator[tuple[TelegramServer, Bot]]:
    """A server and a bot on it."""
    async with serving(**how) as server, bot_on(server) as bot:
        yield server, bot


@asynccontextmanager
async def refused(words: str, kind: type[TelegramError] = TelegramError) -> AsyncIterator[None]:
    """What is done within is answered with an error that has these words."""
    with pytest.raises(kind) as caught:
        yield
    assert words.lower() in str(caught.value).lower(), caught.value
