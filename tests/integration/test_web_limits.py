"""Clients that are slow, idle or too many: the others are answered all the same."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from adapters.web import pace, wire
from adapters.web.adapter import WebPage
from adapters.web.connections import listening
from adapters.web.pace import ACTIONS
from adapters.web.streams import EACH, MOST_THINGS, Stream, Streams, TooMany
from bot.config import WebConfig
from bot.loop import serve
from bot.messages import Event
from storage.store import SqlStore
from tests.house import DEADLINE, until
from tests.web import ANN_TOKEN, OWNER_TOKEN, TOKENS, Site, site, status, web_house

MEBIBYTE = 2**20
HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@asynccontextmanager
async def streams(home: Site, number: int) -> AsyncIterator[list[int]]:
    """So many requests for the stream of events, and what each was answered."""
    ask = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{home.port}\r\nConnection: keep-alive\r\n\r\n".encode()
    opened = []
    for _ in range(number):
        reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
        writer.write(ask)
        opened.append((reader, writer))
    try:
        yield [status(await reader.readuntil(b"\r\n\r\n")) for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def test_two_thousand_idle_streams_leave_the_page_as_it_is(tmp_path: Path, files: int) -> None:
    async with site(tmp_path) as home, home.browser() as owner:
        home.page.screens.streams.each = files
        before = psutil.Process().memory_info().rss
        async with streams(home, files) as answers:
            assert set(answers) == {200}
            assert home.page.screens.streams.count == files
            assert psutil.Process().memory_info().rss - before < 300 * MEBIBYTE  # both ends of them
            where = await owner.begin()
            assert (await owner.ask(where, "hello"))["text"] == "You said: hello"
        await until(lambda: home.page.screens.streams.count == 0, "the end of the streams")


async def test_one_person_has_so_many_streams_and_no_more(tmp_path: Path, files: int) -> None:
    async with site(tmp_path) as home, home.browser() as owner:
        async with streams(home, EACH + 10) as answers:
            assert sorted(answers) == [200] * EACH + [429] * 10
            assert (await owner.get("/api/me")).status == 200
        await until(lambda: home.page.screens.streams.count == 0, "the end of the streams")
        async with streams(home, 1) as answers:
            assert answers == [200]


def test_streams_are_bounded_for_each_and_for_all() -> None:
    streams = Streams(each=2, in_all=3)
    with streams.open("ann"), streams.open("ann"), streams.open("ben"):
        for person in ("ann", "ben", "cid"):
            with pytest.raises(TooMany), streams.open(person):
                pytest.fail("one too many")
    assert (streams.count, streams.watched("ann")) == (0, False)


async def test_who_reads_slowly_gets_the_last_state_of_each_thing_alone() -> None:
    stream = Stream()
    for number in range(10_000):
        stream.put(("state", number % 3), b"%d," % number)
    stream.put(("changed", "c"), b"changed")
    assert await stream.take(1.0) == b"9997,9998,9999,changed"
    assert await stream.take(0.001) == b""


async def test_a_page_that_missed_too_much_is_sent_away_to_begin_anew() -> None:
    stream = Stream()
    for number in range(MOST_THINGS + 1):
        stream.put(("changed", f"{number}"), b"x")
    assert stream.closed
    assert await stream.take(1.0) == b""


async def test_a_page_that_does_not_read_costs_little_and_sees_the_last_state_soon(tmp_path: Path) -> None:
    """A line that has stopped, while a long answer is pushed a thousand times."""
    async with site(tmp_path) as home:
        screens = home.page.screens
        reader, writer = await asyncio.open_connection("127.0.0.1", home.port, limit=4096)
        ask = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{home.port}\r\nConnection: keep-alive\r\n\r\n"
        writer.write(ask.encode())
        await until(lambda: screens.streams.count == 1, "the stream")
        before = psutil.Process().memory_info().rss
        for number in range(1000):
            state = {"conversation": "c", "event": "e", "number": 1, "text": "x" * 100_000 + f"state {number}."}
            screens.streams.state("owner", state)
            await asyncio.sleep(0)
        assert psutil.Process().memory_info().rss - before < 50 * MEBIBYTE
        seen = b""
        async with asyncio.timeout(DEADLINE):
            while not seen.rstrip().endswith(b'state 999."}'):
                seen += await reader.read(MEBIBYTE)
                seen = seen.replace(b"\r\n", b"") if seen.endswith(b"\r\n") else seen
        assert seen.count(b"event: state") < 20  # 42 without its care for slow lines
        writer.transport.abort()


@asynccontextmanager
async def served(handler: Callable[[web.Request], object], **how: float) -> AsyncIterator[int]:
    """One handler on a port of its own."""

    def build(_: int) -> web.Application:
        app = web.Application(client_max_size=wire.MAX_BODY)
        app.router.add_route("*", "/", handler)  # type: ignore[arg-type]
        return app

    async with listening(build, "127.0.0.1", 0, most=int(how.pop("most", 100)), **how) as port:
        yield port


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


@pytest.mark.parametrize("first", [b"", HEAD + b"\r\n"])
async def test_a_client_that_never_ends_its_headers_is_left(first: bytes) -> None:
    """One byte after the other, at once and after a request that was answered."""
    async with served(hello, request_seconds=1.0) as port:  # the first request is to come within that
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if first:
            writer.write(first)
            assert await reader.readuntil(b"hello")
        ended = asyncio.ensure_future(reader.read())
        line = iter(HEAD + b"X-Slow: " + b"a" * 4000)
        while not ended.done():
            writer.write(bytes([next(line)]))
            await asyncio.wait([ended], timeout=0.02)
        with suppress(ConnectionError):
            assert await ended == b""
        writer.close()


async def test_a_client_that_says_nothing_is_left() -> None:
    async with served(hello, request_seconds=0.1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(DEADLINE):
            assert await reader.read() == b""
        writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=await wire.read(request, seconds=0.1))

    async with served(handler) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        async with asyncio.timeout(DEADLINE):
            assert status(await reader.readuntil(b"\r\n\r\n")) == 408
        writer.close()


async def test_an_answer_that_is_not_read_is_not_kept_for_ever() -> None:
    ended = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * MEBIBYTE)
        finally:
            ended.set()

    async with served(handler, read_seconds=0.1) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(HEAD + b"\r\n")
        async with asyncio.timeout(DEADLINE):
            await ended.wait()
        writer.close()


async def test_an_answer_that_is_read_slowly_comes_whole() -> None:
    """In little steps: what the system itself takes at once would come in few, with long rests in between."""
    took: list[float] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        began = time.monotonic()
        await response.write(b"x" * (16 * MEBIBYTE))
        took.append(time.monotonic() - began)
        return response

    patience = 3.0  # longer than a busy machine lets one wait for the next step, and shorter than all of them take
    async with served(handler, read_seconds=patience) as port:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.connect(("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=65536)
        writer.write(HEAD + b"Connection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        got = 0
        while data := await reader.read(MEBIBYTE // 8):
            got += data.count(b"x")
            await asyncio.sleep(0.04)
        assert got == 16 * MEBIBYTE
        assert took[0] > patience
        writer.close()


async def test_one_connection_too_many_is_told_so() -> None:
    async with served(hello, most=3) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _, writer in held:
            writer.write(HEAD + b"\r\n")
        for reader, _ in held:
            assert status(await reader.readuntil(b"hello")) == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        refused = await reader.read()
        assert (status(refused), b"Retry-After: 5" in refused) == (503, True)
        for _, one in [*held, (reader, writer)]:
            one.close()


@pytest.mark.parametrize(
    "test",
    [
        test_an_answer_that_is_not_read_is_not_kept_for_ever,
        test_an_answer_that_is_read_slowly_comes_whole,
        test_one_connection_too_many_is_told_so,
    ],
    ids=lambda test: test.__name__.removeprefix("test_"),
)
def test_so_it_is_on_the_loop_that_hearth_serves_with(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Its connections are of other classes than asyncio's."""
    serve(test())


