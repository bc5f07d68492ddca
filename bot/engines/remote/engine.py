"""`RemoteEngine`: answers from one of several servers, tried again until the first words and never after them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

import aiohttp
import structlog

from bot import aside, constraints
from bot.config import RemoteModelConfig
from bot.engines.remote import asking, probe, wire
from bot.engines.remote.attempt import Attempt
from bot.engines.remote.faults import Fault, Refusal
from bot.engines.remote.servers import Patience, Pool, Server
from bot.engines.remote.sizing import Counter, Estimate, Length, length, work
from bot.errors import EngineBroken, EngineError, HearthError
from bot.generation import ChatMessage, Delta, Finish, Generation, Prefill, Size, Usage
from bot.prompt.cutting import KEPT
from bot.prompt.messages import shortened, without_system

log = structlog.get_logger(__name__)

MORE_TRIES = 2
"""Beyond one on each server."""
ANSWER_SHARE = 4
"""After a prompt was refused as too long the answer gets at most a quarter of the context."""
LONGEST_NAME = 64
"""Characters of the server's name for a model that are shown and kept."""


@dataclass
class _Request:
    """What is asked, as it is amended from try to try."""

    messages: tuple[ChatMessage, ...]
    length: Length
    """Of those."""
    max_tokens: int
    shortened: bool = False
    folded: bool = False
    failed: list[Server] = field(default_factory=list)
    """One for each try that failed."""
    broken: set[Server] = field(default_factory=set)
    """Those that would fail again."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a model's servers are."""

    well: int
    """Servers whose last answer did not fail."""
    failing: int
    """The others, and those that ask for time."""
    would_answer: bool
    """One can be asked now; False while all rest or ask for time."""


@dataclass(frozen=True)
class _Begun:
    """An answer whose first words are there."""

    attempt: Attempt
    length: Length
    """Of the prompt that is answered."""
    events: AsyncGenerator[Delta | Finish, None]
    first: Delta | Finish


