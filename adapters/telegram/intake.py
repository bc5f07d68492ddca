"""Updates, raw as they came, to events that are committed: the same for both ways in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from telegram import Bot, Update
from telegram.error import TelegramError

from adapters.telegram.addressing import Me
from adapters.telegram.updates import event_of
from bot.errors import DatabaseError
from bot.ports import Receive

log = structlog.get_logger(__name__)

TRIES = 3
"""An update that fails so often, the database apart, is passed over: it would keep all later ones from being heard."""
REMEMBERED = 1000
"""Updates whose failures are counted."""

Raw = Mapping[str, Any]
"""An update as the JSON has it."""


class Intake:
    """Takes updates in for one bot. Remembers what failed, so one of it outlives the connection."""

    def __init__(self, bot: Bot, me: Callable[[], Me], account: str) -> None:
        self._bot = bot
        self._me = me
        self._account = account
        self._failures: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, batch: Sequence[Raw], receive: Receive) -> None:
        """Commit every update: in order within a chat, many chats at once. Raises DatabaseError: then none is to be acknowledged."""
        lines: dict[object, list[Raw]] = {}
        for raw in batch:
            lines.setdefault(_chat(raw), []).append(raw)
        done = await asyncio.gather(*(self._line(line, receive) for line in lines.values()), return_exceptions=True)
        if failed := [error for error in done if error is not None]:
            raise failed[0]

    async def _line(self, line: Sequence[Raw], receive: Receive) -> None:
        for raw in line:
            await self._one(raw, receive)

    async def _one(self, raw: Raw, receive: Receive) -> None:
        number = raw.get("update_id", 0)
        try:
            update = Update.de_json(dict(raw), self._bot)
            if (event := event_of(update, self._me(), self._account)) is not None:
                await receive(event)
        except DatabaseError:
            raise
        except Exception as error:
            if len(self._failures) > REMEMBERED:
                self._failures.clear()
            self._failures[number] += 1
            if self._failures[number] < TRIES:
                raise
            # The traceback may hold what somebody wrote.
            log.error("an update is passed over", update=number, error=type(error).__name__)
            log.debug("why an update is passed over", exc_info=error)
            return
        if update.callback_query is not None:
            self._keep(self._acknowledge(update.callback_query.id))

    async def _acknowledge(self, query: str) -> None:
        """The button stops turning; nothing is lost if it does not."""
        try:
            await self._bot.answer_callback_query(query)
        except TelegramError as error:
            log.debug("a press was not acknowledged", error=type(error).__name__)

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _chat(raw: Raw) -> object:
    """The chat of an update; of one without, something of its own."""
    for kind in ("message", "edited_message", "my_chat_member"):
        if kind in raw:
            return _id(raw[kind])
    if "callback_query" in raw:
        return _id(raw["callback_query"].get("message") or {})
    return object()


def _id(holder: Raw) -> object:
    return (holder.get("chat") or {}).get("id")
