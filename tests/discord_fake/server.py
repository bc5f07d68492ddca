"""Discord over HTTP and websocket on 127.0.0.1, so that a client's own library runs against it unpatched."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.discord_fake.cdn import download
from tests.discord_fake.content import Upload
from tests.discord_fake.errors import Json, Misuse, Refused, misuse, not_implemented, refused
from tests.discord_fake.faults import DONE, FILE, PAGE, STATUS, Fault, Faults, Kind
from tests.discord_fake.gateway import Gateway
from tests.discord_fake.permissions import PRIVILEGED, Intent
from tests.discord_fake.platform import Platform, Request
from tests.discord_fake.rates import Excess, Rates
from tests.discord_fake.routes import HANDLERS
from tests.discord_fake.routes.files import PATH as REFRESH
from tests.discord_fake.routes.files import REFRESH_URLS
from tests.discord_fake.scene import Event, User
from tests.discord_fake.spec import Operation, api
from tests.discord_fake.world import World

DEADLINE = 60.0
"""Seconds after which a wait fails."""
BOT_ID = 1100000000000000001
TOKEN = "MTEwMDAwMDAwMDAwMDAwMDAwMQ.GfAkEt.Qm9idC1vZi10ZXN0cy1hbmQtbm90aGluZy1lbHNl"
_PREFIX = "/api/v10"
_BIGGEST = 30 * 2**20
_MAJOR = ("channel_id", "guild_id", "webhook_id", "webhook_token", "interaction_token")


@dataclass
class Call:
    """A request of the bot, and what it was answered."""

    operation: str
    """The specification's name for it, such as create_message."""
    path: Mapping[str, str]
    given: Any
    """The body."""
    query: Mapping[str, str]
    at: float
    result: Any = None
    error: Refused | None = None
    fault: str = ""
    """What went wrong on the way, if anything did."""
    limited: bool = False
    """Whether it was one too many."""

    @property
    def ok(self) -> bool:
        """Whether it took effect."""
        return self.error is None and not self.limited and (not self.fault or self.fault in DONE)

    @property
    def channel(self) -> int | None:
        """The channel in its path."""
        return int(self.path["channel_id"]) if "channel_id" in self.path else None


