"""Programs that use the API in a test: bodies out, objects, chunks and errors in."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.house import DEADLINE
from tests.web import Answer, Site

CHAT, TEXT = "/chat/completions", "/completions"
HELLO = [{"role": "user", "content": "hello"}]
DONE = "[DONE]"


@dataclass
class Program:
    """A program with a key, or without one where the API is open."""

    http: aiohttp.ClientSession

    async def send(self, method: str, path: str, **how: Any) -> Answer:
        """One request; `path` is that behind /v1."""
        async with self.http.request(method, f"/v1{path}", **how) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **how: Any) -> Answer:
        """Look."""
        return await self.send("GET", path, **how)

    async def post(self, path: str, body: Mapping[str, Any], **how: Any) -> Answer:
        """Ask."""
        return await self.send("POST", path, json=body, **how)

    async def chat(self, messages: Sequence[Mapping[str, Any]] = HELLO, **more: Any) -> Any:
        """A chat completion that succeeds: the object, or a stream's chunks."""
        return await self._succeeds(CHAT, {"model": "default", "messages": messages, **more})

    async def text(self, prompt: object = "Once", **more: Any) -> Any:
        """A text completion that succeeds: the object, or a stream's chunks."""
        return await self._succeeds(TEXT, {"model": "default", "prompt": prompt, **more})

    async def refused(self, path: str, status: int = 400, **body: Any) -> Any:
        """The error object of a request that is refused with this status."""
        answer = await self.post(path, {"model": "default", **body})
        assert answer.status == status, answer.body
        return error(answer)

    async def streamed(self, path: str, body: Mapping[str, Any]) -> list[Any]:
        """Everything that a stream says, in order: JSON objects, and DONE."""
        answer = await self.post(path, {"model": "default", "stream": True, **body})
        assert answer.status == 200, answer.body
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        return data(answer.body.decode())

    async def live(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """The same, as it comes. Closing it breaks the connection off."""
        async with self.http.post(f"/v1{path}", json={"model": "default", "stream": True, **body}) as response:
            assert response.status == 200, await response.read()
            async for line in response.content:
                if line != b"\n":
                    yield _read(line.decode().removeprefix("data: ").rstrip("\n"))

    async def _succeeds(self, path: str, body: Mapping[str, Any]) -> Any:
        if body.get("stream"):
            *chunks, done = await self.streamed(path, body)
            assert done == DONE
            return chunks
        answer = await self.post(path, body)
        assert answer.status == 200, answer.body
        return answer.json


@asynccontextmanager
async def program(home: Site, key: str = "", **headers: str) -> AsyncIterator[Program]:
    """A program that shows this key."""
    own = {"Connection": "keep-alive", **({"Authorization": f"Bearer {key}"} if key else {}), **headers}
    async with aiohttp.ClientSession(home.origin, timeout=aiohttp.ClientTimeout(total=DEADLINE), headers=own) as http:
        yield Program(http)


def data(text: str) -> list[Any]:
    """What a stream of events says: each event is one line of data and an empty one."""
    *events, rest = text.split("\n\n")
    assert rest == ""
    assert all(event.startswith("data: ") and "\n" not in event for event in events), text
    return [_read(event.removeprefix("data: ")) for event in events]


def _read(event: str) -> Any:
    return DONE if event == DONE else json.loads(event)


def error(answer: Answer) -> Any:
    """The error object, which has all four fields and stands alone."""
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert list(answer.json) == ["error"]
    found = answer.json["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert found["message"] and isinstance(found["message"], str)
    return found


def joined(chunks: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """The chunks of a chat completion put together as an SDK does it: by choice, text, reasoning, logprobs and reason."""
    found: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            one = found.setdefault(
                choice["index"], {"content": "", "reasoning_content": "", "logprobs": [], "finish_reason": None}
            )
            for name in ("content", "reasoning_content"):
                one[name] += choice["delta"].get(name) or ""
            one["logprobs"] += (choice["logprobs"] or {"content": []})["content"]
            one["finish_reason"] = choice["finish_reason"] or one["finish_reason"]
    return found


def whole(completion: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """A chat completion's choices in the same form."""
    return {
        choice["index"]: {
            "content": choice["message"]["content"],
            "reasoning_content": choice["message"].get("reasoning_content", ""),
            "logprobs": (choice["logprobs"] or {"content": []})["content"],
            "finish_reason": choice["finish_reason"],
        }
        for choice in completion["choices"]
    }


def joined_text(chunks: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """The chunks of a text completion put together: text, logprobs and reason of each choice."""
    found: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            one = found.setdefault(choice["index"], {"text": "", "logprobs": None, "finish_reason": None})
            one["text"] += choice["text"]
            if choice["logprobs"] is not None:
                one["logprobs"] = one["logprobs"] or {name: [] for name in choice["logprobs"]}
                for name, values in choice["logprobs"].items():
                    one["logprobs"][name] += values
            one["finish_reason"] = choice["finish_reason"] or one["finish_reason"]
    return found


def whole_text(completion: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """A text completion's choices in the same form."""
    return {
        choice["index"]: {name: choice[name] for name in ("text", "logprobs", "finish_reason")}
        for choice in completion["choices"]
    }