async def test_what_was_begun_is_done_whole_although_its_client_goes_away(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path}/hearth.db", default_retention_days=30)
    page = WebPage(WebConfig(port=0), web_house(store, tmp_path))
    await store.conversation(page.screens.key("owner", "one"), person="owner")
    begun, gone, received = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def receive(_: Event) -> None:
        begun.set()
        await gone.wait()
        await asyncio.sleep(0)
        received.set()

    listener = asyncio.create_task(page.listen(receive))
    await page.listening.wait()
    body = b'{"event": "event-one", "text": "hello"}'
    own = f"Origin: {page.address}\r\nX-Hearth: page\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    host = f"Host: 127.0.0.1:{page.server.port}\r\nConnection: keep-alive"
    head = f"POST /api/conversations/one/messages HTTP/1.1\r\n{host}\r\n{own}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", page.server.port)
    writer.write(head.encode() + body)
    await begun.wait()
    writer.transport.abort()
    await asyncio.sleep(0.05)  # the server is to have noticed; were it slower, this would prove less and not fail
    gone.set()
    async with asyncio.timeout(DEADLINE):
        await received.wait()
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    await store.aclose()


async def test_a_person_can_do_so_much_in_a_minute_and_owners_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pace.MINUTE == 60
    monkeypatch.setattr(pace, "MINUTE", 3600.0)  # a slow machine takes more than one for so many requests
    async with site(tmp_path, TOKENS) as home, home.browser(Authorization=f"Bearer {ANN_TOKEN}") as ann:
        for _ in range(ACTIONS):
            assert (await ann.act("DELETE", "/api/conversations/none")).status == 404
        for refused in (
            await ann.post("/api/conversations"),
            await ann.get("/api/search?q=a"),
            await ann.get("/api/conversations/none/export"),
        ):
            assert (refused.status, refused.error) == (429, "This is too much at once. Please wait a little.")
            assert 0 < int(refused.headers["Retry-After"]) <= pace.MINUTE
        assert (await ann.get("/api/me")).status == 200
        async with home.browser(Authorization=f"Bearer {OWNER_TOKEN}") as owner:
            for _ in range(ACTIONS + 1):
                assert (await owner.act("DELETE", "/api/conversations/none")).status == 404