class DiscordServer:
    """A platform with one bot. `serving()` runs it."""

    def __init__(self, *, token: str = TOKEN, username: str = "hearth", privileged: Intent = PRIVILEGED):
        self.token = token
        self.violations: list[str] = []
        """What no correct client sends, and what this server can't do."""
        bot = User(BOT_ID, username, bot=True)
        self.world = World(bot, self._emit, privileged)
        self.ws = Gateway(self.world, token, self.violations)
        """The gateway, and what can go wrong with it."""
        self.platform = Platform(self.world, self.ws)
        self.faults = Faults()
        self.calls: list[Call] = []
        self.url = ""
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    def _emit(self, event: Event) -> None:
        self.ws.emit(event)

    @property
    def api_base(self) -> str:
        """For discord.http.Route.BASE."""
        return self.url + _PREFIX

    @property
    def gateway(self) -> str:
        """For discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY, as a yarl.URL."""
        return self.url.replace("http", "ws", 1) + "/gateway/"

    @property
    def cdn(self) -> str:
        """For discord.asset.Asset.BASE."""
        return self.url + "/cdn"

    @property
    def rates(self) -> Rates:
        """The limits of rate."""
        return self.platform.rates

    def fail(self, operation: str, kind: Kind, *, times: int = 1, channel: int | None = None, **how: Any) -> Fault:
        """Let the next requests of an operation ("*": of any) go wrong. `how`: the fields of a Fault."""
        fault = Fault(operation, kind, times, channel, **how)
        self.faults.planned.append(fault)
        return fault

    def called(self, operation: str) -> list[Call]:
        """The requests of an operation."""
        return [call for call in self.calls if call.operation == operation]

    async def wait_for(self, condition: Callable[[], object], what: str = "") -> None:
        """Return when the condition holds; fail at the deadline. What holds must go on to hold."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"waited {DEADLINE:.0f} s for {what or condition}; calls: {self.calls[-5:]}"
            await asyncio.sleep(0.002)

    def expect_violation(self, words: str) -> None:
        """Take a violation off the list: it was the test's own doing."""
        found = [violation for violation in self.violations if words in violation]
        assert found, f"no violation with {words!r} among {self.violations}"
        self.violations.remove(found[0])

    def check(self) -> None:
        """Fail if a client broke the specification."""
        assert not self.violations, self.violations

    async def start(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=_BIGGEST)
        app.router.add_get("/gateway/", self.ws.serve)
        app.router.add_get("/cdn/{path:.+}", self._download)
        app.router.add_route("*", _PREFIX + "/{path:.*}", self._request)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.world.scene.cdn = self.cdn
        self.ws.handshake.url = self.gateway

    async def stop(self) -> None:
        """Listen no more; who is connected is sent away."""
        self._closing.set()
        await self.ws.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _download(self, request: web.Request) -> web.StreamResponse:
        call = Call(FILE, {"path": request.match_info["path"]}, None, dict(request.query), self.world.scene.now())
        self.calls.append(call)
        response = download(self.world.scene, call.path["path"], call.query)
        fault = self.faults.take(FILE, None)
        if fault is None:
            return response
        call.fault = fault.kind
        return await self._misbehave(request, fault, response)

    async def _request(self, request: web.Request) -> web.StreamResponse:
        path, now = "/" + request.match_info["path"], self.world.scene.now()
        try:
            operation, parameters = _operation(request.method, path)
        except Refused as refusal:
            self.violations.append(str(refusal))
            return _answer(refusal.body(), status=refusal.status)
        call = Call(operation.id, parameters, None, dict(request.query), now)
        self.calls.append(call)
        major = "+".join(parameters[name] for name in _MAJOR if name in parameters)
        headers = self.rates.headers(operation.id, major, now)
        fault = self.faults.take(operation.id, self._where(parameters))
        if fault is not None and fault.kind not in DONE:
            call.fault, call.error = fault.kind, fault.refusal()
            return await self._misbehave(request, fault, web.Response())
        excess = self.rates.count(operation.id, major, now)
        if excess is not None:
            call.limited = True
            return _too_many(excess, headers)
        response = await self._execute(call, operation, request)
        response.headers.update(self.rates.headers(operation.id, major, now))
        if fault is not None:
            call.fault = fault.kind
            return await self._misbehave(request, fault, response)
        return response

    def _where(self, parameters: Mapping[str, str]) -> int | None:
        """The channel that a request is about, by its path or by an interaction's token."""
        if "channel_id" in parameters:
            return int(parameters["channel_id"])
        token = parameters.get("webhook_token") or parameters.get("interaction_token")
        for interaction in self.world.scene.interactions.values():
            if interaction.token == token:
                return interaction.channel.id
        return None

    async def _execute(self, call: Call, operation: Operation, request: web.Request) -> web.Response:
        try:
            self._authorize(operation, request)
            call.given, uploads = await _body(request)
            api().path(operation, call.path)
            query = api().query(operation, call.query)
            api().body(operation, call.given)
            if operation.id not in HANDLERS:
                raise not_implemented(operation.id)
            given = Request(call.path, query, call.given, uploads)
            call.result = await HANDLERS[operation.id](self.platform, given)
        except Refused as refusal:
            call.error = refusal
            if isinstance(refusal, Misuse):
                self.violations.append(f"{operation.id}: {refusal}")
            return _answer(refusal.body(), status=refusal.status)
        except Exception as error:
            self.violations.append(f"{operation.id}: the fake itself failed: {error!r}")
            raise
        if call.result is None:
            self.violations += api().returns(operation, 204, None)
            return web.Response(status=204)
        status = min(int(code) for code, schema in operation.responses.items() if schema is not None)
        self.violations += api().returns(operation, status, call.result)
        return _answer(call.result, status=status)

    def _authorize(self, operation: Operation, request: web.Request) -> None:
        if not operation.needs_token:
            return
        if request.headers.get("Authorization") != f"Bot {self.token}":
            raise refused(0)
        # https://docs.discord.com/developers/reference#user-agent: others are blocked by Cloudflare.
        if not request.headers.get("User-Agent", "").startswith("DiscordBot"):
            raise Misuse(403, 40333, "internal network error")

    async def _misbehave(self, request: web.Request, fault: Fault, response: web.StreamResponse) -> web.StreamResponse:
        if fault.kind in STATUS:
            page = PAGE.format(STATUS[fault.kind])
            return web.Response(status=int(fault.kind), text=page, content_type="text/html")
        if fault.kind == "429":
            return _too_many(fault.excess(), {})
        if fault.kind == "cloudflare":
            return web.Response(
                status=429, text="error code: 1015", headers={"Retry-After": f"{fault.seconds or 600:g}"}
            )
        if (refusal := fault.refusal()) is not None:
            return _answer(refusal.body(), status=refusal.status)
        if fault.kind == "garbage":
            return web.Response(body=b'{"id": "11', headers={"Content-Type": "application/json"})
        if fault.kind == "hang":
            await self._pause(fault.seconds)
        if fault.kind in {"drop", "lost"} and request.transport is not None:
            request.transport.abort()
        return response

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the server's end."""
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return


def _operation(method: str, path: str) -> tuple[Operation, dict[str, str]]:
    if (method, path) == REFRESH:
        return REFRESH_URLS, {}
    return api().find(method, path)


def _answer(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON of exactly this type: what says charset=utf-8 as well, discord.py takes for text."""
    told = {"Content-Type": "application/json", **(headers or {})}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=told)


def _too_many(excess: Excess, headers: Mapping[str, str]) -> web.Response:
    exhausted = {**headers, "X-RateLimit-Remaining": "0"} if headers else {}
    return _answer(excess.body, status=429, headers={**exhausted, **excess.headers})


async def _body(request: web.Request) -> tuple[Any, dict[str, Upload]]:
    """An object of JSON, by itself or as payload_json among files."""
    if request.content_type != "multipart/form-data":
        text = await request.text()
        if text and request.content_type != "application/json":
            raise Misuse(400, 50109, f"a body of type {request.content_type}")
        return _json(text), {}
    uploads: dict[str, Upload] = {}
    body: Any = {}
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            uploads[name] = Upload(value.filename, value.file.read(), value.content_type)
        elif name == "payload_json":
            body = _json(str(value))
        else:
            raise Misuse(400, 50109, f"the fake takes payload_json and files, and not {name}")
    return body, uploads


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        raise misuse(50109) from None


@asynccontextmanager
async def serving(**how: Any) -> AsyncIterator[DiscordServer]:
    """A server for as long as the block; at its end no client may have broken the specification."""
    server = DiscordServer(**how)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
    server.check()


__all__ = ["BOT_ID", "DEADLINE", "TOKEN", "Call", "DiscordServer", "Json", "serving"]
