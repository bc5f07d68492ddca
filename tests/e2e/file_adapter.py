"""A platform made of files: questions are files in a folder, and what the bot says becomes lines of a log.

The log is the platform's memory: it is never cut by a kill of the bot, and what the bot sent twice stands in it twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.errors import MessageGone, PlatformError
from bot.messages import (
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
from tests.e2e.trace import QUESTION, Lines, Tail, Trace

PLATFORM, ACCOUNT = "files", "main"
POLL_SECONDS = 0.01
TEXT_LIMIT = 32
"""Characters: counting to 20 takes 50, so that many answers are split over several messages."""


def key(chat: str) -> ConversationKey:
    """Where a chat's conversation is."""
    return ConversationKey(PLATFORM, ACCOUNT, chat)


def ask(folder: Path, number: int, *, chat: str, text: str) -> None:
    """Put a question into the folder; `number` is the order in which the adapter hears it, and its event id."""
    waiting = folder / "in"
    waiting.mkdir(parents=True, exist_ok=True)
    half = waiting / f".{number:06}"
    half.write_text(json.dumps({"event": str(number), "chat": chat, "text": text}), "utf-8")
    half.rename(waiting / f"{number:06}.json")


class FileAdapter:
    """An Adapter over a folder. `pause`: seconds between an effect and the word that it happened.

    `drops_repeats`: a second message with the same nonce is not sent, and the first one's id is given, as on Discord.
    """

    name = PLATFORM
    limits = Limits(text=TEXT_LIMIT, seconds_per_call=0.02, burst=4)

    def __init__(self, folder: Path, trace: Trace, pause: float, *, drops_repeats: bool = False) -> None:
        self._inbox = folder / "in"
        self._inbox.mkdir(parents=True, exist_ok=True)
        self._trace = trace
        self._pause = pause
        self._drops_repeats = drops_repeats
        self._nonces: dict[str, str] = {}
        self._messages: dict[str, str] = {}
        """Message id -> chat, of the messages that were not deleted."""
        self._sent = 0
        for line in Tail(folder / "platform.jsonl").read():
            self._remember(line)
        self._log = Lines(folder / "platform.jsonl")

    async def listen(self, receive: Receive) -> None:
        """Hear the questions in their order; each is taken away when it was received."""
        while True:
            for path in sorted(self._inbox.glob("*.json")):
                await self._hear(path, receive)
            await asyncio.sleep(POLL_SECONDS)

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """Append a message to the log."""
        self._check(what)
        if self._drops_repeats and (known := self._nonces.get(what.nonce)) in self._messages:
            self._write(call="repeat", message=known, chat=to.key.chat)
            return MessageRef(to.key, known)
        message = f"m{self._sent + 1}"
        self._write(call="send", message=message, chat=to.key.chat, question=QUESTION.get(), **_values(what))
        self._trace.mark("sent", message=message)
        await asyncio.sleep(self._pause)
        return MessageRef(to.key, message)

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """Append a message's new state to the log. Raises MessageGone for one that is not there."""
        self._check(what)
        if self._messages.get(message.message_id) != message.key.chat:
            self._write(call="refused", message=message.message_id, chat=message.key.chat, why="unknown message")
            raise MessageGone(message.message_id)
        self._write(call="edit", message=message.message_id, chat=message.key.chat, **_values(what))
        await asyncio.sleep(self._pause)

    async def delete(self, message: MessageRef) -> None:
        """Append that a message is gone."""
        self._write(call="delete", message=message.message_id, chat=message.key.chat)
        await asyncio.sleep(self._pause)

    async def show(self, to: Destination, sign: Typing | Preview) -> None:
        """Nothing is seen of it."""

    async def fetch(self, attachment: Attachment) -> bytes:
        """There are no attachments here."""
        raise PlatformError("no attachments")

    async def publish(self, commands: Sequence[Command]) -> None:
        """There are no menus here."""

    async def _hear(self, path: Path, receive: Receive) -> None:
        said = json.loads(path.read_text("utf-8"))
        await receive(
            Message(
                key=key(said["chat"]),
                event_id=said["event"],
                author=Author(f"person of {said['chat']}", "Ada"),
                text=said["text"],
                sent_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
                direct=True,
            )
        )
        self._trace.mark("committed", f"{said['chat']}/{said['event']}")
        await asyncio.sleep(self._pause)
        path.unlink()
        self._trace.mark("acknowledged", f"{said['chat']}/{said['event']}")

    def _check(self, what: Outgoing) -> None:
        if not what.text or self.limits.measure(what.text) > self.limits.text:
            self._write(call="refused", text=what.text, why="empty or too long")
            raise PlatformError(f"{len(what.text)} characters")

    def _write(self, **line: object) -> None:
        self._log.append(**line)
        self._remember(line)

    def _remember(self, line: dict[str, Any]) -> None:
        if line["call"] == "send":
            self._sent += 1
            self._messages[line["message"]] = line["chat"]
            self._nonces[line["nonce"]] = line["message"]
        elif line["call"] == "delete":
            self._messages.pop(line["message"], None)


def _values(what: Outgoing) -> dict[str, object]:
    return {"text": what.text, "final": what.final, "nonce": what.nonce}
