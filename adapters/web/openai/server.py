"""The API as an application of its own, to be put under /v1 of the page's server."""

from __future__ import annotations

from importlib.metadata import version

from aiohttp import web

from adapters.web.guard import Guard, open_to_all
from adapters.web.openai import openapi
from adapters.web.openai.audio import Audio
from adapters.web.openai.body import INTAKE, Intake
from adapters.web.openai.completing import Completing
from adapters.web.openai.embedding import Embedding
from adapters.web.openai.frame import PREFIX, Frame
from adapters.web.openai.kept import KeptCompletions
from adapters.web.openai.models import Models
from adapters.web.openai.programs import Programs
from adapters.web.sessions import People


class Api:
    """Serves programs."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._frames: list[Frame] = []
        self._intake = Intake()
        self.routes: set[tuple[str, str]] = set()
        """Method and path of everything that is served, once it is mounted."""

    def mount(self, app: web.Application, guard: Guard, people: People) -> None:
        """Put it under /v1 of an application whose own middlewares leave that alone."""
        api = web.Application()
        api[INTAKE] = self._intake
        frame = Frame(self._programs, guard, people)
        frame(api)
        for add in (
            Completing(self._programs),
            Embedding(self._programs),
            Models(self._programs),
            KeptCompletions(self._programs),
        ):
            add(api)
        if (speech := self._programs.speech) is not None:
            Audio(self._programs, speech)(api)
        openapi.routes(api, version("hearth"), audio=speech is not None)
        self._frames.append(frame)
        self.routes |= {(route.method, _path(route)) for route in api.router.routes()}
        app.add_subapp(PREFIX, api)

    async def about(self, address: str) -> str:
        """Where programs find it, and whether they need a key."""
        where = f"Programs find OpenAI's API at {address}{PREFIX}"
        if open_to_all(self._programs.config().web) and not await self._programs.door.is_guarded():
            return f"{where}, every one on this machine: there is no key yet (hearth keys create NAME)."
        return f"{where}, with a key."

    def refuse(self) -> None:
        """Take no request from now on; those in progress go on."""
        for frame in self._frames:
            frame.leaving = True

    async def drain(self, seconds: float) -> None:
        """Refuse new requests, and return when those in progress have ended or have had so long."""
        for frame in self._frames:
            await frame.drain(seconds)


def _path(route: web.AbstractRoute) -> str:
    assert route.resource is not None, "every route here has an address"
    return route.resource.canonical


def is_program(request: web.Request) -> bool:
    """Whether a request's path is the API's. It is read as the router does: `%2F` is no slash."""
    path = request.rel_url.path_safe
    return path == PREFIX or path.startswith(f"{PREFIX}/")
