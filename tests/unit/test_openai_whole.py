"""Large answers are written in a thread, in steps that are small each, and say the same as in one."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web.openai import whole
from adapters.web.openai.answers import Collected, Head
from bot import aside
from bot.api import Ended, TextPiece
from bot.generation import TokenLogprob

HEAD = Head(id="chatcmpl-1", created=7, model="demo-2026-11-21", fingerprint="fp_1")
MOST = 32 * 1024
"""Characters of a step: some hundred microseconds."""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def answered(choices: int, tokens: int, others: int) -> Collected:
    """An answer with log-probabilities."""
    collected = Collected()
    token = TokenLogprob(5, "word", -0.123456789, b"word")
    for choice in range(choices):
        for _ in range(tokens):
            collected.feed(TextPiece(choice, "word", ((token, (token,) * others),)))
        collected.feed(Ended(choice, "stop"))
    return collected


LARGE = answered(4, 1000, 20)
VECTORS = [{"object": "embedding", "index": n, "embedding": [n / 7 + i / 3 for i in range(4096)]} for n in range(8)]


@given(VALUES)
def test_steps_joined_are_the_text(value: Any) -> None:
    assert "".join(aside.json_steps(value)) == json.dumps(value)


@pytest.mark.parametrize(
    "value",
    [
        LARGE.chat(HEAD, logprobs=True, legacy=False),
        LARGE.text(HEAD, logprobs=True),
        {"object": "list", "data": [LARGE.chat(HEAD, logprobs=True, legacy=False)] * 2, "has_more": False},
        {"object": "list", "data": VECTORS},
    ],
    ids=["chat", "text", "list", "vectors"],
)
def test_no_step_of_a_large_answer_is_large(value: Any) -> None:
    steps = list(aside.json_steps(value))
    text = json.dumps(value)
    assert "".join(steps) == text
    assert max(map(len, steps)) < MOST < len(text) / 4


@pytest.mark.parametrize("large", [True, False])
async def test_what_is_large_is_made_in_a_thread(*, large: bool) -> None:
    size = aside.LARGE + large
    response = await whole.response(lambda: {"thread": threading.get_ident(), "said": "ä"}, size)
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert isinstance(response.body, bytes)
    said = json.loads(response.body)
    assert said["said"] == "ä"
    assert (said["thread"] != threading.get_ident()) is large


def test_what_is_large_is_known() -> None:
    assert LARGE.size > aside.HUGE
    assert answered(1, 20, 20).size < aside.LARGE
    assert answered(1, 10_000, 0).size > aside.LARGE
    told = Collected()
    told.feed(TextPiece(0, "word " * 20_000))
    assert told.size > aside.LARGE
