"""What would make a grammar too large for an engine is refused before one gets it."""

from __future__ import annotations

from typing import Any

import llguidance
import pytest

from bot import constraints
from bot.api import Function, ToolChoice
from bot.constraint_size import CHARACTERS, PARTS, REPEATS, TEXT, VALUES, Unfit, of_regex, of_schema
from bot.errors import BadRequest
from bot.generation import ChatTemplate, Generation
from bot.tools.formats import format_for

STRING = {"type": "string"}
ONE = {"enum": ["a"]}
FORM = format_for(ChatTemplate(source=""), {})


def with_properties(number: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{n}": STRING for n in range(number)}}


def alternatives(number: int, name: str) -> dict[str, Any]:
    return {"anyOf": [{"properties": {f"{name}{n}": STRING}} for n in range(number)]}


def doubling(depth: int) -> dict[str, Any]:
    """Each definition combines the one before with itself."""
    found: dict[str, Any] = {"d0": with_properties(1)}
    for number in range(1, depth):
        before = {"$ref": f"#/$defs/d{number - 1}"}
        found[f"d{number}"] = {"allOf": [before, before, {"properties": {f"y{number}": STRING}}]}
    return {"$ref": f"#/$defs/d{depth - 1}", "$defs": found}


LARGE: dict[str, dict[str, Any]] = {
    "maxItems": {"type": "array", "items": ONE, "minItems": 3, "maxItems": 66000},
    "maxItems and maxLength": {
        "type": "array",
        "items": {"type": "string", "maxLength": 100000},
        "maxItems": 100000,
    },
    "minItems": {"type": "array", "items": ONE, "minItems": REPEATS + 1},
    "minItems as a float": {"type": "array", "items": ONE, "minItems": REPEATS + 1.0},
    "minProperties": {"type": "object", "minProperties": REPEATS + 1},
    "maxProperties": {"type": "object", "maxProperties": REPEATS + 1},
    "together": {"anyOf": [{"type": "array", "items": ONE, "maxItems": 400}] * 3},
    "far within": {"properties": {"a": {"items": {"prefixItems": [{"maxItems": 66000}]}}}},
    "properties": with_properties(PARTS),
    "optional properties": with_properties(500),
    "optional properties of branches": {
        "anyOf": [with_properties(100), *[{"$ref": "#/$defs/a"}] * 4],
        "$defs": {"a": with_properties(100)},
    },
    "optional properties together": {
        "allOf": [with_properties(250), {"properties": {f"q{n}": STRING for n in range(250)}}]
    },
    "branches": {"oneOf": [{"const": number, "type": "integer"} for number in range(PARTS)]},
    "patterns of names": {"type": "object", "patternProperties": {f"^x{n}_": STRING for n in range(100)}},
    "values": {"enum": ["x" * 100] * (TEXT // 100 + 1)},
    "a value": {"const": "x" * (TEXT + 1)},
    "a value within": {"const": {"x": ["x" * (TEXT + 1)]}},
    "a name": {"properties": {"x" * (TEXT + 1): STRING}},
    "a pattern": {"type": "string", "pattern": "^a{100000}$"},
    "a pattern within a pattern": {"type": "string", "pattern": "^(a{1000}){1000}$"},
    "a pattern of a name": {"type": "object", "patternProperties": {"^a{100000}$": STRING}},
    "combinations": {"allOf": [alternatives(4, f"a{number}_") for number in range(6)]},
    "combinations within": {"allOf": [{"properties": {"x": alternatives(4, f"a{n}_")}} for n in range(6)]},
    "combinations beside": {**with_properties(50), **alternatives(50, "q")},
    "combined references": doubling(24),
    "a reference to elsewhere": {"$ref": "#/kept/a", "kept": {"a": with_properties(PARTS)}},
    "a reference with company": {
        "properties": {f"p{n}": {"$ref": "#/$defs/a", "minProperties": 1} for n in range(50)},
        "$defs": {"a": with_properties(50)},
    },
    "what is only said": {"examples": [list(range(VALUES))]},
    "what is said at length": {"properties": {"a": {"description": "x" * CHARACTERS}}},
    "words that are many": {"examples": ["x" * 100] * (CHARACTERS // 100)},
    "names of what is said": {"examples": [{f"{n:0100}": n for n in range(CHARACTERS // 100)}]},
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_schema_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadRequest, match="it is too large: at most") as refused:
        constraints.check(Generation(prompt=(1,), max_tokens=1, json_schema=LARGE[name]))
    assert refused.value.param == "response_format"
    with pytest.raises(BadRequest, match="it is too large: at most") as refused:
        FORM.check(
            [Function(name="look", parameters={"type": "object", "properties": {"a": LARGE[name]}, **pointed(name)})]
        )
    assert refused.value.param == "tools"


def test_what_is_let_through_is_followed_to_its_end() -> None:
    """The parser gives up beyond 2,000 choices at one place, and says so only then."""
    tokenizer = llguidance.LLTokenizer("byte")
    for schema, fits in ((with_properties(470), True), (with_properties(520), False)):
        compiled = constraints.compiled(Generation(prompt=(1,), max_tokens=1, json_schema=schema))
        matcher = llguidance.LLMatcher(tokenizer, compiled, log_level=0)
        matcher.consume_tokens(list(b"{"))
        matcher.compute_bitmask()
        assert matcher.is_error() is not fits


def pointed(name: str) -> dict[str, Any]:
    """What the pointers of a schema lead to, beside it."""
    return {key: part for key, part in LARGE[name].items() if key in {"$defs", "kept"}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "maxLength": 1_000_000},
        {"type": "array", "items": {"type": "string", "maxLength": 100_000}, "maxItems": 1000},
        with_properties(470),
        {**with_properties(800), "required": [f"p{n}" for n in range(0, 800, 2)]},
        {"enum": [f"value {number}" for number in range(1500)]},
        {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}( .{1,1000})?$"},
        {"type": "object", "properties": {f"p{n}": {"$ref": "#/$defs/a"} for n in range(300)}, "$defs": {"a": with_properties(300)}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"next": {"$ref": "#/$defs/a"}}}}},
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"allOf": [{"$ref": "#/$defs/a"}, with_properties(3)], "$defs": {"a": with_properties(300)}},
        {"anyOf": [with_properties(10), {"type": "null"}], "description": "either"},
        {"properties": {"x-guidance": STRING}, "enum": [{"x-guidance": 1}]},
        {},
    ],
    ids=str,
)  # fmt: skip
def test_what_people_ask_for_is_not_too_large(schema: dict[str, Any]) -> None:
    of_schema(schema)


@pytest.mark.parametrize(
    "schema", [{"$ref": "https://example.com/a"}, {"$ref": "#a"}, {"$ref": "#/a"}, {"$ref": "#/allOf/9", "allOf": [{}]}]
)
def test_a_reference_to_nobody_knows_what_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Unfit, match="leads"):
        of_schema(schema)


@pytest.mark.parametrize(
    ("regex", "size"),
    [
        ("", 0),
        ("a{3}", 3),
        ("(ab|c){0,10}", 40),
        ("((a{10}b){10}c){10}", 1110),
        (r"[a-z\]{9}]{5}", 5),
        (r"\x{41}{5}\{5}", 8),
        ("a{2}{3}", 6),
        ("a*b+c?", 3),
        ("a{5,}", 5),
        ("()()))", 0),
    ],
)
def test_the_size_of_a_regular_expression(regex: str, size: int) -> None:
    assert of_regex(regex) == size


def test_a_regular_expression_that_spells_much_is_refused() -> None:
    with pytest.raises(BadRequest, match="spells more than") as refused:
        constraints.check(Generation(prompt=(1,), max_tokens=1, regex="(a{1000}){1000}"))
    assert refused.value.param == "regex"


@pytest.mark.parametrize("place", [(), ("properties", "a"), ("items",), ("anyOf",), ("$defs", "a")])
@pytest.mark.parametrize("guidance", [{"item_separator": "; "}, {"lenient": True}, {}])
def test_how_json_is_written_is_not_the_askers_to_say(place: tuple[str, ...], guidance: dict[str, Any]) -> None:
    schema: Any = {"type": "object", "x-guidance": guidance}
    for key in reversed(place):
        schema = [schema] if key == "anyOf" else schema
        schema = {key: schema}
    if "$defs" in place:
        schema["$ref"] = "#/$defs/a"
    for check, param in (
        (lambda: constraints.check_schema(schema), "response_format"),
        (lambda: FORM.check([Function(name="look", parameters=schema)]), "tools"),
        (lambda: FORM.check([Function(name="look", parameters=schema, strict=True)]), "tools"),
    ):
        with pytest.raises(BadRequest, match="x-guidance is no keyword") as refused:
            check()
        assert refused.value.param == param


def test_functions_are_bounded_all_together() -> None:
    functions = [Function(name=f"look{n}", parameters=with_properties(99)) for n in range(60)]
    with pytest.raises(BadRequest, match="all functions together") as refused:
        FORM.check(functions)
    assert refused.value.param == "tools"
    few = functions[:20]
    FORM.check(few)
    assert FORM.constraint(few, ToolChoice("auto")) is None
    assert FORM.constraint(few, ToolChoice("required", "look3")) is not None
    with pytest.raises(BadRequest, match="with all functions that are offered: it is too large") as refused:
        FORM.constraint(few, ToolChoice("required"))
    assert refused.value.param == "tools"
