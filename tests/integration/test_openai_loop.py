"""However large and however shaped a request is, it holds the event loop for moments only.

No clock is asked: what is counted are the calls that Python makes on the loop's thread between two turns of the loop, and
the texts that are read or written as JSON there in one call.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from adapters.web.openai import body, json_text
from adapters.web.openai.parameters.base import MAX_BIASES
from bot import aside
from bot.generation import ChatTemplate
from bot.testing import ScriptedEngine
from tests.house import DEADLINE
from tests.programs import CHAT, HELLO, TEXT, Program, program
from tests.unit.test_prompt_calls import NINE
from tests.web import Site, site

EMBEDDINGS = "/embeddings"
MOST_CALLS = 30_000
"""Some two milliseconds. A small request makes a few thousand at a time."""
MOST_JSON = 100_000
"""Characters in one call: a quarter of a millisecond."""
TICK = asyncio.events.Handle._run.__code__
"""What the loop calls for each thing that it has to do."""


class Roomy(ScriptedEngine):
    """A long context, and a tokenizer that has a thread of its own, as the real ones have."""

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See ScriptedEngine."""
        return await asyncio.to_thread(lambda: [self._encode(text) for text in texts])


class Loop:
    """What was done on the loop's thread at a time, at most."""

    def __init__(self) -> None:
        self.calls = self.json = 0
        self._since = 0
        self._thread = threading.get_ident()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look while the block lasts."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json, "loads", self._measured(json.loads))
            patch.setattr(json, "dumps", self._measured(json.dumps))
            sys.setprofile(self._called)
            try:
                yield
            finally:
                sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, _: object) -> None:
        self._since = 0 if event == "call" and frame.f_code is TICK else self._since + (event in {"call", "c_call"})
        self.calls = max(self.calls, self._since)

    def _measured(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(value: Any, *args: Any, **named: Any) -> Any:
            result = function(value, *args, **named)
            if threading.get_ident() == self._thread:
                self.json = max(self.json, *(len(text) for text in (value, result) if isinstance(text, str | bytes)), 0)
            return result

        return measured


@contextmanager
def json_in_one_call() -> Iterator[list[int]]:
    """The lengths of JSON that is read or written meanwhile, in whatever thread, but for what is read in steps of Python's."""
    lengths: list[int] = []
    encode, decode = json.JSONEncoder.encode, json.JSONDecoder.decode

    def encoded(self: json.JSONEncoder, value: Any) -> str:
        text = encode(self, value)
        lengths.append(len(text))
        return text

    def decoded(self: json.JSONDecoder, text: str, *args: Any) -> Any:
        if vars(self)["object_pairs_hook"] is None:
            lengths.append(len(text))
        return decode(self, text, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json.JSONEncoder, "encode", encoded)
        patch.setattr(json.JSONDecoder, "decode", decoded)
        yield lengths


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    engine = Roomy(lambda _: "[" + "word " * 5, context_length=4_000_000, batch=4_000_000)
    engine.template = ChatTemplate(source=NINE, eos_token="<|im_end|>")
    async with site(tmp_path, engine=engine) as made:
        yield made


@pytest.fixture
async def asker(home: Site) -> AsyncIterator[Program]:
    async with program(home) as made:
        yield made


def talk(number: int, text: str = "a") -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n in range(number)]


def called(number: int, arguments: str = '{"at": 5}') -> list[dict[str, Any]]:
    """So many calls and results."""
    messages: list[dict[str, Any]] = [*HELLO]
    for n in range(number):
        call = {"id": f"call_{n}", "type": "function", "function": {"name": "look", "arguments": arguments}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"call_{n}", "content": "r"})
    return messages


def tool(name: str = "look", properties: int = 1) -> dict[str, Any]:
    parts = {f"p{n}": {"type": "string", "description": "What it is for."} for n in range(properties)}
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": parts}}}


def schema(properties: int) -> dict[str, Any]:
    names = [f"p{n}" for n in range(properties)]
    found = {"type": "object", "properties": {name: {"type": "integer"} for name in names}, "required": names}
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": found}}


