"""Functions called by the embedded model: told by its template, bound by a grammar, read from its stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bot.api import Function, ToolChoice
from bot.config import EMBEDDED_CHAT_MODEL, ModelConfig
from bot.engines.llamacpp import LlamaCppEngine
from bot.generation import Delta, Finish, Generation, Sampling
from bot.messages import Role
from bot.prompt import PromptBuilder, Turn
from bot.tools.formats import Arguments, CallBegun, CallEnded, Said, ToolEvent, ToolFormat, format_for
from bot.tools.formats.generic import Generic
from bot.tools.formats.hermes import Hermes
from bot.tools.formats.llama3 import Llama3
from bot.tools.formats.mistral import Mistral, NamedMistral
from tests.controls import ADDED, SPECIAL, with_controls

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "unit": {"enum": ["°C", "°F"]},
        "days": {"$ref": "#/$defs/days"},
    },
    "required": ["city", "unit", "days"],
    "additionalProperties": False,
    "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 9}},
}
WEATHER = Function(name="get_weather", description="The weather in a city.", parameters=PARAMETERS, strict=True)
TIME = Function(name="get_time", description="What time it is.")
BOTH = (WEATHER, TIME)
QUESTION = [Turn(Role.SYSTEM, "Be brief."), Turn(Role.USER, "What is the weather in Oslo?")]
NAMED = ToolChoice("required", "get_weather")
CONTROLS = {
    **dict.fromkeys(("[TOOL_CALLS]", "[ARGS]", "<|python_tag|>"), SPECIAL),
    **dict.fromkeys(("<tool_call>", "</tool_call>"), ADDED),
}


@dataclass
class Answer:
    """What came of a question."""

    text: str = ""
    ids: tuple[int, ...] = ()
    reason: str = ""
    events: list[ToolEvent] = field(default_factory=list)

    def calls(self) -> list[tuple[str, Any]]:
        names = [event.name for event in self.events if isinstance(event, CallBegun)]
        return [(name, json.loads(self.arguments(number))) for number, name in enumerate(names)]

    def arguments(self, number: int) -> str:
        mine = [event for event in self.events if isinstance(event, Arguments) and event.number == number]
        return "".join(event.text for event in mine)


@asynccontextmanager
async def loaded(path: Path, folder: Path) -> AsyncIterator[LlamaCppEngine]:
    config = ModelConfig(path=path, threads=1, slots=2, context_length=2048)
    engine = await LlamaCppEngine.load("demo", config, folder)
    try:
        yield engine
    finally:
        await engine.aclose()


async def control_ids(engine: LlamaCppEngine) -> dict[str, int]:
    names = sorted(engine.control_strings)
    encoded = await engine.encode(names)
    return {name: ids[0] for name, ids in zip(names, encoded, strict=True) if len(ids) == 1}


async def ask(
    engine: LlamaCppEngine,
    form: ToolFormat,
    choice: ToolChoice,
    *,
    functions: Sequence[Function] = BOTH,
    sampling: Sampling | None = None,
) -> Answer:
    form.check(functions)
    builder = PromptBuilder(engine)
    turns, tools = form.prepare(QUESTION, functions)
    prompt = await builder.build(turns, day=date(2026, 1, 1), max_tokens=300, tools=tools)
    request = Generation(
        prompt=prompt.ids,
        max_tokens=300,
        sampling=sampling or Sampling(temperature=0),
        grammar=form.constraint(functions, choice, head=builder.answer_head),
        shows=form.shows,
    )
    parser, answer = form.parser(functions), Answer()
    async for event in engine.stream(request):
        if isinstance(event, Delta):
            answer.text, answer.ids = answer.text + event.text, answer.ids + event.token_ids
            answer.events += parser.feed(event.text)
        elif isinstance(event, Finish):
            answer.reason = event.reason
    answer.events += parser.end()
    return answer


def check_weather(answer: Answer) -> None:
    """One call of get_weather with arguments that keep to its schema, which came in pieces, and nothing else."""
    [(name, arguments)] = answer.calls()
    assert name == "get_weather"
    jsonschema.validate(arguments, PARAMETERS)
    assert answer.events[0] == CallBegun(0, "get_weather")
    assert answer.events[-1] == CallEnded(0)
    assert len(answer.events) > 10
    assert not any(isinstance(event, Said) for event in answer.events)
    assert answer.reason == "stop"


class TestEmbeddedModel:
    """Its template tells of functions, and has Hermes' form without control tokens for it."""

    @pytest.fixture
    async def engine(self, tmp_path: Path) -> AsyncIterator[LlamaCppEngine]:
        async with loaded(EMBEDDED_CHAT_MODEL, tmp_path) as engine:
            yield engine

    async def test_a_named_function_is_called_with_valid_arguments(self, engine: LlamaCppEngine) -> None:
        form = format_for(engine.template, await control_ids(engine))
        assert form.name == "hermes"
        assert form.told(BOTH) == ""
        answer = await ask(engine, form, NAMED)
        check_weather(answer)
        assert answer.text.startswith('<tool_call>\n{"name": "get_weather", "arguments": {"city": "')

    async def test_an_improbable_model_keeps_to_it_too(self, engine: LlamaCppEngine) -> None:
        form = format_for(engine.template, await control_ids(engine))
        for seed in range(5):
            check_weather(await ask(engine, form, NAMED, sampling=Sampling(temperature=3.0, seed=seed)))

    async def test_a_function_of_any_name_is_called_where_one_has_to_be(self, engine: LlamaCppEngine) -> None:
        form = format_for(engine.template, await control_ids(engine))
        answer = await ask(engine, form, ToolChoice("required"))
        assert {name for name, _ in answer.calls()} <= {"get_weather", "get_time"}
        assert answer.calls()

    async def test_it_calls_what_it_was_trained_to_call_by_itself(self, engine: LlamaCppEngine) -> None:
        form = format_for(engine.template, await control_ids(engine))
        answer = await ask(engine, form, ToolChoice("auto"), functions=[TIME])
        assert [name for name, _ in answer.calls()] == ["get_time"]


