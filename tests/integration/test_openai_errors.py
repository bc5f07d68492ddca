"""What the API says when something is wrong, over real sockets, and the headers of every response."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.web.guard import HEADERS
from adapters.web.openai.body import MOST
from bot.api_door import new_secret
from bot.config import EMBEDDED_CHAT_MODEL
from bot.testing import ScriptedEngine
from tests.programs import CHAT, HELLO, TEXT, Program, error, program
from tests.web import Answer, Site, body, shielded, site, status

GOOD = json.dumps({"model": "default", "messages": HELLO}).encode()
LONE = "\ud800"
FUNCTION = {"name": "look", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


@pytest.fixture
async def asker(home: Site) -> AsyncIterator[Program]:
    async with program(home) as made:
        yield made


def headed(answer: Answer) -> None:
    """The headers of every response."""
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers["openai-version"] == "2020-10-01"
    assert 0 <= int(answer.headers["openai-processing-ms"]) < 60_000
    assert "Origin" in answer.headers["Vary"]
    assert all(answer.headers[name] == value for name, value in HEADERS.items())
    assert answer.headers["Server"] == "hearth"


async def posted(home: Site, data: bytes, *headers: str, path: str = CHAT) -> bytes:
    """The response to a body by hand."""
    own = [*headers, f"Content-Length: {len(data)}"]
    return await home.raw(home.request(f"POST /v1{path} HTTP/1.1", *own, body=data))


def refusal(response: bytes) -> Any:
    """The error object of a raw response, which has the headers of every response."""
    assert shielded(response)
    assert b"\r\nx-request-id: req_" in response.lower()
    assert f"\r\nContent-Length: {len(body(response))}\r\n".encode() in response
    found = json.loads(body(response))
    assert list(found) == ["error"]
    assert set(found["error"]) == {"message", "type", "param", "code"}
    return found["error"]


async def test_every_response_has_its_headers(home: Site, asker: Program) -> None:
    seen = set()
    for answer in (
        await asker.get("/models"),
        await asker.get("/nothing"),
        await asker.get("/models/nobody"),
        await asker.send("PUT", "/models"),
        await asker.send("HEAD", "/models"),
        await asker.post(CHAT, {"model": "default", "messages": HELLO}),
        await asker.post(CHAT, {"model": "default", "messages": HELLO, "stream": True}),
        await asker.post(CHAT, {}),
        await asker.send("POST", CHAT, data=b"{"),
        await asker.get("/models", headers={"Authorization": "Bearer x"}),
    ):
        headed(answer)
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 10


async def test_a_stream_is_not_held_back_on_its_way(asker: Program) -> None:
    answer = await asker.post(CHAT, {"model": "default", "messages": HELLO, "stream": True})
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    whole = await asker.post(CHAT, {"model": "default", "messages": HELLO})
    assert whole.headers["Cache-Control"] == "no-store"
    assert int(whole.headers["Content-Length"]) == len(whole.body)


async def test_a_connection_is_kept_for_the_next_request(home: Site) -> None:
    """After an answer, a stream, a refusal, and an address that is none: all on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
    stream = GOOD.replace(b'"messages"', b'"stream": true, "messages"')
    host = f"Host: 127.0.0.1:{home.port}\r\nConnection: keep-alive\r\nContent-Type: application/json"
    for path, sent, expected in (
        (CHAT, GOOD, 200),
        (CHAT, stream, 200),
        (CHAT, b"{}", 400),
        (CHAT, b"[", 400),
        ("/nothing", b"{}", 404),
        ("/models", b"{}", 405),
        (CHAT, GOOD, 200),
    ):
        writer.write(f"POST /v1{path} HTTP/1.1\r\n{host}\r\nContent-Length: {len(sent)}\r\n\r\n".encode() + sent)
        head = await reader.readuntil(b"\r\n\r\n")
        assert status(head) == expected
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        await (reader.readexactly(int(length[1])) if length else reader.readuntil(b"\r\n0\r\n\r\n"))
    writer.close()
    assert len(home.engine.requests) == 3


