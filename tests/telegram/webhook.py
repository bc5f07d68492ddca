"""Updates by webhook: one POST after the other, each repeated until it is answered with 2xx.

https://core.telegram.org/bots/api#setwebhook
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp

from tests.telegram.errors import Json, bad_request
from tests.telegram.updates import UpdateQueue

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
ANSWER_SECONDS = 60.0
_SECRET = re.compile(r"[A-Za-z0-9_\-]{1,256}")
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass
class Webhook:
    """Where updates are posted, if anywhere."""

    queue: UpdateQueue
    now: Callable[[], float]
    retry: float = 0.05
    """Seconds between attempts; the platform takes longer."""
    url: str = ""
    secret: str = ""
    max_connections: int = 40
    deliveries: list[tuple[int, int]] = field(default_factory=list)
    """(update_id, status) of each attempt; 0 where no answer came."""
    replies: list[str] = field(default_factory=list)
    """Bodies of answers: a method in one would be called by the platform, and is not by this server."""
    _error: Json = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    async def set(self, url: str, secret: str, max_connections: int) -> None:
        """Post updates there from now on. Raises Refused."""
        address = urlsplit(url)
        # A Bot API server of one's own takes plain HTTP on the same machine.
        if address.scheme != "https" and not (address.scheme == "http" and address.hostname in _LOCAL):
            raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
        if secret and not _SECRET.fullmatch(secret):
            raise bad_request("secret token contains unallowed characters")
        await self.stop()
        self.queue.interrupt("terminated by setWebhook request")
        self.url, self.secret, self.max_connections = url, secret, max_connections
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Post nothing more."""
        self.url = self.secret = ""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def info(self) -> Json:
        """WebhookInfo."""
        own: Json = {"url": self.url, "has_custom_certificate": False, "pending_update_count": len(self.queue.pending)}
        if self.url:
            own |= {"max_connections": self.max_connections} | self._error
        return own | ({"allowed_updates": self.queue.allowed} if self.queue.allowed else {})

    async def _run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as http:
            while True:
                update = await self.queue.first()
                status = await self._post(http, update)
                self.deliveries.append((update["update_id"], status))
                if 200 <= status < 300:
                    self.queue.taken(update)
                else:
                    await asyncio.sleep(self.retry)

    async def _post(self, http: aiohttp.ClientSession, update: Json) -> int:
        headers = {SECRET_HEADER: self.secret} if self.secret else {}
        try:
            async with http.post(self.url, json=update, headers=headers) as response:
                if body := await response.text():
                    self.replies.append(body)
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            self._note(f"Connection failed: {type(error).__name__}")
            return 0
        if not 200 <= status < 300:
            self._note(f"Wrong response from the webhook: {status} {HTTPStatus(status).phrase}")
        return status

    def _note(self, words: str) -> None:
        self._error = {"last_error_date": int(self.now()), "last_error_message": words}
