"""One request to one server: the connection, its stream, and what it says of the server's health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import closing
from typing import Any, Literal, TypeVar

import aiohttp
import structlog

from bot.engines.remote import chunks, faults, wire
from bot.engines.remote.chunks import Chunk
from bot.engines.remote.faults import Refusal
from bot.engines.remote.servers import Patience, Server
from bot.engines.remote.sse import EventStream
from bot.errors import EngineBroken, EngineError
from bot.generation import Delta, Finish, Usage

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

ERROR_SECONDS = 10.0
"""For a refusal's words."""
MOST_ERROR = 64 * 1024
"""Bytes of them."""
LOOK_AGAIN = 0.5
"""Seconds: how often another server is looked for while one is silent."""
CHARACTERS_PER_TOKEN = 128
"""The longest tokens of common vocabularies: an answer of more than that for each token does not keep `max_tokens`."""


class Attempt:
    """Begun by the first step of `events`. Every way out of it closes the connection, which stops the server's work."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        server: Server,
        body: Mapping[str, object],
        *,
        max_tokens: int,
        patience: Patience,
        has_other: Callable[[], bool],
    ) -> None:
        """`has_other`: whether another server can be asked; then this one is given up if it is silent at first."""
        self.server = server
        self.usage: Usage | None = None
        """As the server reported it."""
        self._http = http
        self._body = body
        self._patience = patience
        self._left = max_tokens * CHARACTERS_PER_TOKEN
        self._pieces = 0
        self._ending: Literal["stop", "length"] | None = None
        self._seconds = 0.0, 0.0
        self._heard = 0.0
        self._has_other = has_other
        self._aborted = False
        self._is_silent = False
        """It was given up for that."""
        self._waiting: asyncio.Timeout | None = None
        self._watching: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """End with EngineError, also in the middle of a wait: closing a session does not wake its readers."""
        self._aborted = True
        self._wake()

    async def events(self) -> AsyncGenerator[Delta | Finish, None]:
        """The answer, last a Finish. Raises EngineError, Refusal."""
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        self._watch()
        try:
            with self.server.asked(), closing(await self._unless_given_up(self._open())) as response:
                stream = EventStream(response.content.readany)
                event: Delta | Finish = Delta("")
                while not isinstance(event, Finish):
                    event = await self._unless_given_up(self._next(stream))
                    self._stop_watching()
                    try:
                        yield event
                    finally:
                        self._heard = loop.time()  # what the consumer takes is not the server's time
        except wire.FAILURES as error:
            reason = self._why(error)
            self._fail(reason)
            raise EngineError(detail=reason) from error
        except EngineError as error:
            self._fail(str(error))
            raise
        except Refusal as refusal:
            self._refused(refusal.fault)
            raise
        finally:
            self._stop_watching()
            patience = self._patience.stall if self._pieces else self._patience.silence
            if loop.time() - self._heard > patience:
                self._fail(f"{self.server.url}: silent for more than {patience:.0f} s")

    def _watch(self) -> None:
        """Until the first words: a server that is silent is given up as soon as another can be asked."""
        loop = asyncio.get_running_loop()
        left = self._heard + self._patience.silence - loop.time()
        if left <= 0 and self._has_other():
            self._is_silent = True
            self._wake()
        else:
            self._watching = loop.call_later(left if left > 0 else LOOK_AGAIN, self._watch)

    def _stop_watching(self) -> None:
        self._is_silent = False
        if self._watching is not None:
            self._watching.cancel()

    def _wake(self) -> None:
        """End the wait for the server."""
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    def _why(self, error: Exception) -> str:
        if self._aborted:
            return "the engine was closed"
        if self._is_silent:
            return f"{self.server.url}: silent for more than {self._patience.silence:.0f} s"
        return f"{self.server.url}: {wire.reason(error)}"

    async def _unless_given_up(self, work: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(0 if self._aborted or self._is_silent else None) as self._waiting:
                return await work
        finally:
            self._waiting = None

    async def _open(self) -> aiohttp.ClientResponse:
        """Raises Refusal for anything but an event stream."""
        response = await wire.post(self._http, f"{self.server.url}/chat/completions", self._body)
        if response.status == 200 and response.content_type == "text/event-stream":
            return response
        with closing(response):
            async with asyncio.timeout(ERROR_SECONDS):
                words = await wire.read(response, MOST_ERROR)
        if response.status == 200:
            self._check_refusal(wire.parsed(words), response.content_type)
        raise Refusal(faults.fault(self.server.url, response.status, response.headers, words))

    def _check_refusal(self, answer: Any, content_type: str) -> None:
        """Of a 200 without a stream: it may be an error object. Raises EngineError for what is none."""
        if not isinstance(answer, dict):
            raise EngineError(detail=f"{self.server.url}: answers with {content_type}, no event stream")
        if answer.get("choices") and not answer.get("error"):
            raise EngineBroken(detail=f"{self.server.url}: answers without a stream")

    async def _next(self, stream: EventStream) -> Delta | Finish:
        """The next words, or the end."""
        while self._ending is None:
            payload = await stream.next()
            self._heard = asyncio.get_running_loop().time()
            if payload is None:
                raise EngineError(detail=f"{self.server.url}: the stream broke off")
            if payload.strip() == chunks.DONE:
                return self._finish("stop")
            chunk = self._parse(payload)
            self._left -= len(chunk.text) + chunk.reasoning
            self._ending = "length" if self._left < 0 else chunk.ending
            if chunk.text or chunk.reasoning:
                self._pieces += 1
                return Delta(chunk.text)
        if self._left >= 0:
            await self._wait_for_usage(stream)
        return self._finish(self._ending)

    async def _wait_for_usage(self, stream: EventStream) -> None:
        """It comes after the last word, also where every chunk before had the usage so far; whatever is wrong there
        does not harm the answer.
        """
        try:
            async with asyncio.timeout(self._patience.usage):
                while (payload := await stream.next()) is not None and payload.strip() != chunks.DONE:
                    if self._parse(payload).usage is not None:
                        return
        except (*wire.FAILURES, EngineError, Refusal) as error:
            log.debug("an answer ended without its usage", server=self.server.url, reason=wire.reason(error))

    def _finish(self, reason: Literal["stop", "length"]) -> Finish:
        prefill, decode = self._seconds
        usage = self.usage or Usage(completion_tokens=self._pieces)
        return Finish(reason=reason, usage=usage, prefill_seconds=prefill, decode_seconds=decode)

    def _parse(self, payload: bytes) -> Chunk:
        chunk = chunks.parse(self.server.url, payload)
        self.usage = chunk.usage or self.usage
        if chunk.decode_seconds:
            self._seconds = chunk.prefill_seconds, chunk.decode_seconds
        return chunk

    def _fail(self, reason: str) -> None:
        if not self._aborted:
            self.server.failed(reason)

    def _refused(self, fault: faults.Fault) -> None:
        log.debug("a model's server refused", server=fault.url, status=fault.status, words=fault.message)
        told = fault.told()
        if fault.wait is not None and fault.status in {429, 503}:
            self.server.close_for(fault.wait)
        elif isinstance(told, EngineError):
            self.server.failed(str(told))
