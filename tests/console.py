"""A console that listens in a test, programs that talk to it, and a bot behind it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.console.adapter import AnswerTo, Console, IsOpen
from adapters.console.client import Client
from bot.messages import ConversationKey, Destination, Event, Message, MessageRef, Outgoing
from bot.ports import Receive

NO_ANSWER = "No answer comes to this: it was removed, it waited too long, or it was answered before."
LOCAL = ConversationKey("console", "local", "default")


async def still_open(key: ConversationKey, event: str) -> bool:
    return True


async def nothing_kept(key: ConversationKey, event: str) -> None:
    return None


def plain(socket: Path) -> Console:
    """A console that nothing is special about."""
    return Console(socket, is_open=still_open, answer_to=nothing_kept)


@asynccontextmanager
async def console(
    folder: Path,
    receive: Receive,
    *routes: Any,
    is_open: IsOpen = still_open,
    answer_to: AnswerTo = nothing_kept,
    **how: Any,
) -> AsyncIterator[tuple[Console, Client]]:
    """A console that listens, and a client that is connected."""
    made = Console(folder / "run" / "hearth.sock", *routes, is_open=is_open, answer_to=answer_to, **how)
    task = asyncio.create_task(made.listen(receive))
    await asyncio.wait([task, asyncio.ensure_future(made.listening.wait())], return_when=asyncio.FIRST_COMPLETED)
    try:
        async with Client(folder / "run" / "hearth.sock") as client:
            yield made, client
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class Bot:
    """Receives events and answers them as `answer` says."""

    def __init__(self, *states: Outgoing) -> None:
        self.states = states
        self.events: list[Event] = []
        self.sent: list[MessageRef] = []
        self.console: Console | None = None
        self.tasks: list[asyncio.Task[None]] = []

    async def receive(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Message):
            self.tasks.append(asyncio.create_task(self._answer(event)))

    async def _answer(self, event: Message) -> None:
        assert self.console is not None
        sent: MessageRef | None = None
        for state in self.states:
            await asyncio.sleep(0)
            if sent is None:
                sent = await self.console.send(Destination(key=event.key, interaction=event.interaction), state)
                self.sent.append(sent)
            else:
                await self.console.edit(sent, state)


GROWING = (Outgoing(text="He", final=False), Outgoing(text="Hello", final=False), Outgoing(text="Hello."))


async def ask(client: Client, text: str = "hi", conversation: str = "default") -> list[dict[str, Any]]:
    return [state async for state in client.ask(conversation, text)]


def said(**changed: object) -> dict[str, object]:
    return {"id": "1", "conversation": "default", "author": "ada", "text": "hi"} | changed


async def post(folder: Path, path: str, body: object) -> tuple[int, str]:
    """A body as it is, or as JSON."""
    connector = aiohttp.UnixConnector(str(folder / "run" / "hearth.sock"))
    async with aiohttp.ClientSession("http://hearth", connector=connector) as http:
        sent: dict[str, Any] = {"data" if isinstance(body, bytes | io.BytesIO) else "json": body}
        async with http.post(path, **sent) as response:
            return response.status, await response.text()


async def refused(socket: Path) -> tuple[int, str]:
    """The status of a message, and after how many seconds it may be sent again."""
    connector = aiohttp.UnixConnector(str(socket))
    async with (
        aiohttp.ClientSession("http://hearth", connector=connector) as http,
        http.post("/messages", json=said(id="late")) as response,
    ):
        return response.status, response.headers.get("Retry-After", "never")
