"""Whole answers as JSON, however long they are: a large one is written in a thread, and there in steps.

`json.dumps` holds the interpreter's lock until it is done, in whichever thread: a batch of vectors, or the log-probabilities
of a long answer, would stop everybody's answers for seconds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web

STEP = 64
"""Items of a list that are written at once: of tokens with all that is told of each, some 3 ms."""
LEVELS = 7
"""So far down an object is taken apart: to each token of a choice in a list of completions."""


async def response(make: Callable[[], Any], *, large: bool) -> web.Response:
    """What `make` makes, as a response; where it is large, it is made in a thread too."""
    if not large:
        return web.json_response(make())
    body = await asyncio.to_thread(lambda: "".join(steps(make())).encode())
    return web.Response(body=body, content_type="application/json", charset="utf-8")


def steps(value: Any, levels: int = LEVELS) -> Iterator[str]:
    """The text of `json.dumps(value)`, in small pieces."""
    if not levels or not value or not isinstance(value, dict | list):
        yield json.dumps(value)
    elif isinstance(value, dict):
        before = "{"
        for name, part in value.items():
            yield f"{before}{json.dumps(name)}: "
            yield from steps(part, levels - 1)
            before = ", "
        yield "}"
    else:
        before = "["
        for part in _parts(value, levels):
            yield before
            yield from part
            before = ", "
        yield "]"


def _parts(values: list[Any], levels: int) -> Iterator[Iterator[str]]:
    """Objects and lists one after the other, anything else by the step."""
    if isinstance(values[0], dict | list):
        yield from (steps(value, levels - 1) for value in values)
    else:
        for begin in range(0, len(values), STEP):
            yield iter((json.dumps(values[begin : begin + STEP])[1:-1],))
