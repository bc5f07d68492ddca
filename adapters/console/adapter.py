"""The console adapter: programs of this machine's owner talk to the bot through a unix socket.

The wire is HTTP with one JSON object a line. `POST /messages` answers when the message is committed, then with the
answer as it grows; a client that goes away loses its screen and not its answer. With the id of a message that was
received before, by this process or an earlier one, a client gets the rest of its answer, or the answer that is kept.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from adapters.console import files, wire
from adapters.console.socket import listening
from adapters.console.wire import ACCOUNT, PLATFORM
from bot.errors import DatabaseError, MessageGone
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
    StoredMessage,
    Typing,
)
from bot.ports import Receive

log = structlog.get_logger(__name__)

MAX_BODY = 4 * 2**20
"""Bytes of a request: far above what any model's window holds."""
EDIT_SECONDS = 0.03
"""A terminal follows 30 changes a second."""
LONGEST = 2**20
"""Characters: a terminal has no longest message, and this is more than a model writes."""
LOOK_SECONDS = 2.0
"""How often it is asked whether an answer still comes: the people who waited for it may have removed their question."""
NO_ANSWER = "No answer comes to this: it was removed, it waited too long, or it was answered before."
ACTIONS = (ActionName.STOP, ActionName.RETRY)
"""There are no buttons here to choose with."""
LEAVING = "This Hearth process is about to end and takes no message. Please ask again."

Routes = Callable[[web.Application], None]
IsOpen = Callable[[ConversationKey, str], Awaitable[bool]]
"""Whether an answer to this event is waiting or in progress, as `Store.is_open`. Raises DatabaseError."""
AnswerTo = Callable[[ConversationKey, str], Awaitable[StoredMessage | None]]
"""What was answered to this event, as `Store.answer_to`. Raises DatabaseError."""
States = asyncio.Queue[dict[str, Any]]


