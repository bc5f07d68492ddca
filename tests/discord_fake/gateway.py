"""The gateway: who is connected, what they are told, and what goes wrong on the line when a test says so.

https://docs.discord.com/developers/events/gateway
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Literal

from aiohttp import WSMsgType, web

from tests.discord_fake.errors import Json
from tests.discord_fake.handshake import Handshake, Pace, Turned
from tests.discord_fake.permissions import Intent
from tests.discord_fake.scene import Event
from tests.discord_fake.sessions import Session
from tests.discord_fake.wire import Close, Connection, Raw
from tests.discord_fake.world import World

HEARTBEAT_SECONDS = 41.25
_HEARTBEAT, _IDENTIFY, _PRESENCE, _RESUME, _RECONNECT, _MEMBERS, _INVALID, _HELLO, _ACK = 1, 2, 3, 6, 7, 8, 9, 10, 11
_LONGEST = 4096
"""Bytes of what a client sends."""
_COMPRESSIONS = {None: False, "zlib-stream": True}
Refusal = Literal["503", "drop"]


class Gateway:
    """All connections. Its methods without `_` are a test's hands on the line."""

    def __init__(self, world: World, token: str, violations: list[str]) -> None:
        self.world = world
        self.handshake = Handshake(world, token)
        self.violations = violations
        self.heartbeat = HEARTBEAT_SECONDS
        """Seconds between a client's heartbeats; after twice that it is given up with 4009."""
        self.connections: list[Connection] = []
        self.attempts = 0
        """How often somebody connected, those who were refused too."""
        self.heartbeats = 0
        self.presences: list[Json] = []
        self._refusals = 0.0
        self._refusal: Refusal = "503"
        self._tasks: set[asyncio.Task[None]] = set()

    # What a test sees.

    @property
    def identified(self) -> list[Json]:
        """What came with each IDENTIFY."""
        return self.handshake.identified

    @property
    def resumed(self) -> list[Json]:
        """What came with each RESUME."""
        return self.handshake.resumed

    @property
    def online(self) -> list[Session]:
        """Sessions with a connection."""
        return [session for session in self.handshake.sessions.values() if session.wire is not None]

    @property
    def pending(self) -> int:
        """How much waits for being sent on the open connections."""
        return sum(len(connection.queue) for connection in self.connections)

    # What a test does.

    def close(self, code: int = 4000) -> None:
        """End all connections with a code, after what is on its way."""
        for connection in self.connections:
            connection.push(Close(code))

    def drop(self) -> None:
        """End all connections without a word, now: the client sees 1006."""
        for connection in self.connections:
            connection.abort()

    def refuse(self, times: float = float("inf"), how: Refusal = "503") -> None:
        """Turn away the next who connect, with a status or with a TCP reset.

        Of resets aiohttp makes up for the first by itself, if it uses the connection of an earlier request.
        """
        self._refusals, self._refusal = times, how

    def accept(self) -> None:
        """Turn nobody away any more."""
        self._refusals = 0.0

    def outage(self, how: Refusal = "503") -> None:
        """Everything ends and nobody gets in until accept(); what happens meanwhile is never replayed."""
        self.forget()
        self.refuse(how=how)
        self.drop()

    def forget(self) -> None:
        """No session can be resumed: a RESUME is answered with INVALID_SESSION."""
        self.handshake.forget()

    def reconnect(self) -> None:
        """Ask all to connect again, which keeps their sessions."""
        self.push({"op": _RECONNECT, "d": None})

    def invalidate(self, *, resumable: bool = False) -> None:
        """INVALID_SESSION in the middle of one."""
        if not resumable:
            self.forget()
        self.push({"op": _INVALID, "d": resumable})

    def freeze(self) -> None:
        """Send nothing more on the open connections, without ending them: heartbeats are not acknowledged."""
        for connection in self.connections:
            connection.frozen = True

    def thaw(self) -> None:
        """Send on."""
        for connection in self.connections:
            connection.thaw()

    def repeat(self, events: int = 1) -> None:
        """Send the last events again with the numbers they had."""
        for session in self.online:
            for payload in list(session.log)[-events:]:
                assert session.wire is not None
                session.wire.push(payload)

    def unparsable(self, name: str = "MESSAGE_CREATE", data: Json | None = None) -> None:
        """An event that lacks what its kind always has."""
        for session in self.online:
            session.dispatch(name, data or {"id": "not a number"})

    def push(self, payload: Json | Raw) -> None:
        """Send anything on all connections."""
        for connection in self.connections:
            connection.push(payload)

    def emit(self, event: Event) -> None:
        """Tell everybody for whom it is; who has lost the connection is told when the session is resumed."""
        for session in self.handshake.sessions.values():
            if session.alive or session.wire is not None:
                session.tell(event)

    # What the server does.

    async def stop(self) -> None:
        """End everything."""
        self.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, from its beginning to its end."""
        self.attempts += 1
        if self._refusals > 0:
            self._refusals -= 1
            if self._refusal == "drop" and request.transport is not None:
                request.transport.abort()
            return web.Response(status=503, text="upstream connect error")
        asked = request.query
        compression = asked.get("compress")
        if asked.get("v") != "10" or asked.get("encoding") != "json" or compression not in _COMPRESSIONS:
            self.violations.append(f"gateway: the fake speaks version 10, json, zlib-stream, and not {dict(asked)}")
            return web.Response(status=501)
        socket = web.WebSocketResponse(timeout=1.0, autoping=True, compress=False)
        await socket.prepare(request)
        connection = Connection(socket, request, _COMPRESSIONS[compression])
        self.connections.append(connection)
        task = asyncio.create_task(connection.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._talk(connection)
        finally:
            self.connections.remove(connection)
            task.cancel()
        return socket

    async def _talk(self, connection: Connection) -> None:
        connection.push({"op": _HELLO, "d": {"heartbeat_interval": int(self.heartbeat * 1000), "_trace": []}})
        session: Session | None = None
        pace = Pace()
        try:
            while (payload := await self._receive(connection, pace)) is not None:
                session = self._obey(connection, session, payload)
        except Turned as turned:
            if turned.code not in {4009, 4014, 4004}:
                self.violations.append(f"gateway: closed with {turned.code}: {turned.words}")
            connection.closing = turned.code
            with suppress(ConnectionError):
                await connection.socket.close(code=turned.code, message=turned.words.encode())
        finally:
            if session is not None and session.wire is connection:
                code = connection.socket.close_code
                self.handshake.lost(session, by_gateway=connection.closing, by_client=code)

    async def _receive(self, connection: Connection, pace: Pace) -> Json | None:
        """What the client sends; None at its end. Raises Turned."""
        try:
            message = await connection.socket.receive(timeout=self.heartbeat * 2)
        except TimeoutError:
            raise Turned(4009, "Session timed out.") from None
        if message.type is not WSMsgType.TEXT:
            return None
        pace.count(self.world.scene.now())
        try:
            payload = json.loads(message.data)
        except ValueError:
            raise Turned(4002, "Error while decoding payload.") from None
        if not isinstance(payload, dict) or len(message.data) > _LONGEST:
            raise Turned(4002, "Error while decoding payload.")
        return payload

    def _obey(self, connection: Connection, session: Session | None, payload: Json) -> Session | None:
        """Do what a client asks; the session that it has then. Raises Turned."""
        operation, data = payload.get("op"), payload.get("d")
        if operation == _HEARTBEAT:
            self.heartbeats += 1
            connection.push({"op": _ACK})
            return session
        if operation in {_IDENTIFY, _RESUME}:
            if session is not None:
                raise Turned(4005, "Already authenticated.")
            return self._begin(connection, operation, data)
        if session is None:
            raise Turned(4003, "Not authenticated.")
        if operation == _PRESENCE:
            self.presences.append(data or {})
        elif operation == _MEMBERS:
            self._members(session, data or {})
        else:
            raise Turned(4001, f"Unknown opcode {operation}, or one that the fake does not know.")
        return session

    def _begin(self, connection: Connection, operation: int, data: Any) -> Session | None:
        begin = self.handshake.identify if operation == _IDENTIFY else self.handshake.resume
        session = begin(data if isinstance(data, dict) else {}, connection)
        if session is None:
            connection.push({"op": _INVALID, "d": False})
        return session

    def _members(self, session: Session, data: Json) -> None:
        """GUILD_MEMBERS_CHUNK."""
        guild = self.world.guilds[int(data["guild_id"])]
        everybody = data.get("query") == "" and not data.get("limit")
        if everybody and Intent.GUILD_MEMBERS not in session.intents:
            raise Turned(4014, "Disallowed intent(s).")
        wanted = {int(user) for user in data.get("user_ids") or []}
        query = str(data.get("query", ""))
        fit = [
            member.json
            for user, member in guild.members.items()
            if (user in wanted if wanted else member.user.username.startswith(query))
        ]
        chunk: Json = {"guild_id": str(guild.id), "members": fit, "chunk_index": 0, "chunk_count": 1}
        session.dispatch("GUILD_MEMBERS_CHUNK", chunk | ({"nonce": data["nonce"]} if "nonce" in data else {}))
