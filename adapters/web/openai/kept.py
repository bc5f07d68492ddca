"""GET, POST and DELETE under /v1/chat/completions: what was kept by `store: true`, for who kept it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from adapters.web.openai import body, query, whole
from adapters.web.openai.faults import refused
from adapters.web.openai.frame import CALLER
from adapters.web.openai.parameters.chat import MAX_METADATA, MetadataBody
from adapters.web.openai.programs import Programs
from bot import aside
from bot.api import Kept
from bot.errors import BadRequest

DEFAULT_PAGE, MOST_PAGE = 20, 100
ID = "{completion_id:[A-Za-z0-9_-]+}"


class KeptCompletions:
    """The routes of kept completions."""

    def __init__(self, programs: Programs) -> None:
        self._store = programs.store
        self._completions = programs.completions

    def __call__(self, app: web.Application) -> None:
        """Add them."""
        app.router.add_get("/chat/completions", self.list, name="kept.list")
        app.router.add_get(f"/chat/completions/{ID}", self.retrieve, name="kept.retrieve")
        app.router.add_post(f"/chat/completions/{ID}", self.change, name="kept.change")
        app.router.add_delete(f"/chat/completions/{ID}", self.delete, name="kept.delete")
        app.router.add_get(f"/chat/completions/{ID}/messages", self.messages, name="kept.messages")

    async def list(self, request: web.Request) -> web.Response:
        """A page of them."""
        metadata = query.parts(request, "metadata")
        if len(metadata) > MAX_METADATA:
            raise BadRequest(f"Invalid 'metadata': at most {MAX_METADATA}.", param="metadata")
        limit, newest_first = _page(request)
        try:
            kept, more = await self._store.kept_completions(
                caller=request[CALLER].id,
                after=request.query.get("after"),
                limit=limit,
                newest_first=newest_first,
                model=await self._model(request),
                metadata=metadata or None,
            )
        except ValueError as error:
            raise BadRequest(f"Invalid 'after': {error}", param="after") from error
        size = sum(len(one.completion) for one in kept)
        return await whole.response(lambda: _listed([completion(one) for one in kept], more=more), size)

    async def retrieve(self, request: web.Request) -> web.Response:
        """One of them."""
        kept = await self._kept(request)
        return await whole.response(lambda: completion(kept), len(kept.completion))

    async def change(self, request: web.Request) -> web.Response:
        """Replace the metadata."""
        asked = await body.read(request, MetadataBody.parse)
        name = request.match_info["completion_id"]
        changed = await self._store.change_metadata(name, asked.metadata, caller=request[CALLER].id)
        kept = _found(changed, name)
        return await whole.response(lambda: completion(kept), len(kept.completion))

    async def delete(self, request: web.Request) -> web.Response:
        """Remove one."""
        name = request.match_info["completion_id"]
        if not await self._store.drop_completion(name, caller=request[CALLER].id):
            raise _gone(name)
        return web.json_response({"object": "chat.completion.deleted", "id": name, "deleted": True})

    async def messages(self, request: web.Request) -> web.Response:
        """The messages of the request."""
        limit, newest_first = _page(request)
        kept = await self._kept(request)
        after = request.query.get("after")

        def made() -> dict[str, Any]:
            found = [_message(f"{kept.id}-{n}", message) for n, message in enumerate(aside.parsed(kept.messages))]
            if newest_first:
                found.reverse()
            if after is not None:
                places = [n for n, message in enumerate(found) if message["id"] == after]
                if not places:
                    raise BadRequest("Invalid 'after': there is no such message.", param="after")
                found = found[places[0] + 1 :]
            return _listed(found[:limit], more=len(found) > limit)

        return await whole.response(made, len(kept.messages))

    async def _model(self, request: web.Request) -> str | None:
        """The snapshot that is asked for. What no name of today stands for may have answered before today."""
        if (name := request.query.get("model")) is None:
            return None
        cards = await self._completions.models(request[CALLER])
        return next((card.snapshot for card in cards if card.id == name), name)

    async def _kept(self, request: web.Request) -> Kept:
        name = request.match_info["completion_id"]
        return _found(await self._store.kept_completion(name, caller=request[CALLER].id), name)


def completion(kept: Kept) -> dict[str, Any]:
    """A completion as it was given, with its metadata."""
    return {**aside.parsed(kept.completion), "metadata": dict(kept.metadata)}


def _message(name: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as it came. Parts of its content are told as such, and as the one text that the model read."""
    content = message.get("content")
    told = {"id": name, "name": None, "content_parts": None, **message}
    if isinstance(content, list):
        told |= {"content": "".join(part[part["type"]] for part in content), "content_parts": content}
    return told


def _listed(data: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"object": "list", "data": data, **ends, "has_more": more}


def _page(request: web.Request) -> tuple[int, bool]:
    """How many, and whether the newest come first. Raises BadRequest."""
    given = request.query.get("limit", str(DEFAULT_PAGE))
    if not (given.isascii() and given.isdecimal() and len(given) < len(str(MOST_PAGE)) + 1):
        raise BadRequest(f"Invalid 'limit': a number from 1 to {MOST_PAGE}.", param="limit")
    if not 1 <= int(given) <= MOST_PAGE:
        raise BadRequest(f"Invalid 'limit': a number from 1 to {MOST_PAGE}.", param="limit")
    order = request.query.get("order", "asc")
    if order not in {"asc", "desc"}:
        raise BadRequest("Invalid 'order': asc or desc.", param="order")
    return int(given), order == "desc"


def _found(kept: Kept | None, name: str) -> Kept:
    if kept is None:
        raise _gone(name)
    return kept


def _gone(name: str) -> Exception:
    return refused(404, f"No completion is kept with the id '{name}'.", code="not_found", param="completion_id")
