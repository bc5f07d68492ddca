"""Server-sent events: a stream of JSON texts, its end, and an error in the middle of it."""

from __future__ import annotations

import json

from aiohttp import web

from adapters.web.connections import keep_short
from adapters.web.openai.faults import Fault

DONE = b"data: [DONE]\n\n"
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


class EventStream:
    """One response of events. The headers go out with the first of them."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.response = web.StreamResponse(headers=HEADERS)

    async def begin(self) -> None:
        """Send the headers. From now on little is on its way to who reads slowly, in this process and in the system."""
        keep_short(self._request.transport)
        await self.response.prepare(self._request)

    async def send(self, *chunks: str) -> None:
        """Send JSON texts, each an event. Waits where the client reads slowly."""
        if chunks:
            await self.response.write("".join(f"data: {chunk}\n\n" for chunk in chunks).encode())

    async def fail(self, fault: Fault) -> web.StreamResponse:
        """Tell an error and end. Without an event's name: SDKs look for `error` in what has none."""
        await self.send(json.dumps(fault.body))
        await self.response.write_eof()
        return self.response

    async def end(self) -> web.StreamResponse:
        """Say that this was all."""
        await self.response.write(DONE)
        await self.response.write_eof()
        return self.response
