"""The client's side of the local socket."""

from __future__ import annotations

import asyncio
import getpass
import json
import uuid
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from bot.errors import StartError
from bot.messages import ActionName

MAX_LINE = 64 * 2**20
"""Bytes of one line of an answer: the longest text, with its files."""


class Client:
    """Talks to the process that owns the database. A context manager."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._author = getpass.getuser()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        connector = aiohttp.UnixConnector(str(self._socket))
        timeout = aiohttp.ClientTimeout(total=None)
        self._http = aiohttp.ClientSession("http://hearth", connector=connector, timeout=timeout, read_bufsize=MAX_LINE)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def ask(self, conversation: str, text: str) -> AsyncIterator[dict[str, Any]]:
        """Send a message; yields the states of the messages that answer it, as the adapter shows them, to the last.

        Raises StartError if the process goes away or did not take the message.
        """
        body = {"id": uuid.uuid4().hex, "conversation": conversation, "author": self._author, "text": text}
        received = False
        try:
            async with self._session.post("/messages", json=body) as response:
                await _check(response)
                async for line in response.content:
                    shown = json.loads(line)
                    if shown.pop("received", False):
                        received = True
                    else:
                        yield shown
                        if shown["final"]:
                            return
        except aiohttp.ClientError as error:
            raise StartError(_lost(received=received)) from error
        raise StartError(_lost(received=received))

    async def stop(self, conversation: str) -> None:
        """Stop the answer in progress there."""
        body = {
            "id": uuid.uuid4().hex,
            "conversation": conversation,
            "author": self._author,
            "name": ActionName.STOP.value,
        }
        await self._json("POST", "/actions", body)

    async def commands(self) -> list[dict[str, str]]:
        """The table of commands."""
        return list(await self._json("GET", "/commands"))

    async def line(self, conversation: str) -> list[dict[str, str]]:
        """The last messages of a conversation's current line: role and text, oldest first."""
        return list(await self._json("GET", f"/conversations/{quote(conversation, safe='')}"))

    async def health(self) -> dict[str, Any]:
        """What /healthz says, good or bad."""
        return dict(await self._json("GET", "/healthz", good={200, 503}))

    async def usage(self) -> list[dict[str, Any]]:
        """Messages and tokens of everybody."""
        return list(await self._json("GET", "/usage"))

    async def export(self, platform: str, author: str) -> dict[str, Any]:
        """Everything of one person."""
        return dict(await self._json("GET", _person(platform, author)))

    async def forget(self, platform: str, author: str) -> dict[str, int]:
        """Remove everything of one person."""
        return dict(await self._json("DELETE", _person(platform, author)))

    async def backup(self, target: Path) -> None:
        """Write a copy of the database."""
        await self._json("POST", "/backup", {"target": str(target)})

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._http is not None, "use it as a context manager"
        return self._http

    async def _json(self, method: str, path: str, body: object = None, *, good: Collection[int] = (200,)) -> Any:
        try:
            async with self._session.request(method, path, json=body) as response:
                if response.status not in good:
                    await _check(response)
                return await response.json()
        except (aiohttp.ClientError, asyncio.IncompleteReadError) as error:
            raise StartError("The running Hearth process does not answer any more.") from error


def _person(platform: str, author: str) -> str:
    return f"/people/{quote(platform, safe='')}/{quote(author, safe='')}"


def _lost(*, received: bool) -> str:
    kept = "It has your message and will answer it: /history shows the answer." if received else "Please ask again."
    return f"The Hearth process went away before the answer was there. {kept}"


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        raise StartError(await response.text())