@pytest.mark.parametrize(
    "path", ["", "/", "/nothing", "/chat", "/chat/completions/", "//models", "/models/", "/v1/models", "/../api/me", "/%2e%2e/api/me", "/chat%2Fcompletions", "/files", "/images/generations"]
)  # fmt: skip
async def test_an_address_that_is_none_is_told_as_such(home: Site, path: str) -> None:
    for line in (f"GET /v1{path} HTTP/1.1", f"POST /v1{path} HTTP/1.1"):
        response = await home.raw(home.request(line, "Content-Length: 0"))
        assert status(response) == 404, response
        assert refusal(response)["code"] in {"unknown_url", "model_not_found"}


async def test_an_address_is_read_as_the_router_reads_it(home: Site) -> None:
    """What is the API's for the one and the page's for the other would be guarded by neither."""
    await home.app.store.add_key(new_secret(), name="website")
    for path, expected in (("/%76%31/models", 401), ("/v1%2Fmodels", 404), ("/v1%2f..%2fapi%2fme", 404), ("/v1x", 404)):
        response = await home.raw(home.request(f"GET {path} HTTP/1.1"))
        assert (status(response), list(json.loads(body(response)))) == (expected, ["error"]), path
        assert shielded(response)
    for path in ("/v1/../api/me", "/v1/%2e%2e/api/me", "/v1/..%2fapi/me"):
        assert status(await home.raw(home.request(f"GET {path} HTTP/1.1"))) == 401, path


@pytest.mark.parametrize(
    "method, path, allow",
    [
        ("GET", "/completions", {"POST"}),
        ("PUT", "/models", {"GET", "HEAD"}),
        ("DELETE", "/chat/completions", {"GET", "HEAD", "POST"}),
        ("PATCH", "/chat/completions/chatcmpl-1", {"GET", "HEAD", "POST", "DELETE"}),
        ("POST", "/models/default", {"GET", "HEAD"}),
        ("OPTIONS", "/models", {"GET", "HEAD"}),
        ("PROPFIND", "/embeddings", {"POST"}),
    ],
)
async def test_a_method_that_is_not_there_is_told_with_those_that_are(
    home: Site, method: str, path: str, allow: set[str]
) -> None:
    async with program(home) as asker:
        answer = await asker.send(method, path)
    assert (answer.status, error(answer)["code"]) == (405, "method_not_supported")
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == allow
    assert error(answer)["message"] == f"Not allowed to {method} on /v1{path}."


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", None])
async def test_a_body_that_is_said_to_be_no_json_is_refused(home: Site, kind: str | None) -> None:
    for path in (CHAT, TEXT, "/embeddings", "/chat/completions/chatcmpl-1"):
        headers = [] if kind is None else [f"Content-Type: {kind}"]
        response = await posted(home, GOOD, *headers, path=path)
        assert (status(response), refusal(response)["code"]) == (415, "unsupported_media_type")
    assert home.engine.requests == []


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/json;"],
)
async def test_json_may_be_called_so_in_many_ways(home: Site, kind: str) -> None:
    assert status(await posted(home, GOOD, f"Content-Type: {kind}")) == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{",
        b"not json",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'"text"',
        b"[]",
        b"null",
        b"5",
        b"\xff\xfe\x00",
        b'{"model": "default", "messages": NaN}',
        b'{"temperature": Infinity}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b"\x1f\x8b\x08" + bytes(100),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    home: Site, capsys: pytest.CaptureFixture[str], sent: bytes
) -> None:
    response = await posted(home, sent, "Content-Type: application/json")
    assert (status(response), refusal(response)["type"]) == (400, "invalid_request_error")
    assert "Traceback" not in capsys.readouterr().out
    response = await posted(home, sent, "Content-Type: application/json", "Content-Encoding: gzip")
    assert (status(response), refusal(response)["code"]) == (415, "unsupported_media_type")


