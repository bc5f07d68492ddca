"""The TCP side: a port that is listened on, how many connections there may be, and how long each may keep one waiting."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web

from adapters.web.guard import HEADERS
from bot.errors import StartError

MOST_CONNECTIONS = 8192
REQUEST_SECONDS = 30.0
"""A connection has so long to make a request, from its first byte to the end of its headers, and between two."""
READ_SECONDS = 30.0
"""Who reads not one byte of an answer for so long has gone."""
UNSENT = 16 * 1024
"""Bytes of a stream that wait in this process, and as many in the system: some states of an answer."""
LINGER_SECONDS = 0.5
"""What still comes of a refused body is read and thrown away for so long, so that the refusal arrives."""
SHUTDOWN_SECONDS = 1.0
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 22\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\nToo many connections.\n"
)


class Connection(web.RequestHandler):
    """aiohttp's, which waits for nobody for ever and says nothing without the headers of every response."""

    __slots__ = ("_left", "_read_seconds", "_watching")

    def __init__(self, *args: Any, read_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_seconds = read_seconds
        self._watching: asyncio.TimerHandle | None = None
        self._left = 0

    def pause_writing(self) -> None:
        """The other side reads slowly, or not at all."""
        super().pause_writing()
        # Not `isinstance`: uvloop's transports are of no class of asyncio's.
        if self._watching is None and self.transport is not None:
            self._watch(self.transport)

    def resume_writing(self) -> None:
        """It reads."""
        super().resume_writing()
        self._stop_watching()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It has gone."""
        self._stop_watching()
        super().connection_lost(exc)

    def handle_error(self, *args: Any, **kwargs: Any) -> web.StreamResponse:
        """What is no HTTP never reaches the application, and neither do its headers reach the answer."""
        response = super().handle_error(*args, **kwargs)
        response.headers.update(HEADERS)
        return response

    def _watch(self, transport: asyncio.Transport) -> None:
        self._left = transport.get_write_buffer_size()
        self._watching = asyncio.get_running_loop().call_later(self._read_seconds, self._look, transport)

    def _look(self, transport: asyncio.Transport) -> None:
        if transport.get_write_buffer_size() < self._left:
            self._watch(transport)
        else:
            transport.abort()

    def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None


class _Full(asyncio.Protocol):
    """What a connection too many gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tcp = cast("asyncio.Transport", transport)
        tcp.write(FULL)
        tcp.close()


def most_connections() -> int:
    """Half of the files that this process may open: the rest is for the database, the models and the platforms."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, soft // 2)


@asynccontextmanager
async def listening(
    build: Callable[[int], web.Application],
    host: str,
    port: int,
    *,
    most: int,
    request_seconds: float = REQUEST_SECONDS,
    read_seconds: float = READ_SECONDS,
) -> AsyncIterator[int]:
    """Serve what `build` makes for a port, and give that port: for 0 the system has chosen it. Raises StartError.

    `most`: connections at once; one more is told so. `request_seconds` and `read_seconds`: see above.
    """
    loop = asyncio.get_running_loop()
    serving: list[web.Server] = []

    def connect() -> asyncio.Protocol:
        [server] = serving
        if len(server.connections) >= most:
            return _Full()
        return Connection(
            server,
            loop=loop,
            read_seconds=read_seconds,
            access_log=None,
            logger=_quiet(),
            keepalive_timeout=request_seconds,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,  # a small body could become a large one
        )

    listener = await _bind(connect, host, port)
    try:
        port = int(listener.sockets[0].getsockname()[1])
        runner = web.AppRunner(build(port), handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            assert runner.server is not None, "a runner that is set up has a server"
            serving.append(runner.server)
            await listener.start_serving()
            yield port
        finally:
            listener.close()
            await runner.cleanup()
    finally:
        listener.close()


def _quiet() -> logging.Logger:
    """Whatever strangers send would stand in the log, each time with a trace."""
    logger = logging.getLogger("hearth.web")
    logger.setLevel(logging.CRITICAL + 1)
    return logger


async def bindable(host: str, port: int) -> None:
    """Raises StartError if this port cannot be listened on."""
    (await _bind(asyncio.Protocol, host, port)).close()


async def _bind(connect: Callable[[], asyncio.Protocol], host: str, port: int) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(connect, host, port, start_serving=False)
    except (OSError, OverflowError) as error:
        raise StartError(_why(error, host, port)) from error


def _why(error: OSError | OverflowError, host: str, port: int) -> str:
    number = error.errno if isinstance(error, OSError) else None
    other = "HEARTH_WEB__PORT chooses another, HEARTH_WEB__ENABLED=false does without the page."
    if number == errno.EADDRINUSE:
        return f"Port {port} is in use, so the web page cannot be served. {other}"
    if number in {errno.EACCES, errno.EPERM}:
        return f"This user may not listen on port {port} (those below 1024 are the system's). {other}"
    return f"The web page cannot be served on {host}, port {port} ({error}). HEARTH_WEB__HOST chooses another address."


def keep_short(transport: asyncio.Transport | None) -> None:
    """Let little be on its way: on a slow line a stream's next state takes the place of one that was not sent yet.

    Else the system would take some megabytes of old states, and the page would show what was true half a minute ago.
    """
    if transport is None:
        return
    transport.set_write_buffer_limits(high=UNSENT)
    connection = transport.get_extra_info("socket")
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Linux and macOS
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
