"""Long polling, so that Telegram forgets an update only after it was committed.

An update is acknowledged by the offset of the next request. The library's own loop asks while updates may sit in memory only.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog
from telegram import Bot
from telegram.error import Conflict, InvalidToken, NetworkError, RetryAfter, TelegramError

from adapters.telegram.client import CALL_SECONDS, call, seconds_of
from adapters.telegram.intake import Intake
from adapters.telegram.updates import KINDS
from bot.ports import Receive

log = structlog.get_logger(__name__)

WAIT_SECONDS = 30
"""How long Telegram holds a request for which it has nothing."""
BATCH = 100
"""The most that one request gives."""
GATHER_SECONDS = 0.01
"""After updates that were not the most: what comes within this time is one request and one commit, where many chats write at once."""
REST_LEAST, REST_MOST = 0.5, 30.0
"""Between tries while Telegram is away: doubled each time."""
CONFLICT_SECONDS = 5.0
REFUSED_SECONDS = 60.0
NEW_NUMBERS_SECONDS = 6 * 86400.0
"""After a week without updates Telegram begins with another number, which may be lower."""


class Poller:
    """Asks for updates, one request after the other."""

    def __init__(self, bot: Bot, intake: Intake) -> None:
        self._bot = bot
        self._intake = intake
        self._offset: int | None = None
        self._last = time.monotonic()
        self._rest = REST_LEAST

    async def run(self, receive: Receive) -> None:
        """Hear until cancelled. Raises DatabaseError; what was not committed comes again."""
        while True:
            batch = await self._next()
            if batch:
                await self._intake.take(batch, receive)
                self._offset = batch[-1]["update_id"] + 1
                self._last = time.monotonic()
                if len(batch) < BATCH:
                    await asyncio.sleep(GATHER_SECONDS)
            elif time.monotonic() - self._last > NEW_NUMBERS_SECONDS:
                self._offset = None

    async def _next(self) -> list[dict[str, Any]]:
        """The updates that wait; empty after a while, or when Telegram is away."""
        parameters: dict[str, Any] = {"timeout": WAIT_SECONDS, "limit": BATCH, "allowed_updates": list(KINDS)}
        if self._offset is not None:
            parameters["offset"] = self._offset
        try:
            batch = await call(self._bot, "getUpdates", seconds=WAIT_SECONDS + CALL_SECONDS, **parameters)
        except TelegramError as error:
            await asyncio.sleep(self._how_long(error))
            return []
        self._rest = REST_LEAST
        return list(batch)

    def _how_long(self, error: TelegramError) -> float:
        """How long to leave Telegram alone after an error; the log says what it was, without its words."""
        match error:
            case RetryAfter():
                return seconds_of(error.retry_after)
            case Conflict():
                log.error("another program receives this bot's updates; only one may (or a webhook was set meanwhile)")
                return CONFLICT_SECONDS
            case InvalidToken():
                log.error("Telegram refuses the token; BotFather gives a new one (telegram.token)")
                return REFUSED_SECONDS
        rest, self._rest = self._rest, min(self._rest * 2, REST_MOST)
        level = log.warning if isinstance(error, NetworkError) else log.error
        level("Telegram does not answer", error=type(error).__name__, seconds=rest)
        return rest
