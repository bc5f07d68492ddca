"""The grammars of calls: what they let through is read as a call with valid arguments, and nothing else comes through."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import llguidance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.api import Function, ToolChoice
from bot.engines import guides
from bot.errors import BadRequest
from bot.generation import ChatTemplate
from bot.tools.formats import Arguments, CallBegun, CallEnded, Said
from bot.tools.formats.family import Family
from bot.tools.formats.generic import Generic
from bot.tools.formats.grammar import as_property, closed
from bot.tools.formats.hermes import Hermes
from bot.tools.formats.llama3 import Llama3
from bot.tools.formats.mistral import Mistral, NamedMistral
from bot.turns import ToolCall

FAMILIES: list[type[Family]] = [Hermes, Llama3, Mistral, NamedMistral, Generic]
CONTROLS = (
    *("<end>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]"),
    *("<tool_call>", "</tool_call>", "<think>", "</think>"),
)
SPECIAL = 7
"""So many of them are special; the others are added only, as with Qwen."""
IDS = {control: 256 + n for n, control in enumerate(CONTROLS)}
GUIDE = guides.guide(
    [*(bytes([i]) for i in range(256)), *(control.encode() for control in CONTROLS)], range(256, 256 + SPECIAL), {256}
)
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 30},
        "unit": {"enum": ["°C", "°F"]},
        "days": {"$ref": "#/$defs/days"},
    },
    "required": ["city", "days"],
    "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 9}},
}
WEATHER = Function(name="get_weather", parameters=PARAMETERS, strict=True)
TIME = Function(name="get_time")
BOTH = (WEATHER, TIME)
OSLO: dict[str, object] = {"city": "Oslo", "unit": "°C", "days": 3}
ASK_WEATHER = ToolCall(name="get_weather", arguments=OSLO)
ASK_TIME = ToolCall(name="get_time")
REQUIRED = ToolChoice("required")
NAMED = ToolChoice("required", "get_weather")
AUTO = ToolChoice("auto")


def form(family: type[Family], *, ids: bool = True, source: str = "") -> Family:
    known = {name: id_ for name, id_ in IDS.items() if ids or name == "<end>"}
    return family(ChatTemplate(source=source), known, in_template=False)


def written(one: Family, *calls: ToolCall) -> str:
    """As the model is shown its own calls."""
    return one._joined([one._written(call) for call in calls])


def accepted(grammar: str | None, text: str, *, ids: bool = True, unfinished: bool = False) -> bool:
    """Whether an answer may be written like that."""
    assert grammar is not None
    lark = llguidance.LLMatcher.grammar_from_lark(grammar)
    assert not llguidance.LLMatcher.validate_grammar(lark, GUIDE)
    matcher = llguidance.LLMatcher(GUIDE, lark, log_level=0)
    pieces = re.split(f"({'|'.join(map(re.escape, CONTROLS))})", text) if ids else [text]
    tokens = [token for piece in pieces for token in ([IDS[piece]] if piece in IDS else piece.encode())]
    if ids is False:
        tokens = list(text.encode())
    taken = matcher.try_consume_tokens(tokens)
    assert not matcher.is_error(), matcher.get_error()
    return taken == len(tokens) and (unfinished or matcher.is_accepting())


def calls_in(one: Family, text: str) -> list[tuple[str, Any]]:
    """What is called, with which arguments."""
    parser = one.parser(BOTH)
    events = [*parser.feed(text), *parser.end()]
    assert all(event.whole for event in events if isinstance(event, CallEnded))
    names = [event.name for event in events if isinstance(event, CallBegun)]
    texts = dict.fromkeys(range(len(names)), "")
    for event in events:
        if isinstance(event, Arguments):
            texts[event.number] += event.text
    return [(name, json.loads(texts[n])) for n, name in enumerate(names)]


both_ways = pytest.mark.parametrize("ids", [True, False], ids=["tokens", "spelled"])
every_family = pytest.mark.parametrize("family", FAMILIES)


@both_ways
@every_family
class TestRequired:
    def test_calls_come_and_nothing_else(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids)
        grammar = one.constraint(BOTH, REQUIRED)
        for calls in ([ASK_WEATHER], [ASK_TIME], [ASK_TIME, ASK_WEATHER], [ASK_WEATHER] * 3):
            text = written(one, *calls)
            assert accepted(grammar, text, ids=ids)
            assert calls_in(one, text) == [(call.name, dict(call.arguments)) for call in calls]
            assert not accepted(grammar, text + " and", ids=ids, unfinished=True)
        for text in ("", "Hello", written(one, ToolCall(name="get_rain"))):
            assert not accepted(grammar, text, ids=ids)

    def test_arguments_keep_to_the_schema(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids)
        grammar = one.constraint(BOTH, REQUIRED)
        wrong: list[dict[str, object]] = [
            {"city": "Oslo"},
            {"days": 3},
            {"city": 1, "days": 3},
            {"city": "Oslo", "days": 10},
            {"city": "Oslo", "unit": "K", "days": 3},
            {"city": "Oslo", "days": 3, "hours": 4},
        ]
        for arguments in wrong:
            assert not accepted(grammar, written(one, ToolCall(name="get_weather", arguments=arguments)), ids=ids)
        assert not accepted(grammar, written(one, ToolCall(name="get_time", arguments={"zone": "CET"})), ids=ids)

    def test_one_call_where_there_may_not_be_more(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids)
        for grammar in (one.constraint(BOTH, REQUIRED, parallel=False), one.constraint(BOTH, NAMED)):
            assert accepted(grammar, written(one, ASK_WEATHER), ids=ids)
            assert not accepted(grammar, written(one, ASK_WEATHER, ASK_WEATHER), ids=ids)

    def test_no_other_than_the_named_one(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids)
        assert not accepted(one.constraint(BOTH, NAMED), written(one, ASK_TIME), ids=ids)

    def test_a_weak_model_cannot_go_on_for_ever(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids)
        grammar = one.constraint((TIME,), REQUIRED)
        assert accepted(grammar, written(one, *[ASK_TIME] * 32), ids=ids)
        assert not accepted(grammar, written(one, *[ASK_TIME] * 33), ids=ids)


@both_ways
@every_family
class TestAuto:
    def test_text_or_calls_that_keep_to_the_schema(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids)
        grammar = one.constraint(BOTH, AUTO)
        for text in (
            "",
            "Hello.",
            "A {brace} and [a](link), 1 < 2",
            "Two\n\nparagraphs.",
            "`x` is code",
            "```c\nx\n```",
        ):
            assert accepted(grammar, text, ids=ids)
            assert calls_in(one, text) == []
        for calls in ([ASK_WEATHER], [ASK_TIME, ASK_WEATHER]):
            assert accepted(grammar, written(one, *calls), ids=ids)
        wrong = written(one, ToolCall(name="get_weather", arguments={"city": "Oslo", "days": 10}))
        assert not accepted(grammar, wrong, ids=ids)
        assert not accepted(grammar, written(one, ToolCall(name="get_rain")), ids=ids)

    def test_text_before_a_call(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids)
        if one.shape.bare:
            return  # there a call is the answer's beginning
        grammar = one.constraint(BOTH, AUTO)
        text = "Let me see. " + written(one, ASK_WEATHER)
        assert accepted(grammar, text, ids=ids)
        assert calls_in(one, text) == [("get_weather", OSLO)]
        wrong = text.replace("3", "0")
        assert not accepted(grammar, wrong, ids=ids)

    def test_what_would_be_read_as_a_call_is_none_in_text(self, family: type[Family], ids: bool) -> None:
        """Spelled without its tokens, or within a block of code."""
        one = form(family, ids=ids)
        grammar = one.constraint(BOTH, AUTO)
        wrong = written(one, ToolCall(name="get_weather", arguments={"city": "Oslo", "days": 10}))
        assert not accepted(grammar, wrong, ids=False)
        assert not accepted(grammar, "\n" + wrong, ids=False)
        if one.shape.fences:
            assert not accepted(grammar, f"```json\n{wrong}\n```", ids=ids)

    def test_nothing_is_bound_where_no_function_is_strict(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids)
        assert one.constraint((TIME,), AUTO) is None
        assert one.constraint(BOTH, ToolChoice("none")) is None
        assert one.constraint((), AUTO) is None

    def test_an_answer_of_a_schema_or_calls(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids)
        schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
        for functions in (BOTH, (TIME,)):
            grammar = one.constraint(functions, AUTO, schema=schema)
            assert accepted(grammar, '{"sum": 5}', ids=ids)
            assert accepted(grammar, written(one, ASK_TIME), ids=ids)
            assert not accepted(grammar, '{"sum": "5"}', ids=ids)
            assert not accepted(grammar, "Hello", ids=ids)
        assert accepted(one.constraint(BOTH, AUTO, schema=schema), written(one, ASK_WEATHER), ids=ids)
        assert not accepted(one.constraint(BOTH, REQUIRED, schema=schema), '{"sum": 5}', ids=ids)


@both_ways
@every_family
class TestThinking:
    def test_reasoning_that_the_template_began_is_ended_first(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids)
        for head, close in (("<|assistant|>\n<think>\n", "</think>"), ("[THINK]", "[/THINK]")):
            for choice in (REQUIRED, AUTO):
                grammar = one.constraint(BOTH, choice, head=head)
                assert accepted(grammar, f"hm {{ [\n{close}\n\n{written(one, ASK_WEATHER)}", ids=ids)
                assert not accepted(grammar, written(one, ASK_WEATHER), ids=ids)
            assert accepted(one.constraint(BOTH, AUTO, head=head), f"hm{close}Hello", ids=ids)
            assert not accepted(one.constraint(BOTH, REQUIRED, head=head), f"hm{close}Hello", ids=ids)

    def test_a_model_that_may_think_first_may_do_so(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids, source="{{ '<think>' }}")
        grammar = one.constraint(BOTH, REQUIRED)
        assert accepted(grammar, f"<think>hm</think>\n{written(one, ASK_WEATHER)}", ids=ids)
        assert accepted(grammar, written(one, ASK_WEATHER), ids=ids)
        assert not accepted(grammar, "<think>hm</think>\nHello", ids=ids)
        strict = one.constraint(BOTH, AUTO)
        wrong = written(one, ToolCall(name="get_weather", arguments={"city": "Oslo", "days": 10}))
        assert accepted(strict, "<think>hm</think>\nHello", ids=ids)
        assert accepted(strict, "Hello", ids=ids)
        assert not accepted(strict, f"<think>hm</think>\n{wrong}", ids=ids)
        done = one.constraint(BOTH, REQUIRED, head="<|assistant|>\n<think>\n\n</think>\n\n")
        assert not accepted(done, f"<think>hm</think>\n{written(one, ASK_WEATHER)}", ids=ids)

    def test_json_comes_after_the_reasoning(self, family: type[Family], ids: bool) -> None:
        one = form(family, ids=ids, source="{{ '<think>' }}")
        schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
        perhaps, begun = one.answer(schema), one.answer(schema, head="<think>\n")
        for grammar, text in (
            (perhaps, '{"sum": 5}'),
            (perhaps, '<think>hm {"a"</think>\n\n{"sum": 5}'),
            (begun, 'hm</think>\n\n{"sum": 5}'),
        ):
            assert accepted(grammar, text, ids=ids)
            assert not accepted(grammar, text + "x", ids=ids)
        assert not accepted(perhaps, 'hm</think>{"sum": 5}', ids=ids)
        assert not accepted(begun, '{"sum": 5}', ids=ids)
        assert form(family, ids=False).answer(schema) is None
        assert one.answer(schema, head="<think>\n\n</think>\n\n") is None
        with pytest.raises(BadRequest):
            one.answer({"type": "nonsense"})


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "integer"},
            {"type": "boolean"},
            {"enum": ["a", "ü", 1, None]},
            {"type": "number", "minimum": 0},
            {"$ref": "#/$defs/short"},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(
            lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)},
            st.dictionaries(st.sampled_from(["a", "b{", 'c"', "é"]), inner, min_size=1),
        ),
    ),
    max_leaves=5,
)


TEXT = st.text(st.characters(exclude_characters="\x7f", exclude_categories=["Cs"]))
"""llguidance has U+007F as an escape alone."""


def value_of(data: st.DataObject, schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return data.draw(st.sampled_from(schema["enum"]))
    if "$ref" in schema:
        return data.draw(TEXT)[:3]
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "string": TEXT,
        "integer": st.integers(-(2**31), 2**31),
        "boolean": st.booleans(),
        "number": st.integers(0, 99) | st.sampled_from([0.5, 12.25]),
    }
    if schema["type"] == "array":
        return [value_of(data, schema["items"]) for _ in range(data.draw(st.integers(0, 3)))]
    if schema["type"] == "object":
        return {key: value_of(data, part) for key, part in schema["properties"].items()}
    return data.draw(kinds[schema["type"]])


@every_family
@settings(deadline=None, max_examples=40)
@given(part=SCHEMAS, data=st.data())
def test_all_that_a_schema_allows_can_be_called(
    family: type[Family], part: dict[str, Any], data: st.DataObject
) -> None:
    parameters = {
        "type": "object",
        "properties": {"it": part},
        "required": ["it"],
        "$defs": {"short": {"type": "string", "maxLength": 3}},
    }
    function = Function(name="f", parameters=parameters, strict=True)
    one = form(family)
    one.check([function])
    arguments = {"it": value_of(data, part)}
    text = written(one, ToolCall(name="f", arguments=arguments))
    assert accepted(one.constraint([function], REQUIRED), text)
    assert accepted(one.constraint([function], AUTO, schema={"type": "array"}), text)
    parser = one.parser([function])
    events = [*parser.feed(text), *parser.end()]
    assert not any(isinstance(event, Said) for event in events)
    assert json.loads("".join(event.text for event in events if isinstance(event, Arguments))) == arguments


class TestCheck:
    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize(
        "parameters",
        [
            {"type": "nonsense"},
            {"type": "array"},
            {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
            {"type": "object", "required": "a"},
        ],
    )
    def test_what_is_no_schema_of_an_object_is_refused(self, parameters: dict[str, Any], strict: bool) -> None:
        function = Function(name="get_rain", parameters=parameters, strict=strict)
        for _ in range(2):
            with pytest.raises(BadRequest) as refused:
                form(Hermes).check([TIME, function])
            assert refused.value.param == "tools"
        if parameters["type"] == "array":
            assert "get_rain" in refused.value.words

    def test_what_cannot_be_kept_is_refused_of_strict_functions_alone(self) -> None:
        parameters = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
        form(Hermes).check([Function(name="f", parameters=parameters)])
        with pytest.raises(BadRequest, match="The schema of f cannot be kept"):
            form(Hermes).check([Function(name="f", parameters=parameters, strict=True)])

    def test_a_choice_of_no_function_and_a_bad_schema_of_the_answer_are_refused(self) -> None:
        with pytest.raises(BadRequest) as refused:
            form(Hermes).constraint(BOTH, ToolChoice("required", "get_rain"))
        assert refused.value.param == "tool_choice"
        with pytest.raises(BadRequest) as refused:
            form(Hermes).constraint(BOTH, AUTO, schema={"type": "nonsense"})
        assert refused.value.param == "response_format"


@pytest.mark.parametrize(
    ("schema", "is_closed"),
    [
        ({}, True),
        ({"type": "object"}, True),
        ({"type": "object", "properties": {}}, True),
        ({"type": "object", "properties": {"a": {}}}, True),
        ({"properties": {"a": {}}}, True),
        ({"type": "object", "required": ["a"]}, False),
        ({"type": "object", "properties": {"a": {}}, "anyOf": [{}]}, False),
        ({"type": "object", "additionalProperties": True}, False),
        ({"type": "object", "patternProperties": {"a": {}}}, False),
        ({"type": "string"}, False),
        ({"type": ["object", "null"], "properties": {"a": {}}}, False),
    ],
)
def test_where_further_properties_are_left_out(schema: dict[str, Any], is_closed: bool) -> None:
    assert (closed(schema).get("additionalProperties") is False) is is_closed
    nested = {"type": "array", "items": {"properties": {"a": schema}}}
    assert (closed(nested)["items"]["properties"]["a"].get("additionalProperties") is False) is (
        is_closed and schema != {}
    )


def test_references_lead_to_where_the_schema_stands_now() -> None:
    schema = {"a": {"$ref": "#/$defs/b"}, "c": [{"$ref": "#"}], "$ref": "other.json", "x-guidance": {}}
    assert as_property(schema, "k") == {
        "a": {"$ref": "#/properties/k/$defs/b"},
        "c": [{"$ref": "#/properties/k"}],
        "$ref": "other.json",
    }


def test_control_strings_that_the_parser_has_to_see() -> None:
    assert form(Hermes).shows == {"<tool_call>", "</tool_call>"}
    assert form(Llama3).shows == {"<|python_tag|>"}
    assert form(NamedMistral).shows == {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"}
    assert form(Mistral, ids=False).shows == form(Generic).shows == frozenset()
