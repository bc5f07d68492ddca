"""JSON that is kept: in steps it is what it is in one call, and no step is large."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import aside, clean_json
from bot.cleaning import clean

TEXTS = st.text(alphabet=st.characters(codec=None)) | st.text(alphabet="\ud83d\ude00\x00a\\u0ä\n", max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.lists(inner).map(tuple),
)
TOKEN = {"token": "wörd", "logprob": -0.123456789, "bytes": [119, 195, 182, 114, 100]}
CHOICE = {"message": {"content": "wörd"}, "logprobs": {"content": [{**TOKEN, "top_logprobs": [TOKEN] * 20}] * 1000}}


@given(VALUES, st.integers(1, 9))
def test_steps_joined_are_the_text(value: Any, step: int) -> None:
    text = clean_json.dump(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aside, "STEP", step)
        patch.setattr(aside, "AT_ONCE", 2)
        assert clean_json.written(value, aside.LARGE + 1) == text
        assert clean_json.length(text) == len(text.encode())
    assert clean_json.written(value, 0) == text


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a\x00b\ud800", "a\ufffdb\ufffd"),
        ("\ud83d\ude00\ud83d", "\U0001f600\ufffd"),
        ("\\u0000 \\ud800 \"'", "\\u0000 \\ud800 \"'"),
        ("é\n\x1f", "é\n\x1f"),
    ],
)
@pytest.mark.parametrize("size", [0, aside.LARGE + 1])
def test_what_no_database_can_hold_is_replaced(said: str, kept: str, size: int) -> None:
    text = clean_json.written({"messages": [{"content": [{"text": said}]}]}, size)
    assert clean(text) == text
    assert json.loads(text) == {"messages": [{"content": [{"text": kept}]}]}


@pytest.mark.parametrize(
    "value",
    [
        {"choices": [CHOICE] * 3},
        [{"role": "user", "content": "wörd " * 400_000}],
        ["a" * 60_000] * 30,
        [0.125] * 100_000,
    ],
    ids=["log-probabilities", "a long text", "long texts", "numbers"],
)
def test_no_step_of_a_large_value_is_large(value: Any) -> None:
    steps = list(clean_json.steps(value))
    text = clean_json.dump(value)
    assert "".join(steps) == text
    assert max(map(len, steps)) <= aside.STEP < len(text) / 8
