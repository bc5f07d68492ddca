"""A chat completion: the prompt, the request to the engine, and what of a choice's stream is text, reasoning or a call."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from bot import aside
from bot.api import ApiEvent, Ask, CallPiece, ChatAsk, Ended, ReasoningPiece, TextPiece
from bot.completions.choices import Logprobs, heard, tokens_in
from bot.config import AnyModelConfig
from bot.engines.registry import Loaded
from bot.errors import BadRequest, EngineError, TooLong
from bot.generation import Delta, Finish, Generation, Sampling
from bot.messages import Role
from bot.prompt import Prompt, cutting
from bot.reasoning import CONTROLS, Visible
from bot.tools.formats import Arguments, CallBegun, CallEnded, Parser, Said, ToolEvent, ToolFormat
from bot.turns import Turn

ALPHABET = string.ascii_letters + string.digits
CALL_ID = 24
ON_A_SERVER = "a model on another server is told of none by Hearth"


async def requests(
    ask: ChatAsk, loaded: Loaded, form: ToolFormat | None, known: ToolFormat | None = None
) -> list[Generation]:
    """One for each choice. `form`: how this model calls functions; None where none are called. `known`: the same, if known.

    Raises TooLong, and BadRequest for what this model cannot be asked.
    """
    schemas = aside.amount_of_schemas(ask.json_schema, [tool.parameters for tool in ask.tools])
    if form is not None:  # before the template writes of them
        await aside.run(schemas, lambda: form.check(ask.tools), large=0)
    prompt = await _prompt(ask, loaded, form)
    grammar = await _grammar(ask, form, known, head=loaded.prompts.answer_head, size=schemas)
    first = Generation(
        prompt=prompt.ids,
        messages=prompt.messages,
        max_tokens=room(ask, loaded, prompt.length),
        sampling=sampling(ask, loaded.config),
        stop=ask.stop,
        json_schema=None if form is not None or grammar is not None else ask.json_schema,
        grammar=grammar,
        shows=CONTROLS if form is None else CONTROLS | form.shows,
    )
    return seeded(first, ask.n)


async def _grammar(
    ask: ChatAsk, form: ToolFormat | None, known: ToolFormat | None, *, head: str, size: int
) -> str | None:
    """What binds the answer; None where it is free, or bound by the schema alone. A new schema takes milliseconds."""
    schema = ask.json_schema
    if form is not None:
        parallel = ask.parallel_tool_calls
        return await aside.run(
            size,
            lambda: form.constraint(ask.tools, ask.tool_choice, parallel=parallel, head=head, schema=schema),
            large=0,
        )
    if known is not None and schema is not None:
        return await aside.run(size, lambda: known.answer(schema, head=head), large=0)
    return None


def calls(ask: ChatAsk) -> bool:
    """Whether functions may be called."""
    return bool(ask.tools) and ask.tool_choice.mode != "none"


def format_of(ask: ChatAsk, form: ToolFormat | None) -> ToolFormat | None:
    """`form`, if functions may be called. Raises BadRequest where the model is on another server."""
    if not calls(ask):
        return None
    if form is None:
        raise BadRequest(f"Functions cannot be called: {ON_A_SERVER}.", param="tools")
    return form


def room(ask: Ask, loaded: Loaded, prompt: int) -> int:
    """How many tokens may be written after a prompt of so many: what was asked, as far as they fit."""
    left = loaded.engine.context_length - prompt
    return left if ask.max_tokens is None else min(ask.max_tokens, left)


def sampling(ask: Ask, config: AnyModelConfig) -> Sampling:
    """As it was asked; temperature and top_p as the model is configured, where they were not."""
    return replace(
        ask.sampling,
        temperature=config.temperature if ask.temperature is None else ask.temperature,
        top_p=config.top_p if ask.top_p is None else ask.top_p,
    )


def seeded(first: Generation, n: int) -> list[Generation]:
    """The same request `n` times. Equal seeds would write equal texts, so each further one has a seed higher by one."""
    seed = first.sampling.seed
    if seed is None:
        return [first] * n
    return [replace(first, sampling=replace(first.sampling, seed=seed + number)) for number in range(n)]


def too_long(error: TooLong, loaded: Loaded) -> TooLong:
    """In the API's words."""
    most = loaded.engine.context_length
    came = f"{error.tokens} tokens" if error.tokens else "more"
    return TooLong(
        f"This model's maximum context length is {most} tokens. However, your prompt resulted in {came}. "
        "Please reduce its length.",
        tokens=error.tokens,
        room=error.room,
    )


async def _prompt(ask: ChatAsk, loaded: Loaded, form: ToolFormat | None) -> Prompt:
    size = cutting.work(ask.turns, [tool.parameters for tool in ask.tools] if form is not None else None)
    turns, tools = await aside.run(size, lambda: _prepared(ask, form))
    try:
        return await loaded.prompts.build(turns, day=datetime.now(UTC).date(), max_tokens=1, tools=tools, whole=True)
    except TooLong as error:
        raise too_long(error, loaded) from error


def _prepared(ask: ChatAsk, form: ToolFormat | None) -> tuple[list[Turn], list[dict[str, Any]] | None]:
    """The turns and the tools as they are put before the template."""
    turns = with_description(with_one_voice(ask.turns), ask.json_description)
    return (turns, None) if form is None else form.prepare(turns, ask.tools)


