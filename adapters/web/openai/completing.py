"""POST /v1/chat/completions and /v1/completions: whole or as a stream."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

import structlog
from aiohttp import web

from adapters.web.openai import asks, body
from adapters.web.openai.answers import ChatChunks, Collected, Head, TextChunks
from adapters.web.openai.faults import FAILED, HANDLED, SERVER, Fault
from adapters.web.openai.frame import CALLER, SPENDING, about, told
from adapters.web.openai.parameters.chat import ChatBody
from adapters.web.openai.parameters.text import MAX_VALUES, TextBody
from adapters.web.openai.programs import Programs
from adapters.web.openai.sse import EventStream
from bot.api import ApiEvent, Begun, ChatAsk, Kept, TextAsk
from bot.errors import BadRequest

log = structlog.get_logger(__name__)

ALPHABET = string.ascii_letters + string.digits
LEGACY = {"tools": "functions", "tool_choice": "function_call"}
"""What the core calls so came under these names, where the request has functions."""
ID = 29
"""Characters of an id behind its prefix, as OpenAI's have."""

Events = AsyncGenerator[ApiEvent, None]


class Chunks(Protocol):
    """Makes the chunks of a stream."""

    def feed(self, event: ApiEvent) -> Iterator[str]:
        """Those of the next event, as JSON text."""


class Completing:
    """The two routes."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def __call__(self, app: web.Application) -> None:
        """Add them."""
        app.router.add_post("/chat/completions", self.chat, name="chat")
        app.router.add_post("/completions", self.text, name="completions")

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """A chat completion."""
        given, asked, ask = await body.read(request, _chat)
        if asked.store and not self._programs.config().retention.days:
            raise BadRequest("Nothing is kept here (retention.days = 0), so store must be false.", param="store")
        legacy, logprobs = asked.functions is not None, bool(asked.logprobs)
        collected = Collected()

        async def ended(head: Head) -> None:
            if asked.store:
                completion = collected.chat(head, logprobs=logprobs, legacy=legacy)
                await self._keep(request, given, asked.metadata or {}, completion, head)

        async with aclosing(
            self._programs.completions.chat(ask, request[CALLER], took=request[SPENDING].took)
        ) as events:
            head = await _begun(events, "chatcmpl-", renamed=LEGACY if legacy else {})
            if asked.stream:
                usage = bool(asked.stream_options and asked.stream_options.include_usage)
                chunks = ChatChunks(head, usage=usage, legacy=legacy)
                return await _stream(request, events, chunks, collected if asked.store else None, lambda: ended(head))
            async for event in events:
                collected.feed(event)
        await ended(head)
        return web.json_response(collected.chat(head, logprobs=logprobs, legacy=legacy))

    async def text(self, request: web.Request) -> web.StreamResponse:
        """A text completion."""
        asked, ask = await body.read(request, _text, values=MAX_VALUES)
        logprobs = asked.logprobs is not None
        completing = self._programs.completions.complete(ask, request[CALLER], took=request[SPENDING].took)
        async with aclosing(completing) as events:
            head = await _begun(events, "cmpl-")
            if asked.stream:
                usage = bool(asked.stream_options and asked.stream_options.include_usage)
                return await _stream(request, events, TextChunks(head, usage=usage, logprobs=logprobs))
            collected = Collected()
            async for event in events:
                collected.feed(event)
        return web.json_response(collected.text(head, logprobs=logprobs))

    async def _keep(
        self,
        request: web.Request,
        given: Mapping[str, Any],
        metadata: Mapping[str, str],
        completion: Mapping[str, Any],
        head: Head,
    ) -> None:
        kept = Kept(
            id=head.id,
            caller=request[CALLER].id,
            model=head.model,
            created=datetime.now(UTC),  # those of the same second have an order too
            messages=tuple(given["messages"]),
            completion=completion,
            metadata=metadata,
        )
        await self._programs.store.keep_completion(kept)


def _chat(given: dict[str, Any]) -> tuple[dict[str, Any], ChatBody, ChatAsk]:
    asked = ChatBody.parse(given)
    return given, asked, asks.chat(asked)


def _text(given: dict[str, Any]) -> tuple[TextBody, TextAsk]:
    asked = TextBody.parse(given)
    return asked, asks.text(asked)


async def _begun(events: Events, prefix: str, *, renamed: Mapping[str, str] = MappingProxyType({})) -> Head:
    """What every object of the answer says. What is wrong with the request is raised here, while it can have a status.

    `renamed`: parameters that have another name in this request.
    """
    try:
        event = await anext(events)
    except BadRequest as error:
        error.param = renamed.get(error.param or "", error.param)
        raise
    assert isinstance(event, Begun), "the first event"
    name = "".join(secrets.choice(ALPHABET) for _ in range(ID))
    return Head(id=prefix + name, created=int(time.time()), model=event.model, fingerprint=event.fingerprint)


async def _nothing() -> None:
    pass


async def _stream(
    request: web.Request,
    events: Events,
    chunks: Chunks,
    collected: Collected | None = None,
    ended: Callable[[], Awaitable[None]] = _nothing,
) -> web.StreamResponse:
    """Events as they come. An error in the middle is told as one; a client that goes away ends the work."""
    stream = EventStream(request)
    await stream.begin()
    try:
        async for event in events:
            if collected is not None:
                collected.feed(event)
            await stream.send(*chunks.feed(event))
        await ended()
    except ConnectionError:
        raise
    except HANDLED as error:
        return await stream.fail(told(error, request))
    except Exception:
        log.exception("a program's stream failed", **about(request))
        return await stream.fail(Fault(status=500, message=FAILED, type=SERVER))
    return await stream.end()
