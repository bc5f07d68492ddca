"""The API's endpoints for audio, served in a test, and programs that send forms."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiohttp
import yaml
from aiohttp import web

from adapters.web.connections import listening
from adapters.web.guard import Guard
from adapters.web.openai import server as served
from adapters.web.openai.audio import MAX_FILE
from adapters.web.openai.programs import Programs
from adapters.web.sessions import People
from bot.api import ApiStore, ApiUse, Caller, Completions, ModelCard, SpeechModel, SpeechNames
from bot.api_limits import Spending, Standing
from bot.config import WebConfig
from bot.errors import UnreadError
from bot.ports import Decode, SpeechToText
from bot.speech.decode import AudioLimits, Decoder
from bot.testing_speech import ScriptedSpeech, loud
from bot.transcription import Audio, Detected, Segment, TranscribeOptions
from tests.house import DEADLINE, configuration

FOLDER = Path(__file__).parent / "specs"
SCHEMAS: dict[str, Any] = {
    "2023-11-28": yaml.safe_load((FOLDER / "openai-2023-11-28.yaml").read_text("utf-8"))["components"]["schemas"],
    "2026-08-21": json.loads((FOLDER / "openai-audio-2026-08-21.json").read_text("utf-8"))["schemas"],
}
"""Of OpenAI's documents."""
_RELEASED = datetime(2026, 11, 28, tzinfo=UTC)
_DEMO = SpeechModel(
    alias="whisper-1", snapshot="demo-2026-11-28", released=_RELEASED, model="demo", translator="translator"
)
_OTHER = SpeechModel(alias="other", snapshot="other-2026-11-28", released=_RELEASED, model="other", translator="other")
NAMES: SpeechNames = {"whisper-1": _DEMO, "gpt-4o-transcribe": _DEMO, "demo-2026-11-28": _DEMO, "other": _OTHER}
TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"


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
        headers = {"Authorization": f"Bearer {caller}", **headers}
        async with self.http.post(path, data=data, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())


class Keys:
    """A Door: each name is its own key, and may do all unless there is a caller of that name."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = callers

    async def caller(self, secret: str | None, organisation: str = "") -> Caller:
        assert secret
        return self._callers.get(secret) or Caller(id=secret, name=secret)

    async def is_guarded(self) -> bool:
        return True


class NoLimits:
    """Limits that there are not."""

    async def admit(self, caller: Caller) -> Spending:
        return Spending(Standing())

    def standing(self, caller: Caller) -> Standing:
        return Standing()


class Models:
    """A model that chats beside those that hear. No test asks for more of Completions."""

    async def models(self, caller: Caller) -> list[ModelCard]:
        return [ModelCard(id="default", created=datetime(2026, 11, 21, tzinfo=UTC), kind="chat", snapshot="demo-chat")]


class Opening:
    """A Decode that takes any bytes for a sound of one second, but for those that begin with `bad`."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        """Of what came, in bytes."""
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, data: bytes, *, stated: float | None = None) -> Audio:
        if data.startswith(b"bad"):
            raise UnreadError("the recording is damaged")
        self.sizes.append(len(data))
        await self.go.wait()
        return loud(1.0)


@asynccontextmanager
async def serving(
    speech: SpeechToText,
    decode: Decode | None = None,
    *,
    names: SpeechNames = NAMES,
    callers: Mapping[str, Caller] | None = None,
    **config: Any,
) -> AsyncIterator[Api]:
    """The endpoints on a port that is free. `config`: that of [speech]."""
    used: list[ApiUse] = []
    settings = configuration(speech=config)

    async def count(use: ApiUse) -> None:
        used.append(use)

    programs = Programs(
        config=lambda: settings,
        completions=cast("Completions", Models()),
        store=cast("ApiStore", None),  # no test comes to it
        door=Keys(callers or {}),
        person=lambda name: Caller(id=name, name=name),
        limits=NoLimits(),
        used=count,
        speech=speech,
        speech_names=names,
        decode=decode or Decoder(AudioLimits(settings.speech.max_duration, MAX_FILE)),
    )

    def build(port: int) -> web.Application:
        app = web.Application()
        web_config = WebConfig(port=port)
        served.Api(programs).mount(app, Guard(web_config, port), People(web_config))
        return app

    timeout = aiohttp.ClientTimeout(total=DEADLINE)
    async with (
        listening(build, "127.0.0.1", 0, most=100) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as http,
    ):
        yield Api(http, port, used)


class Noting(ScriptedSpeech):
    """Remembers what is asked of it."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.asked: list[tuple[TranscribeOptions, str | None]] = []

    async def transcribe(
        self, audio: Audio, options: TranscribeOptions, *, model: str | None = None
    ) -> AsyncGenerator[Detected | Segment, None]:
        self.asked.append((options, model))
        async for each in super().transcribe(audio, options):
            yield each
