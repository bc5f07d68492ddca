"""One websocket of the gateway: what goes out in its order, compressed if the client asked for it."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import deque
from dataclasses import dataclass, field

from aiohttp import web

from tests.discord_fake.errors import Json


@dataclass(frozen=True)
class Raw:
    """A text that is sent as it is."""

    text: str


@dataclass(frozen=True)
class Close:
    """The connection's end with this code."""

    code: int


@dataclass(eq=False)
class Connection:
    """A websocket with a queue before it, so that whoever acts needs not wait for the network."""

    socket: web.WebSocketResponse
    request: web.Request
    compressed: bool
    queue: deque[Json | Raw | Close] = field(default_factory=deque)
    frozen: bool = False
    """Nothing goes out, heartbeats' answers neither: the line is dead and nobody has noticed."""
    closing: int | None = None
    """The code with which the gateway ended it."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _stream: zlib._Compress = field(default_factory=zlib.compressobj)

    def push(self, payload: Json | Raw | Close) -> None:
        """Send this, after what was pushed before."""
        self.queue.append(payload)
        self._wake.set()

    def thaw(self) -> None:
        """The line works again."""
        self.frozen = False
        self._wake.set()

    def abort(self) -> None:
        """End it without a word: the client sees 1006."""
        self.closing = 1006
        if self.request.transport is not None:
            self.request.transport.abort()

    async def run(self) -> None:
        """Send what is pushed until the connection ends."""
        while not self.socket.closed:
            await self._wake.wait()
            self._wake.clear()
            while self.queue and not self.frozen:
                item = self.queue.popleft()
                if isinstance(item, Close):
                    self.closing = item.code
                    await self.socket.close(code=item.code)
                    return
                try:
                    await self._send(item.text if isinstance(item, Raw) else json.dumps(item))
                except ConnectionError:
                    return

    async def _send(self, text: str) -> None:
        if not self.compressed:
            await self.socket.send_str(text)
            return
        # One stream for the whole connection; a message ends where the compressor was flushed.
        data = self._stream.compress(text.encode()) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        await self.socket.send_bytes(data)
