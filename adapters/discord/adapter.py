"""The Adapter of one Discord bot: the platform's own calls, nothing else."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import discord
import structlog
from discord.http import Route

from adapters.discord import files, menus, payload
from adapters.discord.client import Archived, NoChannel, NoReply, ThreadIsThere, as_platform_errors
from adapters.discord.connection import Connection
from adapters.discord.hearing import Hearing
from adapters.discord.intake import Intake
from adapters.discord.interactions import TOKEN_SECONDS, Expired, Interactions, call
from adapters.discord.marks import Marks
from adapters.discord.places import PLATFORM, sees
from adapters.text.discord import discord_length
from bot.config import DiscordConfig
from bot.conversations import Attachment, ConversationKey
from bot.errors import Barred, DatabaseError, FloodWait, MessageGone, PlatformError, Unreachable
from bot.messages import Command, Destination, File, Limits, MessageRef, Outgoing, Preview, Typing
from bot.ports import Notes, Receive

log = structlog.get_logger(__name__)

LONGEST_TEXT = 2000
BURST = 3
"""Calls that a channel takes at once after a rest; Discord allows five in five seconds."""
MARK_SECONDS = 5.0
"""How often it is written down how far the bot has heard."""
HEARD, MENUS = "heard", "menus"
"""Names of notes; behind the first stand the numbers of the shards, if not all are this process's."""
LONGEST_THREAD = 60
"""Characters of a thread's name."""
_MESSAGES = "/channels/{channel_id}/messages"
_MESSAGE = "/channels/{channel_id}/messages/{message_id}"


