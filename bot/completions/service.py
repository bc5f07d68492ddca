"""What programs are served: the right model, a place in its queue, its events as they come, and the count of the cost."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

import structlog

from bot import aside
from bot.api import (
    ApiEvent,
    ApiUse,
    Ask,
    Begun,
    Caller,
    ChatAsk,
    Embedded,
    EmbeddingAsk,
    ModelCard,
    TextAsk,
    Took,
    Used,
    nobody,
)
from bot.completions import chat, choices, embedding, text
from bot.completions.choices import tokens_in
from bot.completions.names import Kind, Model, Names
from bot.config import Config
from bot.engines.registry import Loaded, Registry
from bot.errors import BadRequest, DatabaseError, EngineBroken, ModelError, NoSuchModel, WrongModel
from bot.generation import Delta, Finish, Generation, Prefill, Usage
from bot.ports import ChatEngine, Engine
from bot.prompt import MessageBuilder
from bot.tools.formats import ToolFormat, format_for

log = structlog.get_logger(__name__)

Count = Callable[[ApiUse], Awaitable[None]]
Choice = chat.Choice | text.Choice
Ready = TypeVar("Ready")
FINGERPRINT = 10
"""Digits."""


class ModelCompletions:
    """Implements the port `Completions` over the models of a process."""

    def __init__(self, registry: Registry, config: Callable[[], Config], count: Count) -> None:
        """`count`: writes down what a request cost."""
        self._registry = registry
        self._config = config
        self._count = count
        self.names = Names(config())
        self._forms: WeakKeyDictionary[Engine, ToolFormat] = WeakKeyDictionary()

    async def models(self, caller: Caller) -> list[ModelCard]:
        """See Completions."""
        states = [*self._registry.describe(), *self._registry.describe_embedding()]
        lengths = {state.alias: state.context_length for state in states}
        found = ((card, self.names.find(card.id)) for card in self.names.cards())
        return [
            replace(card, context_length=lengths.get(model.alias, card.context_length))
            for card, model in found
            if model is not None and self._may(caller, model)
        ]

    async def chat(self, ask: ChatAsk, caller: Caller, *, took: Took = nobody) -> AsyncGenerator[ApiEvent, None]:
        """See Completions."""
        model, loaded = await self._load(ask.model, caller, "chat")
        known = await self._form(loaded) if chat.calls(ask) or ask.json_schema is not None else None
        form = chat.format_of(ask, known)
        requests = await chat.requests(ask, loaded, form, known)
        made = [
            chat.Choice(
                number,
                head=loaded.prompts.answer_head,
                parser=None if form is None else form.parser(ask.tools, forced=ask.tool_choice.mode == "required"),
                parallel=ask.parallel_tool_calls,
                is_json=ask.json_schema is not None and not ask.stop,  # a stop string may end it anywhere
            )
            for number in range(ask.n)
        ]
        work = _Work(model, ask, caller, "chat", made, each=ask.n, took=took)
        async with aclosing(self._run(work, loaded, requests)) as events:
            async for event in events:
                yield event

    async def complete(self, ask: TextAsk, caller: Caller, *, took: Took = nobody) -> AsyncGenerator[ApiEvent, None]:
        """See Completions."""
        model, loaded = await self._load(ask.model, caller, "chat")
        if loaded.texts is None:
            raise BadRequest("A model on another server continues no plain text here.", param="model")
        starts = await text.starts(ask, loaded.texts, cast("ChatEngine", loaded.engine).text_of)
        requests = text.requests(ask, loaded, starts)
        made = [
            text.Choice(
                number,
                echo=starts[number // ask.best_of].text if ask.echo else "",
                logprobs=ask.sampling.logprobs is not None,
            )
            for number in range(len(requests))
        ]
        work = _Work(model, ask, caller, "completions", made, each=ask.best_of, took=took)
        async with aclosing(self._run(work, loaded, requests)) as events:
            if ask.best_of == ask.n:
                async for event in events:
                    yield event
                return
            async for event in text.best(made, events, ask):
                yield event

    async def embed(self, ask: EmbeddingAsk, caller: Caller, *, took: Took = nobody) -> Embedded:
        """See Completions."""
        model = self._find(ask.model, caller, "embedding")
        loaded = await _loading(self._registry.get_embedding(model.alias))
        ids = await embedding.prompts(ask, loaded)
        usage = Usage(prompt_tokens=sum(map(len, ids)))
        begun = False

        async def work() -> list[array[float]]:
            nonlocal begun
            begun = True
            took(usage.prompt_tokens)
            return await loaded.engine.embed(ids)

        try:
            async with loaded.scheduler.ticket(caller.id, most=self._config().api.queue_per_key) as ticket:
                found = await ticket.run(work)
        finally:
            if begun:
                await self._count_use(caller, "embeddings", model, ask.user, usage)
        return Embedded(model=model.snapshot, vectors=await embedding.vectors(ask, found), usage=usage)

    async def _run(self, work: _Work, loaded: Loaded, requests: Sequence[Generation]) -> AsyncGenerator[ApiEvent, None]:
        """The events of all choices. What was used is counted whatever becomes of them."""
        most = self._config().api.queue_per_key
        begun = False
        try:
            async with aclosing(choices.run(loaded.scheduler, requests, user=work.caller.id, most=most)) as events:
                async for number, event in events:
                    if not begun:
                        begun = True
                        yield Begun(model=work.model.snapshot, fingerprint=fingerprint(loaded.engine.name))
                    if isinstance(event, Prefill):
                        work.read(number, event)
                        continue
                    work.note(number, event)
                    choice = work.choices[number]
                    if not choice.ended:
                        for piece in choice.feed(event):
                            yield piece
                        if work.ended:
                            break
            yield Used(usage=work.usage, reasoning_tokens=work.reasoning_tokens)
        finally:
            if begun:
                await self._count_use(work.caller, work.endpoint, work.model, work.ask.user, work.usage)

    async def _count_use(self, caller: Caller, endpoint: str, model: Model, user: str, usage: Usage) -> None:
        use = ApiUse(caller=caller, endpoint=endpoint, model=model.alias, user=user, usage=usage)
        try:
            await self._count(use)
        except DatabaseError as error:
            log.error("what a program used could not be counted", reason=str(error))

    async def _load(self, name: str, caller: Caller, kind: Kind) -> tuple[Model, Loaded]:
        model = self._find(name, caller, kind)
        return model, await _loading(self._registry.get(model.alias))

    def _find(self, name: str, caller: Caller, kind: Kind) -> Model:
        """Raises NoSuchModel, and WrongModel for a model of another kind."""
        model = self.names.find(name)
        if model is None or not self._may(caller, model):
            raise NoSuchModel(name)
        if model.kind != kind:
            raise WrongModel(name, kind=model.kind, needed=kind)
        return model

    def _may(self, caller: Caller, model: Model) -> bool:
        """Whether the caller may use it: by any of its names, whichever of them the key has."""
        if caller.models is None or model.snapshot in caller.models:
            return True
        known = filter(None, map(self.names.find, caller.models))
        return any((one.alias, one.kind) == (model.alias, model.kind) for one in known)

    async def _form(self, loaded: Loaded) -> ToolFormat | None:
        """How this model calls functions; None where that is another server's affair."""
        engine = loaded.engine
        if isinstance(loaded.prompts, MessageBuilder):
            return None
        if engine not in self._forms:
            chat_engine = cast("ChatEngine", engine)
            strings = sorted(chat_engine.control_strings)
            found = await chat_engine.encode(strings)
            ids = {string: tokens[0] for string, tokens in zip(strings, found, strict=True) if len(tokens) == 1}
            self._forms[engine] = await aside.run(1, lambda: format_for(chat_engine.template, ids), large=0)
        return self._forms[engine]


