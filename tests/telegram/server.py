"""The Bot API over HTTP on 127.0.0.1, so that a client's own library runs against it unpatched."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.telegram.errors import Json, Misuse, Refused, bad_request, not_implemented
from tests.telegram.faults import DONE, FILE, PAGE, Fault, Faults, Kind
from tests.telegram.flood import Flood
from tests.telegram.methods import HANDLERS
from tests.telegram.platform import Platform
from tests.telegram.scene import User
from tests.telegram.spec import Upload, bot_api
from tests.telegram.updates import UpdateQueue
from tests.telegram.webhook import Webhook
from tests.telegram.world import World

DEADLINE = 60.0
"""Seconds after which a wait fails."""
TOKEN = "4839574812:AAFD39kkdpWt3ywyRZergyOLMaJhac60qcK"
_BIGGEST = 60 * 2**20
_TOKEN = re.compile(r"\d+:[\w\-]{35}", re.ASCII)


@dataclass
class Call:
    """A request of the bot, and what it was answered."""

    method: str
    given: Json
    at: float
    result: Any = None
    error: Refused | None = None
    fault: str = ""
    """What went wrong on the way, if anything did."""

    @property
    def ok(self) -> bool:
        """Whether it took effect."""
        return self.error is None and self.fault not in {"drop", "500", "502"}


class TelegramServer:
    """A platform with one bot. `serving()` runs it."""

    def __init__(self, *, token: str = TOKEN, username: str = "hearth_bot", privacy: bool = True, topics: bool = False):
        self.token = token
        self.queue = UpdateQueue()
        bot = User(int(token.partition(":")[0]), "Hearth", username=username, is_bot=True)
        self.world = World(bot, self.queue.emit, privacy=privacy, topics=topics)
        self.webhook = Webhook(self.queue, self.world.scene.now)
        self.platform = Platform(self.world, self.queue, self.webhook)
        self.faults = Faults()
        self.calls: list[Call] = []
        self.violations: list[str] = []
        """What no correct client sends, and what this server can't do."""
        self.url = ""
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """For telegram.Bot."""
        return f"{self.url}/bot"

    @property
    def base_file_url(self) -> str:
        """For telegram.Bot."""
        return f"{self.url}/file/bot"

    @property
    def flood(self) -> Flood:
        """The limits of rate."""
        return self.platform.flood

    def fail(self, method: str, kind: Kind, *, times: int = 1, chat: int | None = None, **how: Any) -> Fault:
        """Let the next calls of a method ("*": of any) go wrong. `how`: retry_after, seconds, code, description."""
        fault = Fault(method, kind, times, chat, **how)
        self.faults.planned.append(fault)
        return fault

    def repeat(self, update_id: int | None = None) -> None:
        """Deliver an update again with the same update_id; the last one if none is named."""
        self.queue.repeat(update_id)

    def called(self, method: str) -> list[Call]:
        """The calls of a method."""
        return [call for call in self.calls if call.method == method]

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
        """Fail if a client broke the documentation."""
        assert not self.violations, self.violations
        called = [body for body in self.webhook.replies if '"method"' in body]
        assert not called, f"the fake does not call methods in answers to the webhook: {called}"

    async def start(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=_BIGGEST)
        app.router.add_get("/file/bot{token}/{path:.+}", self._download)
        app.router.add_route("*", "/bot{token}/{method}", self._request)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Listen no more; who waits for updates is sent away."""
        self._closing.set()
        await self.webhook.stop()
        self.queue.wake()
        if self._runner is not None:
            await self._runner.cleanup()

    def _authorize(self, request: web.Request) -> Refused | None:
        token = request.match_info["token"]
        if not _TOKEN.fullmatch(token):
            return Refused(404, "Not Found")
        return None if token == self.token else Refused(401, "Unauthorized")

    async def _download(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._authorize(request):
            return _answer(refusal)
        path = request.match_info["path"]
        call = Call(FILE, {"path": path}, self.world.scene.now())
        self.calls.append(call)
        stored = [file for file in self.world.scene.files.values() if file.path == path]
        if not stored or stored[0].size > self.platform.download_limit:
            call.error = Refused(404, "Not Found: file not found")
            return _answer(call.error)
        fault = self.faults.take(FILE, {})
        if fault is None:
            return web.Response(body=stored[0].content, content_type="application/octet-stream")
        call.fault = fault.kind
        return await self._misbehave(request, fault, web.Response(body=stored[0].content))

    async def _request(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._authorize(request):
            return _answer(refusal)
        method = bot_api().spelt(request.match_info["method"])
        try:
            given, uploads = await _parameters(request)
        except ValueError:
            self.violations.append(f"{method}: the body is no JSON")
            return _answer(bad_request("can't parse JSON object"))
        call = Call(method, given, self.world.scene.now())
        self.calls.append(call)
        fault = self.faults.take(method, given)
        if fault is None:
            return await self._execute(call, uploads)
        call.fault, call.error = fault.kind, fault.refusal()
        response: web.StreamResponse = web.Response()
        if call.error is not None:
            response = _answer(call.error)
        elif fault.kind in DONE:
            response = await self._execute(call, uploads)
        return await self._misbehave(request, fault, response)

    async def _execute(self, call: Call, uploads: Mapping[str, Upload]) -> web.StreamResponse:
        try:
            call.given = bot_api().arguments(call.method, call.given, uploads)
            if call.method not in HANDLERS:
                raise not_implemented(call.method)
            call.result = await HANDLERS[call.method](self.platform, call.given)
        except Refused as refused:
            call.error = refused
            if isinstance(refused, Misuse):
                self.violations.append(f"{call.method}: {refused.description}")
            return _answer(refused)
        except Exception as error:
            self.violations.append(f"{call.method}: the fake itself failed: {error!r}")
            raise
        # Updates were looked at when they were made.
        if call.method != "getUpdates":
            self.violations += bot_api().returns(call.method, call.result)
        return web.json_response({"ok": True, "result": call.result})

    async def _misbehave(self, request: web.Request, fault: Fault, response: web.StreamResponse) -> web.StreamResponse:
        if fault.kind in {"500", "502"}:
            title = "500 Internal Server Error" if fault.kind == "500" else "502 Bad Gateway"
            return web.Response(status=int(fault.kind), text=PAGE.format(title), content_type="text/html")
        if fault.kind == "garbage":
            return web.Response(text='{"ok":true,"resu', content_type="application/json")
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


def _answer(refused: Refused) -> web.Response:
    return web.json_response(refused.body(), status=refused.code)


async def _parameters(request: web.Request) -> tuple[Json, dict[str, Upload]]:
    """From the query, and from a form or an object of JSON."""
    given: Json = dict(request.query)
    uploads: dict[str, Upload] = {}
    if request.content_type == "application/json":
        return given | await request.json(), uploads
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            uploads[name] = Upload(value.filename, value.file.read(), value.content_type)
        else:
            given[name] = value
    return given, uploads


@asynccontextmanager
async def serving(**how: Any) -> AsyncIterator[TelegramServer]:
    """A server for as long as the block; at its end no client may have broken the documentation."""
    server = TelegramServer(**how)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
    server.check()
