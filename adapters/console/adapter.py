"""The console adapter: programs of this machine's owner talk to the bot through a unix socket.

The wire is HTTP with one JSON object a line. `POST /messages` answers when the message is committed, then with the
answer as it grows; a client that goes away loses its screen and not its answer.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web

from adapters.console.socket import listening
from bot.errors import DatabaseError
from bot.messages import (
    Action,
    ActionName,
    Attachment,
    Author,
    Command,
    ConversationKey,
    Destination,
    Limits,
    Message,
    MessageRef,
    Outgoing,
    Preview,
    Typing,
)
from bot.ports import Receive

PLATFORM = "console"
ACCOUNT = "local"
MAX_BODY = 4 * 2**20
"""Bytes of a request: far above what any model's window holds."""
EDIT_SECONDS = 0.03
"""A terminal follows 30 changes a second."""
LONGEST = 2**31
"""A terminal has no longest message."""

Routes = Callable[[web.Application], None]


class Console:
    """An Adapter whose platform is the local socket."""

    name = PLATFORM
    limits = Limits(text=LONGEST, seconds_per_call=EDIT_SECONDS, burst=2, files=True, private_answers=True)

    def __init__(self, socket: Path, *routes: Routes) -> None:
        self._socket = socket
        self._routes = routes
        self._screens: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._numbers = count(1)
        self._receive: Receive | None = None
        self._commands: list[Command] = []
        self.listening = asyncio.Event()

    async def listen(self, receive: Receive) -> None:
        """Serve the socket until cancelled. Raises StartError if another process does."""
        self._receive = receive
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/messages", self._message)
        app.router.add_post("/actions", self._action)
        app.router.add_get("/commands", self._menu)
        for add in self._routes:
            add(app)
        async with listening(app, self._socket):
            self.listening.set()
            await asyncio.Event().wait()

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """Show a message to who asked, if that screen is still there."""
        event = to.interaction or ""
        number = next(self._numbers)
        self._show(event, number, what)
        return MessageRef(to.key, f"{event}:{number}")

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """Show a message's new state."""
        event, _, number = message.message_id.rpartition(":")
        self._show(event, int(number), what)

    async def delete(self, message: MessageRef) -> None:
        """Take a message off the screen."""
        event, _, number = message.message_id.rpartition(":")
        self._show(event, int(number), Outgoing(text="", final=False))

    async def show(self, to: Destination, sign: Typing | Preview) -> None:
        """A terminal shows its own sign of waiting."""

    async def fetch(self, attachment: Attachment) -> bytes:
        """Read a file that the client named; it is the same machine and the same owner."""
        return await asyncio.to_thread(Path(attachment.reference).read_bytes)

    async def publish(self, commands: Sequence[Command]) -> None:
        """Keep the menu for the terminal's completion."""
        self._commands = list(commands)

    def _show(self, event: str, number: int, what: Outgoing) -> None:
        if screen := self._screens.get(event):
            files = [
                {"name": f.name, "media_type": f.media_type, "data": base64.b64encode(f.data).decode()}
                for f in what.files
            ]
            screen.put_nowait({"message": number, "text": what.text, "final": what.final, "files": files})

    async def _message(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        event = _text(body, "id")
        message = Message(
            key=_key(body),
            event_id=event,
            author=_author(body),
            text=_text(body, "text"),
            sent_at=datetime.now(UTC),
            direct=True,
            interaction=event,
            can_reply_privately=True,
        )
        screen = self._screens[event] = asyncio.Queue()
        try:
            await self._commit(message)
            return await self._stream(request, screen)
        finally:
            self._screens.pop(event, None)

    async def _stream(self, request: web.Request, screen: asyncio.Queue[dict[str, Any]]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(b'{"received": true}\n')
        final = False
        while not final:
            shown = await screen.get()
            final = shown["final"]
            await response.write(json.dumps(shown).encode() + b"\n")
        await response.write_eof()
        return response

    async def _action(self, request: web.Request) -> web.Response:
        body = await _json(request)
        if _text(body, "name") not in list(ActionName):
            raise web.HTTPBadRequest(text=f"name: one of {', '.join(ActionName)}")
        action = Action(
            key=_key(body),
            event_id=_text(body, "id"),
            author=_author(body),
            name=ActionName(_text(body, "name")),
            sent_at=datetime.now(UTC),
        )
        await self._commit(action)
        return web.json_response({"received": True})

    async def _menu(self, _: web.Request) -> web.Response:
        rows = [{"name": c.name, "help": c.help, "argument": c.argument} for c in self._commands]
        return web.json_response(rows)

    async def _commit(self, event: Message | Action) -> None:
        assert self._receive is not None
        try:
            await self._receive(event)
        except DatabaseError as error:
            raise web.HTTPServiceUnavailable(text=f"Not received: {error}") from error


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise web.HTTPBadRequest(text="the body is not JSON") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is not a JSON object")
    return body


def _text(body: dict[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str):
        raise web.HTTPBadRequest(text=f"{field}: must be text")
    return value


def _key(body: dict[str, Any]) -> ConversationKey:
    return ConversationKey(PLATFORM, ACCOUNT, _text(body, "conversation"))


def _author(body: dict[str, Any]) -> Author:
    return Author(id=_text(body, "author"), name=_text(body, "author"))
