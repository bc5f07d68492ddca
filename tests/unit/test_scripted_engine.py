"""The shipped engine without a model: its control tokens, and answers that keep to what is asked."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bot.generation import Delta, Finish, Generation, Sampling
from bot.testing import ScriptedEngine

ANSWER = "a<tool_call>é</tool_call><|im_start|>b<|im_end|>c"


async def run(engine: ScriptedEngine, **request: Any) -> tuple[str, list[int], str]:
    """The text, the ids and how it ended."""
    [prompt] = await engine.encode(["<|im_start|>user\nhi<|im_end|>\n"])
    text, ids = "", list[int]()
    async for event in engine.stream(Generation(prompt=tuple(prompt), **{"max_tokens": 50, **request})):
        if isinstance(event, Delta):
            text, ids = text + event.text, [*ids, *event.token_ids]
    assert isinstance(event, Finish)
    return text, ids, event.reason


class TestControls:
    async def test_control_strings_in_an_answer_are_spelled(self) -> None:
        text, ids, _ = await run(ScriptedEngine(lambda prompt: ANSWER))
        assert (text, bytes(ids).decode()) == (ANSWER, ANSWER)

    async def test_or_written_as_tokens_up_to_the_end_of_the_turn(self) -> None:
        engine = ScriptedEngine(lambda prompt: ANSWER, writes_controls=True)
        text, ids, reason = await run(engine)
        assert (text, reason) == ("a<tool_call>é</tool_call>b", "stop")
        assert ids == (await engine.encode(["a<tool_call>é</tool_call><|im_start|>b"]))[0]
        text, _, _ = await run(engine, shows=frozenset({"<|im_start|>"}))
        assert text == "a<tool_call>é</tool_call><|im_start|>b"

    async def test_a_stop_string_within_a_control_tokens_name(self) -> None:
        engine = ScriptedEngine(lambda prompt: ANSWER, writes_controls=True)
        assert await run(engine, stop=("_call>é",)) == ("a<tool", [97], "stop")

    async def test_neither_characters_nor_tokens_are_cut(self) -> None:
        engine = ScriptedEngine(lambda prompt: ANSWER, writes_controls=True)
        assert await run(engine, max_tokens=3) == ("a<tool_call>", [97, 259], "length")
        assert (await run(engine, max_tokens=4))[0] == "a<tool_call>é"

    async def test_log_probabilities_of_control_tokens(self) -> None:
        engine = ScriptedEngine(lambda prompt: ANSWER, writes_controls=True)
        [prompt] = await engine.encode(["hi"])
        request = Generation(prompt=tuple(prompt), max_tokens=50, sampling=Sampling(logprobs=0))
        tokens = [
            token async for event in engine.stream(request) if isinstance(event, Delta) for token, _ in event.logprobs
        ]
        assert [(token.text, token.raw) for token in tokens][1:4] == [
            ("<tool_call>", b"<tool_call>"),
            ("\ufffd", b"\xc3"),
            ("\ufffd", b"\xa9"),
        ]


class TestConstraints:
    @pytest.mark.parametrize(
        ("answer", "regex", "text"),
        [
            ("123", "[0-9]{3}", "123"),
            ("12", "[0-9]{3}", "120"),
            ("1x", "[0-9]{3}", "100"),
            ("x", "(yes|no)", "no"),
            ("12", "[0-9]+", "12"),
            ("é", "é+!", "é!"),
        ],
    )
    async def test_an_answer_that_does_not_match_is_made_to(self, answer: str, regex: str, text: str) -> None:
        for _ in range(2):
            assert await run(ScriptedEngine(lambda prompt: answer), regex=regex) == (text, list(text.encode()), "stop")

    async def test_json_within_a_grammar_is_ended_soon(self) -> None:
        grammar = 'start: <tool_call> body "end"\nbody: %json {"type": "object", "required": ["a"], "properties": '
        grammar = grammar.replace("<tool_call>", "<[259]>") + '{"a": {"type": "string"}, "b": {"type": "integer"}}}'
        text, ids, reason = await run(ScriptedEngine(lambda prompt: "Hello"), grammar=grammar)
        assert re.fullmatch(r'<tool_call>\{\s*"a"\s*:\s*""\s*\}end', text)
        assert (ids[0], reason) == (259, "stop")

    async def test_what_has_no_room_ends_by_length(self) -> None:
        text, _, reason = await run(ScriptedEngine(lambda prompt: ""), regex="a{100}", max_tokens=10)
        assert (text, reason) == ("a" * 10, "length")