class Console:
    """An Adapter whose platform is the local socket. `look`: seconds between two questions to `is_open`."""

    name = PLATFORM
    limits = Limits(
        text=LONGEST,
        seconds_per_call=EDIT_SECONDS,
        burst=2,
        files=True,
        private_answers=True,
        file_bytes=files.FILE_BYTES,
    )

    def __init__(
        self,
        socket: Path,
        *routes: Routes,
        is_open: IsOpen,
        answer_to: AnswerTo,
        account: str = ACCOUNT,
        look: float = LOOK_SECONDS,
    ) -> None:
        self._socket = socket
        self._routes = routes
        self._is_open = is_open
        self._answer_to = answer_to
        self._account = account
        self._look = look
        self._screens: dict[tuple[str, str], States] = {}
        self._deleted: set[MessageRef] = set()
        """Of the screens that are open."""
        self._numbers = count(time.time_ns() // 1_000_000)
        """Of messages. Later processes count from higher on: no number is used twice."""
        self._receive: Receive | None = None
        self._commands: list[Command] = []
        self._retry_after: int | None = None
        """Set once no message is taken any more: the seconds that its client is told."""
        self.listening = asyncio.Event()
        """Set while the socket answers."""
        self.unwatched = asyncio.Event()
        """Set while nobody waits for an answer."""
        self.unwatched.set()

    async def listen(self, receive: Receive) -> None:
        """Serve the socket until cancelled. Raises StartError if another process does."""
        self._receive = receive
        app = web.Application(client_max_size=MAX_BODY, middlewares=[wire.told])
        app.router.add_post("/messages", self._message)
        app.router.add_post("/actions", self._action)
        app.router.add_get("/commands", self._menu)
        for add in self._routes:
            add(app)
        async with listening(app, self._socket):
            self.listening.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.listening.clear()

    def refuse(self, retry_after: int = wire.RESTART_SECONDS) -> None:
        """Take no message from now on; those that are being answered go on. The first call counts.

        A client may ask another process that answers here, or `retry_after` seconds after this one's end become one.
        """
        if self._retry_after is None:
            self._retry_after = retry_after

    @contextmanager
    def screen(self, conversation: str, event: str) -> Iterator[States]:
        """Within the block, the states of the messages that answer an event."""
        key = (conversation, event)
        states = self._screens[key] = asyncio.Queue()
        self.unwatched.clear()
        try:
            yield states
        finally:
            del self._screens[key]
            self._deleted = {ref for ref in self._deleted if _screen_of(ref) != key}
            if not self._screens:
                self.unwatched.set()

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """Show a message to who asked, if that screen is still there."""
        message = MessageRef(to.key, f"{to.interaction or ''}:{next(self._numbers)}")
        self._show(message, what)
        return message

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """Show a message's new state."""
        if message in self._deleted:
            raise MessageGone("the message was taken off the screen")
        self._show(message, what)

    async def delete(self, message: MessageRef) -> None:
        """Take a message off the screen."""
        if _screen_of(message) in self._screens:
            self._deleted.add(message)
            self._show(message, Outgoing(text="", final=False))

    async def show(self, to: Destination, sign: Typing | Preview) -> None:
        """A terminal shows its own sign of waiting."""

    async def fetch(self, attachment: Attachment) -> bytes:
        """Load a file from the disk, as it is now. Raises TooLarge and PlatformError."""
        return await asyncio.to_thread(files.load, attachment.reference)

    async def publish(self, commands: Sequence[Command]) -> None:
        """Keep the menu for the terminal's completion."""
        self._commands = list(commands)

    def _show(self, message: MessageRef, what: Outgoing) -> None:
        if states := self._screens.get(_screen_of(message)):
            number = int(message.message_id.rpartition(":")[2])
            states.put_nowait(wire.state(number, what))

    async def _message(self, request: web.Request) -> web.StreamResponse:
        body = await wire.body(request)
        event, key = wire.text(body, "id"), self._key(body)
        message = Message(
            key=key,
            event_id=event,
            author=_author(body),
            text=wire.text(body, "text"),
            sent_at=datetime.now(UTC),
            direct=True,
            attachments=await asyncio.to_thread(_attachments, body),
            interaction=event,
            can_reply_privately=True,
        )
        if (key.chat, event) in self._screens:
            raise web.HTTPConflict(text=f"id: {event!r} is being answered already")
        if self._retry_after is not None:
            headers = {wire.RETRY_AFTER: str(self._retry_after)}
            raise web.HTTPServiceUnavailable(text=LEAVING, headers=headers)
        with self.screen(key.chat, event) as states:
            await self._commit(message)
            return await self._stream(request, message, states)

    async def _action(self, request: web.Request) -> web.Response:
        body = await wire.body(request)
        if wire.text(body, "name") not in ACTIONS:
            raise web.HTTPBadRequest(text=f"name: one of {', '.join(ACTIONS)}")
        event = wire.text(body, "id")
        action = Action(
            key=self._key(body),
            event_id=event,
            author=_author(body),
            name=ActionName(wire.text(body, "name")),
            sent_at=datetime.now(UTC),
            interaction=event,
            can_reply_privately=True,
        )
        await self._commit(action)
        return web.json_response({"received": True})

    async def _menu(self, _: web.Request) -> web.Response:
        rows = [{"name": c.name, "help": c.help, "argument": c.argument} for c in self._commands]
        return web.json_response(rows)

    async def _commit(self, event: Message | Action) -> None:
        assert self._receive is not None
        await self._receive(event)

    async def _stream(self, request: web.Request, message: Message, states: States) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(b'{"received": true}\n')
        final = False
        while not final:
            shown = await self._next(message, states)
            final = shown["final"]
            await response.write(json.dumps(shown).encode() + b"\n")
        await response.write_eof()
        return response

    async def _next(self, message: Message, states: States) -> dict[str, Any]:
        """The next state; once no answer comes any more the one that is kept, or words of the adapter's own."""
        while True:
            try:
                return await asyncio.wait_for(states.get(), self._look)
            except TimeoutError:
                last = await self._last(message)
            if last and states.empty():
                return wire.state(next(self._numbers), last)

    async def _last(self, message: Message) -> Outgoing | None:
        """What is shown of a message whose answer is closed; None while it is not."""
        try:
            if await self._is_open(message.key, message.event_id):
                return None
            kept = await self._answer_to(message.key, message.event_id)
        except DatabaseError as error:
            log.warning("not known whether an answer comes", conversation=str(message.key), error=str(error))
            return None
        return Outgoing(text=kept.text if kept else NO_ANSWER, failed=not kept)

    def _key(self, body: dict[str, Any]) -> ConversationKey:
        return ConversationKey(PLATFORM, self._account, wire.text(body, "conversation"))


def _screen_of(message: MessageRef) -> tuple[str, str]:
    """By conversation and event, as both are in the message's id."""
    return message.key.chat, message.message_id.rpartition(":")[0]


def _attachments(body: dict[str, Any]) -> tuple[Attachment, ...]:
    """Raises HTTPBadRequest."""
    sent = [files.attachment(path) for path in wire.paths(body, "files")]
    return (*sent, *(files.attachment(path, "voice") for path in wire.paths(body, "recordings")))


def _author(body: dict[str, Any]) -> Author:
    return Author(id=wire.text(body, "author"), name=wire.text(body, "author"))
