"""The door: who makes a request, the login and the logout."""

from __future__ import annotations

import asyncio
import html
import math
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from adapters.web import wire
from adapters.web.guard import LOGIN, Guard
from adapters.web.pace import Pace
from adapters.web.probes import HEALTHZ, METRICS, READYZ
from adapters.web.sessions import SESSION_SECONDS, Failures, People, Sessions
from adapters.web.statics import Static, respond
from adapters.web.streams import Streams
from bot.ways_in import WEB_OWNER

log = structlog.get_logger(__name__)

PUBLIC = frozenset({LOGIN, HEALTHZ, READYZ})
STATIC = "/static/"
MESSAGE = b'role="alert" hidden></p>'
"""Where login.html has the word about a login that failed."""
WRONG = "This token is not right."
TOO_OFTEN = "Too many wrong tokens came from here. Please try again in {} minutes."
SIGN_IN = "Please sign in."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PERSON = web.RequestKey("person", str)
SCRAPER = web.RequestKey("scraper", bool)
"""Set for who has the token for the metrics, and for these alone."""


class Door:
    """Knows people by their session's cookie, by a token in the Authorization header, or because nobody else is there."""

    def __init__(
        self,
        guard: Guard,
        people: People,
        sessions: Sessions,
        *,
        pages: Mapping[str, Static],
        streams: Streams,
        is_admin: Callable[[str], bool],
    ) -> None:
        self._guard = guard
        self._people = people
        self._sessions = sessions
        self._failures = Failures()
        self._is_admin = is_admin
        """Owners have no limits."""
        self._pace = Pace()
        self._pages = pages
        self._streams = streams
        self._saving = asyncio.Lock()

    def __call__(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(LOGIN, self._form)
        app.router.add_post(LOGIN, self._login)
        app.router.add_post("/logout", self._logout)

    @property
    def middleware(self) -> Middleware:
        """Lets nobody in who is not known, but to what is public."""

        @web.middleware
        async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._scrapes(request):
                request[SCRAPER] = True
                return await handler(request)
            person = self._who(request)
            if person is not None:
                request[PERSON] = person
                if not self._is_admin(person):
                    self._pace.admit(request, person)
            elif request.path == "/" and request.headers.get("Sec-Fetch-Site") != "cross-site":
                raise web.HTTPSeeOther(LOGIN)
            # A link of another site brings no cookie along (SameSite=Strict). The page itself holds nothing; what it
            # then asks for does.
            elif not (request.path in {*PUBLIC, "/"} or request.path.startswith(STATIC)):
                raise web.HTTPUnauthorized(text=SIGN_IN)
            return await handler(request)

        return identify

    def stands(self, request: web.Request) -> bool:
        """Whether who made a request is still known by it: a login may have ended since then."""
        if self._guard.open or _bearer(request):
            return True
        return self._sessions.who(request.cookies.get(self._cookie(request), "")) == request[PERSON]

    def _scrapes(self, request: web.Request) -> bool:
        return request.path == METRICS and self._people.may_scrape(_bearer(request))

    def _who(self, request: web.Request) -> str | None:
        """Raises HTTPUnauthorized for a wrong token, HTTPTooManyRequests for too many."""
        if self._guard.open:
            return WEB_OWNER
        if token := _bearer(request):
            return self._by_token(request, token)
        session = request.cookies.get(self._cookie(request))
        return self._sessions.who(session) if session else None

    def _by_token(self, request: web.Request, token: str) -> str:
        network = self._guard.client(request)
        if (wait := self._failures.wait(network)) > 0:
            words = TOO_OFTEN.format(math.ceil(wait / 60))
            raise web.HTTPTooManyRequests(text=words, headers={"Retry-After": str(math.ceil(wait))})
        person = self._people.who(token)
        if person is None:
            self._failures.failed(network)
            log.warning("a wrong token for the web page", network=network)
            raise web.HTTPUnauthorized(text=WRONG)
        return person

    async def _form(self, request: web.Request) -> web.Response:
        if PERSON in request:
            raise web.HTTPSeeOther("/")
        return respond(request, self._pages["login.html"])

    async def _login(self, request: web.Request) -> web.Response:
        token = await wire.form_field(request, "token")
        if self._guard.open:
            raise web.HTTPSeeOther("/")
        try:
            person = self._by_token(request, token)
        except (web.HTTPUnauthorized, web.HTTPTooManyRequests) as refused:
            return self._refuse(request, refused)
        cookie = self._cookie(request)
        self._sessions.end(request.cookies.get(cookie, ""))
        session = self._sessions.begin(person)
        await self._save()
        response = web.HTTPSeeOther("/")
        secure = self._guard.https(request)
        response.set_cookie(
            cookie, session, max_age=SESSION_SECONDS, path="/", httponly=True, samesite="Strict", secure=secure
        )
        raise response

    async def _logout(self, request: web.Request) -> web.Response:
        cookie = self._cookie(request)
        self._sessions.end(request.cookies.get(cookie, ""))
        await self._save()
        self._streams.close(request[PERSON])
        response = web.json_response({})
        response.del_cookie(cookie, path="/", httponly=True, samesite="Strict", secure=self._guard.https(request))
        return response

    def _refuse(self, request: web.Request, refused: web.HTTPException) -> web.Response:
        """The form again, with a word about what was wrong; it needs no script for that."""
        login = self._pages["login.html"]
        word = f'role="alert">{html.escape(refused.text or "")}</p>'
        response = respond(request, login, data=login.data.replace(MESSAGE, word.encode()), status=refused.status)
        if after := refused.headers.get("Retry-After"):
            response.headers["Retry-After"] = after
        return response

    def _cookie(self, request: web.Request) -> str:
        """Cookies do not know ports: two Hearths on one machine have their own. `__Host-` holds for https alone."""
        return "__Host-hearth" if self._guard.https(request) else f"hearth_{self._guard.port}"

    async def _save(self) -> None:
        async with self._saving:
            try:
                await asyncio.to_thread(self._sessions.save)
            except OSError as error:
                log.warning("logins end with this process: they cannot be written down", error=str(error))


def _bearer(request: web.Request) -> str:
    """The token of the Authorization header (RFC 6750); empty if there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