SMALL: dict[str, dict[str, Any]] = {
    CHAT: {"model": "default", "messages": HELLO},
    TEXT: {"model": "default", "prompt": "a"},
    EMBEDDINGS: {"model": "embedding", "input": "a"},
}
REQUESTS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "messages": (200, CHAT, {"messages": talk(9999)}),
    "messages of which a thousand are large": (200, CHAT, {"messages": talk(599, "word " * 1000)}),
    "calls": (200, CHAT, {"messages": called(4500), "tools": [tool()]}),
    "calls without tools": (200, CHAT, {"messages": called(4500)}),
    "large arguments": (200, CHAT, {"messages": called(20, json.dumps({"at": ["b"] * 4000})), "tools": [tool()]}),
    "parts": (200, CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 9999}]}),
    "a content": (200, CHAT, {"messages": talk(1, "word " * 300_000)}),
    "control strings": (200, CHAT, {"messages": talk(1, "<|im_end|>" * 30_000)}),
    "tools": (200, CHAT, {"messages": HELLO, "tools": [tool(f"f{n}", 30) for n in range(128)]}),
    "biases": (400, CHAT, {"messages": HELLO, "logit_bias": {str(n): 1 for n in range(MAX_BIASES)}}),
    "kept messages": (200, CHAT, {"messages": talk(9999), "store": True}),
    "ids": (200, TEXT, {"prompt": [65] * 1_000_000}),
    "lists of ids": (200, TEXT, {"prompt": [[65] * 8000] * 128, "echo": True}),
    "texts": (200, TEXT, {"prompt": ["word " * 5000] * 128, "echo": True}),
    "embeddings": (200, EMBEDDINGS, {"model": "embedding", "input": ["a few words"] * 2048}),
    "wrong messages": (400, CHAT, {"messages": [{"role": "x"}] * 9999}),
    "wrong parts": (400, CHAT, {"messages": [{"role": "user", "content": [{"type": "x"}] * 9999}]}),
    "wrong ids": (400, TEXT, {"prompt": [*[65] * 900_000, "x"]}),
    "nothing": (400, TEXT, {"prompt": [None] * 900_000}),
    "lists": (400, CHAT, {"messages": [[[]]] * 40_000}),
    "a name": (400, CHAT, {"messages": HELLO, "x" * 5_000_000: 1}),
    "a name of somebody": (400, CHAT, {"messages": [{**HELLO[0], "name": "x" * 5_000_000}]}),
    "an unknown model": (404, CHAT, {"messages": HELLO, "model": "x" * 5_000_000}),
    "an unknown call": (400, CHAT, {"messages": [{"role": "tool", "tool_call_id": "x" * 5_000_000, "content": "r"}]}),
    "many answers": (200, CHAT, {"messages": HELLO, "n": 64, "logprobs": True, "top_logprobs": 20}),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_no_request_holds_the_event_loop(asker: Program, name: str) -> None:
    status, path, asked = REQUESTS[name]
    await asker.post(path, SMALL[path])  # what is done once, is done
    sent = BytesIO(json.dumps({"model": "default", **asked}).encode())
    loop = Loop()
    with loop.watched():
        answer = await asker.send("POST", path, data=sent, headers={"Content-Type": "application/json"})
    assert answer.status == status, answer.body[:500]
    assert loop.calls < MOST_CALLS
    assert loop.json < MOST_JSON


async def test_schemas_hold_no_event_loop(embedded_home: Site) -> None:
    """Before a real engine, for the scripted one looks at its grammar itself."""
    requests: dict[str, dict[str, Any]] = {
        "a schema": {"response_format": schema(900)},
        "tools": {"tools": [tool(f"f{n}", 10) for n in range(4)], "tool_choice": "required"},
    }
    async with program(embedded_home) as asker:
        await asker.chat()
        for asked in requests.values():
            loop = Loop()
            with loop.watched():
                await asker.chat(max_tokens=1, **asked)
            assert loop.calls < MOST_CALLS
            assert loop.json < MOST_JSON


async def test_what_was_kept_is_given_without_holding_the_event_loop(asker: Program) -> None:
    for _ in range(3):
        kept = await asker.chat(talk(9999), store=True)
    loop = Loop()
    with loop.watched():
        for path in (CHAT, f"{CHAT}/{kept['id']}", f"{CHAT}/{kept['id']}/messages"):
            assert (await asker.get(path)).status == 200
    assert loop.calls < MOST_CALLS
    assert loop.json < MOST_JSON


async def test_what_is_kept_is_never_written_or_read_in_one_call(home: Site, asker: Program) -> None:
    """In no thread: also in those of the database everybody would wait, for the interpreter's lock and for the one writer."""
    home.engine.answer = lambda _: "word " * 1000
    asked = {"messages": talk(9999), "store": True, "logprobs": True, "top_logprobs": 20}
    sent = json.dumps({"model": "default", **asked}).encode()
    headers = {"Content-Type": "application/json"}
    with json_in_one_call() as lengths:
        given = await asker.send("POST", CHAT, data=BytesIO(sent), headers=headers)
        assert given.status == 200, given.body[:500]
        name = json.loads(given.body[:100].partition(b",")[0] + b"}")["id"]
        answers = [await asker.get(path) for path in (CHAT, f"{CHAT}/{name}", f"{CHAT}/{name}/messages?limit=100")]
    assert [answer.status for answer in answers] == [200] * 3
    assert min(len(given.body), len(sent)) > 3 * MOST_JSON
    assert max(lengths) < MOST_JSON


async def test_small_bodies_are_read_on_the_loop_and_large_ones_in_a_thread(
    asker: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    read = json_text.read

    def recorded(found: bytes, values: int) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return read(found, values)

    monkeypatch.setattr(json_text, "read", recorded)
    for size in (10, body.LARGE // 2, body.LARGE, 2 * aside.HUGE):
        await asker.chat(talk(1, "a" * size))
    here = threading.current_thread().name
    assert threads == [here, here, f"{aside.NAME}-large_0", f"{aside.NAME}-huge_0"]


async def test_others_are_answered_while_a_large_body_is_read(
    home: Site, asker: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read as long as the test wants; who goes away meanwhile leaves nothing behind."""
    begun, go = threading.Event(), threading.Event()
    read = json_text.read

    def held(found: bytes, values: int) -> dict[str, Any]:
        if len(found) > body.LARGE:
            begun.set()
            assert go.wait(DEADLINE)
        return read(found, values)

    monkeypatch.setattr(json_text, "read", held)
    first = asyncio.create_task(asker.chat(talk(1, "first " * 100_000)))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    gone, last = [asyncio.create_task(asker.chat(talk(1, f"{name} " * 100_000))) for name in ("gone", "last")]
    for word in ("one", "two"):
        await asker.chat(talk(1, word))
    gone.cancel()
    go.set()
    await first
    await last
    with pytest.raises(asyncio.CancelledError):
        await gone
    prompts = [home.engine.decode(request.prompt)[:12] for request in home.engine.requests]
    assert prompts[:2] == ["[ASKED one]", "[ASKED two]"]
    assert sorted(prompts[2:]) == ["[ASKED first", "[ASKED last "]
