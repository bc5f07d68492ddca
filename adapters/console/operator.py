"""The owner's requests on the local socket: health, numbers, the line of a conversation, usage, export, forget, backup."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from adapters.console import wire
from adapters.console.wire import ACCOUNT, PLATFORM
from bot.cleaning import clean
from bot.errors import DatabaseError
from bot.messages import ConversationKey
from bot.ports import Removed, Store

LINE_SHOWN = 50
"""Messages of a line that a client gets: what a person would still scroll back to."""

Health = Callable[[], dict[str, Any]]
Readiness = Callable[[], Awaitable[dict[str, Any]]]
"""`ready`, and what it needs."""
Scrape = Callable[[], Awaitable[bytes]]
"""In Prometheus's text format."""


class Operator:
    """Routes for the command line of whoever owns the process."""

    def __init__(self, store: Store, health: Health, removed: Removed, *, account: str = ACCOUNT) -> None:
        self._store = store
        self._health = health
        self._removed = removed
        self._account = account

    def __call__(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/conversations/{name}", self._line)
        app.router.add_get("/usage", self._usage)
        app.router.add_get("/people/{platform}/{author}", self._export)
        app.router.add_delete("/people/{platform}/{author}", self._forget)
        app.router.add_post("/backup", self._backup)

    async def _healthz(self, _: web.Request) -> web.Response:
        health = self._health()
        try:
            health["waiting"] = await self._store.pending()
        except DatabaseError as error:
            health |= {"status": "the database fails", "database": str(error)}
        return web.json_response(health, status=200 if health["status"] == "ok" else 503)

    async def _line(self, request: web.Request) -> web.Response:
        key = ConversationKey(PLATFORM, self._account, clean(request.match_info["name"]))
        place = await self._store.find_conversation(key)
        line = await self._store.history(place.head) if place else []
        return web.json_response([{"role": m.role, "text": m.text} for m in line[-LINE_SHOWN:]])

    async def _usage(self, _: web.Request) -> web.Response:
        return web.json_response(await self._store.usage())

    async def _export(self, request: web.Request) -> web.Response:
        exported = await self._store.export(request.match_info["platform"], request.match_info["author"])
        return web.json_response(exported.data)

    async def _forget(self, request: web.Request) -> web.Response:
        gone = await self._store.forget_person(request.match_info["platform"], request.match_info["author"])
        self._removed(gone)
        return web.json_response({"messages": gone.messages, "answers": gone.answers})

    async def _backup(self, request: web.Request) -> web.Response:
        target = wire.text(await wire.body(request), "target")
        await self._store.backup(Path(target))
        return web.json_response({"written": target})


def numbers(readiness: Readiness, scrape: Scrape) -> Callable[[web.Application], None]:
    """The routes of what is measured: /readyz with its reasons, and /metrics."""

    async def readyz(_: web.Request) -> web.Response:
        found = await readiness()
        return web.json_response(found, status=200 if found["ready"] else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await scrape(), content_type="text/plain", charset="utf-8")

    def add(app: web.Application) -> None:
        app.router.add_get("/readyz", readyz)
        app.router.add_get("/metrics", metrics)

    return add
