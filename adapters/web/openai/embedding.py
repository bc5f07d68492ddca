"""POST /v1/embeddings."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from functools import partial
from typing import Any

from aiohttp import web

from adapters.web.openai import asks, body, whole
from adapters.web.openai.frame import CALLER, SPENDING
from adapters.web.openai.parameters.text import MAX_VALUES, EmbeddingBody
from adapters.web.openai.programs import Programs
from bot.api import Embedded, EmbeddingAsk

A_NUMBER = 20
"""Characters of a coordinate, as Python writes a 32-bit float, with all its digits."""


class Embedding:
    """The route of embeddings."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def __call__(self, app: web.Application) -> None:
        """Add it."""
        app.router.add_post("/embeddings", self.embed, name="embeddings")

    async def embed(self, request: web.Request) -> web.Response:
        """The vectors of a batch."""
        asked, ask = await body.read(request, _embedding, values=MAX_VALUES)
        embedded = await self._programs.completions.embed(ask, request[CALLER], took=request[SPENDING].took)
        make = partial(_list, embedded, base64=asked.encoding_format == "base64")
        return await whole.response(make, A_NUMBER * sum(map(len, embedded.vectors)))


def _embedding(given: dict[str, Any]) -> tuple[EmbeddingBody, EmbeddingAsk]:
    asked = EmbeddingBody.parse(given)
    return asked, asks.embedding(asked)


def _list(embedded: Embedded, *, base64: bool) -> dict[str, Any]:
    encode = packed if base64 else list
    data = [
        {"object": "embedding", "index": number, "embedding": encode(vector)}
        for number, vector in enumerate(embedded.vectors)
    ]
    tokens = embedded.usage.prompt_tokens
    return {
        "object": "list",
        "data": data,
        "model": embedded.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def packed(vector: Sequence[float]) -> str:
    """Little-endian 32-bit floats in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
