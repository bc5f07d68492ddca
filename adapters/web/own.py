"""What a person may know, take along and have removed, and the stream of what changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from aiohttp import web

from adapters.web import exporting, wire
from adapters.web.connections import keep_short
from adapters.web.door import PERSON
from adapters.web.house import House
from adapters.web.screens import PLATFORM, Screens
from adapters.web.streams import TooMany
from adapters.web.uploads import MAX_FILE
from bot.config import SpeechConfig
from bot.messages import Command

PING = b"event: ping\ndata: {}\n\n"
"""An event and no comment: the page must see that the connection lives, and a browser does not tell it of comments."""
PING_SECONDS = 15.0
"""Proxies close what is silent for longer; nginx after 60 s."""
WRITE_SECONDS = 30.0
"""A page that takes nothing for so long is gone: it asks for everything anew when it comes back."""
OF_A_MODEL = ("alias", "description", "label", "demo", "leaves_machine")
"""What everybody may know of a model."""
MOST_PAGES = "Too many pages are open."


class Own:
    """The routes. `commands`: the menu as it is now; `stands`: whether who made a request is still known by it."""

    def __init__(
        self,
        house: House,
        screens: Screens,
        commands: Callable[[], Sequence[Command]],
        stands: Callable[[web.Request], bool],
    ) -> None:
        self._house = house
        self._store = house.store
        self._screens = screens
        self._commands = commands
        self._stands = stands

    def __call__(self, app: web.Application) -> None:
        """Add the routes."""
        router = app.router
        router.add_get("/api/me", self._me)
        router.add_get("/api/events", self._events, allow_head=False)
        router.add_get("/api/usage", self._usage)
        router.add_get("/api/export", self._export)
        router.add_post("/api/forget-me", self._forget_me)
        router.add_get("/api/privacy", self._privacy)
        router.add_post("/api/privacy", self._set_privacy)
        router.add_get("/api/files/{name}", self._file)

    async def _me(self, request: web.Request) -> web.Response:
        config, person = self._house.config(), request[PERSON]
        admin = self._house.is_admin(person)
        persona = config.personas["default"]
        return web.json_response(
            {
                "person": person,
                "admin": admin,
                "program": self._house.program if admin else "hearth",  # where it lies is nobody else's business
                "version": self._house.version,
                "login": bool(config.web.token or config.web.people),
                "personas": [
                    {"name": name, "description": p.description, "model": p.model}
                    for name, p in config.personas.items()
                ],
                "models": [{key: model[key] for key in OF_A_MODEL} for model in self._house.models()],
                "defaults": {
                    "persona": "default",
                    "model": persona.model or "default",
                    "retention_days": await self._days(person),
                    "transcripts": config.chat.transcripts,
                },
                "recording": _recording(config.speech),
                "commands": [{"name": c.name, "help": c.help, "argument": c.argument} for c in self._commands()],
            }
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        try:
            with self._screens.streams.open(request[PERSON]) as stream:
                response = web.StreamResponse(headers=headers)
                await response.prepare(request)
                keep_short(request.transport)
                await response.write(b"retry: 1000\n\n")
                while not stream.closed:
                    data = await stream.take(PING_SECONDS)
                    if not self._stands(request):
                        break
                    async with asyncio.timeout(WRITE_SECONDS):
                        await response.write(data or PING)
                return response
        except TooMany as error:
            raise web.HTTPTooManyRequests(text=MOST_PAGES, headers={"Retry-After": "30"}) from error
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
            return response

    async def _usage(self, request: web.Request) -> web.Response:
        return web.json_response(await self._store.usage(platform=PLATFORM, author=request[PERSON]))

    async def _export(self, request: web.Request) -> web.Response:
        exported = await self._store.export(PLATFORM, request[PERSON])
        data = await asyncio.to_thread(json.dumps, exported.data, ensure_ascii=False, indent=2)
        return exporting.download(data.encode(), "hearth-export.json", "application/json")

    async def _forget_me(self, request: web.Request) -> web.Response:
        person = request[PERSON]
        await wire.body(request)
        gone = await self._store.forget_person(PLATFORM, person)
        self._house.removed(gone)
        self._screens.forget(person)
        self._screens.streams.changed(person, "")
        return web.json_response({"messages": gone.messages, "answers": gone.answers})

    async def _privacy(self, request: web.Request) -> web.Response:
        return web.json_response({"days": await self._days(request[PERSON])})

    async def _set_privacy(self, request: web.Request) -> web.Response:
        """For all the conversations that there are, and for new ones: those take it from one that has no name."""
        person = request[PERSON]
        days = wire.days(await wire.body(request), "days", self._house.max_days)
        usual = await self._store.conversation(self._screens.key(person, ""), person=person)
        threads = await self._store.threads(PLATFORM, self._screens.account, person)
        for place in [usual, *(known.conversation for known in threads)]:
            await self._store.set_settings(place.id, replace(place.settings, retention_days=days))
        return web.json_response({"days": await self._days(person)})

    async def _file(self, request: web.Request) -> web.Response:
        file = self._screens.live.file(request[PERSON], request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound(text="This file is not kept any more.")
        return exporting.download(file.data, file.name, file.media_type)

    async def _days(self, person: str) -> int:
        usual = await self._store.find_conversation(self._screens.key(person, ""))
        own = usual.settings.retention_days if usual else None
        return self._house.config().retention.days if own is None else own


def _recording(speech: SpeechConfig) -> dict[str, float] | None:
    """How long and how large one may be that is made on the page."""
    if not speech.enabled:
        return None
    return {"seconds": speech.max_duration, "bytes": min(speech.max_bytes, MAX_FILE)}
