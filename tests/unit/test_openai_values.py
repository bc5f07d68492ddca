"""The API's values: bodies to what is asked, events to objects and chunks, errors to faults. Nothing runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.web.openai import asks, faults
from adapters.web.openai.answers import ChatChunks, Collected, Head, TextChunks, TextLogprobs
from adapters.web.openai.parameters.base import refused_in
from adapters.web.openai.parameters.chat import ChatBody
from adapters.web.openai.parameters.text import EmbeddingBody, TextBody
from bot.api import ApiEvent, Begun, CallPiece, Ended, ReasoningPiece, TextPiece, ToolChoice, Used
from bot.errors import (
    BadKey,
    BadRequest,
    Busy,
    DatabaseError,
    EngineError,
    LimitReached,
    NoSuchModel,
    TooLong,
    WrongModel,
)
from bot.generation import TokenLogprob, Usage
from bot.messages import Role

HEAD = Head(id="chatcmpl-1", created=7, model="demo-2026-11-21", fingerprint="fp_1")
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOL = {"type": "function", "function": WEATHER}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}}


def chat(**parameters: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **parameters}


def said(**more: Any) -> dict[str, Any]:
    """A message of the model's, as programs send it back."""
    return {"role": "assistant", "content": "Hi", **more}


def part(**more: Any) -> dict[str, Any]:
    """A message of one part."""
    return {"role": "user", "content": [{"type": "text", "text": "Hi", **more}]}


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "param", "words"),
        [
            ({"messages": []}, "model", "Missing required parameter: 'model'."),
            (chat(messages=[]), "messages", "at least 1 item"),
            (chat(messages=[{"role": "user"}]), "messages[0].content", "Missing required parameter"),
            (chat(messages=[{"role": "king", "content": "x"}]), "messages[0].role", "'developer'"),
            (chat(messages=[{"content": "x"}]), "messages[0].role", "it is needed, as a string"),
            (chat(messages=[{"role": "user", "content": "a", "x": 1}]), "messages[0].x", "Unrecognized"),
            (chat(messages=[{"role": "assistant"}]), "messages[0]", "content is needed"),
            (chat(frobnicate=1), "frobnicate", "Unrecognized request argument supplied: frobnicate"),
            (chat(temperature=2.1), "temperature", "less than or equal to 2"),
            (chat(temperature="0.5"), "temperature", "valid number"),
            (chat(n=0), "n", "greater than or equal to 1"),
            (chat(n=True), "n", "valid integer"),
            (chat(stop=["a", 1]), "stop[1]", "valid string"),
            (chat(stop=["a"] * 5), "stop", "at most 4"),
            (chat(audio={"voice": "x"}), "audio", "audio is not supported"),
            (chat(modalities=["text", "audio"]), "modalities", "no model here speaks"),
            (chat(service_tier="flex"), "service_tier", "one tier"),
            (chat(stream_options={"include_usage": True}), "stream_options", "only with stream"),
            (chat(top_logprobs=2), "top_logprobs", "only with logprobs"),
            (chat(metadata={"a": "b"}), "metadata", "only with store"),
            (chat(tool_choice="required"), "tool_choice", "only with tools"),
            (chat(functions=[WEATHER], tools=[TOOL]), "functions", "tools take"),
            (chat(functions=[WEATHER], tool_choice="none"), "tool_choice", "functions go with function_call"),
            (chat(functions=[WEATHER], tool_choice="auto"), "tool_choice", "only with tools"),
            (chat(tools=[TOOL], function_call="none"), "function_call", "tools go with tool_choice"),
            (chat(tools=[TOOL], function_call={"name": "weather"}), "function_call", "only with functions"),
            (chat(user="a", safety_identifier="a"), "user", "safety_identifier takes its place"),
            (chat(response_format={"type": "xml"}), "response_format.type", "'json_schema'"),
            (chat(response_format={"type": "json_schema"}), "response_format.json_schema", "Missing"),
            (chat(functions=[{"name": "a b"}]), "functions[0].name", "pattern"),
            (chat(messages=[said(name="a" * 65)]), "messages[0].name", "at most 64 characters"),
            (chat(messages=[said(audio={"id": "a"})]), "messages[0].audio", "not supported, no model here speaks"),
            (chat(messages=[said(annotations=[{"type": "url_citation"}])]), "messages[0].annotations", "not supported"),
            (
                chat(messages=[part(prompt_cache_breakpoint={"mode": "explicit"})]),
                "messages[0].content[0].prompt_cache_breakpoint",
                "not supported, whatever begins alike is served from the cache already",
            ),
        ],
    )
    def test_what_is_wrong_is_refused_by_name(self, body: dict[str, Any], param: str, words: str) -> None:
        with pytest.raises(BadRequest) as refused:
            ChatBody.parse(body)
        assert refused.value.param == param
        assert words in refused.value.words

    def test_what_asks_for_nothing_may_be_sent(self) -> None:
        harmless = {name: mark.harmless[0] for name, mark in refused_in(ChatBody).items() if mark.harmless}
        assert harmless
        ChatBody.parse(chat(**harmless))
        ChatBody.parse(chat(**dict.fromkeys(refused_in(ChatBody))))

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"best_of": 2, "stream": True}, "best_of"),
            ({"best_of": 1, "n": 2}, "best_of"),
            ({"echo": True, "logprobs": 0}, "logprobs"),
            ({"echo": True, "suffix": "."}, "echo"),
            ({"prompt": []}, "prompt"),
            ({"prompt": [[1], ["a"]]}, "prompt[1][0]"),
        ],
    )
    def test_text_completions_refuse_by_name_too(self, body: dict[str, Any], param: str) -> None:
        with pytest.raises(BadRequest) as refused:
            TextBody.parse({"model": "m", **body})
        assert refused.value.param == param

    @pytest.mark.parametrize(
        ("given", "found"),
        [("a", ("a",)), ([1, 2], ((1, 2),)), (["a", "b"], ("a", "b")), ([[1], [2, 3]], ((1,), (2, 3)))],
    )
    def test_one_or_many_texts_or_ids(self, given: Any, found: tuple[Any, ...]) -> None:
        assert asks.text(TextBody.parse({"model": "m", "prompt": given})).prompts == found
        assert asks.embedding(EmbeddingBody.parse({"model": "m", "input": given})).inputs == found


