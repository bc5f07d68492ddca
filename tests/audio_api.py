"""The API's endpoints for audio, served in a test, and programs that send forms."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from adapters.web.connections import listening
from adapters.web.openai.audio import MAX_FILE, Audio
from adapters.web.openai.faults import HANDLED, of_error, of_http
from adapters.web.openai.frame import CALLER
from bot.api import ApiUse, Caller, SpeechNames
from bot.ports import Decode, SpeechToText
from bot.speech.decode import AudioLimits, Decoder
from tests.house import DEADLINE

NAMES = SpeechNames(
    models={"whisper-1": "demo", "other": "other", "gpt-4o-transcribe": "demo"}, translators={"demo": "translator"}
)
TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
Fields = Iterable[tuple[str, str]]


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, as OpenAI has it."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error  # type: ignore[no-any-return]

    @property
    def refusal(self) -> tuple[int, str | None]:
        """Status and parameter of a refusal."""
        return self.status, self.error["param"]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Of a stream that came to its end."""
        assert self.headers["Content-Type"].startswith("text/event-stream")
        *events, done, rest = self.text.split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]


@dataclass
class Api:
    """The endpoints, and what they counted."""

    http: aiohttp.ClientSession
    port: int
    used: list[ApiUse] = field(default_factory=list)

    async def send(
        self, path: str, data: bytes | None, *fields: tuple[str, str], caller: str = "open", name: str = "a.bin"
    ) -> Answer:
        """A form with a file and other fields, the model among them unless they name one."""
        form = aiohttp.FormData(default_to_multipart=True)
        if data is not None:
            form.add_field("file", data, filename=name)
        for field_name, value in (
            fields if any(key == "model" for key, _ in fields) else [("model", "whisper-1"), *fields]
        ):
            form.add_field(field_name, value)
        return await self.post(path, form, caller=caller)

    async def post(self, path: str, data: Any, *, caller: str = "open", **headers: str) -> Answer:
        """Whatever body."""
        headers = {"X-Caller": caller, **headers}
        async with self.http.post(path, data=data, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())


@asynccontextmanager
async def serving(
    speech: SpeechToText,
    decode: Decode | None = None,
    *,
    names: SpeechNames = NAMES,
    callers: dict[str, Caller] | None = None,
    **options: Any,
) -> AsyncIterator[Api]:
    """The endpoints on a port that is free. `callers`: by the header X-Caller; others may do all."""
    used: list[ApiUse] = []

    async def count(use: ApiUse) -> None:
        used.append(use)

    @web.middleware
    async def framed(request: web.Request, handler: Any) -> web.StreamResponse:
        name = request.headers["X-Caller"]
        request[CALLER] = (callers or {}).get(name) or Caller(id=name, name=name)
        try:
            return await handler(request)  # type: ignore[no-any-return]
        except HANDLED as error:
            return of_error(error).response()
        except web.HTTPException as error:
            return of_http(error, request).response()

    def build(port: int) -> web.Application:
        api = web.Application(middlewares=[framed])
        decoder = decode or Decoder(AudioLimits(900.0, MAX_FILE))
        Audio(speech, decoder, count, names, **options)(api)
        app = web.Application()
        app.add_subapp("/v1", api)
        return app

    timeout = aiohttp.ClientTimeout(total=DEADLINE)
    async with (
        listening(build, "127.0.0.1", 0, most=100) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as http,
    ):
        yield Api(http, port, used)
