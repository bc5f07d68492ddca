"""The server: one application, whose middlewares are the guard, the door and the words of errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from adapters.web import statics, wire
from adapters.web.connections import listening, most_connections
from adapters.web.conversations import Conversations
from adapters.web.door import Door
from adapters.web.guard import FILES, HEADERS, SAFE, Guard, check_bind, local_address
from adapters.web.house import House
from adapters.web.openai.server import Api, is_program
from adapters.web.own import Own
from adapters.web.owner import Owner
from adapters.web.screens import Screens
from adapters.web.sessions import People, Sessions
from adapters.web.uploads import MAX_FILE
from bot.config import WebConfig
from bot.errors import DatabaseError
from bot.messages import Command
from bot.ports import Receive

log = structlog.get_logger(__name__)

SESSIONS = "web-sessions.json"
WORDS = {
    404: "There is nothing here.",
    405: "This cannot be done here.",
    417: "Only Expect: 100-continue can be met here.",
}
FAILED = "Something went wrong. It is in the log."
NO_DATABASE = "The database does not answer just now. Please try again."
_OWN = {"Content-Security-Policy"}
"""What a response may have of its own: a download has a stricter one."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Serves the page."""

    def __init__(self, config: WebConfig, house: House, screens: Screens, api: Api | None) -> None:
        """`api`: what is served to programs, under /v1."""
        self.commands: Sequence[Command] = []
        self.leaving = False
        """Whether no message is taken any more."""
        self.listening = asyncio.Event()
        """Set while the page answers."""
        self.port = config.port
        self._config = config
        self._house = house
        self._screens = screens
        self._api = api
        self._static = statics.load()
        self._acting: set[asyncio.Task[web.StreamResponse]] = set()

    @property
    def address(self) -> str:
        """Where people of this machine find it."""
        return local_address(self._config.host, self.port)

    async def serve(self, receive: Receive) -> None:
        """Until cancelled. Raises StartError."""
        check_bind(self._config)
        people = People(self._config)
        sessions = Sessions(people, self._house.data_dir / SESSIONS)
        await asyncio.to_thread(sessions.load)

        def build(port: int) -> web.Application:
            guard = Guard(self._config, port)
            door = Door(
                guard,
                people,
                sessions,
                pages=self._static,
                streams=self._screens.streams,
                is_admin=self._house.is_admin,
            )
            app = self._application(guard, door, receive)
            if self._api is not None:
                self._api.mount(app, guard, people)
            return app

        served = listening(build, self._config.host, self._config.port, most=most_connections())
        async with served as self.port:
            self.listening.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.listening.clear()
                self._screens.streams.close()

    def _application(self, guard: Guard, door: Door, receive: Receive) -> web.Application:
        order = [_of_the_page(one) for one in (_told, _guarded(guard), door.middleware, self._finished)]
        app = web.Application(client_max_size=wire.MAX_BODY, middlewares=order)
        app.on_response_prepare.append(_secured)
        app.router.add_get("/", self._page)
        app.router.add_get("/static/{name:.+}", self._file)
        for add in (
            door,
            Conversations(self._house, self._screens, receive, lambda: self.leaving),
            Own(self._house, self._screens, lambda: self.commands, door.stands),
            Owner(self._house),
        ):
            add(app)
        return app

    @property
    def _finished(self) -> Middleware:
        """What changes something is done whole, although its client goes away meanwhile."""

        @web.middleware
        async def finished(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.method in SAFE:
                return await handler(request)
            task = asyncio.ensure_future(handler(request))
            self._acting.add(task)
            task.add_done_callback(self._ended)
            return await asyncio.shield(task)

        return finished

    def _ended(self, task: asyncio.Task[web.StreamResponse]) -> None:
        self._acting.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: nobody may be there any more whom it could be told

    async def _page(self, request: web.Request) -> web.Response:
        return statics.respond(request, self._static["index.html"])

    async def _file(self, request: web.Request) -> web.Response:
        found = self._static.get(request.match_info["name"])
        if found is None or request.match_info["name"].endswith(".html"):
            raise web.HTTPNotFound
        return statics.respond(request, found)


async def _secured(_: web.Request, response: web.StreamResponse) -> None:
    if isinstance(response, web.HTTPExpectationFailed):  # aiohttp's own, before any middleware
        response.body = json.dumps({"error": WORDS[response.status]}).encode()
        response.headers["Content-Length"] = str(len(response.body))
        response.content_type = "application/json"
    own = {name: response.headers[name] for name in _OWN & set(response.headers)}
    response.headers.update(HEADERS | own)
    response.headers.setdefault("Cache-Control", "no-store")


def _of_the_page(middleware: Middleware) -> Middleware:
    """What the page has before its requests; the API has its own."""

    @web.middleware
    async def of_the_page(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await (handler(request) if is_program(request) else middleware(request, handler))

    return of_the_page


def _guarded(guard: Guard) -> Middleware:
    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        guard.check(request)
        if (length := _length(request)) > _most(request):
            raise web.HTTPRequestEntityTooLarge(_most(request), length)
        return await handler(request)

    return guarded


def _length(request: web.Request) -> int:
    """What the body's length is said to be. Raises HTTPBadRequest."""
    try:
        return request.content_length or 0
    except ValueError as error:  # thousands of zeros before it
        raise web.HTTPBadRequest(text="Content-Length is no number.") from error


def _most(request: web.Request) -> int:
    """Bytes of this request's body."""
    return MAX_FILE if request.path.endswith(FILES) else wire.MAX_BODY


@web.middleware
async def _told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong becomes JSON with words for a person; never a trace."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < web.HTTPBadRequest.status_code:
            raise
        by_aiohttp = error.text == f"{error.status}: {error.reason}" or isinstance(error, web.HTTPRequestEntityTooLarge)
        words = WORDS.get(error.status, error.reason) if by_aiohttp else error.text
        if isinstance(error, web.HTTPRequestEntityTooLarge):
            words = f"This is too large: at most {_most(request) // 2**20} MiB."
        headers = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
        return _error(request, error.status, words or error.reason, headers)
    except DatabaseError as error:
        log.error("the page could not be answered", reason=str(error))
        return _error(request, 503, NO_DATABASE, {"Retry-After": "5"})
    except ConnectionError:
        raise
    except Exception:
        log.exception("the page failed", method=request.method, route=str(request.match_info.route.resource))
        return _error(request, 500, FAILED, {})


def _error(request: web.Request, status: int, words: str, headers: dict[str, str]) -> web.Response:
    response = web.json_response({"error": words}, status=status, headers=headers)
    if request.can_read_body and not request.content.is_eof():
        response.force_close()  # what is left of its body is not waited for
    return response