class Discord:
    """Implements bot.ports.Adapter. Belongs to one event loop."""

    name = PLATFORM

    def __init__(self, config: DiscordConfig, notes: Notes) -> None:
        self.account = config.account
        self._notes = notes
        # Processes that share the servers have each heard something else.
        self._heard = "/".join([HEARD, ",".join(map(str, config.shard_ids))]) if config.shard_ids else HEARD
        self._marks = Marks()
        self._intake = Intake(self._marks)
        self._connection = Connection(config, self)
        present = self._connection.client
        self._interactions = Interactions(present, self._note)
        self._hearing = Hearing(self.account, self._intake, self._marks, self._interactions, notes, present=present)
        self._session: aiohttp.ClientSession | None = None
        self._noting: set[asyncio.Task[None]] = set()
        self.limits = Limits(
            text=LONGEST_TEXT,
            measure=discord_length,
            seconds_per_call=config.pace,
            burst=BURST,
            threads_apart=True,
            buttons=True,
            selects=True,
            files=True,
            code_files=True,
            private_answers=True,
            guilds=True,
            file_bytes=files.FILE_BYTES,
        )

    async def listen(self, receive: Receive) -> None:
        """Hear events until cancelled. Raises StartError for a token that was never good, and DatabaseError."""
        noted = await self._notes.notes(PLATFORM, self.account)
        self._marks.start(int(noted.get(self._heard, "0")))
        self._interactions.recall(noted)
        self._intake.open(receive)
        work = (self._connection.run(), self._keep_mark(), self._intake.overflow())
        tasks = [asyncio.create_task(one) for one in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise DatabaseError("too many events wait for the database; what is missing is read back")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._hearing.aclose()
            await self._intake.close()
            await self._close()

    def told(self, client: discord.Client, event: str, *what: Any) -> None:
        """See `client.Ears`."""
        first = event == "connect" and not self._marks.value
        self._hearing.told(client, event, *what)
        if first:  # what is written from now on is read by whoever comes after this process
            self._intake.beside(self._write_first_mark())
        elif event == "ready":
            self._intake.beside(self._register())

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """Send one message."""
        if to.interaction is not None and _is_fresh(to.asked_at):
            try:
                return await self._say(to, to.interaction, what)
            except Expired:
                log.debug("the interaction is over; the answer goes to the channel")
        if what.private:
            raise Barred("what is for one person alone can be said by an interaction only, and that is over")
        to = replace(to, reply_to=None) if to.interaction is not None else to  # a command is no message to reply to
        return await self._post(to, what)

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """Change a message's text and buttons. A form cannot become talk again: it goes, and MessageGone is raised."""
        if await self._interactions.change(message.message_id, what):
            return
        route = Route("PATCH", _MESSAGE, channel_id=_channel(message.key), message_id=int(message.message_id))
        try:
            await self._call_in(message.key, route, payload.edit(what))
        except PlatformError as error:
            if what.form or not _was_a_form(error):
                raise
            await self.delete(message)
            raise MessageGone("it was a form") from error

    async def delete(self, message: MessageRef) -> None:
        """Remove a message."""
        try:
            if await self._interactions.remove(message.message_id):
                return
            route = Route("DELETE", _MESSAGE, channel_id=_channel(message.key), message_id=int(message.message_id))
            await self._call(route)
        except (MessageGone, Barred):
            return

    async def show(self, to: Destination, sign: Typing | Preview) -> None:
        """The typing sign. A command shows by itself that it is being answered."""
        if not isinstance(sign, Typing) or to.interaction is not None:
            return
        try:
            await self._call(Route("POST", "/channels/{channel_id}/typing", channel_id=_channel(to.key)))
        except PlatformError as error:
            log.debug("a sign of life was not shown", error=type(error).__name__)

    async def fetch(self, attachment: Attachment) -> bytes:
        """Load a file, by a new address where the old one has expired."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=True)
        return await files.fetch(self._connection.client(), self._session, attachment, self.limits.file_bytes)

    async def publish(self, commands: Sequence[Command]) -> None:
        """The commands, which are registered once there is a connection, and only if they have changed."""
        self._hearing.offer(commands)

    async def _register(self) -> None:
        wanted = menus.listed(self._hearing.commands)
        try:
            noted = await self._notes.notes(PLATFORM, self.account)
            if noted.get(MENUS) == menus.digest(wanted):
                return
            client = self._connection.client()
            application = client.application_id
            assert application is not None, "it is logged in"  # the bot's own id, but for the oldest ones
            with as_platform_errors():
                await client.http.bulk_upsert_global_commands(application, wanted)
            await self._notes.note(PLATFORM, self.account, {MENUS: menus.digest(wanted)})
        except (PlatformError, DatabaseError) as error:
            log.warning("the commands could not be registered; the next connection tries again", error=str(error))

    async def _say(self, to: Destination, token: str, what: Outgoing) -> MessageRef:
        """By an interaction's token. Raises Expired, PlatformError."""
        seen = sees(self._connection.client(), _channel(to.key))
        message = await self._interactions.say(token, what, _files(what.files), noted=what.private or not seen)
        return MessageRef(to.key, message)

    async def _post(self, to: Destination, what: Outgoing) -> MessageRef:
        body = payload.message(what)
        if (replied := _replied(to)) is not None:
            body["message_reference"] = {"message_id": replied, "fail_if_not_exists": False}
        try:
            made = await self._create(to.key, body, what)
        except NoChannel:
            if not to.key.thread:
                raise
            if not await self._open_thread(to.key):
                return await self._post(replace(to, key=replace(to.key, thread=""), reply_to=to.key.thread), what)
            made = await self._create(to.key, body, what)
        return MessageRef(to.key, str(made["id"]))

    async def _create(self, key: ConversationKey, body: payload.Json, what: Outgoing) -> Any:
        route = Route("POST", _MESSAGES, channel_id=_channel(key))
        try:
            return await self._call_in(key, route, dict(body), what.files)
        except NoReply:
            del body["message_reference"]
            return await self._call_in(key, route, dict(body), what.files)

    async def _open_thread(self, key: ConversationKey) -> bool:
        """Open the thread at the message that has its id; False if that cannot be. Raises Unreachable, FloodWait."""
        where: dict[str, Any] = {"channel_id": int(key.chat), "message_id": int(key.thread)}
        try:
            question = await self._call(Route("GET", _MESSAGE, **where))
            name = _plain(str(question["content"]))[:LONGEST_THREAD] or "Answer"
            await self._call(Route("POST", _MESSAGE + "/threads", **where), {"name": name})
        except ThreadIsThere:
            return True
        except (Unreachable, FloodWait):
            raise
        except (
            PlatformError
        ) as error:  # not allowed, the message is gone, the name is refused, there are too many threads
            log.warning(
                "no thread can be opened; the answer goes to the channel", conversation=str(key), error=str(error)
            )
            return False
        return True

    async def _call_in(
        self, key: ConversationKey, route: Route, body: payload.Json, attached: Sequence[File] = ()
    ) -> Any:
        """Call, once more where a thread was archived meanwhile. Raises PlatformError."""
        try:
            return await self._call(route, body, _files(attached))
        except Archived:
            await self._call(Route("PATCH", "/channels/{channel_id}", channel_id=_channel(key)), {"archived": False})
            return await self._call(route, body, _files(attached))

    async def _call(
        self, route: Route, body: payload.Json | None = None, attached: list[discord.File] | None = None
    ) -> Any:
        client = self._connection.client()
        with as_platform_errors():
            return await call(client, route, body, attached or [])

    async def _keep_mark(self) -> None:
        """Write down how far the bot has heard, whenever that has changed."""
        kept = 0
        while True:
            await asyncio.sleep(MARK_SECONDS)
            if self._marks.value != kept:
                kept = await self._write_mark(kept)

    async def _write_first_mark(self) -> None:
        await self._write_mark(0)

    async def _write_mark(self, kept: int) -> int:
        value = self._marks.value
        try:
            await self._notes.note(PLATFORM, self.account, {self._heard: str(value)})
        except DatabaseError as error:
            log.warning("it could not be written down how far the bot has heard", reason=str(error))
            return kept
        return value

    def _note(self, changes: Mapping[str, str | None]) -> None:
        """Write notes down without being waited for: what they are good for is over in a quarter of an hour."""

        async def write() -> None:
            try:
                await self._notes.note(PLATFORM, self.account, changes)
            except DatabaseError as error:
                log.warning("a note could not be written", reason=str(error))

        task = asyncio.create_task(write())
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _close(self) -> None:
        await self._connection.aclose()
        if self._marks.value:
            await self._write_mark(0)
        await asyncio.gather(*self._noting, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _channel(key: ConversationKey) -> int:
    """The channel of Discord's in which a conversation takes place: a thread is one."""
    return int(key.thread or key.chat)


def _replied(to: Destination) -> str | None:
    """What an answer shows as its question: nothing in a thread that begins with it."""
    if to.reply_to is None or not to.reply_to.isdecimal() or to.reply_to == to.key.thread:
        return None
    return to.reply_to


def _is_fresh(asked_at: datetime | None) -> bool:
    """Whether an interaction's token may still be good."""
    return asked_at is None or (datetime.now(UTC) - asked_at).total_seconds() < TOKEN_SECONDS


def _was_a_form(error: PlatformError) -> bool:
    """Discord has no code of its own for it."""
    return "COMPONENTS_V2" in str(error)


def _files(given: Sequence[File]) -> list[discord.File]:
    return [discord.File(io.BytesIO(file.data), filename=file.name) for file in given]


def _plain(name: str) -> str:
    """A thread's name from a question: without mentions, which would stand there as numbers."""
    return " ".join(word for word in name.split() if not word.startswith("<"))