class TestAsks:
    def test_each_message_becomes_a_turn(self) -> None:
        messages = [
            {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
            {"role": "user", "content": "Weather?", "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "Rain.", "tool_call_id": "call_1"},
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "no JSON"}},
            {"role": "function", "name": "weather", "content": "Sun."},
        ]
        turns = asks.chat(ChatBody.parse(chat(messages=messages))).turns
        assert [turn.role for turn in turns] == [
            *(Role.DEVELOPER, Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT, Role.TOOL)
        ]
        assert [turn.content for turn in turns] == ["Be brief.", "Weather?", "", "Rain.", "", "Sun."]
        assert [turn.name for turn in turns] == [None, "ann", None, "weather", None, "weather"]
        assert turns[2].tool_calls[0].arguments == {"city": "Köln"}
        assert turns[4].tool_calls[0].arguments == {"arguments": "no JSON"}, "a model may have written what is none"
        assert turns[3].tool_call_id == "call_1"

    def test_a_tool_answers_only_what_was_called(self) -> None:
        messages = [{"role": "user", "content": "Hi"}, {"role": "tool", "content": "x", "tool_call_id": "call_9"}]
        with pytest.raises(BadRequest, match="call_9") as refused:
            asks.chat(ChatBody.parse(chat(messages=messages)))
        assert refused.value.param == "messages[1].tool_call_id"

    def test_what_is_said_of_the_json_of_an_answer_is_asked_too(self) -> None:
        form = {"type": "json_schema", "json_schema": {"name": "a", "description": "towns", "schema": {}}}
        assert asks.chat(ChatBody.parse(chat(response_format=form))).json_description == "towns"
        assert asks.chat(ChatBody.parse(chat(response_format={"type": "json_object"}))).json_description == ""

    def test_an_answer_may_be_sent_back_as_it_came(self) -> None:
        """Those of OpenAI have more in them than is told here."""
        nothing = dict.fromkeys(("refusal", "audio", "function_call", "tool_calls", "annotations"))
        for message in (said(**nothing), said(annotations=[]), part(prompt_cache_breakpoint=None)):
            [turn] = asks.chat(ChatBody.parse(chat(messages=[message]))).turns
            assert turn.content == "Hi"

    @pytest.mark.parametrize("name", ["weather", None, "time"])
    def test_what_a_tool_answers_has_the_name_that_was_called(self, name: str | None) -> None:
        messages = [
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "Rain.", "tool_call_id": "call_1", "name": name},
        ]
        body = ChatBody.parse(chat(messages=messages))
        if name == "time":
            with pytest.raises(BadRequest, match="'weather'") as refused:
                asks.chat(body)
            assert refused.value.param == "messages[1].name"
        else:
            assert asks.chat(body).turns[1].name == "weather"

    @pytest.mark.parametrize(
        ("parameters", "choice", "parallel"),
        [
            ({}, ToolChoice("none"), True),
            ({"tools": [{"type": "function", "function": WEATHER}]}, ToolChoice("auto"), True),
            (
                {
                    "tools": [{"type": "function", "function": WEATHER}],
                    "tool_choice": {"type": "function", "function": {"name": "weather"}},
                    "parallel_tool_calls": False,
                },
                ToolChoice("required", "weather"),
                False,
            ),
            ({"functions": [WEATHER]}, ToolChoice("auto"), False),
            ({"functions": [WEATHER], "function_call": "none"}, ToolChoice("none"), False),
            ({"functions": [WEATHER], "function_call": {"name": "weather"}}, ToolChoice("required", "weather"), False),
        ],
    )
    def test_which_functions_may_be_called(
        self, parameters: dict[str, Any], choice: ToolChoice, *, parallel: bool
    ) -> None:
        ask = asks.chat(ChatBody.parse(chat(**parameters)))
        assert (ask.tool_choice, ask.parallel_tool_calls) == (choice, parallel)

    @pytest.mark.parametrize("parameters", [{"tools": [{"type": "function", "function": WEATHER}]}])
    def test_a_function_that_there_is_not_cannot_be_chosen(self, parameters: dict[str, Any]) -> None:
        named = {"type": "function", "function": {"name": "cook"}}
        with pytest.raises(BadRequest, match="cook") as refused:
            asks.chat(ChatBody.parse(chat(**parameters, tool_choice=named)))
        assert refused.value.param == "tool_choice"

    @pytest.mark.parametrize("token", ["word", " 5 ", "+5", "5_0", "-1", "", "٥", "9" * 5000])
    def test_a_bias_is_of_a_token_id(self, token: str) -> None:
        assert asks.chat(ChatBody.parse(chat(logit_bias={"50": -100}))).sampling.logit_bias == {50: -100.0}
        with pytest.raises(BadRequest) as refused:
            asks.chat(ChatBody.parse(chat(logit_bias={token: 1})))
        assert refused.value.param == "logit_bias"


