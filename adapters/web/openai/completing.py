"""POST /v1/chat/completions and /v1/completions: whole or as a stream."""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

import structlog
from aiohttp import web

from adapters.web.openai import asks, body, whole
from adapters.web.openai.answers import ChatChunks, Collected, Head, TextChunks
from adapters.web.openai.faults import FAILED, HANDLED, SERVER, Fault
from adapters.web.openai.frame import CALLER, SPENDING, TIME_LEFT, about, left, told
from adapters.web.openai.parameters.chat import ChatBody
from adapters.web.openai.parameters.text import MAX_VALUES, TextBody
from adapters.web.openai.programs import Programs
from adapters.web.openai.sse import EventStream
from bot import aside, clean_json
from bot.api import ApiEvent, Begun, ChatAsk, Kept, TextAsk
from bot.errors import BadRequest

log = structlog.get_logger(__name__)

ALPHABET = string.ascii_letters + string.digits
LEGACY = {"tools": "functions", "tool_choice": "function_call"}
"""What the core calls so came under these names, where the request has functions."""
ID = 29
"""Characters of an id behind its prefix, as OpenAI's have."""
MOST_KEPT = 16 * 2**20
"""Bytes of a completion that is kept, with its messages: as JSON the largest body has less, whatever its encoding was,
so it is the log-probabilities of a long answer that can be too many."""

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
        wanted, ask = await body.read(request, _chat)
        if wanted.kept is not None and not self._programs.config().retention.days:
            raise BadRequest("Nothing is kept here (retention.days = 0), so store must be false.", param="store")
        collected = Collected()

        def made(head: Head) -> dict[str, Any]:
            return collected.chat(head, logprobs=wanted.logprobs, legacy=wanted.legacy)

        async def ended(head: Head) -> None:
            if wanted.kept is not None:
                await self._keep(request, wanted.kept, lambda: made(head), collected.size, head)

        async with aclosing(
            self._programs.completions.chat(ask, request[CALLER], took=request[SPENDING].took)
        ) as events:
            head = await _begun(events, "chatcmpl-", renamed=LEGACY if wanted.legacy else {})
            if wanted.stream:
                chunks = ChatChunks(head, usage=wanted.usage, legacy=wanted.legacy)
                also = None if wanted.kept is None else collected
                return await _stream(request, events, chunks, also, lambda: ended(head))
            async for event in events:
                collected.feed(event)
        await ended(head)
        return await whole.response(lambda: made(head), collected.size)

    async def text(self, request: web.Request) -> web.StreamResponse:
        """A text completion."""
        wanted, ask = await body.read(request, _text, values=MAX_VALUES)
        completing = self._programs.completions.complete(ask, request[CALLER], took=request[SPENDING].took)
        async with aclosing(completing) as events:
            head = await _begun(events, "cmpl-")
            if wanted.stream:
                return await _stream(request, events, TextChunks(head, usage=wanted.usage, logprobs=wanted.logprobs))
            collected = Collected()
            async for event in events:
                collected.feed(event)
        return await whole.response(lambda: collected.text(head, logprobs=wanted.logprobs), collected.size)

    async def _keep(
        self, request: web.Request, asked: _Kept, make: Callable[[], dict[str, Any]], size: int, head: Head
    ) -> None:
        """`make`: the completion, of so many characters, roughly. Raises BadRequest if that is too much."""

        def made() -> str:
            completion = clean_json.written(make(), size)
            if asked.bytes + clean_json.length(completion) > MOST_KEPT:
                told = f"The answer, with its messages, is more than {MOST_KEPT // 2**20} MiB, so it cannot be kept: "
                raise BadRequest(told + "ask for fewer log-probabilities, or with store: false.", param="store")
            return completion

        kept = Kept(
            id=head.id,
            caller=request[CALLER].id,
            model=head.model,
            created=datetime.now(UTC),  # those of the same second have an order too
            messages=asked.messages,
            completion=await aside.run(size, made),
            metadata=asked.metadata,
        )
        await self._programs.store.keep_completion(kept)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What of a body is kept with the answer."""

    messages: str
    """As JSON."""
    bytes: int
    """Of that."""
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, Any]], metadata: Mapping[str, str]) -> _Kept:
        """Written while the body is read: beside the event loop where that is large."""
        text = clean_json.written(messages, aside.amount(messages))
        return cls(text, clean_json.length(text), metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """How the answer is given. The body itself, which may be large, is not held while that is written."""

    stream: bool
    usage: bool
    """Whether a stream tells it."""
    logprobs: bool
    legacy: bool = False
    """Whether a call is a function_call."""
    kept: _Kept | None = None
    """Where the answer is to be kept."""


def _chat(given: dict[str, Any]) -> tuple[_Wanted, ChatAsk]:
    asked = ChatBody.parse(given)
    wanted = _Wanted(
        stream=bool(asked.stream),
        usage=bool(asked.stream_options and asked.stream_options.include_usage),
        logprobs=bool(asked.logprobs),
        legacy=asked.functions is not None,
        kept=_Kept.of(given["messages"], asked.metadata or {}) if asked.store else None,
    )
    return wanted, asks.chat(asked)


def _text(given: dict[str, Any]) -> tuple[_Wanted, TextAsk]:
    asked = TextBody.parse(given)
    wanted = _Wanted(
        stream=bool(asked.stream),
        usage=bool(asked.stream_options and asked.stream_options.include_usage),
        logprobs=asked.logprobs is not None,
    )
    return wanted, asks.text(asked)


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
    except asyncio.CancelledError:
        if not request[TIME_LEFT].expired():
            raise
        return await stream.fail(left())
    except HANDLED as error:
        return await stream.fail(told(error, request))
    except Exception:
        log.exception("a program's stream failed", **about(request))
        return await stream.fail(Fault(status=500, message=FAILED, type=SERVER))
    return await stream.end()