@pytest.mark.parametrize("family", [Hermes, Llama3, Mistral, NamedMistral, Generic])
async def test_every_format_is_kept_with_control_tokens_of_its_own(tmp_path: Path, family: Any) -> None:
    path = with_controls(tmp_path / "controls.gguf", CONTROLS)
    async with loaded(path, tmp_path) as engine:
        ids = await control_ids(engine)
        assert CONTROLS.keys() <= ids.keys()
        form = family(engine.template, ids, in_template=False)
        answer = await ask(engine, form, NAMED)
        check_weather(answer)
        written = {name for name in CONTROLS if ids[name] in answer.ids}
        expected = {Hermes: {"<tool_call>", "</tool_call>"}, Mistral: {"[TOOL_CALLS]"}}
        expected[NamedMistral] = {"[TOOL_CALLS]", "[ARGS]"}
        assert written == expected.get(family, set())
        assert all(name in answer.text for name in written)
        for seed in range(5):
            answer = await ask(engine, form, ToolChoice("auto"), sampling=Sampling(temperature=1.5, seed=seed))
            for name, arguments in answer.calls() if answer.reason == "stop" else ():
                jsonschema.validate(arguments, PARAMETERS if name == "get_weather" else {"maxProperties": 0})


async def test_added_tokens_always_stand_in_the_text_and_special_ones_if_asked_for(tmp_path: Path) -> None:
    path = with_controls(tmp_path / "controls.gguf", CONTROLS)
    async with loaded(path, tmp_path) as engine:
        ids = await control_ids(engine)
        [prompt] = await engine.encode(["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"])
        call, tools = ids["<tool_call>"], ids["[TOOL_CALLS]"]
        numbered = f'start: "a" <[{call}]> "b" <[{tools}]> "c"'
        named = 'start: "a<tool_call>b" <|python_tag|> "c"'
        request = Generation(prompt=tuple(prompt), max_tokens=20, sampling=Sampling(temperature=0))
        for grammar, shows, expected, special in (
            (numbered, set[str](), "a<tool_call>bc", "[TOOL_CALLS]"),
            (numbered, {"[TOOL_CALLS]", "[ARGS]"}, "a<tool_call>b[TOOL_CALLS]c", "[TOOL_CALLS]"),
            (named, {"<|python_tag|>"}, "a<tool_call>b<|python_tag|>c", "<|python_tag|>"),
        ):
            changed = replace(request, grammar=grammar, shows=frozenset(shows))
            deltas = [event async for event in engine.stream(changed) if isinstance(event, Delta)]
            assert "".join(delta.text for delta in deltas) == expected
            assert ids[special] in [id_ for delta in deltas for id_ in delta.token_ids]