TOKEN = TokenLogprob(5, "é", -0.5, "é".encode())
IMPOSSIBLE = TokenLogprob(6, "x", float("-inf"), b"x")
EVENTS: list[ApiEvent] = [
    Begun(model="demo-2026-11-21", fingerprint="fp_1"),
    ReasoningPiece(0, "Hm."),
    TextPiece(0, "é", ((TOKEN, (TOKEN, IMPOSSIBLE)),)),
    TextPiece(1, "No"),
    CallPiece(choice=1, number=0, id="call_1", name="weather"),
    CallPiece(choice=1, number=0, arguments='{"city":'),
    CallPiece(choice=1, number=0, arguments=' "Köln"}'),
    Ended(0, "stop"),
    Ended(1, "tool_calls"),
    Used(usage=Usage(prompt_tokens=9, cached_tokens=4, completion_tokens=6), reasoning_tokens=2),
]


class TestAnswers:
    def test_the_whole_object(self) -> None:
        collected = Collected()
        for event in EVENTS:
            collected.feed(event)
        first, second = collected.chat(HEAD, logprobs=True, legacy=False)["choices"]
        assert first["message"] == {
            "role": "assistant",
            "content": "é",
            "refusal": None,
            "reasoning_content": "Hm.",
        }
        told = first["logprobs"]["content"][0]
        assert (told["bytes"], told["logprob"]) == ([195, 169], -0.5)
        assert [other["logprob"] for other in told["top_logprobs"]] == [-0.5, -9999.0]
        assert second["message"]["content"] == "No"
        assert second["message"]["tool_calls"] == [CALL]
        assert second["finish_reason"] == "tool_calls"
        answer = collected.chat(HEAD, logprobs=False, legacy=True)
        assert answer["choices"][1]["message"]["function_call"] == CALL["function"]
        assert answer["choices"][1]["finish_reason"] == "function_call"
        assert answer["usage"]["total_tokens"] == 15
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
        assert json.loads(json.dumps(answer)) == answer

    def test_chunks_add_up_to_the_same(self) -> None:
        chunks = ChatChunks(HEAD, usage=True, legacy=False)
        sent = [json.loads(text) for event in EVENTS for text in chunks.feed(event)]
        assert all(chunk["object"] == "chat.completion.chunk" and chunk["id"] == HEAD.id for chunk in sent)
        assert sent[-1]["choices"] == []
        assert sent[-1]["usage"]["completion_tokens"] == 6
        assert all(chunk["usage"] is None for chunk in sent[:-1])
        for number in (0, 1):
            own = [c for chunk in sent for c in chunk["choices"] if c["index"] == number]
            assert own[0]["delta"] == {"role": "assistant", "content": ""}
            assert own[-1]["delta"] == {}
            assert own[-1]["finish_reason"] in {"stop", "tool_calls"}
            assert all(c["finish_reason"] is None for c in own[:-1])
        texts = [c["delta"].get("content", "") for chunk in sent for c in chunk["choices"]]
        assert "".join(texts) == "éNo"
        calls = [c["delta"]["tool_calls"][0] for chunk in sent for c in chunk["choices"] if "tool_calls" in c["delta"]]
        assert (calls[0]["id"], calls[0]["function"]["name"]) == ("call_1", "weather")
        assert "".join(call["function"]["arguments"] for call in calls) == CALL["function"]["arguments"]  # type: ignore[index]

    def test_text_offsets_go_on_from_chunk_to_chunk(self) -> None:
        chunks = TextChunks(HEAD, usage=False, logprobs=True)
        pieces: list[ApiEvent] = [*[TextPiece(0, "é", ((TOKEN, ()),))] * 2, Ended(0, "length")]
        sent = [json.loads(text)["choices"][0] for event in pieces for text in chunks.feed(event)]
        assert [choice["text"] for choice in sent] == ["é", "é", ""]
        assert sent[1]["logprobs"]["text_offset"] == [1]
        assert sent[2]["finish_reason"] == "length"


