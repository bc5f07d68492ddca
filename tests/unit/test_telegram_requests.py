"""The library's requests over aiohttp. What the platform does with them is tested with the whole adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from telegram.error import NetworkError, TimedOut

from adapters.telegram.requests import Requests
from tests.ports import free_port

SECRET = "123:secret"


@pytest.fixture
async def requests() -> AsyncIterator[Requests]:
    requests = Requests(connections=4, connect=5.0, call=20.0, upload=20.0)
    yield requests
    await requests.shutdown()


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """Answers with what it was asked for; says nothing on /silent."""

    end = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/silent":
            await end.wait()
        return web.Response(text=str(request.url))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    end.set()
    await runner.cleanup()


async def test_an_error_does_not_hold_the_token(requests: Requests) -> None:
    with pytest.raises(NetworkError) as caught:
        await requests.do_request(f"http://127.0.0.1:{free_port()}/bot{SECRET}/getMe", "POST")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_silence_is_a_time_out(requests: Requests, server: str) -> None:
    with pytest.raises(TimedOut):
        await requests.do_request(f"{server}/silent", "POST", read_timeout=0.05)


async def test_after_a_shutdown_calls_are_refused_until_it_is_initialized(requests: Requests, server: str) -> None:
    await requests.shutdown()
    with pytest.raises(NetworkError):
        await requests.do_request(f"{server}/x", "POST")
    await requests.initialize()
    assert await requests.do_request(f"{server}/x", "POST") == (200, f"{server}/x".encode())


async def test_the_environments_proxy_is_used(requests: Requests, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server)
    status, body = await requests.do_request("http://telegram.invalid/file", "GET")
    assert (status, body) == (200, b"http://telegram.invalid/file")