async def test_a_number_without_end_is_no_temperature(home: Site) -> None:
    sent = GOOD.replace(b"{", b'{"temperature": 1e999, ', 1)
    response = await posted(home, sent, "Content-Type: application/json")
    assert (status(response), refusal(response)["param"]) == (400, "temperature")


async def test_a_body_that_is_too_large_is_refused(home: Site) -> None:
    padding = b" " * (MOST - len(GOOD))
    assert status(await posted(home, GOOD + padding, "Content-Type: application/json")) == 200
    response = await posted(home, GOOD + padding + b" ", "Content-Type: application/json")
    assert status(response) == 413
    assert refusal(response)["message"] == "The body is too large: at most 8 MiB."


async def test_a_length_that_is_no_number_is_refused(home: Site, capsys: pytest.CaptureFixture[str]) -> None:
    headers = ["Content-Type: application/json", f"Content-Length: {'0' * 4301}{len(GOOD)}"]
    response = await home.raw(home.request("POST /v1/chat/completions HTTP/1.1", *headers, body=GOOD))
    assert (status(response), refusal(response)["message"]) == (400, "Content-Length is no number.")
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.parametrize("value", ["the-unexpected", "100-continue, more"])
async def test_what_cannot_be_expected_is_refused(home: Site, value: str) -> None:
    for path in ("/chat/completions", "/nothing"):
        line = f"POST /v1{path} HTTP/1.1"
        response = await home.raw(home.request(line, f"Expect: {value}", "Content-Length: 0"))
        assert status(response) == 417
        assert refusal(response)["type"] == "invalid_request_error"


async def test_who_asks_before_sending_may_go_on(home: Site) -> None:
    """As curl does with what is large."""
    headers = ["Expect: 100-continue", "Content-Type: application/json", f"Content-Length: {len(GOOD)}"]
    response = await home.raw(home.request("POST /v1/chat/completions HTTP/1.1", *headers, body=GOOD))
    assert response.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_no_error_tells_of_the_inside(home: Site, asker: Program) -> None:
    home.engine.fail_with = RuntimeError("/home/somebody/secret")
    answer = await asker.post(CHAT, {"model": "default", "messages": HELLO})
    assert (answer.status, error(answer)["type"]) == (500, "server_error")
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body


def schema_of(depth: int) -> str:
    return '{"type": "object", "properties": {"a": ' * depth + "{}" + "}}" * depth


@pytest.mark.parametrize("depth", [40, 100, 300, 450, 480])
async def test_what_is_nested_too_deep_is_refused_and_never_a_failure(tmp_path: Path, depth: int) -> None:
    """Of a schema, of one of a function, and of anything: by the bound of bodies, and not by what Python's stack allows."""
    lists = "[" * (2 * depth) + "]" * (2 * depth)
    mores = (
        f'"response_format": {{"type": "json_schema", "json_schema": {{"name": "a", "schema": {schema_of(depth)}}}}}',
        f'"tools": [{{"type": "function", "function": {{"name": "a", "parameters": {schema_of(depth)}}}}}]',
        f'"functions": [{{"name": "a", "parameters": {{"x": {lists}}}}}]',
        f'"metadata": {lists}',
    )
    async with site(tmp_path, engine=ScriptedEngine(context_length=1_000_000)) as home:
        for more in mores:
            sent = GOOD.replace(b"{", f"{{{more}, ".encode(), 1)
            response = await posted(home, sent, "Content-Type: application/json")
            assert status(response) == 400
            assert "64 objects and lists are within one another" in refusal(response)["message"], more[:20]
        assert home.engine.requests == []


async def test_arguments_that_are_nested_too_deep_are_text(tmp_path: Path) -> None:
    """They come from a model: they are no mistake of the program's."""
    async with site(tmp_path, engine=ScriptedEngine(context_length=1_000_000)) as home, program(home) as asker:
        for depth in (10, 100, 900, 5000):
            arguments = f'{{"at": {"[" * depth + "]" * depth}}}'
            call = {"id": "1", "function": {"name": "look", "arguments": arguments}}
            result = {"role": "tool", "tool_call_id": "1", "content": "x"}
            await asker.chat([*HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}, result])