def token(text: str | bytes) -> tuple[TokenLogprob, tuple[TokenLogprob, ...]]:
    raw = text.encode() if isinstance(text, str) else text
    one = TokenLogprob(1, raw.decode("utf-8", "replace"), -0.5, raw)
    return one, (one,)


class TestTextLogprobs:
    @pytest.mark.parametrize(
        ("text", "tokens", "told", "offsets"),
        [
            ("ab", ["a", "b"], ["a", "b"], [0, 1]),
            ("so", ["solt"], ["so"], [0]),  # a stop string cut it
            ("x", ["xl", "t"], ["x"], [0]),
            ("so", [], ["so"], [0]),
            ("solt", ["so"], ["so", "lt"], [0, 2]),
            ("word", [" word"], ["word"], [0]),
            ("aé", ["a", b"\xc3", b"\xa9"], ["a", "bytes:\\xc3", "bytes:\\xa9"], [0, 1, 1]),
            ("a", ["a", b"\xc3"], ["a"], [0]),  # the tokens were used up within a character
            ("\ufffdA", [b"\xc3", "A"], ["bytes:\\xc3", "A"], [0, 1]),
            ("\ufffd", [b"\xc3"], ["bytes:\\xc3"], [0]),
            ("", ["a"], [], []),
        ],
    )
    def test_joined_they_are_the_text(
        self, text: str, tokens: list[str | bytes], told: list[str], offsets: list[int]
    ) -> None:
        logprobs = TextLogprobs()
        logprobs.feed("éé", (token("éé"),))
        found = logprobs.feed(text, tuple(map(token, tokens)))
        assert (found["tokens"], found["text_offset"]) == (told, [2 + offset for offset in offsets])
        assert len({len(values) for values in found.values()}) == 1
        known = min(len(tokens), len(told))
        assert found["token_logprobs"] == [-0.5] * known + [None] * (len(told) - known)


class TestFaults:
    @pytest.mark.parametrize(
        ("error", "status", "kind", "code"),
        [
            (BadKey("No."), 401, "invalid_request_error", "invalid_api_key"),
            (NoSuchModel("x"), 404, "invalid_request_error", "model_not_found"),
            (WrongModel("x", kind="chat", needed="speech"), 400, "invalid_request_error", "model_not_supported"),
            (BadRequest("No.", param="n"), 400, "invalid_request_error", None),
            (TooLong("No."), 400, "invalid_request_error", "context_length_exceeded"),
            (LimitReached("No.", kind="tokens", seconds=61.2), 429, "tokens", "rate_limit_exceeded"),
            (Busy(), 429, "rate_limit_error", "engine_overloaded"),
            (EngineError(detail="a path of ours"), 500, "server_error", None),
            (DatabaseError("a path of ours"), 503, "server_error", None),
        ],
    )
    def test_each_error_has_its_status_and_its_words(
        self, error: Any, status: int, kind: str, code: str | None
    ) -> None:
        fault = faults.of_error(error)
        assert (fault.status, fault.type, fault.code) == (status, kind, code)
        assert "path" not in fault.message
        if status == 429:
            assert int(fault.headers["Retry-After"]) >= 1
