"""Every parameter of OpenAI's documents of 2023 and 2026 that a served operation takes: honoured, or refused by its name.

Those of audio, which come in forms, have a table of their own in test_api_audio.py. A row says what is sent, what of the
answer or of the request to the engine must show it, and a value that is refused.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from adapters.web.openai.parameters import chat
from bot.api import Kept
from bot.generation import Generation
from bot.testing import ScriptedEngine
from tests.web import Browser, Site, site

SPECS = Path(__file__).parents[1] / "specs"
SPEC = SPECS / "openai-2023-11-28.yaml"
TODAY: dict[str, Any] = json.loads((SPECS / "openai-names-2026-08-21.json").read_text("utf-8"))
"""Names alone: of bodies by path, and of the objects in them."""
MODEL = "default"
HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
FUNCTION = {"name": "weather", "parameters": SCHEMA}
TOOL = {"type": "function", "function": FUNCTION}


@dataclass(frozen=True)
class Seen:
    """What came of a request."""

    answer: Any
    """The JSON object; of a stream the list of its chunks."""
    requests: list[Generation]
    """What the engine was asked."""
    engine: ScriptedEngine
    usage: list[dict[str, object]]
    """What was counted."""
    kept: list[Kept]
    """The completions that are kept."""

    @property
    def prompt(self) -> str:
        """What the engine read."""
        return self.engine.decode(self.requests[0].prompt)

    @property
    def message(self) -> Any:
        """The first choice's, of a chat completion."""
        return self.answer["choices"][0]["message"]

    @property
    def texts(self) -> list[str]:
        """Of all choices of a text completion."""
        return [choice["text"] for choice in self.answer["choices"]]


Shows = Callable[[Seen], bool]


@dataclass(frozen=True)
class Honoured:
    """A parameter that does what the document says."""

    sent: Mapping[str, Any]
    shows: Shows
    wrong: Any
    """A value that is refused."""
    status: int = 400


@dataclass(frozen=True)
class Refused:
    """A parameter that is refused, whatever its value."""

    sent: Mapping[str, Any] = field(default_factory=dict)


def sampled(name: str, value: object) -> Shows:
    """The engine samples so."""
    return lambda seen: bool(getattr(seen.requests[0].sampling, name) == value)


def called(seen: Seen) -> bool:
    """The function was called, with arguments of its schema."""
    call = seen.message.get("function_call") or seen.message["tool_calls"][0]["function"]
    return bool(call["name"] == "weather") and set(json.loads(call["arguments"])) == {"town"}


def said(seen: Seen) -> bool:
    """Nothing was called."""
    return bool(seen.message["content"] == "You said: hello") and "function_call" not in seen.message


def counted(seen: Seen) -> bool:
    """The user stands in what was counted."""
    return [row["user"] for row in seen.usage] == ["ann"]


def unpacked(seen: Seen) -> bool:
    """The numbers are little-endian floats of 32 bits."""
    packed = base64.b64decode(seen.answer["data"][0]["embedding"], validate=True)
    return len(struct.unpack(f"<{len(packed) // 4}f", packed)) > 1