@pytest.mark.parametrize(
    "more, param",
    [
        ({"messages": HELLO * 10_001}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 10_001}]}, "messages"),
        ({"logit_bias": {str(number): 1 for number in range(10_001)}}, "logit_bias"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"n": 129}, "n"),
        ({"tools": [{"type": "function", "function": FUNCTION}] * 129}, "tools"),
        ({"user": "x" * 257}, "user"),
        ({f"unknown {number}": 1 for number in range(2000)}, "unknown 0"),
    ],
)
async def test_there_is_a_bound_for_whatever_there_can_be_many_of(
    home: Site, asker: Program, more: dict[str, Any], param: str
) -> None:
    found = await asker.refused(CHAT, **{"messages": HELLO, **more})
    assert found["param"] == param
    assert len(found["message"]) < 300
    assert home.engine.requests == []


ILL_FORMED: dict[str, dict[str, Any]] = {
    "content": {"messages": [{"role": "user", "content": LONE}]},
    "part": {"messages": [{"role": "user", "content": [{"type": "text", "text": LONE}]}]},
    "name": {"messages": [{"role": "user", "content": "x", "name": LONE}]},
    "user": {"user": LONE},
    "stop": {"stop": [LONE]},
    "model": {"model": LONE},
    "metadata": {"store": True, "metadata": {LONE: LONE}},
    "kept": {"store": True, "messages": [{"role": "user", "content": f"{LONE}\0"}]},
    "bias": {"logit_bias": {LONE: 1}},
    "schema": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": [LONE, "x"]}}}
    },
    "property": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "a",
                "schema": {"type": "object", "properties": {LONE: {"type": "null"}}, "required": [LONE]},
            },
        }
    },
    "description": {"tools": [{"type": "function", "function": {**FUNCTION, "description": LONE}}]},
    "unknown": {LONE: 1},
    "call": {
        "messages": [
            *HELLO,
            {
                "role": "assistant",
                "tool_calls": [{"id": LONE, "function": {"name": LONE, "arguments": f'{{"{LONE}": 1}}'}}],
            },
            {"role": "tool", "tool_call_id": LONE, "content": LONE},
        ]
    },
}
"""Requests with half a surrogate pair, which is text in JSON and nowhere else."""


@pytest.mark.parametrize("model", ["scripted", "embedded"])
async def test_text_that_is_ill_formed_is_taken_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    models = {"default": {"path": str(EMBEDDED_CHAT_MODEL), "threads": 1}} if model == "embedded" else {}
    async with site(tmp_path, models=models) as home, program(home) as asker:
        for name, more in ILL_FORMED.items():
            asked = {"model": "default", "messages": HELLO, "max_tokens": 8, **more}
            for stream in (False, True):
                answer = await asker.post(CHAT, {**asked, "stream": stream})
                assert answer.status in {200, 400, 404}, (name, answer.body)
                assert b'"server_error"' not in answer.body, name
                answer.body.decode()
        for more in (
            {"prompt": LONE},
            {"prompt": "x", "stop": LONE},
            {"prompt": "x", "user": LONE},
            {"prompt": LONE, "echo": True},
        ):
            answer = await asker.post(TEXT, {"model": "default", "max_tokens": 8, **more})
            assert answer.status in {200, 400}, (more, answer.body)
        for path in (f"/models/{LONE}", f"/chat/completions?model={LONE}", "/chat/completions?metadata[%ff]=%ff"):
            quoted = path.encode("utf-8", "surrogatepass").decode("latin-1")
            response = await home.raw(home.request(f"GET /v1{quoted} HTTP/1.1"))
            assert status(response) in {200, 400, 404}, response
    assert "Traceback" not in capsys.readouterr().out
