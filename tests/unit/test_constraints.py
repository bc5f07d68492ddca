"""Schemas, regular expressions and grammars are checked before an engine gets them."""

from __future__ import annotations

import re
from typing import Any

import llguidance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import constraints
from bot.engines import guides
from bot.errors import BadRequest
from bot.generation import Generation

BYTES = guides.guide([*(bytes([i]) for i in range(256)), b"<end>", b"<tag>"], {256, 257}, {256})


def asked(**constraint: Any) -> Generation:
    return Generation(prompt=(1,), max_tokens=1, **constraint)


def matches(regex: str, text: str) -> bool:
    matcher = llguidance.LLMatcher(BYTES, constraints.compiled(asked(regex=regex)), log_level=0)
    taken = matcher.try_consume_tokens(list(text.encode()))
    return taken == len(text.encode()) and bool(matcher.is_accepting())


@pytest.mark.parametrize(
    ("regex", "text"),
    [
        ("a/b", "a/b"),
        (r"a\/b", "a/b"),
        (r"[/\n]+", "/\n/"),
        ("a\nb", "a\nb"),
        ("a\\\nb", "a\nb"),
        ("//", "//"),
        ("/[*]a[*]/", "/*a*/"),
        (r"\\/", "\\/"),
        (r"\x41\d", "A7"),
        ('"%json [{}]"', '"%json {"'),
        ("# no comment", "# no comment"),
        ("é+😀?", "éé"),
        ("", ""),
        ("^ab$", "ab"),
    ],
)
def test_a_regular_expression_means_the_same_within_a_grammar(regex: str, text: str) -> None:
    constraints.check(asked(regex=regex))
    assert matches(regex, text)
    assert not matches(regex, text + "!")


@settings(deadline=None)
@given(st.text(st.sampled_from("ab/\n\\\"'#<>{}[]()*+?.|%$^é "), min_size=1, max_size=8))
def test_any_text_is_matched_by_its_own_expression(text: str) -> None:
    regex = "".join(f"\\x{ord(char):02X}" if char.isascii() else char for char in text)
    assert matches(regex, text)
    escaped = re.sub(r"([\\.+*?()|\[\]{}^$#])", r"\\\1", text)
    constraints.check(asked(regex=escaped))
    assert matches(escaped, text)


@pytest.mark.parametrize(
    ("constraint", "param", "words"),
    [
        ({"json_schema": {"type": "nonsense"}}, "response_format", "This is no JSON schema: 'nonsense' is not valid"),
        ({"json_schema": {"type": {1}}}, "response_format", "This is no JSON schema: Object of type set"),
        ({"json_schema": {"$ref": "#/nowhere"}}, "response_format", "This JSON schema is not supported: "),
        ({"regex": "("}, "regex", "This regular expression is not supported: .*unclosed group"),
        ({"regex": "a(?=b)"}, "regex", "This regular expression is not supported: .*look-around"),
        ({"grammar": ""}, "grammar", "This grammar is not supported: Empty grammar"),
        ({"grammar": "start: <other>"}, "grammar", "This grammar is not supported: .*unknown special token"),
        ({"grammar": "start: <[258]>"}, "grammar", "This grammar is not supported: .*too large"),
        ({"grammar": '{"grammars": []}'}, "grammar", "This grammar is not supported: "),
        ({"grammar": 'start: "a"', "regex": "a"}, "grammar", "Only one of these can be kept: regex, grammar."),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(constraint: dict[str, Any], param: str, words: str) -> None:
    for _ in range(2):
        with pytest.raises(BadRequest) as refused:
            constraints.check(asked(**constraint), BYTES)
        assert refused.value.param == param
        assert re.match(words, refused.value.words, re.DOTALL)


def test_names_of_tokens_are_not_looked_up_without_a_vocabulary() -> None:
    constraints.check(asked(grammar="start: <other>"))
    constraints.check(asked(grammar="start: <tag>"), BYTES)


@pytest.mark.parametrize("depth", [150, 900, 100_000])
def test_a_deep_schema_is_refused_and_not_a_crash(depth: int) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    with pytest.raises(BadRequest):
        constraints.check_schema(schema)


def test_many_schemas_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constraints, "REMEMBERED", 2)
    for number in range(5):
        constraints.check_schema({"const": number})
        assert len(constraints._GOOD) <= 2
