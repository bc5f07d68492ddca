"""A person's conversations: list, line, settings, and what is said in them. Another person's are not there (404)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from adapters.web import exporting, wire
from adapters.web.door import PERSON
from adapters.web.guard import FILES
from adapters.web.house import House
from adapters.web.screens import PLATFORM, Screens
from adapters.web.uploads import Uploads
from bot.cleaning import clean
from bot.messages import Action, ActionName, Author, Conversation, ConversationKey, Event, Message, Settings
from bot.ports import Receive

LINE = 40
"""Messages of a line that a page gets at once; it asks for older ones as its reader goes back."""
TRIES = 5
"""So often a line is read again because an answer was closed meanwhile."""
ID_BYTES = 9
"""Of a conversation's id: only its own person can use it, so it need not be a secret."""
MAX_QUERY = 200
OWN = frozenset(field.name for field in fields(Settings))
"""What can be set."""
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Of the direction of writing: they would turn around what stands beside a title."""
RESTART_SECONDS = "3"
LEAVING = "Hearth is about to end and takes no message. Please ask again in a moment."
SHUT_OUT = "You may not talk to this bot."


class Conversations:
    """The routes. `leaving`: whether this process takes no message any more."""

    def __init__(self, house: House, screens: Screens, receive: Receive, leaving: Callable[[], bool]) -> None:
        self._house = house
        self._store = house.store
        self._screens = screens
        self._receive = receive
        self._leaving = leaving
        self._uploads = Uploads()

    def __call__(self, app: web.Application) -> None:
        """Add the routes."""
        router, one = app.router, "/api/conversations/{id}"
        router.add_get("/api/conversations", self._list)
        router.add_post("/api/conversations", self._make)
        router.add_get(one, self._show)
        router.add_patch(one, self._change)
        router.add_delete(one, self._delete)
        router.add_post(f"{one}/messages", self._say)
        router.add_post(f"{one}{FILES}", self._bring)
        router.add_post(f"{one}/stop", self._stop)
        router.add_post(f"{one}/retry", self._retry)
        router.add_post(f"{one}/choose", self._choose)
        router.add_get(f"{one}/export", self._export)
        router.add_get("/api/search", self._search)

    async def _list(self, request: web.Request) -> web.Response:
        threads = await self._store.threads(PLATFORM, self._screens.account, request[PERSON])
        return web.json_response([wire.thread(known) for known in threads if known.conversation.key.thread])

    async def _make(self, request: web.Request) -> web.Response:
        """Find it or make it: a client that chose the id and heard no answer asks again."""
        person = request[PERSON]
        name = wire.new_conversation(await wire.body(request)) or secrets.token_urlsafe(ID_BYTES)
        key = self._screens.key(person, name)
        if await self._store.find_conversation(key) is not None:
            return web.json_response({"id": name})
        place = await self._store.conversation(key, person=person)
        usual = await self._store.find_conversation(self._screens.key(person, ""))
        if usual is not None and usual.settings.retention_days is not None:
            await self._store.set_settings(place.id, Settings(retention_days=usual.settings.retention_days))
        return web.json_response({"id": name}, status=201)

    async def _show(self, request: web.Request) -> web.Response:
        place = await self._place(request)
        person, name = place.key.chat, place.key.thread
        before = wire.older_than(request)
        for _ in range(TRIES):
            line = await self._store.line(place.id, limit=LINE, before=before)
            if not await self._screens.settle(person, name):
                break
        seq = self._screens.live.seq
        made = await self._screens.rendered([node.message.text for node in line])
        return web.json_response(
            {
                "id": name,
                "title": place.title,
                "settings": wire.settings(place.settings),
                "messages": [wire.node(node, html) for node, html in zip(line, made, strict=True)],
                "live": await self._screens.states(person, name),
                "seq": seq,
                "more": bool(line) and line[0].message.parent is not None,
            }
        )

    async def _change(self, request: web.Request) -> web.Response:
        place, data = await self._place(request), await wire.body(request)
        if strange := set(data) - {"title", *OWN}:
            raise web.HTTPBadRequest(text=f"There is no setting {sorted(strange)[0]!r}.")
        own = self._settings(place.settings, data)
        title = self._title(data)
        if own != place.settings:
            await self._store.set_settings(place.id, own)
        if title is not None:
            await self._store.set_title(place.id, title)
        self._screens.streams.changed(place.key.chat, place.key.thread)
        return web.json_response({})

    async def _delete(self, request: web.Request) -> web.Response:
        place = await self._place(request)
        gone = await self._store.delete_conversation(place.id)
        self._house.removed(gone)
        self._screens.forget(place.key.chat, place.key.thread)
        self._screens.streams.changed(place.key.chat, place.key.thread)
        return web.json_response({})

    async def _say(self, request: web.Request) -> web.Response:
        data, key = await self._talk(request)
        follows = wire.number(data, "follows") if data.get("follows") is not None else None
        event, text = wire.event(data), wire.text(data, "text")
        if not text.strip():
            raise web.HTTPBadRequest(text="text: there is nothing in it")
        message = Message(
            key=key,
            event_id=event,
            author=_author(key),
            text=text,
            sent_at=datetime.now(UTC),
            direct=True,
            interaction=event,
            can_reply_privately=True,
            follows=follows,
        )
        return await self._commit(message)

    async def _bring(self, request: web.Request) -> web.Response:
        place = await self._answering(request)
        return await self._commit(await self._uploads.message(request, place.key))

    async def _stop(self, request: web.Request) -> web.Response:
        place, data = await self._place(request), await wire.body(request)
        return await self._commit(_action(place.key, wire.event(data), ActionName.STOP))

    async def _retry(self, request: web.Request) -> web.Response:
        data, key = await self._talk(request)
        return await self._commit(_action(key, wire.event(data), ActionName.RETRY, wire.number(data, "message")))

    async def _choose(self, request: web.Request) -> web.Response:
        place, data = await self._place(request), await wire.body(request)
        try:
            await self._store.choose(place.id, wire.number(data, "message"))
        except ValueError as error:
            raise web.HTTPNotFound(text="There is no such message in this conversation.") from error
        self._screens.streams.changed(place.key.chat, place.key.thread)
        return web.json_response({})

    async def _export(self, request: web.Request) -> web.Response:
        place = await self._place(request)
        form = request.query.get("format", "json")
        if form not in exporting.FORMS:
            raise web.HTTPBadRequest(text=f"format: one of {', '.join(exporting.FORMS)}")
        return await exporting.conversation(self._store, place, form)

    async def _search(self, request: web.Request) -> web.Response:
        words = clean(request.query.get("q", ""))
        if len(words) > MAX_QUERY:
            raise web.HTTPBadRequest(text=f"q: at most {MAX_QUERY} characters")
        found = await self._store.search(PLATFORM, self._screens.account, request[PERSON], words)
        return web.json_response([wire.found(one) for one in found])

    async def _place(self, request: web.Request) -> Conversation:
        key = self._screens.key(request[PERSON], wire.conversation(request))
        place = await self._store.find_conversation(key)
        if place is None:
            raise web.HTTPNotFound(text="There is no such conversation.")
        return place

    async def _talk(self, request: web.Request) -> tuple[dict[str, Any], ConversationKey]:
        """The body of a request that something be answered, and where. Raises what `_place` and `wire.body` do."""
        place = await self._answering(request)
        return await wire.body(request), place.key

    async def _answering(self, request: web.Request) -> Conversation:
        """Where something is to be answered. Raises HTTPServiceUnavailable, HTTPForbidden and what `_place` does."""
        if self._leaving():
            raise web.HTTPServiceUnavailable(text=LEAVING, headers={"Retry-After": RESTART_SECONDS})
        if not self._house.may_talk(request[PERSON]):
            raise web.HTTPForbidden(text=SHUT_OUT)
        return await self._place(request)

    async def _commit(self, event: Event) -> web.Response:
        """Returns when the event is safe: the page may forget it."""
        await self._receive(event)
        self._screens.streams.changed(event.key.chat, event.key.thread)
        return web.json_response({"received": True}, status=202)

    def _settings(self, own: Settings, data: dict[str, Any]) -> Settings:
        """The settings with what is to be changed. Raises HTTPBadRequest."""
        config, changed = self._house.config(), dict[str, Any]()
        for field, known in (("model", config.models), ("persona", config.personas)):
            if field in data:
                changed[field] = None if data[field] is None else wire.text(data, field)
                if changed[field] is not None and changed[field] not in known:
                    raise web.HTTPBadRequest(text=f"{field}: there is none of this name")
        if "system_prompt" in data:
            prompt = "" if data["system_prompt"] is None else wire.text(data, "system_prompt").strip()
            if len(prompt) > self._house.max_system_prompt:
                raise web.HTTPBadRequest(text=f"system_prompt: at most {self._house.max_system_prompt} characters")
            changed["system_prompt"] = prompt or None
        if "retention_days" in data:
            changed["retention_days"] = wire.days(data, "retention_days", self._house.max_days)
        if "transcripts" in data:
            changed["transcripts"] = wire.transcripts(data, "transcripts")
        return replace(own, **changed)

    def _title(self, data: dict[str, Any]) -> str | None:
        if "title" not in data:
            return None
        title = "" if data["title"] is None else " ".join(_TURNS.sub("", wire.text(data, "title")).split())
        if len(title) > wire.MAX_TITLE:
            raise web.HTTPBadRequest(text=f"title: at most {wire.MAX_TITLE} characters")
        return title


def _author(key: ConversationKey) -> Author:
    return Author(id=key.chat, name=key.chat)


def _action(key: ConversationKey, event: str, name: ActionName, message: int | None = None) -> Action:
    return Action(
        key=key,
        event_id=event,
        author=_author(key),
        name=name,
        sent_at=datetime.now(UTC),
        message=message,
        interaction=event,
        can_reply_privately=True,
    )
