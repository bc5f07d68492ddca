"""Chat completions on six generations of the SDK: whole, streamed, with functions and with tools."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tests.sdk.conftest import Told
from tests.sdk.plan import PERSON, WEATHER

GREETING = "Hello! How can I help you?"


def message(told: Told, name: str) -> dict[str, Any]:
    """The only choice's, of an answer in one piece."""
    [choice] = told.answer(name)["choices"]
    found: dict[str, Any] = choice["message"]
    return found


def reason(told: Told, name: str) -> str:
    return str(told.answer(name)["choices"][0]["finish_reason"])


def joined(chunks: list[dict[str, Any]], index: int = 0) -> str:
    """A choice's text, of its deltas."""
    mine = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in mine)


def test_a_completion_is_whole(told: Told) -> None:
    completion = told.answer("hello")
    assert completion["id"].startswith("chatcmpl-")
    assert completion["object"] == "chat.completion"
    assert completion["created"] > 1_700_000_000
    [choice] = completion["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert (choice["message"]["role"], choice["message"]["content"]) == ("assistant", GREETING)
    usage = completion["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


def test_the_snapshot_that_answered_is_named(told: Told) -> None:
    """An alias points to a dated model, which can be asked for by its own name."""
    offered = {model["id"] for model in told.answer("models")["data"]}
    assert told.answer("hello")["model"] in offered


def test_what_was_said_before_is_known(told: Told) -> None:
    assert "Alice" in message(told, "history")["content"]


def test_all_that_a_program_in_the_forum_sends(told: Told) -> None:
    assert isinstance(message(told, "forum")["content"], str)


def test_several_choices(told: Told) -> None:
    choices = told.answer("four")["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3]
    assert {choice["finish_reason"] for choice in choices} <= {"length", "stop"}
    assert told.answer("four")["usage"]["completion_tokens"] <= 16


def test_the_same_seed_is_the_same_text(told: Told) -> None:
    first, second = told.answer("seeded"), told.answer("seeded again")
    assert first["choices"] == second["choices"]
    assert first["system_fingerprint"] == second["system_fingerprint"]
    assert first["system_fingerprint"]


def test_a_stop_sequence_ends_the_answer_and_is_no_part_of_it(told: Told) -> None:
    assert (message(told, "stopped")["content"], reason(told, "stopped")) == ("Hello! How ", "stop")


def test_logprobs(told: Told) -> None:
    entries = told.answer("logprobs")["choices"][0]["logprobs"]["content"]
    assert 1 <= len(entries) <= 3
    for entry in entries:
        assert entry["logprob"] <= 0
        assert bytes(entry["bytes"]).decode() == entry["token"]
        assert len(entry["top_logprobs"]) == 2
    assert "".join(entry["token"] for entry in entries) == message(told, "logprobs")["content"]


def test_json(told: Told) -> None:
    assert json.loads(message(told, "json")["content"]) == {"result": 5}


def test_json_of_a_schema(told: Told) -> None:
    jsonschema.validate(json.loads(message(told, "schema")["content"]), PERSON)


def test_a_stream_has_a_beginning_pieces_and_an_end(told: Told) -> None:
    chunks = told.answer("stream")
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    first, *pieces, last = [chunk["choices"][0] for chunk in chunks]
    assert first["delta"]["role"] == "assistant"
    assert [piece["finish_reason"] for piece in pieces] == [None] * len(pieces)
    assert (last["finish_reason"], last["delta"].get("content")) == ("stop", None)
    assert joined(chunks) == GREETING
    assert len(pieces) > 3
    assert chunks[0]["model"] == told.answer("hello")["model"]


def test_a_stream_has_the_same_text(told: Told) -> None:
    assert joined(told.answer("stream seeded")) == message(told, "seeded")["content"]


def test_a_stream_tells_what_it_cost_when_asked(told: Told) -> None:
    *chunks, last = told.answer("stream usage")
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == told.answer("hello")["usage"]["total_tokens"]
    assert [chunk.get("usage") for chunk in chunks] == [None] * len(chunks)
    assert joined(chunks) == GREETING


def test_choices_are_streamed_side_by_side(told: Told) -> None:
    chunks = told.answer("stream four")
    whole = [choice["message"]["content"] for choice in told.answer("four")["choices"]]
    assert [joined(chunks, index) for index in range(4)] == whole
    ends = [choice["index"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert sorted(ends) == [0, 1, 2, 3]


def test_a_function_that_is_named_is_called(told: Told) -> None:
    said = message(told, "function")
    assert said["content"] is None
    assert said["function_call"]["name"] == "get_weather"
    jsonschema.validate(json.loads(said["function_call"]["arguments"]), WEATHER["parameters"])
    assert reason(told, "function") == "function_call"


def test_a_function_call_is_streamed(told: Told) -> None:
    chunks = told.answer("function streamed")
    calls = [call for chunk in chunks if (call := chunk["choices"][0]["delta"].get("function_call"))]
    assert [call["name"] for call in calls if call.get("name")] == ["get_weather"]
    arguments = "".join(call.get("arguments") or "" for call in calls)
    assert arguments == message(told, "function")["function_call"]["arguments"]
    assert len(calls) > 3
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


@pytest.mark.parametrize("name", ["function none", "function auto", "tool none"])
def test_functions_are_not_called_where_they_need_not(told: Told, name: str) -> None:
    """The embedded model has not learnt to call one of itself."""
    said = message(told, name)
    assert said["content"]
    assert said.get("function_call") is None
    assert said.get("tool_calls") is None
    assert reason(told, name) == "stop"


@pytest.mark.parametrize("name", ["function answered", "tool answered"])
def test_what_a_function_returned_is_read(told: Told, name: str) -> None:
    assert isinstance(message(told, name)["content"], str)


@pytest.mark.parametrize("name", ["tool", "tool required"])
def test_a_tool_is_called(told: Told, name: str) -> None:
    said = message(told, name)
    [call] = said["tool_calls"]
    assert (said["content"], call["type"], call["function"]["name"]) == (None, "function", "get_weather")
    assert call["id"].startswith("call_")
    jsonschema.validate(json.loads(call["function"]["arguments"]), WEATHER["parameters"])
    assert reason(told, name) == "tool_calls"


def test_a_tool_call_is_streamed(told: Told) -> None:
    chunks = told.answer("tool streamed")
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls") or []]
    assert {call["index"] for call in calls} == {0}
    first, *more = calls
    assert first["id"].startswith("call_")
    assert (first["type"], first["function"]["name"]) == ("function", "get_weather")
    assert len(more) > 3
    arguments = "".join(call["function"].get("arguments") or "" for call in calls)
    assert arguments == message(told, "tool")["tool_calls"][0]["function"]["arguments"]
