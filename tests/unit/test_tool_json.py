"""JSON that is read while it is written: the same as a parser says that has all of it, wherever it is split."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.tools.formats.json_text import SPACE, JsonReader, object_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
SOUP = st.text(st.sampled_from('{}[]":,\\ \n\t0123456789.-+eEtrufalsn\x01é'), max_size=30)


def read(*pieces: str) -> tuple[str, str, int]:
    """The state, what was taken as JSON, and how many characters."""
    reader, taken, count = JsonReader(), "", 0
    for piece in pieces:
        part, size = reader.feed(piece)
        taken, count = taken + part, count + size
        if size < len(piece):
            break
    return reader.state, taken, count


def strict(text: str) -> Any:
    """As RFC 8259 has it: no NaN. Raises ValueError."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


@settings(deadline=None)
@given(
    st.lists(VALUES, max_size=3) | st.dictionaries(st.text(max_size=5), VALUES, max_size=3), st.booleans(), st.data()
)
def test_every_value_is_read_and_ends_where_it_ends(value: Any, compact: bool, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=compact, indent=None if compact else 1)
    assert read(text + "} rest") == ("done", text, len(text))
    at = data.draw(st.integers(0, len(text) - 1))
    assert read(text[:at])[0] == "reading"
    assert read(text[:at], text[at:] + "]") == ("done", text, len(text))


@settings(deadline=None)
@given(SOUP)
def test_what_is_taken_is_what_a_parser_takes(text: str) -> None:
    text = "[" + text
    state, taken, count = read(text)
    assert read(*text) == (state, taken, count)
    if state == "done":
        strict(taken)
    for end in range(count if state == "done" else len(text) + 1):
        with pytest.raises(ValueError):  # no shorter text would have been a value, and neither is one that failed
            strict(text[:end])
    if state == "reading":
        assert count == len(text)


@pytest.mark.parametrize("number", ["0", "-0", "12", "1.5", "-1.5e10", "1E+2", "0e-1"])
def test_numbers(number: str) -> None:
    assert read(f"[{number}]") == ("done", f"[{number}]", len(number) + 2)
    assert read(f"{number}, 2") == ("done", number, len(number))


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("[01]", "[0"),
        ("[1.]", "[1."),
        ("[-]", "[-"),
        ("[+1]", "["),
        ("[1e]", "[1e"),
        ("[.5]", "["),
        ("[NaN]", "["),
        ("[nulL]", "[nul"),
        ("[1 2]", "[1 "),
        ("[1,]", "[1,"),
        ("{'a': 1}", "{"),
        ('{"a" 1}', '{"a" '),
        ('{"a": 1,}', '{"a": 1,'),
        ('{"a": 1]', '{"a": 1'),
        ('["\\x"]', '["\\'),
        ('["\\u12g4"]', '["\\u12'),
        (" 1", ""),
        ("]", ""),
    ],
)
def test_what_cannot_go_on_ends_there(text: str, taken: str) -> None:
    assert read(text) == ("failed", taken, len(taken))


def test_control_characters_within_a_string_become_escapes() -> None:
    assert read('{"a\n": "b\x00\tc"}\n') == ("done", '{"a\\n": "b\\u0000\\tc"}', 14)
    assert read('{\n"a":\t1\r}')[1] == '{\n"a":\t1\r}'


@settings(deadline=None)
@given(VALUES, st.text(st.sampled_from(SPACE), max_size=2))
def test_a_text_that_is_an_object(value: Any, space: str) -> None:
    text = json.dumps(value)
    assert object_of(space + text + space) == (text if isinstance(value, dict) else None)
    assert object_of(text + "x") is None