CHAT: dict[str, Honoured | Refused] = {
    "messages": Honoured({}, lambda seen: "user\nhello" in seen.prompt, []),
    "model": Honoured({}, lambda seen: seen.answer["model"].startswith("scripted"), "nobody", status=404),
    "frequency_penalty": Honoured({"frequency_penalty": 0.5}, sampled("frequency_penalty", 0.5), 2.5),
    "logit_bias": Honoured({"logit_bias": {"65": -100}}, sampled("logit_bias", {65: -100}), {"65": 101}),
    "max_tokens": Honoured(
        {"max_tokens": 3},
        lambda seen: seen.requests[0].max_tokens == 3 and seen.answer["choices"][0]["finish_reason"] == "length",
        0,
    ),
    "n": Honoured({"n": 3}, lambda seen: [choice["index"] for choice in seen.answer["choices"]] == [0, 1, 2], 129),
    "presence_penalty": Honoured({"presence_penalty": -0.5}, sampled("presence_penalty", -0.5), -2.5),
    "response_format": Honoured(
        {"response_format": {"type": "json_object"}},
        lambda seen: isinstance(json.loads(seen.message["content"]), dict),
        {"type": "xml"},
    ),
    "seed": Honoured({"seed": 5}, sampled("seed", 5), "5"),
    "stop": Honoured({"stop": " said"}, lambda seen: bool(seen.message["content"] == "You"), ["a", "b", "c", "d", "e"]),
    "stream": Honoured({"stream": True}, lambda seen: len(seen.answer) > 3, "yes"),
    "temperature": Honoured({"temperature": 0.25}, sampled("temperature", 0.25), 2.5),
    "top_p": Honoured({"top_p": 0.5}, sampled("top_p", 0.5), 1.5),
    "tools": Honoured({"tools": [TOOL], "tool_choice": "required"}, called, [{"type": "retrieval"}]),
    "tool_choice": Honoured({"tools": [TOOL], "tool_choice": "none"}, said, "sometimes"),
    "user": Honoured({"user": "ann"}, counted, 5),
    "function_call": Honoured({"functions": [FUNCTION], "function_call": {"name": "weather"}}, called, "sometimes"),
    "functions": Honoured({"functions": [FUNCTION]}, lambda seen: "weather" in seen.prompt, []),
    # Those of 2026:
    "max_completion_tokens": Honoured({"max_completion_tokens": 3}, lambda seen: seen.requests[0].max_tokens == 3, 0),
    "logprobs": Honoured({"logprobs": True}, lambda seen: len(seen.answer["choices"][0]["logprobs"]["content"]) > 3, 2),
    "top_logprobs": Honoured({"logprobs": True, "top_logprobs": 2}, sampled("logprobs", 2), 21),
    "stream_options": Honoured(
        {"stream": True, "stream_options": {"include_usage": True}},
        lambda seen: seen.answer[-1]["choices"] == [] and seen.answer[-1]["usage"]["total_tokens"] > 0,
        {"include_obfuscation": True},
    ),
    "parallel_tool_calls": Honoured(
        {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        lambda seen: called(seen) and len(seen.message["tool_calls"]) == 1,
        "no",
    ),
    "store": Honoured({"store": True}, lambda seen: [one.id for one in seen.kept] == [seen.answer["id"]], 1),
    "metadata": Honoured(
        {"store": True, "metadata": {"a": "b"}}, lambda seen: seen.kept[0].metadata == {"a": "b"}, {"a": 1}
    ),
    "safety_identifier": Honoured({"safety_identifier": "ann"}, counted, 5),
    "prompt_cache_key": Honoured({"prompt_cache_key": "x"}, said, 5),
    "prompt_cache_retention": Refused({"prompt_cache_retention": "24h"}),
    "prompt_cache_options": Refused({"prompt_cache_options": {"ttl": "30m"}}),
    "audio": Refused({"audio": {"voice": "alloy", "format": "wav"}}),
    "modalities": Refused({"modalities": ["text", "audio"]}),
    "moderation": Refused({"moderation": {"model": "omni-moderation-latest"}}),
    "prediction": Refused({"prediction": {"type": "content", "content": "hello"}}),
    "reasoning_effort": Refused({"reasoning_effort": "low"}),
    "service_tier": Refused({"service_tier": "flex"}),
    "verbosity": Refused({"verbosity": "low"}),
    "web_search_options": Refused({"web_search_options": {}}),
}

TEXT: dict[str, Honoured | Refused] = {
    "model": Honoured({}, lambda seen: seen.answer["model"].startswith("scripted"), "nobody", status=404),
    "prompt": Honoured({"prompt": "One"}, lambda seen: seen.prompt == "One", 5),
    "best_of": Honoured({"best_of": 3}, lambda seen: (len(seen.requests), len(seen.texts)) == (3, 1), 21),
    "echo": Honoured({"echo": True}, lambda seen: seen.texts[0].startswith("Once"), "yes"),
    "frequency_penalty": Honoured({"frequency_penalty": 0.5}, sampled("frequency_penalty", 0.5), 2.5),
    "logit_bias": Honoured({"logit_bias": {"65": -100}}, sampled("logit_bias", {65: -100}), {"x": 1}),
    "logprobs": Honoured({"logprobs": 2}, lambda seen: bool(seen.answer["choices"][0]["logprobs"]["tokens"]), 6),
    "max_tokens": Honoured({"max_tokens": 3}, lambda seen: seen.requests[0].max_tokens == 3, -1),
    "n": Honoured({"n": 3}, lambda seen: len(seen.texts) == 3, 0),
    "presence_penalty": Honoured({"presence_penalty": -0.5}, sampled("presence_penalty", -0.5), -2.5),
    "seed": Honoured({"seed": 5}, sampled("seed", 5), 5.5),
    "stop": Honoured({"stop": [" said"]}, lambda seen: seen.texts == ["You"], []),
    "stream": Honoured({"stream": True}, lambda seen: len(seen.answer) > 3, 1),
    "suffix": Refused({"suffix": "the end"}),
    "temperature": Honoured({"temperature": 0.25}, sampled("temperature", 0.25), -0.1),
    "top_p": Honoured({"top_p": 0.5}, sampled("top_p", 0.5), -0.1),
    "user": Honoured({"user": "ann"}, counted, "x" * 1000),
    "stream_options": Honoured(
        {"stream": True, "stream_options": {"include_usage": True}},
        lambda seen: seen.answer[-1]["choices"] == [] and seen.answer[-1]["usage"]["total_tokens"] > 0,
        {"include_obfuscation": True},
    ),
}

EMBEDDING: dict[str, Honoured | Refused] = {
    "model": Honoured({}, lambda seen: bool(seen.answer["model"]), "nobody", status=404),
    "input": Honoured(
        {"input": ["one", "two"]}, lambda seen: [one["index"] for one in seen.answer["data"]] == [0, 1], ""
    ),
    "encoding_format": Honoured({"encoding_format": "base64"}, unpacked, "hex"),
    "dimensions": Honoured({"dimensions": 2}, lambda seen: len(seen.answer["data"][0]["embedding"]) == 2, 0),
    "user": Honoured({"user": "ann"}, counted, 5),
}

TABLES: dict[str, tuple[dict[str, Any], dict[str, Honoured | Refused]]] = {
    "/chat/completions": ({"model": MODEL, "messages": HELLO}, CHAT),
    "/completions": ({"model": MODEL, "prompt": "Once"}, TEXT),
    "/embeddings": ({"model": "text-embedding-ada-002", "input": "Once"}, EMBEDDING),
}
"""By path: what a request needs, and the rows."""
ROWS = [(path, name) for path, (_, rows) in TABLES.items() for name in rows]
OBJECTS: dict[str, type[BaseModel]] = {
    "ChatCompletionFunctionCallOption": chat.Named,
    "ChatCompletionFunctions": chat.FunctionDefinition,
    "ChatCompletionMessageToolCall": chat.ToolCall,
    "ChatCompletionNamedToolChoice": chat.NamedTool,
    "ChatCompletionRequestAssistantMessage": chat.AssistantMessage,
    "ChatCompletionRequestDeveloperMessage": chat.SystemMessage,
    "ChatCompletionRequestFunctionMessage": chat.FunctionMessage,
    "ChatCompletionRequestMessageContentPartRefusal": chat.RefusalPart,
    "ChatCompletionRequestMessageContentPartText": chat.TextPart,
    "ChatCompletionRequestSystemMessage": chat.SystemMessage,
    "ChatCompletionRequestToolMessage": chat.ToolMessage,
    "ChatCompletionRequestUserMessage": chat.UserMessage,
    "ChatCompletionStreamOptions": chat.StreamOptions,
    "ChatCompletionTool": chat.Tool,
    "FunctionObject": chat.FunctionDefinition,
    "ResponseFormatJsonObject": chat.JsonObjectFormat,
    "ResponseFormatJsonSchema": chat.JsonSchemaFormat,
    "ResponseFormatJsonSchema.json_schema": chat.JsonSchema,
    "ResponseFormatText": chat.TextFormat,
}
"""By the document's names, what reads them."""


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


@pytest.fixture
async def program(home: Site) -> AsyncIterator[Browser]:
    async with home.browser() as browser:
        yield browser


async def send(program: Browser, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    """Status and JSON; of a stream the list of its chunks."""
    got = await program.send("POST", f"/v1{path}", json=body)
    if not got.headers["Content-Type"].startswith("text/event-stream"):
        return got.status, got.json
    *chunks, done, rest = got.body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return got.status, [json.loads(chunk.removeprefix("data: ")) for chunk in chunks]


async def refused(program: Browser, path: str, body: Mapping[str, Any], name: str, status: int = 400) -> bool:
    """Whether it is, by the parameter's name or that of a part of it."""
    got, answer = await send(program, path, body)
    error = answer["error"]
    named = error["param"] == name or error["param"].startswith((f"{name}.", f"{name}["))
    return (got, error["type"], named) == (status, "invalid_request_error", True)


def test_the_tables_have_every_parameter() -> None:
    document = yaml.safe_load(SPEC.read_text("utf-8"))
    with_bodies = {path for path, methods in document["paths"].items() if "post" in methods}
    assert with_bodies == {*TABLES, "/audio/transcriptions", "/audio/translations"}
    for path, (_, rows) in TABLES.items():
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        schema = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
        assert set(rows) == {*schema["properties"], *TODAY["bodies"][path]}, path


def test_all_that_objects_within_a_body_may_hold_is_known() -> None:
    """So that what asks for nothing is not refused for being unknown, and what is refused is told why."""
    assert set(OBJECTS) == set(TODAY["objects"])
    for name, model in OBJECTS.items():
        known = {field.alias or name for name, field in model.model_fields.items()}
        assert known >= set(TODAY["objects"][name]), name


@pytest.mark.parametrize("path, name", ROWS)
async def test_a_parameter_is_honoured_or_refused(home: Site, program: Browser, path: str, name: str) -> None:
    needed, rows = TABLES[path]
    row = rows[name]
    if isinstance(row, Refused):
        assert await refused(program, path, {**needed, **row.sent}, name)
        assert not home.engine.requests
        return
    status, answer = await send(program, path, {**needed, **row.sent})
    assert status == 200, answer
    usage = await home.app.store.api_usage()
    kept, _ = await home.app.store.kept_completions(caller="open")
    assert row.shows(Seen(answer, home.engine.requests, home.engine, usage, kept)), answer
    assert await refused(program, path, {**needed, **row.sent, name: row.wrong}, name, row.status)


@pytest.mark.parametrize("path", TABLES)
async def test_what_no_document_has_is_refused(home: Site, program: Browser, path: str) -> None:
    needed, _ = TABLES[path]
    assert await refused(program, path, {**needed, "temprature": 1}, "temprature")
    assert not home.engine.requests
