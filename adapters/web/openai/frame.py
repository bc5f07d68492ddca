"""What holds for every request of the API: who asks, what is left of their limits, errors as objects, and the headers."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from adapters.web.guard import Guard
from adapters.web.openai import faults, query
from adapters.web.openai.faults import HANDLED, Fault, Refused
from adapters.web.openai.programs import Programs
from adapters.web.sessions import Failures, People
from bot import aside
from bot.api import Caller
from bot.api_limits import Spending
from bot.errors import BadKey, DatabaseError, Told

log = structlog.get_logger(__name__)

PREFIX = "/v1"
VERSION = "2020-10-01"
"""OpenAI's own, which SDKs show and nothing depends on."""
CALLER = web.RequestKey("caller", Caller)
SPENDING = web.RequestKey("spending", Spending)
REQUEST_ID = web.RequestKey("request_id", str)
BEGAN = web.RequestKey("began", float)
TIME_LEFT = web.RequestKey("time_left", asyncio.Timeout)
OPEN = Caller(id="open", name="anybody on this machine")
FREE = frozenset({"models", "engines", "openapi", "kept"})
"""Families of routes, by the beginning of their names, that cost no model's time: they count for no limit of requests."""
EXPOSED = (
    "x-request-id, openai-processing-ms, openai-version, retry-after, x-ratelimit-limit-requests, "
    "x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
    "x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
"""What a page of another origin may read beside the body."""
ALLOWED = "authorization, content-type, openai-organization, openai-project, openai-beta, user-agent"
STAINLESS = "x-stainless-"
"""What the SDKs tell of themselves begins so."""
PREFLIGHT_SECONDS = "600"
LAST_SECONDS = 1.0
"""In which requests that are broken off are told so."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Frame:
    """The API's middlewares over one guard. Knows which requests are in progress, for the end of the process."""

    def __init__(self, programs: Programs, guard: Guard, people: People) -> None:
        self._programs = programs
        self._guard = guard
        self._people = people
        self._failures = Failures()
        self.leaving = False
        """Whether no request is taken any more."""
        self._running: set[asyncio.Timeout] = set()
        """Of each request in progress the end of its time, which comes when that of the process does."""
        self._idle = asyncio.Event()
        self._idle.set()

    def __call__(self, app: web.Application) -> None:
        """Surround an application."""
        app.middlewares.extend((self._answered, self._let_in, _asked))
        app.on_response_prepare.append(self._headed)

    async def drain(self, seconds: float) -> None:
        """Refuse new requests, and return when those in progress have ended. Who has had so long is told to come again."""
        self.leaving = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("requests of programs are broken off", requests=len(self._running))
            for time_left in self._running:
                time_left.reschedule(asyncio.get_running_loop().time())
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await self._idle.wait()

    @property
    def _answered(self) -> Middleware:
        """Whatever goes wrong becomes OpenAI's error object; never a trace."""

        @web.middleware
        async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
            _begin(request)
            try:
                with aside.for_a_program():
                    return await handler(request)
            except ConnectionError:
                raise
            except web.HTTPException as error:
                if error.status < web.HTTPBadRequest.status_code:
                    raise
                return _response(request, faults.of_http(error, request))
            except HANDLED as error:
                return _response(request, told(error, request))
            except Exception:
                log.exception("a program's request failed", **about(request))
                return _response(request, Fault(status=500, message=faults.FAILED, type=faults.SERVER))

        return answered

    @property
    def _let_in(self) -> Middleware:
        """Only who may, and as often as they may."""

        @web.middleware
        async def let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self.leaving:
                raise Refused(left())
            api = self._programs.config().api
            open_to_all = self._guard.open and not await self._programs.door.is_guarded()
            self._guard.check_program(request, open_to_all=open_to_all, origins=api.cors_origins)
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                return _preflight(request)
            request[CALLER] = OPEN if open_to_all else await self._caller(request)
            _check_encoding(request)
            async with self._in_progress(request):
                if request.match_info.http_exception is not None or _family(request) in FREE:
                    return await handler(request)
                with await self._programs.limits.admit(request[CALLER]) as spending:
                    request[SPENDING] = spending
                    return await handler(request)

        return let_in

    @asynccontextmanager
    async def _in_progress(self, request: web.Request) -> AsyncIterator[None]:
        """Raises Refused when the time is up."""
        try:
            async with asyncio.timeout(None) as time_left:
                request[TIME_LEFT] = time_left
                self._running.add(time_left)
                self._idle.clear()
                try:
                    yield
                finally:
                    self._running.discard(time_left)
                    if not self._running:
                        self._idle.set()
        except TimeoutError:
            if not time_left.expired():
                raise
            raise Refused(left()) from None

    async def _caller(self, request: web.Request) -> Caller:
        """Who has the key, or the page's token. Raises BadKey; Refused for too many guesses.

        Keys are too long to be guessed, so a right one is let in whatever else came from its network, and a program
        that shows an old one again and again shuts nobody out. A page's token may be short: guesses at one are counted.
        """
        secret = _bearer(request)
        try:
            return await self._programs.door.caller(secret, request.headers.get("OpenAI-Organization", ""))
        except BadKey as error:
            network = self._guard.client(request)
            person = self._person(secret, None if error.formed else network) if secret else None
            if person is None:
                if secret:
                    log.warning("a wrong key for the API", network=network)
                raise
            return self._programs.person(person)

    def _person(self, token: str, network: str | None) -> str | None:
        """Whose token of the page this is. `network`: whose guess it may be. Raises Refused for too many of them."""
        if network is None:
            return self._people.who(token)
        if (wait := self._failures.wait(network)) > 0:
            headers = {"Retry-After": str(math.ceil(wait))}
            raise Refused(Fault(status=429, message=faults.GUESSED, type=faults.LIMIT, headers=headers))
        person = self._people.who(token)
        if person is None:
            self._failures.failed(network)
        return person

    async def _headed(self, request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        if isinstance(response, web.HTTPExpectationFailed):  # aiohttp's own, before any middleware
            _begin(request)
            response.body = json.dumps(faults.of_http(response, request).body).encode()
            response.headers["Content-Length"] = str(len(response.body))
        headers["x-request-id"] = request[REQUEST_ID]
        headers["openai-version"] = VERSION
        headers["openai-processing-ms"] = str(round((time.perf_counter() - request[BEGAN]) * 1000))
        if (caller := request.get(CALLER)) is not None:
            spending = request.get(SPENDING)
            standing = self._programs.limits.standing(caller) if spending is None else spending.standing
            headers.update(standing.headers())
            if caller.organisation:
                headers["openai-organization"] = caller.organisation
        if (origin := request.headers.get("Origin", "")).lower() in self._programs.config().api.cors_origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = EXPOSED
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        headers.add("Vary", "Origin")


@web.middleware
async def _asked(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Only what the address may ask for: a parameter there is not ignored either."""
    if request.match_info.http_exception is None:
        query.check(request, PREFIX)
    return await handler(request)


def left() -> Fault:
    """What is told to whom this process does not answer any more."""
    return Fault(status=503, message=faults.LEAVING, type=faults.SERVER, headers={"Retry-After": "5"})


def _begin(request: web.Request) -> None:
    request[BEGAN] = time.perf_counter()
    request[REQUEST_ID] = f"req_{secrets.token_hex(16)}"


def _check_encoding(request: web.Request) -> None:
    """Raises Refused for a body that is compressed: a small one could become a large one."""
    encodings = {one.strip().lower() for one in request.headers.get("Content-Encoding", "").split(",")}
    if encodings - {"", "identity"}:
        fault = Fault(
            status=415,
            message="A body is taken as it is, without Content-Encoding.",
            code="unsupported_media_type",
            headers={"Accept-Encoding": "identity"},  # RFC 9110, 12.5.3
        )
        raise Refused(fault)


def _family(request: web.Request) -> str:
    return (request.match_info.route.name or "").partition(".")[0]


def told(error: Refused | Told | DatabaseError, request: web.Request) -> Fault:
    """The error in the API's words; in full in the log, where it is nobody's request that is wrong."""
    fault = faults.of_error(error)
    if fault.status >= web.HTTPInternalServerError.status_code and not isinstance(error, Refused):
        log.error("a program's request failed", **about(request), reason=str(error))
    return fault


def _response(request: web.Request, fault: Fault) -> web.Response:
    response = fault.response()
    if request.can_read_body and not request.content.is_eof():
        response.force_close()  # what is left of its body is not waited for
    return response


def about(request: web.Request) -> dict[str, str]:
    """For the log: which route it is, without what a program wrote into it, and the id that the program was told."""
    resource = request.match_info.route.resource
    return {"route": "unknown" if resource is None else resource.canonical, "request": request[REQUEST_ID]}


def _preflight(request: web.Request) -> web.Response:
    """What a page of another origin may send: it asks before."""
    asked = request.headers.get("Access-Control-Request-Headers", "").lower().split(",")
    own = [name.strip() for name in asked if name.strip().startswith(STAINLESS)]
    headers = {
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": ", ".join([ALLOWED, *own]),
        "Access-Control-Max-Age": PREFLIGHT_SECONDS,
    }
    return web.Response(status=204, headers=headers)


def _bearer(request: web.Request) -> str:
    """The key of the Authorization header (RFC 6750); empty if there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
