"""Updates, raw as they came, to events that are committed: the same for both ways in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence

import structlog
from telegram import Bot
from telegram.error import TelegramError

from adapters.telegram.addressing import Me
from adapters.telegram.raw import Raw
from adapters.telegram.updates import chat_of, event_of
from bot.errors import DatabaseError
from bot.messages import Event, Message
from bot.ports import Receive

log = structlog.get_logger(__name__)

TRIES = 3
"""An event that fails so often, the database apart, is passed over: it would keep all later ones from being heard."""
REST_SECONDS = 0.1
ALBUMS = 1000
"""Of the last ones it is known what was said of them."""


class Intake:
    """Takes updates in for one bot."""

    def __init__(self, bot: Bot, me: Callable[[], Me], account: str) -> None:
        self._bot = bot
        self._me = me
        self._account = account
        self._albums: deque[str] = deque(maxlen=ALBUMS)
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, batch: Sequence[Raw], receive: Receive) -> None:
        """Commit every update: in order within a chat, many chats at once. Raises DatabaseError: then none is to be acknowledged."""
        lines: dict[object, list[Raw]] = {}
        for update in batch:
            lines.setdefault(chat_of(update) or object(), []).append(update)
        done = await asyncio.gather(*(self._line(line, receive) for line in lines.values()), return_exceptions=True)
        if failed := [error for error in done if error is not None]:
            raise failed[0]

    async def _line(self, line: Sequence[Raw], receive: Receive) -> None:
        for update in line:
            try:
                event = event_of(update, self._me(), self._account)
            except Exception as error:  # noqa: BLE001 - what cannot be read now never can; the later ones are to be heard
                self._pass_over(update, error)
                continue
            if event is not None and not self._is_more_of_the_same(update, event):
                await self._receive(update, event, receive)
            if (query := update.get("callback_query")) is not None:
                self._keep(self._acknowledge(str(query.get("id"))))

    async def _receive(self, update: Raw, event: Event, receive: Receive) -> None:
        for tried in range(1, TRIES + 1):
            try:
                await receive(event)
                self._remember(update)
                return
            except DatabaseError:
                raise
            except Exception as error:  # noqa: BLE001 - as above; it is logged
                if tried == TRIES:
                    self._pass_over(update, error)
                await asyncio.sleep(REST_SECONDS)

    def _is_more_of_the_same(self, update: Raw, event: Event) -> bool:
        """Whether it is one more picture of an album: that they are not understood is said once, not ten times."""
        album = _album(update)
        if album is None or not isinstance(event, Message) or event.text:
            return False
        if any(item.kind != "image" for item in event.attachments):
            return False
        return album in self._albums

    def _remember(self, update: Raw) -> None:
        """Only once something of an album was received: what the database refused comes again."""
        album = _album(update)
        if album is not None and album not in self._albums:
            self._albums.append(album)

    def _pass_over(self, update: Raw, error: Exception) -> None:
        """The traceback may hold what somebody wrote."""
        log.error("an update is passed over", update=update.get("update_id"), error=type(error).__name__)
        log.debug("why an update is passed over", exc_info=error)

    async def _acknowledge(self, query: str) -> None:
        """The button stops turning; nothing is lost if it does not."""
        try:
            await self._bot.answer_callback_query(query)
        except TelegramError as error:
            log.debug("a press was not acknowledged", error=type(error).__name__)

    def _keep(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _album(update: Raw) -> str | None:
    album: str | None = update.get("message", {}).get("media_group_id")
    return album