class RemoteEngine:
    """A model on other machines, or in another program on this one, as a MessageEngine. Made by `load`."""

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        http: aiohttp.ClientSession,
        *,
        remote_model: str,
        context_length: int,
        patience: Patience,
    ) -> None:
        shown = remote_model.rpartition("/")[2] or remote_model  # a path of the server's machine is nobody's business
        self.name = f"{name}@{shown[:LONGEST_NAME]}"
        self.context_length = context_length
        self._model = remote_model
        self.patience = patience
        """For the next tries."""
        self._http = http
        self._pool = Pool(urls, patience)
        self._estimate = Estimate()
        self._counter = Counter(http, remote_model)
        self._folds_system = False
        """The model's template has no system role."""
        self._running: set[Attempt] = set()
        self._closed = False

    @classmethod
    async def load(cls, name: str, config: RemoteModelConfig, patience: Patience | None = None) -> RemoteEngine:
        """Make the engine; what is not configured is asked of the servers. Raises ModelError."""
        http = wire.session(config)
        try:
            model, length = await probe.settle(http, config)
        except BaseException:
            await http.close()
            raise
        log.info("model on a server", model=name, servers=config.servers, remote_model=model, context_length=length)
        return cls(
            name,
            config.servers,
            http,
            remote_model=model,
            context_length=length,
            patience=patience or Patience(),
        )

    async def size(self, messages: Sequence[ChatMessage], *, enough: int) -> Size:
        """The tokens of a prompt: counted by a server where one can, if they are not surely fewer than `enough`."""
        messages, known = await self._formed(messages)
        if self._estimate.at_most(known) > enough:
            keys = await aside.run(work(messages), lambda: _keys(messages))
            counted = await self._counter.count(self._pool.choose(keys).url, messages)
            if counted is not None:
                return Size(counted, exact=True)
        return Size(self._estimate.of(known), exact=False)

    async def stream(self, request: Generation) -> AsyncGenerator[Prefill | Delta | Finish, None]:
        """Generate; closing the iterator closes the connection, on which the server stops.

        Raises TooLong, BadRequest; EngineBroken where every server refuses in a way that will not pass.
        """
        if self._closed:
            raise EngineBroken(detail=f"{self.name} is closed")
        asking.check(request)
        if request.is_constrained:
            await asyncio.to_thread(constraints.check, request)
        if request.max_tokens == 0:
            known = await aside.run(work(request.messages), lambda: length(request.messages))
            yield Finish(reason="length", usage=Usage(prompt_tokens=self._estimate.of(known)))
            return
        begun = await self._begin(request)
        guess = self._estimate.of(begun.length)
        async with aclosing(begun.events):
            yield Prefill(guess, guess)
            event: Delta | Finish | None = begun.first
            while not isinstance(event, Finish | None):
                yield event
                event = await _following(begun.events)
            yield self._finished(begun, event, guess)

    def health(self) -> Health:
        """How the servers are, as far as answers and refusals told."""
        now, servers = asyncio.get_running_loop().time(), self._pool.servers
        well = sum(server.is_well(now) for server in servers)
        return Health(well, len(servers) - well, would_answer=any(server.is_open(now) for server in servers))

    async def aclose(self) -> None:
        """Let go of the servers. Streams that still run end with EngineError."""
        self._closed = True
        for attempt in self._running:
            attempt.abort()
        await self._http.close()

    async def _begin(self, request: Generation) -> _Begun:
        """The first words, from whichever server gives them."""
        messages, known = await self._formed(request.messages)
        asked = _Request(messages, known, request.max_tokens)
        keys = await aside.run(work(messages), lambda: _keys(messages))
        while True:
            body = await self._body(request, asked)  # not after the server's turn: see there
            server = await self._pool.turn(keys, asked.failed, asked.broken)
            attempt = Attempt(
                self._http,
                server,
                body,
                max_tokens=asked.max_tokens,
                patience=self.patience,
                has_other=partial(self._pool.has_other, server, asked.failed, asked.broken),
            )
            events = self._followed(attempt)
            try:
                first = await anext(events)
            except Refusal as refusal:
                if not await self._amend(asked, refusal.fault):
                    self._give_up_or_go_on(asked, server, refusal.fault.told(), refusal)
            except EngineError as error:
                self._give_up_or_go_on(asked, server, error, error)
            else:
                server.works()
                self._pool.remember(keys, server)
                self._folds_system = self._folds_system or asked.folded
                return _Begun(attempt, asked.length, events, first)

    async def _body(self, request: Generation, asked: _Request) -> dict[str, object]:
        return await aside.run(
            work(asked.messages), lambda: asking.body(request, self._model, asked.messages, asked.max_tokens)
        )

    async def _followed(self, attempt: Attempt) -> AsyncGenerator[Delta | Finish, None]:
        self._running.add(attempt)
        try:
            async with aclosing(attempt.events()) as events:
                async for event in events:
                    yield event
        finally:
            self._running.discard(attempt)

    def _give_up_or_go_on(self, asked: _Request, server: Server, told: HearthError, cause: Exception) -> None:
        """Raises the error where another try makes no sense."""
        asked.failed.append(server)
        if isinstance(told, EngineBroken):
            asked.broken.add(server)
        servers = len(self._pool.servers)
        hopeless = len(asked.broken) == servers or len(asked.failed) >= servers + MORE_TRIES
        if self._closed or hopeless or not isinstance(told, EngineError):
            raise told from cause

    async def _amend(self, asked: _Request, fault: Fault) -> bool:
        """Whether the request was changed so that it may be taken now: each way once."""
        if fault.is_too_long and not asked.shortened:
            return await self._shorten(asked, fault)
        if fault.is_about_system and asked.messages[0].role == "system" and not asked.folded:
            asked.messages, asked.length = await _measured(asked.messages, without_system)
            asked.folded = True
            return True
        return False

    async def _shorten(self, asked: _Request, fault: Fault) -> bool:
        """Cut harder than the window was cut. It is not stored: the next prompt knows better and is cut in time."""
        told = fault.context_length
        if told is not None and told < self.context_length:
            log.warning("the server's context is shorter", model=self.name, known=self.context_length, server=told)
            self.context_length = told
        else:
            self._estimate.was_too_low(asked.length, self.context_length - asked.max_tokens)
        tokens = min(asked.max_tokens, max(1, self.context_length // ANSWER_SHARE))
        most = KEPT * (self.context_length - tokens)
        messages, known = await _measured(asked.messages, lambda given: shortened(given, self._estimate.weigh, most))
        changed = (len(messages), tokens) != (len(asked.messages), asked.max_tokens)
        asked.messages, asked.length, asked.max_tokens, asked.shortened = messages, known, tokens, True
        return changed

    async def _formed(self, messages: Sequence[ChatMessage]) -> tuple[tuple[ChatMessage, ...], Length]:
        """As this model takes them, and how long that is."""
        return await _measured(messages, without_system if self._folds_system else tuple)

    def _finished(self, begun: _Begun, event: Finish | None, guess: int) -> Finish:
        assert event is not None, "an attempt's last event is a Finish"
        if begun.attempt.usage is None:
            usage = Usage(prompt_tokens=guess, completion_tokens=event.usage.completion_tokens)
            return Finish(reason=event.reason, usage=usage)
        self._estimate.learn(begun.length, event.usage.prompt_tokens)
        return event


async def _following(events: AsyncGenerator[Delta | Finish, None]) -> Delta | Finish | None:
    """The next event. Raises EngineError also for what a server refuses in the middle of an answer."""
    try:
        return await anext(events, None)
    except Refusal as refusal:
        told = refusal.fault.told()
        raise (told if isinstance(told, EngineError) else EngineError(detail=str(told))) from refusal


async def _measured(
    messages: Sequence[ChatMessage], make: Callable[[Sequence[ChatMessage]], tuple[ChatMessage, ...]]
) -> tuple[tuple[ChatMessage, ...], Length]:
    """What is made of messages, and how long that is."""

    def measured() -> tuple[tuple[ChatMessage, ...], Length]:
        made = make(messages)
        return made, length(made)

    return await aside.run(work(messages), measured)


def _keys(messages: Sequence[ChatMessage]) -> list[str]:
    """What tells the beginnings of a prompt, up to each user's message: what a server's cache may have of it."""
    digest, keys = hashlib.blake2b(digest_size=16), []
    for message in messages:
        for part in (f"{message.role}\0", *aside.steps(message.content), "\0"):
            digest.update(part.encode("utf-8", "replace"))
        if message.role == "user":
            keys.append(digest.hexdigest())
    return keys
