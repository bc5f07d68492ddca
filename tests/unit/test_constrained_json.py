"""What an answer in JSON may look like: on one line, as models have learnt to write it."""

from __future__ import annotations

import pytest
from llguidance import LLMatcher, LLTokenizer

from bot.constraints import compiled
from bot.generation import Generation


@pytest.mark.parametrize(
    "text, taken",
    [
        ('{"a": 5, "b": [1, 2]}', True),
        ('{"a":5,"b":[1,2]}', False),
        ('{"a":  5}', False),
        ('{"a":\n5}', False),
        ('{ "a": 5}', False),
        ('{"a": 5 }', False),
    ],
)
def test_json_has_a_blank_after_each_comma_and_colon_and_no_other(text: str, taken: bool) -> None:
    request = Generation(max_tokens=1, json_schema={"type": "object"})
    matcher = LLMatcher(LLTokenizer("byte"), compiled(request))
    read = matcher.try_consume_tokens(list(text.encode()))
    assert (read == len(text) and matcher.is_accepting()) == taken