async def _loading(load: Awaitable[Ready]) -> Ready:
    """What is loaded, in the words that programs are told if it cannot be."""
    try:
        return await load
    except ModelError as error:
        raise EngineBroken("The model cannot be loaded just now; the log says why.", detail=str(error)) from error


@dataclass
class _Work:
    """A request in progress."""

    model: Model
    ask: Ask
    caller: Caller
    endpoint: str
    choices: Sequence[Choice]
    each: int
    """Choices of one prompt."""
    took: Took
    prompts: dict[int, Usage] = field(default_factory=dict)
    """What reading each prompt cost, by the number of its first choice."""

    def read(self, number: int, event: Prefill) -> None:
        """A prompt is being read; that of several choices counts once."""
        self._prompt(number, Usage(prompt_tokens=event.total, cached_tokens=event.cached))

    def note(self, number: int, event: Delta | Finish) -> None:
        """An engine that tells nothing while it reads tells at the end what the prompt was."""
        if isinstance(event, Finish):
            self._prompt(number, event.usage)
        else:
            self.took(tokens_in(event))

    def _prompt(self, number: int, usage: Usage) -> None:
        if number // self.each not in self.prompts:
            self.prompts[number // self.each] = usage
            self.took(usage.prompt_tokens)

    @property
    def ended(self) -> bool:
        """Whether all choices have ended."""
        return all(choice.ended for choice in self.choices)

    @property
    def reasoning_tokens(self) -> int:
        """Of all choices."""
        return sum(choice.reasoning_tokens for choice in self.choices)

    @property
    def usage(self) -> Usage:
        """So far."""
        return Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in self.prompts.values()),
            cached_tokens=sum(usage.cached_tokens for usage in self.prompts.values()),
            completion_tokens=sum(choice.completion_tokens for choice in self.choices),
        )


@cache
def fingerprint(name: str) -> str:
    """Of an engine's weights and of the program that runs them. The program's version is read from a file."""
    return "fp_" + hashlib.sha256(f"{name} {version('hearth')}".encode()).hexdigest()[:FINGERPRINT]
