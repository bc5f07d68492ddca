"""JSON of programs: the same objects and the same complaints as of Python's own reader, in steps and within bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web.openai import json_text
from adapters.web.openai.faults import Refused
from adapters.web.openai.parameters.base import MOST_DEPTH

BEFORE = "We could not parse the JSON body of your request: "
OBJECTS = st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))


def refused(found: bytes, values: int = json_text.VALUES) -> str:
    with pytest.raises(Refused) as told:
        json_text.read(found, values)
    assert told.value.fault.status == 400
    return told.value.fault.message


@given(value=OBJECTS, escaped=st.booleans(), block=st.integers(1, 5))
def test_an_object_is_read_in_blocks_however_they_are_cut(*, value: dict[str, Any], escaped: bool, block: int) -> None:
    found = json.dumps(value, ensure_ascii=escaped).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "BLOCK", block)
        assert json_text.read(found, json_text.VALUES) == value
        assert json_text.read(b"\xef\xbb\xbf" + found, json_text.VALUES) == value


@pytest.mark.parametrize("block", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    "found",
    [
        b"",
        b"{",
        b'{"a": 1,}',
        b'{"a": "\xff"}',
        b'{"a": "\xc3',
        b'{"aaaa": "\xe2\x82',
        b'{"aaaaa": "\xe2\x82\x28"}',
        b'{"a": "\xf0\x9f\x98\x80\xf0\x28"}',
        b'{"a": "\xf5\xa0\x80\x80"}',
        b'{"a": NaN}',
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
)
def test_what_is_no_json_is_told_in_pythons_words(monkeypatch: pytest.MonkeyPatch, found: bytes, block: int) -> None:
    monkeypatch.setattr(json_text, "BLOCK", block)
    with pytest.raises(ValueError) as told:
        json.loads(found, parse_constant=json_text._constant)
    assert refused(found) == f"{BEFORE}{told.value}"


def test_halves_of_surrogate_pairs_are_left_to_who_looks_at_the_values() -> None:
    assert json_text.read(b'{"a": "\xed\xa0\x80", "b": "\\ud800"}', 10) == {"a": "\ud800", "b": "\ud800"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_json_is_in_utf_8(encoding: str) -> None:
    """In another one what a string holds could not be told from what is around it."""
    assert refused('{"a": 1}'.encode(encoding)) == f"{BEFORE}it is not in UTF-8"


def test_a_body_that_is_no_object_or_too_deep_is_refused() -> None:
    assert refused(b"[]") == "The body must be a JSON object."
    for depth in (MOST_DEPTH + 1, 40_000):
        assert refused(b'{"a": ' + b"[" * depth + b"]" * depth + b"}") == json_text.TOO_DEEP
    inner = b"[" * (MOST_DEPTH - 1) + b"]" * (MOST_DEPTH - 1)
    assert json_text.read(b'{"a": ' + inner + b"}", 1000)


@given(texts=st.lists(st.text('"\\\\,[{a'), min_size=1), block=st.integers(2, 5))
def test_a_string_ends_where_it_does_however_the_blocks_are_cut(*, texts: list[str], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "BLOCK", block)
        assert json_text.values(json.dumps(texts).encode(), 100_000) == len(texts)


@pytest.mark.parametrize("unended", [b'["', b'["a', b'["a\\"', b'["a\\', b'["a\\"b'])
def test_a_string_without_an_end_is_gone_through_once(unended: bytes) -> None:
    assert json_text.values(unended, 10) == 1


def test_numbers_may_be_more_than_lists_and_strings() -> None:
    most = 10 * json_text.VALUES
    assert not json_text.holds_more(b"[" + b"1," * (most - 10), most)
    assert json_text.holds_more(b"[" + b"1," * (most + 10), most)
    assert json_text.holds_more(b"[" + b"[]," * (json_text.VALUES + 1), most)
    assert json_text.holds_more(b"[" + b'"",' * (json_text.STRINGS + 1), most)
    assert json_text.values(b'[1, "a,[{", {"b": 2}]', 100) == 4