def with_one_voice(turns: Sequence[Turn]) -> list[Turn]:
    """The turns, with developers as the system but where they alone begin: a template that knows them has one place."""
    begin = next((n for n, turn in enumerate(turns) if turn.role is not Role.DEVELOPER), len(turns))
    if all(turn.role not in {Role.SYSTEM, Role.DEVELOPER} for turn in turns[begin:]):
        return list(turns)
    return [replace(turn, role=Role.SYSTEM) if turn.role is Role.DEVELOPER else turn for turn in turns]


def with_description(turns: Sequence[Turn], description: str) -> list[Turn]:
    """The turns, whose system says what the JSON of the answer is."""
    if not description:
        return list(turns)
    told, first = f"The answer is JSON: {description}", next(iter(turns), None)
    if first is None or first.role not in {Role.SYSTEM, Role.DEVELOPER}:
        return [Turn(Role.SYSTEM, told), *turns]
    return [replace(first, content=f"{first.content}\n\n{told}" if first.content else told), *turns[1:]]


class Choice:
    """One choice while it is written: an engine's events in, the API's out."""

    def __init__(self, number: int, *, head: str, parser: Parser | None, parallel: bool, is_json: bool = False) -> None:
        """`head`: what stands before the answer. `parser`: where functions may be called.

        `is_json`: what is said is JSON, when it has come to its own end; then `feed` raises EngineError if it is not.
        """
        self._number = number
        self._visible = Visible(head)
        self._parser = parser
        self._parallel = parallel
        self._said_json: list[str] | None = [] if is_json else None
        self._calls = 0
        self._whole = True
        """So is the last call."""
        self._cut = False
        """The tokens are used up: that is the reason of the end, also within the one call that there may be."""
        self._pending: list[Logprobs] = []
        """Of tokens that were not told yet."""
        self._opening = 0
        """Tokens of what may be the beginning of reasoning."""
        self.completion_tokens = 0
        self.reasoning_tokens = 0
        self.ended = False
        """Whether `Ended` was told: what the engine writes after that is not wanted."""

    def feed(self, event: Delta | Finish) -> Iterator[ApiEvent]:
        """What the next event of the engine tells."""
        if isinstance(event, Finish):
            yield from self._finish(event)
            return
        tokens = tokens_in(event)
        self.completion_tokens += tokens
        answering = not (self._visible.undecided or self._visible.reasoning)
        shown = self._visible.feed(event.text)
        self._pending.extend(heard(event.logprobs))
        if self._visible.undecided:
            self._opening += tokens
            return
        if self._visible.reasoning:
            self.reasoning_tokens += self._opening + tokens
            self._opening = 0
            self._pending.clear()
        elif self._visible.hidden and not answering:  # the same delta ended the reasoning and began the answer
            own = _fewest(reversed(self._pending), shown)
            self._pending = self._pending[len(self._pending) - own :]
        yield from self._shown(shown)

    def _finish(self, event: Finish) -> Iterator[ApiEvent]:
        self.completion_tokens = event.usage.completion_tokens
        yield from self._shown(self._visible.end())
        if self._parser is not None and not self.ended:
            self._cut = event.reason == "length"
            yield from self._told(self._parser.end())
        if not self.ended:
            if self._said_json is not None and not self._calls and event.reason == "stop":
                _check_json("".join(self._said_json))
            called = self._calls and self._whole and event.reason == "stop"
            yield self._end("tool_calls" if called else event.reason)

    def _shown(self, text: str) -> Iterator[ApiEvent]:
        if self._visible.thought:
            yield ReasoningPiece(self._number, self._visible.thought)
        if self._parser is None:
            yield from self._said(text)
        elif text:
            yield from self._told(self._parser.feed(text))

    def _said(self, text: str, tokens: int | None = None) -> Iterator[ApiEvent]:
        """`tokens`: how many of those that are pending spell it; None: all."""
        if text or self._pending:
            if self._said_json is not None:
                self._said_json.append(text)
            logprobs = tuple(self._pending[:tokens])
            del self._pending[:tokens]
            yield TextPiece(self._number, text, logprobs)

    def _told(self, events: Sequence[ToolEvent]) -> Iterator[ApiEvent]:
        for event in events:
            if self.ended:
                return
            match event:
                case Said(text):
                    yield from self._said(text, _fewest(self._pending, text))
                    continue
                case CallBegun(number, name):
                    self._calls += 1
                    yield CallPiece(choice=self._number, number=number, id=call_id(), name=name)
                case Arguments(number, text) if text:
                    yield CallPiece(choice=self._number, number=number, arguments=text)
                case CallEnded(whole=whole):
                    self._whole = whole
                    if whole and not (self._parallel or self._cut):
                        yield self._end("tool_calls")
            self._pending.clear()  # log-probabilities are told of text alone

    def _end(self, reason: Literal["stop", "length", "tool_calls"]) -> Ended:
        self.ended = True
        return Ended(self._number, reason)


def _fewest(tokens: Iterable[Logprobs], text: str) -> int:
    """How many of the first tokens it takes to spell so much text."""
    left, number = len(text.encode()), 0
    for token, _ in tokens:
        if left <= 0:
            break
        left -= len(token.raw)
        number += 1
    return number


def _check_json(text: str) -> None:
    """Raises EngineError: an engine that lost its grammar says nothing of that."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EngineError(
            "The model did not keep to the schema. Please try again.",
            detail=f"an answer under a JSON schema is no JSON: {len(text)} characters",
        ) from error


def call_id() -> str:
    """As OpenAI's look."""
    return "call_" + "".join(secrets.choice(ALPHABET) for _ in range(CALL_ID))
