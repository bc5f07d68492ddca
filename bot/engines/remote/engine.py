"""`RemoteEngine`: answers from one of several servers, tried again until the first words and never after them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import aiohttp
import structlog

from bot.config import RemoteModelConfig
from bot.engines import request_body
from bot.engines.remote import probe, wire
from bot.engines.remote.attempt import Attempt
from bot.engines.remote.faults import Fault, Refusal
from bot.engines.remote.servers import BACKOFF_SECONDS, Pool, Server
from bot.engines.remote.sizing import Counter, Estimate, as_json
from bot.errors import BadRequest, EngineBroken, EngineError, HearthError, ModelError
from bot.generation import ChatMessage, Delta, Finish, Generation, Prefill, Usage
from bot.ports import Size
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
    max_tokens: int
    shortened: bool = False
    folded: bool = False
    failed: list[Server] = field(default_factory=list)
    """One for each try that failed."""
    broken: set[Server] = field(default_factory=set)
    """Those that would fail again."""


@dataclass(frozen=True)
class _Begun:
    """An answer whose first words are there."""

    attempt: Attempt
    messages: tuple[ChatMessage, ...]
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
        backoff: float = BACKOFF_SECONDS,
    ) -> None:
        shown = remote_model.rpartition("/")[2] or remote_model  # a path of the server's machine is nobody's business
        self.name = f"{name}@{shown[:LONGEST_NAME]}"
        self.context_length = context_length
        self._model = remote_model
        self._http = http
        self._pool = Pool(urls, backoff=backoff)
        self._estimate = Estimate()
        self._counter = Counter(http, remote_model)
        self._folds_system = False
        """The model's template has no system role."""
        self._closed = False

    @classmethod
    async def load(cls, name: str, config: RemoteModelConfig, *, backoff: float = BACKOFF_SECONDS) -> RemoteEngine:
        """Make the engine; what is not configured is asked of the servers. Raises ModelError."""
        http = wire.session(config)
        try:
            model, length = await _settle(http, config)
        except BaseException:
            await http.close()
            raise
        log.info("model on a server", model=name, servers=config.servers, remote_model=model, context_length=length)
        return cls(name, config.servers, http, remote_model=model, context_length=length, backoff=backoff)

    async def size(self, messages: Sequence[ChatMessage], *, enough: int) -> Size:
        """The tokens of a prompt: counted by a server where one can, if they are not surely fewer than `enough`."""
        messages = self._formed(messages)
        if self._estimate.at_most(messages) > enough:
            counted = await self._counter.count(self._pool.choose(_key(messages)).url, messages)
            if counted is not None:
                return Size(counted, exact=True)
        return Size(self._estimate.of(messages), exact=False)

    async def stream(self, request: Generation) -> AsyncGenerator[Prefill | Delta | Finish, None]:
        """Generate; closing the iterator closes the connection, on which the server stops.

        Raises TooLong, BadRequest; EngineBroken where every server refuses in a way that will not pass.
        """
        if self._closed:
            raise EngineBroken(detail=f"{self.name} is closed")
        _check(request)
        if request.json_schema is not None:
            await asyncio.to_thread(request_body.check_schema, request.json_schema)
        if request.max_tokens == 0:
            yield Finish(reason="length", usage=Usage(prompt_tokens=self._estimate.of(request.messages)))
            return
        begun = await self._begin(request)
        guess = self._estimate.of(begun.messages)
        async with aclosing(begun.events):
            yield Prefill(guess, guess)
            event: Delta | Finish | None = begun.first
            while not isinstance(event, Finish | None):
                yield event
                event = await _following(begun.events)
            yield self._finished(begun, event, guess)

    async def aclose(self) -> None:
        """Let go of the servers. Streams that still run end with EngineError."""
        self._closed = True
        await self._http.close()

    async def _begin(self, request: Generation) -> _Begun:
        """The first words, from whichever server gives them."""
        asked = _Request(self._formed(request.messages), request.max_tokens)
        key = _key(asked.messages)
        while True:
            server = await self._pool.turn(key, asked.failed, asked.broken)
            attempt = Attempt(self._http, server, self._body(request, asked), max_tokens=asked.max_tokens)
            events = attempt.events()
            try:
                first = await anext(events)
            except Refusal as refusal:
                if not self._amend(asked, refusal.fault):
                    self._give_up_or_go_on(asked, server, refusal.fault.told(), refusal)
            except EngineError as error:
                self._give_up_or_go_on(asked, server, error, error)
            else:
                server.works()
                self._pool.remember(key, server)
                self._folds_system = self._folds_system or asked.folded
                return _Begun(attempt, asked.messages, events, first)

    def _give_up_or_go_on(self, asked: _Request, server: Server, told: HearthError, cause: Exception) -> None:
        """Raises the error where another try makes no sense."""
        asked.failed.append(server)
        if isinstance(told, EngineBroken):
            asked.broken.add(server)
        servers = len(self._pool.servers)
        hopeless = len(asked.broken) == servers or len(asked.failed) >= servers + MORE_TRIES
        if self._closed or hopeless or not isinstance(told, EngineError):
            raise told from cause

    def _amend(self, asked: _Request, fault: Fault) -> bool:
        """Whether the request was changed so that it may be taken now: each way once."""
        if fault.is_too_long and not asked.shortened:
            return self._shorten(asked, fault)
        if fault.is_about_system and asked.messages[0].role == "system" and not asked.folded:
            asked.messages, asked.folded = without_system(asked.messages), True
            return True
        return False

    def _shorten(self, asked: _Request, fault: Fault) -> bool:
        """Cut harder than the window was cut. It is not stored: the next prompt knows better and is cut in time."""
        told = fault.context_length
        if told is not None and told < self.context_length:
            log.warning("the server's context is shorter", model=self.name, known=self.context_length, server=told)
            self.context_length = told
        else:
            self._estimate.was_too_low(asked.messages, self.context_length - asked.max_tokens)
        tokens = min(asked.max_tokens, max(1, self.context_length // ANSWER_SHARE))
        messages = shortened(asked.messages, self._estimate.weigh, KEPT * (self.context_length - tokens))
        changed = (messages, tokens) != (asked.messages, asked.max_tokens)
        asked.messages, asked.max_tokens, asked.shortened = messages, tokens, True
        return changed

    def _formed(self, messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
        return without_system(messages) if self._folds_system else tuple(messages)

    def _body(self, request: Generation, asked: _Request) -> dict[str, object]:
        """Only what differs from the API's defaults: strict servers refuse names that they do not know.

        But the temperature and top_p, for which servers have defaults of their own.
        """
        sampling = request.sampling
        optional: dict[str, object] = {
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "stop": list(request.stop),
            "logit_bias": {str(token): value for token, value in sampling.logit_bias.items()},
        }
        fields = {key: value for key, value in optional.items() if value}
        if sampling.seed is not None:
            fields["seed"] = sampling.seed
        if request.json_schema is not None:
            schema = {"name": "answer", "schema": request.json_schema, "strict": True}
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {
            "model": self._model,
            "messages": as_json(asked.messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": asked.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **fields,
        }

    def _finished(self, begun: _Begun, event: Finish | None, guess: int) -> Finish:
        assert event is not None, "an attempt's last event is a Finish"
        if begun.attempt.usage is None:
            usage = Usage(prompt_tokens=guess, completion_tokens=event.usage.completion_tokens)
            return Finish(reason=event.reason, usage=usage)
        self._estimate.learn(begun.messages, event.usage.prompt_tokens)
        return event


async def _following(events: AsyncGenerator[Delta | Finish, None]) -> Delta | Finish | None:
    """The next event. Raises EngineError also for what a server refuses in the middle of an answer."""
    try:
        return await anext(events, None)
    except Refusal as refusal:
        told = refusal.fault.told()
        raise (told if isinstance(told, EngineError) else EngineError(detail=str(told))) from refusal


def _check(request: Generation) -> None:
    """Raises BadRequest for what a server would ignore or cannot be asked for."""
    if not request.messages or request.messages[-1].role == "system":
        raise BadRequest("There is no message to answer.", param="messages")
    if request.prompt:
        raise BadRequest("A model on a server takes messages, no token ids.", param="prompt")
    if any(not text for text in request.stop):
        raise BadRequest("A stop string is empty.", param="stop")
    if request.sampling.logprobs is not None:
        raise BadRequest("A model on a server is not asked for log-probabilities.", param="logprobs")
    if request.sampling.repeat_penalty != 1.0:
        raise BadRequest("A model on a server has no common name for this penalty.", param="repeat_penalty")


def _key(messages: Sequence[ChatMessage]) -> str:
    """What tells a conversation: its beginning up to the first user's message, which is what a cache shares, too."""
    digest = hashlib.blake2b(digest_size=16)
    for message in messages:
        digest.update(f"{message.role}\0{message.content}\0".encode("utf-8", "replace"))
        if message.role == "user":
            break
    return digest.hexdigest()


async def _settle(http: aiohttp.ClientSession, config: RemoteModelConfig) -> tuple[str, int]:
    """The model to ask for and its context length, the shortest of those servers that answer. Raises ModelError."""
    if config.remote_model and config.context_length is not None:
        return config.remote_model, config.context_length
    looks = await asyncio.gather(*(_ask(http, config, url) for url in config.servers), return_exceptions=True)
    known = [look for look in looks if not isinstance(look, BaseException)]
    if not known:
        reasons = "; ".join(str(look) for look in looks)
        raise ModelError(f"{reasons}. With remote_model and context_length set, Hearth starts without its server.")
    lengths = [length for _, length in known if length is not None]
    length = config.context_length or min(lengths, default=None)
    if length is None:
        raise ModelError(f"{config.servers[0]}: does not tell its context length; set context_length")
    return known[0][0], length


async def _ask(http: aiohttp.ClientSession, config: RemoteModelConfig, url: str) -> tuple[str, int | None]:
    facts = await probe.ask(http, url)
    model = probe.choose(config, url, facts)
    return model, config.context_length or await probe.context_length(http, url, model, facts)
