"""GET /v1/models and /v1/engines: which models there are, under which names, and until when."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from adapters.web.openai.frame import CALLER
from adapters.web.openai.programs import Programs
from bot.api import ModelCard
from bot.errors import NoSuchModel

OWNER = "hearth"


class Models:
    """The routes of models."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def __call__(self, app: web.Application) -> None:
        """Add them. /engines is what the SDKs of before 2023 ask."""
        for path in ("/models", "/engines"):
            app.router.add_get(path, self.list, name=path.strip("/"))
            app.router.add_get(f"{path}/{{model:.+}}", self.retrieve, name=f"{path.strip('/')}.one")

    async def list(self, request: web.Request) -> web.Response:
        """All that the caller may use."""
        cards = await self._programs.completions.models(request[CALLER])
        show = engine if request.path.endswith("/engines") else model
        return web.json_response({"object": "list", "data": [show(card) for card in cards]})

    async def retrieve(self, request: web.Request) -> web.Response:
        """One of them. Raises NoSuchModel."""
        name = request.match_info["model"]
        cards = await self._programs.completions.models(request[CALLER])
        found = next((card for card in cards if card.id == name), None)
        if found is None:
            raise NoSuchModel(name)
        return web.json_response(engine(found) if "/engines/" in request.path else model(found))


def model(card: ModelCard) -> dict[str, Any]:
    """A model object; what is Hearth's own stands behind OpenAI's fields."""
    return {
        "id": card.id,
        "object": "model",
        "created": int(card.created.timestamp()),
        "owned_by": OWNER,
        "kind": card.kind,
        "snapshot": card.snapshot,
        "deprecated": None if card.deprecated is None else card.deprecated.date().isoformat(),
        "context_length": card.context_length,
        "description": card.description,
    }


def engine(card: ModelCard) -> dict[str, Any]:
    """An engine object, as it was before there were models."""
    return {
        "id": card.id,
        "object": "engine",
        "created": int(card.created.timestamp()),
        "owner": OWNER,
        "permissions": None,
        "ready": True,
    }
