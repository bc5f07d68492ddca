"""Neighbours of one role become one message, in one go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.prompt import shape

CALL = {"function": {"name": "look", "arguments": {}}}
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool"]),
            "content": st.sampled_from(["", "a", "b\n"]),
        },
        optional={"name": st.just("x"), "tool_calls": st.just([CALL])},
    ),
    max_size=9,
)


def one_by_one(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Joined as one reads it."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last and last["role"] == message["role"] != "tool" and not ("tool_calls" in last or "tool_calls" in message):
            texts = [text for text in (last["content"], message["content"]) if text]
            merged[-1] = {**last, "content": "\n\n".join(texts)}
        else:
            merged.append(message)
    return merged


@given(MESSAGES)
def test_neighbours_of_one_role_are_joined(messages: list[dict[str, Any]]) -> None:
    assert shape.merge(messages) == one_by_one(messages)


def test_each_text_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of neighbours are no more work than their texts are long."""
    written: list[int] = []

    class Gap(str):
        __slots__ = ()

        def join(self, parts: Iterable[str]) -> str:
            text = super().join(parts)
            written.append(len(text))
            return text

        def __format__(self, how: str) -> str:
            written.append(1)
            return super().__format__(how)

    monkeypatch.setattr(shape, "_GAP", Gap("\n\n"))
    [merged] = shape.merge([{"role": "user", "content": "word"} for _ in range(5000)])
    assert merged["content"] == "\n\n".join(["word"] * 5000)
    assert written == [len(merged["content"])]
