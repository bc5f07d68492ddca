"""The owner's requests about the API on the local socket: its keys, and what is used of it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from aiohttp import web

from adapters.console import wire
from bot.api import ApiStore, Key


class ApiOwner:
    """Routes for the command line of whoever owns the process."""

    def __init__(self, store: ApiStore) -> None:
        self._store = store

    def __call__(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/api/keys", self._keys)
        app.router.add_post("/api/keys", self._add)
        app.router.add_delete("/api/keys/{name}", self._revoke)
        app.router.add_get("/api/usage", self._usage)

    async def _keys(self, _: web.Request) -> web.Response:
        return web.json_response([told(key) for key in await self._store.keys()])

    async def _add(self, request: web.Request) -> web.Response:
        body = await wire.body(request)
        values: dict[str, Any] = {
            "name": wire.text(body, "name"),
            "organisation": wire.text(body, "organisation"),
            "models": wire.texts(body, "models"),
            "requests_per_minute": wire.number(body, "requests_per_minute"),
            "tokens_per_day": wire.number(body, "tokens_per_day"),
            "expires_at": _moment(body, "expires_at"),
        }
        try:
            key = await self._store.add_key(wire.text(body, "secret"), **values)
        except ValueError as error:
            raise web.HTTPConflict(
                text=f"{error}: choose another name, or first hearth keys revoke {values['name']}"
            ) from error
        return web.json_response(told(key))

    async def _revoke(self, request: web.Request) -> web.Response:
        key = await self._store.revoke_key(request.match_info["name"])
        return web.json_response(None if key is None else told(key))

    async def _usage(self, _: web.Request) -> web.Response:
        return web.json_response(await self._store.api_usage())


def told(key: Key) -> dict[str, Any]:
    """A key as the command line is told of it: times as text."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(key).items()}


def _moment(data: dict[str, Any], field: str) -> datetime | None:
    """A field that is null or a time with its offset. Raises HTTPBadRequest."""
    if data.get(field) is None:
        return None
    try:
        moment = datetime.fromisoformat(wire.text(data, field))
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{field}: must be a time (ISO 8601)") from error
    if moment.tzinfo is None:
        raise web.HTTPBadRequest(text=f"{field}: must be a time with its offset")
    return moment
