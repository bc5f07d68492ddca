"""Whole answers as JSON, however long they are: a large one is made and written beside the event loop, in steps.

`json.dumps` holds the interpreter's lock until it is done, in whichever thread: a batch of vectors, or the log-probabilities
of a long answer, would stop everybody's answers for seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from bot import aside


async def response(make: Callable[[], Any], size: int) -> web.Response:
    """What `make` makes, as a response. `size`: its characters, roughly."""
    body = await aside.run(size, lambda: aside.written(make(), size).encode())
    return web.Response(body=body, content_type="application/json", charset="utf-8")
