"""The owner's view, and what a supervisor asks: is it alive, does it answer."""

from __future__ import annotations

from aiohttp import web

from adapters.web import wire
from adapters.web.door import PERSON, SCRAPER
from adapters.web.house import House
from adapters.web.probes import probes

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
        probes(self._house.readiness, self._house.scrape, may_see=self._may_see)(app)

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

    def _may_see(self, request: web.Request) -> bool:
        return SCRAPER in request or self._house.is_admin(request[PERSON])

    def _require(self, request: web.Request) -> None:
        if not self._house.is_admin(request[PERSON]):
            raise web.HTTPForbidden(text=NOT_YOURS)
