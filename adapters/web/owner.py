"""The owner's view, and what a supervisor asks: is it alive, does it answer."""

from __future__ import annotations

from aiohttp import web

from adapters.web import wire
from adapters.web.door import METRICS, PERSON, SCRAPER
from adapters.web.house import House

NOT_YOURS = "This is for the owners of this bot."


class Owner:
    """The routes."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._store = house.store

    def __call__(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/api/owner", self._view)
        app.router.add_get("/api/owner/check", self._check)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get(METRICS, self._metrics)

    async def _view(self, request: web.Request) -> web.Response:
        self._require(request)
        health = self._house.health()
        models = self._house.models()
        return web.json_response(
            {
                "models": models,
                "adapters": health["adapters"],
                "queue": {model["alias"]: model["waiting"] for model in models},
                "in_progress": health["in_progress"],
                "waiting": await self._store.pending(),
                "last_errors": self._house.last_errors(),
                "platforms": [wire.count(known) for known in await self._store.overview()],
                "usage": await self._store.usage(),
            }
        )

    async def _check(self, request: web.Request) -> web.Response:
        self._require(request)
        return web.json_response(await self._house.check())

    async def _healthz(self, _: web.Request) -> web.Response:
        """This process lives; nothing else is told to those who have no token."""
        return web.json_response({"status": "ok"})

    async def _readyz(self, _: web.Request) -> web.Response:
        """Whether questions would be answered; how many wait is nobody's business who has no token."""
        readiness = await self._house.readiness()
        told = {name: value for name, value in readiness.items() if isinstance(value, bool)}
        return web.json_response(told, status=200 if readiness["ready"] else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        if SCRAPER not in request:
            self._require(request)
        body, media_type = await self._house.scrape()
        return web.Response(body=body, headers={"Content-Type": media_type})

    def _require(self, request: web.Request) -> None:
        if not self._house.is_admin(request[PERSON]):
            raise web.HTTPForbidden(text=NOT_YOURS)
