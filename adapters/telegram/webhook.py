"""The webhook: Telegram brings each update to a server of ours, which says 200 once it is committed.

On a port of its own, for it is meant to be reached from outside, through a proxy that speaks TLS.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from adapters.sites import started
from adapters.telegram.intake import Intake
from bot.config import TelegramConfig
from bot.errors import DatabaseError, StartError
from bot.ports import Receive

log = structlog.get_logger(__name__)

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header's name
MOST_BYTES = 2**20
"""Of an update: its text has at most 4096 characters, and the message that it replies to as many."""
SHUTDOWN_SECONDS = 5.0


def secret_of(config: TelegramConfig) -> str:
    """What Telegram is to send along: as configured, or made of the token, which both sides know."""
    own = config.webhook_secret.get_secret_value()
    return own or hashlib.sha256(b"hearth webhook " + config.token.get_secret_value().encode()).hexdigest()


class Webhook:
    """Hears what is brought."""

    def __init__(self, config: TelegramConfig, intake: Intake) -> None:
        self._config = config
        self._intake = intake
        self._secret = secret_of(config)

    @asynccontextmanager
    async def serving(self, receive: Receive) -> AsyncIterator[None]:
        """Within the block updates can come. Raises StartError if the port is taken."""

        async def update(request: web.Request) -> web.Response:
            return await self._update(request, receive)

        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_post(urlsplit(self._config.webhook_url).path or "/", update)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        host, port = self._config.webhook_host, self._config.webhook_port
        try:
            try:
                await started(web.TCPSite(runner, host, port))
            except OSError as error:
                raise StartError(
                    f"{host}:{port} cannot be opened for Telegram's webhook ({error.strerror}). "
                    "telegram.webhook_port chooses another."
                ) from error
            yield
        finally:
            await runner.cleanup()

    async def _update(self, request: web.Request, receive: Receive) -> web.Response:
        given = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._secret.encode()):
            log.debug("a request to the webhook without Telegram's secret", peer=request.remote)
            return web.Response(status=403)
        try:
            raw = json.loads(await request.read())
        except (ValueError, RecursionError):
            return web.Response(status=400)
        if not isinstance(raw, dict):
            return web.Response(status=400)
        try:
            await self._intake.take([raw], receive)
        except DatabaseError as error:
            log.error("heard, but not received", adapter="telegram", reason=str(error))
            return web.Response(status=503)
        return web.Response()
