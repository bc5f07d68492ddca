"""How soon does the web page answer, and how long does it take to give the page and a conversation of 40 messages?

`hearth run` with the embedded model on empty data directories, asked over the page's own port as a browser asks. Each
request is read to its end; all but the first of a kind find what the server remembers of the one before.
"""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import psutil

from benchmarks.report import Aim, Row, Table, milliseconds, percentile, run, scratch_directory
from benchmarks.start import DEADLINE, POLL, SECONDS, hearth

STARTS = 5
REQUESTS = 30
QUESTIONS = 20
"""With as many answers a line of 40 messages, all that the page asks for at once."""
REST = 0.05
"""Seconds between two looks whether an answer is there."""
MILLISECONDS = Aim(50, "ms")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def browser(port: int) -> aiohttp.ClientSession:
    """Requests as the page's own script makes them."""
    origin = f"http://127.0.0.1:{port}"
    headers = {"Connection": "keep-alive", "X-Hearth": "page", "Origin": origin}
    return aiohttp.ClientSession(origin, headers=headers, timeout=aiohttp.ClientTimeout(DEADLINE))


async def first_page(http: aiohttp.ClientSession, process: psutil.Process) -> None:
    """Ask until the page is given."""
    end = time.perf_counter() + DEADLINE
    while time.perf_counter() < end:
        assert process.is_running() and process.status() != psutil.STATUS_ZOMBIE, "hearth run ended at once"
        try:
            async with http.get("/") as response:
                await response.read()
                if response.status == 200:
                    return
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(POLL)
    raise AssertionError(f"no page within {DEADLINE:.0f} s")


async def conversation(http: aiohttp.ClientSession) -> str:
    """The path of one with all its messages."""
    made = await _json(http.post("/api/conversations", json={}))
    path = f"/api/conversations/{made['id']}"
    for number in range(1, QUESTIONS + 1):
        event = {"event": uuid.uuid4().hex, "text": f"Hello number {number}!"}
        await _json(http.post(f"{path}/messages", json=event))
        while len((await _json(http.get(path)))["messages"]) < 2 * number:
            await asyncio.sleep(REST)
    return path


async def _json(request: Any) -> Any:
    async with request as response:
        assert response.ok, await response.text()
        return await response.json()


async def times(http: aiohttp.ClientSession, path: str) -> list[float]:
    """Seconds of each of many requests."""
    taken = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        async with http.get(path) as response:
            assert response.status == 200
            await response.read()
        taken.append(time.perf_counter() - began)
    return taken


async def start(then: Callable[[aiohttp.ClientSession], Awaitable[None]] | None = None) -> float:
    """Seconds from the start of a process to the first page that it gives; `then` asks it for more."""
    port = _free_port()
    with scratch_directory() as folder:
        began = time.perf_counter()
        with hearth(folder, port=port) as process:
            async with browser(port) as http:
                await first_page(http, process)
                seconds = time.perf_counter() - began
                if then is not None:
                    await then(http)
    return seconds


async def measure() -> AsyncIterator[Table]:
    """Several starts, the last process of which is asked for more; one before them brings every file into the page cache."""
    taken: dict[str, list[float]] = {}

    async def ask(http: aiohttp.ClientSession) -> None:
        taken["`/`"] = await times(http, "/")
        path = await conversation(http)
        taken["a conversation of 40 messages"] = await times(http, path)

    await start()
    starts = [await start() for _ in range(STARTS - 1)]
    starts.append(await start(ask))
    median = percentile(starts, 0.5)
    rows = [Row(f"first 200 of `/`, {STARTS} starts", (f"{max(starts):.2f} s", f"{median:.2f} s"), SECONDS, median)]
    for what, each in taken.items():
        median = percentile(each, 0.5)
        figures = (milliseconds(max(each)), milliseconds(median))
        rows.append(Row(f"{what}, {REQUESTS} times", figures, MILLISECONDS, median * 1000))
        rows.append(Row(f"{what}, the first of them", ("", milliseconds(each[0])), MILLISECONDS, each[0] * 1000))
    note = "Over the page's port and one connection, in turn; the client's own time is in it."
    yield Table("page: `hearth run` as a browser finds it", ("worst", "median"), rows, [note])


if __name__ == "__main__":
    run(measure())
