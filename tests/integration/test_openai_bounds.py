"""What one request, one caller and all together may bring over real sockets: more is refused by name, and stops nobody."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from adapters.web.openai import body, json_text, server
from adapters.web.openai.parameters.base import MAX_BIASES, MAX_STOP
from adapters.web.openai.parameters.chat import MAX_ARGUMENTS, MAX_MESSAGES, ChatBody
from adapters.web.openai.parameters.text import MAX_INPUTS, MAX_PROMPTS, TextBody
from bot.engines.timed import StreamEvent
from bot.generation import Generation
from bot.testing import ScriptedEngine
from tests.programs import CHAT, HELLO, TEXT, Program, data, error, program
from tests.web import Site, site

EMBEDDINGS = "/embeddings"
PARTS = [{"type": "text", "text": "a"}]
ENDLESS = {"type": "array", "items": {"enum": ["a"]}, "minItems": 3, "maxItems": 66000}
FUNCTION = {"name": "look", "parameters": {"type": "object", "properties": {"a": ENDLESS}}}
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
HALF = "a\ud800"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


@pytest.fixture
async def asker(home: Site) -> AsyncIterator[Program]:
    async with program(home) as made:
        yield made


def schema(given: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": given}}


def said(content: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content, **more}]


def called(calls: list[Any]) -> list[dict[str, Any]]:
    return [{"role": "assistant", "tool_calls": calls}]


TOO_MUCH: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "messages": (CHAT, {"messages": HELLO * (MAX_MESSAGES + 1)}, "messages"),
    "wrong messages": (CHAT, {"messages": [{"role": "x"}] * (MAX_MESSAGES + 1)}, "messages"),
    "few wrong messages": (CHAT, {"messages": [{"role": "x"}] * MAX_MESSAGES}, "messages[0].role"),
    "parts": (CHAT, {"messages": said(PARTS * 6000) * 2}, "messages"),
    "wrong parts": (CHAT, {"messages": said([{"type": "x"}] * MAX_MESSAGES)}, "messages[0].content[0].type"),
    "calls": (CHAT, {"messages": called([CALL] * (MAX_MESSAGES + 1))}, "messages"),
    "arguments": (
        CHAT,
        {"messages": called([{**CALL, "function": {"name": "x", "arguments": "[" + "1," * MAX_ARGUMENTS}}])},
        "messages",
    ),
    "values in arguments": (
        CHAT,
        {"messages": called([{**CALL, "function": {"name": "x", "arguments": "[" + "1," * 60_000 + "1]"}}] * 2)},
        "messages",
    ),
    "a description": (
        CHAT,
        {"messages": HELLO, "tools": [{"type": "function", "function": {"name": "f", "description": "x" * 100_001}}]},
        "tools[0].function.description",
    ),
    "keys of a message": (CHAT, {"messages": said("x", **{f"k{n}": 1 for n in range(900)})}, "messages"),
    "keys": (CHAT, {"messages": HELLO, **{f"k{n}": 1 for n in range(9000)}}, "k0"),
    "values": (CHAT, {"messages": [{"role": "x", "content": "y"}] * 200_000}, None),
    "biases": (CHAT, {"messages": HELLO, "logit_bias": {str(n): 1 for n in range(MAX_BIASES + 1)}}, "logit_bias"),
    "biases of text": (TEXT, {"prompt": "x", "logit_bias": {str(n): 1 for n in range(MAX_BIASES + 1)}}, "logit_bias"),
    "stop": (CHAT, {"messages": HELLO, "stop": "x" * (MAX_STOP + 1)}, "stop"),
    "stops": (CHAT, {"messages": HELLO, "stop": ["x", "y" * (MAX_STOP + 1)]}, "stop[1]"),
    "many stops": (CHAT, {"messages": HELLO, "stop": ["x"] * 20_000}, "stop"),
    "metadata": (CHAT, {"messages": HELLO, "store": True, "metadata": {str(n): "" for n in range(20_000)}}, "metadata"),
    "ids": (TEXT, {"prompt": [1] * 2_000_000}, None),
    "wrong ids": (TEXT, {"prompt": [-1] * 20_000}, "prompt[0]"),
    "texts": (TEXT, {"prompt": ["x"] * 1_000_000}, None),
    "prompts times n": (TEXT, {"prompt": ["x"] * 2, "n": 65}, "n"),
    "prompts of ids times n": (TEXT, {"prompt": [[1]] * 128, "n": 128}, "n"),
    "prompts times best_of": (TEXT, {"prompt": ["x"] * 7, "best_of": 20}, "best_of"),
    "inputs": (EMBEDDINGS, {"input": ["x"] * 200_000}, None),
    "a schema": (CHAT, {"messages": HELLO, "response_format": schema(ENDLESS)}, "response_format"),
    "a tool": (CHAT, {"messages": HELLO, "tools": [{"type": "function", "function": FUNCTION}]}, "tools"),
    "a function": (CHAT, {"messages": HELLO, "functions": [FUNCTION]}, "functions"),
    "guidance": (CHAT, {"messages": HELLO, "response_format": schema({"x-guidance": {}})}, "response_format"),
    "half a pair": (CHAT, {"messages": HELLO, "stop": [HALF]}, "stop[0]"),
    "half a pair alone": (TEXT, {"prompt": "x", "stop": HALF}, "stop"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
async def test_too_much_is_refused_by_name(home: Site, asker: Program, name: str) -> None:
    path, asked, param = TOO_MUCH[name]
    sent = BytesIO(json.dumps({"model": "default", **asked}).encode())
    answer = await asker.send("POST", path, data=sent, headers={"Content-Type": "application/json"})
    assert (answer.status, error(answer)["param"]) == (400, param)
    assert not home.engine.requests


LONG = "x" * 5_000_000


@pytest.mark.parametrize(
    ("status", "asked", "message"),
    [
        (400, {LONG: 1, "messages": HELLO}, "Unrecognized request argument supplied: xxx"),
        (404, {"model": LONG, "messages": HELLO}, "The model `xxx"),
        (400, {"messages": [{"role": LONG}]}, "Invalid 'messages[0].role': supported values are"),
        (
            400,
            {"messages": [{"role": "tool", "tool_call_id": LONG, "content": "x"}]},
            "messages with role 'tool' must be a response to a preceding message with 'tool_calls': no call has the id 'xxx",
        ),
    ],
    ids=["name", "model", "role", "call"],
)
async def test_an_error_does_not_say_again_all_that_came(
    asker: Program, status: int, asked: dict[str, Any], message: str
) -> None:
    sent = BytesIO(json.dumps({"model": "default", **asked}).encode())
    answer = await asker.send("POST", CHAT, data=sent, headers={"Content-Type": "application/json"})
    assert answer.status == status
    assert error(answer)["message"].startswith(message)
    assert len(answer.body) < 3000


async def test_values_that_stand_in_the_texts_of_arguments_are_none(asker: Program) -> None:
    written = json.dumps({"program": "f([1, 2], {3: 4})," * 20_000})
    asked = [*HELLO, *called([{**CALL, "function": {"name": "x", "arguments": written}}]), HELLO[0]]
    found = await asker.refused(CHAT, messages=asked)
    assert found["code"] == "context_length_exceeded", "nothing else is wrong with it"


async def test_as_much_as_is_let_through_is_answered(home: Site, asker: Program) -> None:
    await asker.chat(said(PARTS * 500) * 2, stop=["x" * MAX_STOP], logit_bias={"1": 1})
    await asker.text(["x"] * 2, n=64, max_tokens=1)
    await asker.text(["x"] * 16, n=2, best_of=8, max_tokens=1)
    assert len(home.engine.requests) == 1 + 2 * 64 + 16 * 8


def test_what_strings_hold_is_no_value() -> None:
    text = json.dumps({"a": '[{"\\",,,' * 500, '"\\\\"': ["x" * 500, "\\", "", 5]}).encode()
    assert not json_text.holds_more(text, 9)
    assert json_text.holds_more(text, 4)
    assert json_text.holds_more(b"[" * 20, 19)
    assert not json_text.holds_more(b'{"unended \\"', 5)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "GZIP"])
async def test_a_compressed_body_is_refused(asker: Program, encoding: str) -> None:
    sent = json.dumps({"model": "default", "messages": HELLO}).encode()
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    answer = await asker.send("POST", CHAT, data=sent, headers=headers)
    assert (answer.status, error(answer)["code"]) == (415, "unsupported_media_type")
    answer = await asker.send("POST", CHAT, data=sent, headers={**headers, "Content-Encoding": "identity"})
    assert answer.status == 200


@pytest.mark.parametrize(("most", "status"), [({"together": 3000}, 503), ({"of_one": 3000}, 429)])
async def test_bodies_on_their_way_in_are_bounded_all_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: dict[str, int], status: int
) -> None:
    intake = partial(body.Intake, **most)()
    monkeypatch.setattr(server, "Intake", lambda: intake)
    async with site(tmp_path) as home, program(home) as asker:
        _, writer = await asyncio.open_connection("127.0.0.1", home.port)
        head = home.request(f"POST /v1{CHAT} HTTP/1.1", "Content-Type: application/json", "Content-Length: 9000")
        writer.write(head + b" " * 2000)
        while intake.held < 2000:
            await asyncio.sleep(0.01)
        small = {"model": "default", "messages": HELLO}
        assert (await asker.post(CHAT, small)).status == 200
        answer = await asker.post(CHAT, {**small, "messages": said("x" * 2000)})
        assert answer.status == status
        assert answer.headers["Retry-After"] == "3"
        assert error(answer)["message"]
        writer.close()
        while intake.held:
            await asyncio.sleep(0.01)
        assert (await asker.post(CHAT, {**small, "messages": said("x" * 2000)})).status == 200


async def test_a_body_is_not_held_while_its_answer_is_written(home: Site, asker: Program) -> None:
    """It may be large, and the answer slow, or wait for its turn: of many requests there would be gigabytes."""
    home.engine.stall_after = 1
    async with (
        aclosing(asker.live(CHAT, {"messages": HELLO, "user": "held"})) as chat,
        aclosing(asker.live(TEXT, {"user": "held"})) as text,
    ):
        assert (await anext(chat))["choices"]
        assert (await anext(text))["choices"]
        gc.collect()
        bodies = [one for one in gc.get_objects() if isinstance(one, ChatBody | TextBody)]
        assert "held" not in [one.user for one in bodies]


@pytest.mark.parametrize("texts", [["x"], [[5]]], ids=["texts", "ids"])
async def test_too_many_texts_are_told_as_such(asker: Program, texts: list[Any]) -> None:
    """And not by the first of them, which is right."""
    for path, name, most in ((TEXT, "prompt", MAX_PROMPTS), (EMBEDDINGS, "input", MAX_INPUTS)):
        given: dict[str, Any] = {name: texts * (most + 1)}
        found = await asker.refused(path, **given)
        assert (found["param"], found["message"]) == (
            name,
            f"Invalid '{name}': at most {most}; these are {most + 1}",
        )


class Forgetful(ScriptedEngine):
    """One that loses its grammar without a word."""

    async def stream(self, request: Generation) -> AsyncGenerator[StreamEvent, None]:
        """See ScriptedEngine."""
        async for event in super().stream(replace(request, json_schema=None, grammar=None)):
            yield event


async def test_what_is_no_json_of_a_schema_is_no_success(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"messages": HELLO, "response_format": {"type": "json_object"}}
    engine = Forgetful(lambda prompt: '{"a": 1}' if "well" in prompt else "hello")
    async with site(tmp_path, engine=engine) as home, program(home) as asker:
        found = await asker.refused(CHAT, 500, **asked)
        assert (found["type"], found["message"]) == (
            "server_error",
            "The model did not keep to the schema. Please try again.",
        )
        answer = await asker.post(CHAT, {"model": "default", "stream": True, **asked})
        assert data(answer.body.decode())[-1]["error"]["type"] == "server_error"
        await asker.chat(**{**asked, "messages": said("well")})
        await asker.chat(**asked, max_tokens=2)  # not at its end
        await asker.chat(**asked, stop="lo")
