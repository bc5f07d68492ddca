"""What supervisors ask: is it alive, would it answer, and its numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

HEALTHZ, READYZ, METRICS = "/healthz", "/readyz", "/metrics"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""https://prometheus.io/docs/instrumenting/exposition_formats/"""
NOT_YOURS = "The metrics are for the owners of this bot, and for who brings web.metrics_token."

Routes = Callable[[web.Application], None]
Readiness = Callable[[], Awaitable[dict[str, Any]]]
"""`ready`, and what it needs."""
Scrape = Callable[[], Awaitable[bytes]]
"""In Prometheus's text format."""


def probes(readiness: Readiness, scrape: Scrape, *, may_see: Callable[[web.Request], bool]) -> Routes:
    """The three routes. Strangers learn one word from the first two; the third is for whom `may_see` lets in."""

    async def healthz(_: web.Request) -> web.Response:
        """This process lives."""
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        """A question that comes now is answered."""
        ready = bool((await readiness())["ready"])
        return web.json_response({"status": "ok" if ready else "not ready"}, status=200 if ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        if not may_see(request):
            raise web.HTTPForbidden(text=NOT_YOURS)
        return web.Response(body=await scrape(), headers={"Content-Type": TEXT})

    def add(app: web.Application) -> None:
        app.router.add_get(HEALTHZ, healthz)
        app.router.add_get(READYZ, readyz)
        app.router.add_get(METRICS, metrics)

    return add
