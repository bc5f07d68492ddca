"""The client's side of the local socket.

A question outlives its process: it has an id, so that it can be sent again to whoever answers next.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from adapters.console.wire import RESTART_SECONDS, RETRY_AFTER
from bot.errors import StartError
from bot.messages import ActionName

MAX_LINE = 64 * 2**20
"""Bytes of one line of an answer: the longest text, with its files."""
AGAIN_SECONDS = 0.1
"""Between two attempts to hand a question over."""

Find = Callable[[float], Awaitable[object]]
"""Returns when a process answers on the socket; for so many seconds it is only looked for. Raises StartError."""


class _Gone(StartError):
    """The process does not answer any more."""


@dataclass
class _Asked:
    """A question on its way."""

    body: dict[str, object]
    received: bool = False
    answered: bool = False
    patience: float = RESTART_SECONDS
    """Seconds before this process may take the place of one that is gone."""


class Client:
    """Talks to the process that owns the database. A context manager.

    `find`: how to come by the next process when that one goes away; None: nobody looks for it. It is called by the task
    that asks. `lost` is true meanwhile: then there is nobody to stop.
    """

    def __init__(self, socket: Path, find: Find | None = None) -> None:
        self.lost = False
        self._socket = socket
        self._find = find
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

    async def ask(
        self, conversation: str, text: str, files: Collection[str] = (), recordings: Collection[str] = ()
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Send a message; yields the states of the messages that answer it, as the adapter shows them, to the last.

        `files` and `recordings`, which are heard, are absolute paths. Raises StartError if the message was not taken, or its process went away and there is no other.
        """
        sent = {"files": list(files), "recordings": list(recordings)}
        message = {"conversation": conversation, "author": self._author, "text": text, **sent}
        asked = _Asked({"id": uuid.uuid4().hex, **message})
        try:
            while not asked.answered:
                async with aclosing(self._states(asked)) as states:
                    async for state in states:
                        yield state
                if not asked.answered:
                    await self._find_again(asked)
        finally:
            self.lost = False

    async def _states(self, asked: _Asked) -> AsyncGenerator[dict[str, Any], None]:
        """The states that one process shows: to the last, or until it takes no message or goes away."""
        with suppress(aiohttp.ClientError):
            async with self._session.post("/messages", json=asked.body) as response:
                if response.status == 503 and RETRY_AFTER in response.headers:
                    asked.patience = float(response.headers[RETRY_AFTER])
                    return
                await _check(response)
                async for line in response.content:
                    state = json.loads(line)
                    if state.pop("received", False):
                        asked.received, asked.patience = True, RESTART_SECONDS
                        self.lost = False
                        continue
                    asked.answered = state["final"]
                    yield state
                    if asked.answered:
                        return

    async def _find_again(self, asked: _Asked) -> None:
        """Come by a process to send the question to again. Raises StartError."""
        if self._find is None:
            raise StartError(_lost(received=asked.received))
        self.lost = True
        await asyncio.sleep(AGAIN_SECONDS)
        try:
            await self._find(asked.patience)
        except StartError as error:
            if not asked.received:
                raise
            raise StartError(_lost(received=True)) from error

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
        return list(await self._get("/commands"))

    async def line(self, conversation: str) -> list[dict[str, str]]:
        """The last messages of a conversation's current line: role and text, oldest first."""
        return list(await self._get(f"/conversations/{quote(conversation, safe='')}"))

    async def health(self) -> dict[str, Any]:
        """What /healthz says, good or bad."""
        return dict(await self._json("GET", "/healthz", good={200, 503}))

    async def usage(self) -> list[dict[str, Any]]:
        """Messages and tokens of everybody."""
        return list(await self._json("GET", "/usage"))

    async def api_usage(self) -> list[dict[str, Any]]:
        """What programs used of the API."""
        return list(await self._json("GET", "/api/usage"))

    async def api_keys(self) -> list[dict[str, Any]]:
        """All of the API's keys, as `bot.api.Key` has them, with times as text; none tells its secret."""
        return list(await self._json("GET", "/api/keys"))

    async def add_api_key(self, secret: str, **values: object) -> dict[str, Any]:
        """Make a key. `values`: those of `bot.api.ApiStore.add_key`, times as text. Raises StartError if its name is given."""
        return dict(await self._json("POST", "/api/keys", {"secret": secret, **values}))

    async def revoke_api_key(self, name: str) -> dict[str, Any] | None:
        """Refuse a key from now on; None if there is none of this name."""
        key: dict[str, Any] | None = await self._json("DELETE", f"/api/keys/{quote(name, safe='')}")
        return key

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

    async def _get(self, path: str) -> Any:
        """What any process can tell that answers questions."""
        try:
            return await self._json("GET", path)
        except _Gone:
            if self._find is None:
                raise
            await self._find(RESTART_SECONDS)
            return await self._json("GET", path)

    async def _json(self, method: str, path: str, body: object = None, *, good: Collection[int] = (200,)) -> Any:
        try:
            async with self._session.request(method, path, json=body) as response:
                if response.status not in good:
                    await _check(response)
                return await response.json()
        except (aiohttp.ClientError, asyncio.IncompleteReadError) as error:
            raise _Gone("The running Hearth process does not answer any more.") from error


def _person(platform: str, author: str) -> str:
    return f"/people/{quote(platform, safe='')}/{quote(author, safe='')}"


def _lost(*, received: bool) -> str:
    kept = "It has your message and will answer it: /history shows the answer." if received else "Please ask again."
    return f"The Hearth process went away before the answer was there. {kept}"


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        raise StartError(await response.text())
