"""Model servers for tests: a strict OpenAI-compatible stand-in that can be told to misbehave, and llama.cpp's own."""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Literal

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from bot.config import EMBEDDED_CHAT_MODEL, RemoteModelConfig
from bot.engines.remote import Patience, RemoteEngine
from bot.generation import ChatMessage, Delta, Finish, Generation, Sampling
from bot.testing import ScriptedEngine
from tests.house import DEADLINE

MODEL = "stand-in-7b"
HELLO = (ChatMessage("system", "Be brief."), ChatMessage("user", "hello"))
ASKED = Generation(messages=HELLO, max_tokens=100)
PATIENT = Patience(backoff=0.01, silence=DEADLINE, stall=DEADLINE, usage=DEADLINE)
"""Tries again at once, and takes no server for silent because the machine is slow."""
_KNOWN = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "max_tokens", "temperature", "top_p", "top_k", "min_p"),
        *("presence_penalty", "frequency_penalty", "stop", "seed", "logit_bias", "response_format"),
    }
)

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""Answers a chat request in the server's place."""


class ModelServer:
    """A ScriptedEngine behind the API of OpenAI, as strict as vLLM: a byte is a token, ChatML the template."""

    def __init__(
        self,
        engine: ScriptedEngine | None = None,
        *,
        key: str = "",
        counts: Literal["vllm", "llamacpp", "not"] = "not",
        listed: dict[str, Any] | None = None,
        takes_system: bool = True,
    ) -> None:
        self.engine = engine or ScriptedEngine()
        self.key = key
        self.counts = counts
        self.listed = {"id": MODEL, "max_model_len": self.engine.context_length} if listed is None else listed
        self.takes_system = takes_system
        self.faults: deque[Fault] = deque()
        """Each takes the place of one answer."""
        self.asked: list[dict[str, Any]] = []
        """The bodies of all chat requests."""
        self.paths: list[str] = []
        """Of every request, those that are not found too."""
        self.usage = True
        """Whether the usage comes when it is asked for."""
        self.url = ""

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=2**26, middlewares=[self._note])
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        if self.counts == "vllm":
            app.router.add_post("/tokenize", self._count)
        if self.counts == "llamacpp":
            app.router.add_post("/apply-template", self._apply_template)
            app.router.add_post("/tokenize", self._tokenize)
        return app

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.paths.append(request.path)
        return await handler(request)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if not self._may(request):
            return refusal(401, "Invalid API key")
        return web.json_response({"object": "list", "data": [self.listed] if self.listed else []})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        if self.faults:
            return await self.faults.popleft()(request)
        if not self._may(request):
            return refusal(401, "Invalid API key")
        body = self.asked[-1]
        if complaint := self._complaint(body):
            return refusal(*complaint)
        return await self._answer(request, body)

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        generation = self._generation(body)
        room = self.engine.context_length - len(generation.prompt)
        if room < generation.max_tokens:
            return refusal(
                400,
                f"This model's maximum context length is {self.engine.context_length} tokens. However, you requested "
                f"{len(generation.prompt) + generation.max_tokens} tokens.",
            )
        response = await begin(request)
        async with aclosing(self.engine.stream(generation)) as events:
            async for event in events:
                if isinstance(event, Delta) and event.text:
                    await send(response, {"choices": [{"index": 0, "delta": {"content": event.text}}]})
                if isinstance(event, Finish):
                    await self._end(response, event)
        return response

    async def _end(self, response: web.StreamResponse, event: Finish) -> None:
        await send(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": event.reason}]})
        if self.usage:
            usage = {
                "prompt_tokens": event.usage.prompt_tokens,
                "completion_tokens": event.usage.completion_tokens,
                "prompt_tokens_details": {"cached_tokens": event.usage.cached_tokens},
            }
            await send(response, {"choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")

    def _complaint(self, body: dict[str, Any]) -> tuple[int, str] | None:
        if unknown := body.keys() - _KNOWN:
            return 400, f"Unknown fields: {sorted(unknown)}"
        if body["model"] != self.listed.get("id", MODEL):
            return 404, f"The model `{body['model']}` does not exist."
        if body["stream"] is not True or body["stream_options"] != {"include_usage": True}:
            return 400, "Only streams with their usage."
        roles = [message["role"] for message in body["messages"]]
        if "system" in roles and not self.takes_system:
            return 400, "System role not supported"
        turns = roles[1:] if roles[0] == "system" else roles
        if turns != [("user", "assistant")[i % 2] for i in range(len(turns))] or len(turns) % 2 == 0:
            return 400, "Conversation roles must alternate user/assistant/user/assistant/..."
        return None

    def _generation(self, body: dict[str, Any]) -> Generation:
        sampling = Sampling(temperature=body["temperature"], top_p=body["top_p"], seed=body.get("seed"))
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        return Generation(
            prompt=tuple(self.ids(body["messages"])),
            max_tokens=body["max_tokens"],
            sampling=sampling,
            stop=tuple(body.get("stop", ())),
            json_schema=schema,
        )

    async def _count(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        ids = self.ids(body["messages"])
        return web.json_response({"count": len(ids), "max_model_len": self.engine.context_length, "tokens": ids})

    async def _apply_template(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"prompt": rendered((await request.json())["messages"])})

    async def _tokenize(self, request: web.Request) -> web.StreamResponse:
        [ids] = await self.engine.encode([(await request.json()).get("content", "")])
        return web.json_response({"tokens": ids})

    def ids(self, messages: list[dict[str, str]]) -> list[int]:
        """A prompt's tokens."""
        return self.engine._encode(rendered(messages))

    def _may(self, request: web.Request) -> bool:
        return not self.key or request.headers.get("Authorization") == f"Bearer {self.key}"


def rendered(messages: list[dict[str, str]]) -> str:
    """ChatML."""
    turns = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return f"{turns}<|im_start|>assistant\n"


def refusal(status: int, message: str, **headers: str) -> web.Response:
    """An error as OpenAI's API has it."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": status}
    return web.json_response({"error": error}, status=status, headers=headers)


async def begin(request: web.Request, content_type: str = "text/event-stream") -> web.StreamResponse:
    """A 200 whose body follows."""
    response = web.StreamResponse(headers={"Content-Type": content_type})
    await response.prepare(request)
    return response


async def send(response: web.StreamResponse, frame: dict[str, Any]) -> None:
    """One event."""
    await response.write(b"data: " + json.dumps(frame).encode() + b"\n\n")


def refuses(status: int, message: str = "no", **headers: str) -> Fault:
    """A fault: an error."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return refusal(status, message, **headers)

    return answer


def says(body: bytes, content_type: str = "text/event-stream") -> Fault:
    """A fault: these bytes, and the end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await begin(request, content_type)
        await response.write(body)
        return response

    return answer


def breaks_off(body: bytes = b"") -> Fault:
    """A fault: these bytes of a stream, then the connection is gone. None: it goes before the first byte."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await begin(request) if body else web.StreamResponse()
        if body:
            await response.write(body)
        assert request.transport is not None
        request.transport.abort()
        return response

    return answer


def pauses(*before: bytes) -> Fault:
    """A fault: these bytes, then nothing until the client has gone."""

    async def wait(request: web.Request) -> web.StreamResponse:
        response = await begin(request) if before else web.StreamResponse()
        for piece in before:
            await response.write(piece)
        await asyncio.Event().wait()
        return response

    return wait


def never_ends(piece: bytes) -> Fault:
    """A fault: this again and again, for as long as the client takes it."""

    async def write(request: web.Request) -> web.StreamResponse:
        response = await begin(request)
        while True:
            await response.write(piece)

    return write


def words(*texts: str) -> bytes:
    """The events of an answer, without its end."""
    frames = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    return b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)


@asynccontextmanager
async def serving(server: ModelServer) -> AsyncIterator[ModelServer]:
    """The server on a port of loopback."""
    runner = web.AppRunner(server.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        server.engine.resume.set()
        await runner.cleanup()


@asynccontextmanager
async def llama_server(*, key: str, slots: int = 4, context_length: int = 2048) -> AsyncIterator[str]:
    """llama.cpp's own server with the demo model, on a port of loopback; gives the URL of its API."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(EMBEDDED_CHAT_MODEL)
    params.n_parallel, params.n_ctx = slots, context_length * slots
    params.n_batch = params.n_ubatch = 64
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.fit_params, params.cache_ram_mib, params.verbosity, params.ui = False, 64, 1, False
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.endpoint_metrics = True
    running = [await asyncio.to_thread(xllamacpp.Server, params)]
    try:
        url = f"{running[0].listening_address}/v1"
        await _answers(f"{running[0].listening_address}/metrics", key)
        yield url
    finally:
        await asyncio.to_thread(running.clear)  # its destructor ends the library's threads


async def _answers(url: str, key: str) -> None:
    """What both its threads must work for: the library forgets a stop that comes before they run, and waits for ever."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http, asyncio.timeout(DEADLINE):
        while True:
            try:
                async with http.get(url) as response:
                    if response.ok:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


@asynccontextmanager
async def remote(*urls: str, patience: Patience = PATIENT, **settings: Any) -> AsyncIterator[RemoteEngine]:
    """The engine for these servers."""
    config = RemoteModelConfig.model_validate({"urls": urls, **settings})
    engine = await RemoteEngine.load("far", config, patience)
    try:
        yield engine
    finally:
        await engine.aclose()


@asynccontextmanager
async def served(*servers: ModelServer, **settings: Any) -> AsyncIterator[RemoteEngine]:
    """The engine for these servers, which run as long."""
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(serving(server))
        yield await stack.enter_async_context(remote(*(server.url for server in servers), **settings))


async def answer(engine: RemoteEngine, request: Generation = ASKED) -> tuple[str, Finish]:
    """The text and the end of one generation."""
    text = ""
    async for event in engine.stream(request):
        if isinstance(event, Delta):
            text += event.text
    assert isinstance(event, Finish)
    return text, event
