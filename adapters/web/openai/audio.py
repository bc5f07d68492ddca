"""Speech to text for programs: /v1/audio/transcriptions and /v1/audio/translations.

https://platform.openai.com/docs/api-reference/audio. Nothing of it is kept: not the file, and not what was said.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog
from aiohttp import web

from adapters.web.openai import forms
from adapters.web.openai.faults import FAILED, HANDLED, SERVER, Fault
from adapters.web.openai.frame import CALLER, TIME_LEFT, about, left, told
from adapters.web.openai.parameters.audio import LISTS, AudioForm, TranscriptionForm, TranslationForm
from adapters.web.openai.programs import Programs
from adapters.web.openai.sse import EventStream
from adapters.web.openai.turns import Turns
from bot.api import ApiUse, Caller, SpeechModel
from bot.errors import DatabaseError, NoSuchModel, UnreadError, WrongModel
from bot.ports import SpeechToText
from bot.transcription import Audio as Sound
from bot.transcription import Detected, Segment, Task, TranscribeOptions, clock
from bot.transcripts import Format, Transcript, described, written

log = structlog.get_logger(__name__)

FILE = "file"
MAX_FILE = 25 * 2**20
EACH, MOST = 4, 16
"""So many requests of one caller, and of all together, are here at once: their files take the disk's room."""
ENGLISH = "en"

Heard = AsyncGenerator[Detected | Segment, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A file that is heard."""

    sound: Sound
    options: TranscribeOptions
    model: str
    use: ApiUse


class Audio:
    """The two endpoints, where something is heard. Of several speech workers one is left to who talks with the bot."""

    def __init__(self, programs: Programs, speech: SpeechToText) -> None:
        config = programs.config().speech
        self._speech = speech
        self._decode = programs.decode
        self._used = programs.used
        self._names = programs.speech_names
        self._completions = programs.completions
        self._language = config.language or None
        self._most = min(config.max_bytes, MAX_FILE)
        self._turns = Turns(at_once=max(1, config.workers - 1), each=EACH, most=MOST)

    def __call__(self, app: web.Application) -> None:
        """Add them to an application."""
        app.router.add_post("/audio/transcriptions", self.transcribe, name="transcriptions")
        app.router.add_post("/audio/translations", self.translate, name="translations")

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        """What is said in a file."""
        return await self._answer(request, TranscriptionForm)

    async def translate(self, request: web.Request) -> web.StreamResponse:
        """The same in English."""
        return await self._answer(request, TranslationForm)

    async def _answer(self, request: web.Request, kind: type[AudioForm]) -> web.StreamResponse:
        caller = request[CALLER]
        with self._turns.here(caller.id):
            async with forms.read(request, file=FILE, most=self._most) as form:
                body = kind.parse(forms.fields(form, FILE, LISTS))
                options = _options(body, self._language)
                model = await self._model(body.model, caller)
                use = ApiUse(caller=caller, endpoint=_ENDPOINTS[options.task], model=model.alias)
                async with self._turns.turn(caller.id):
                    name = model.translator if options.task is Task.TRANSLATE else model.model
                    job = _Job(sound=await self._sound(body.file), options=options, model=name, use=use)
                    async with aclosing(self._heard(job)) as heard:
                        if isinstance(body, TranscriptionForm) and body.stream:
                            return await _streamed(request, heard)
                        return await _whole(body, job, heard)

    async def _model(self, name: str, caller: Caller) -> SpeechModel:
        """Raises NoSuchModel, and WrongModel for one that hears nothing."""
        found, echoed = self._names.get(name), name[: forms.MOST_ECHOED]
        if found is None:
            cards = await self._completions.models(caller)
            other = next((card for card in cards if card.id == name), None)
            raise NoSuchModel(echoed) if other is None else WrongModel(echoed, kind=other.kind, needed="speech")
        if not self._may(found, caller):
            raise NoSuchModel(echoed)
        return found

    def _may(self, model: SpeechModel, caller: Caller) -> bool:
        """Whether a caller may use it: by any of its names, whichever of them the key has."""
        if caller.models is None or model.snapshot in caller.models:
            return True
        return any(one.alias == model.alias for one in filter(None, map(self._names.get, caller.models)))

    async def _sound(self, file: forms.Upload) -> Sound:
        """Raises UnreadError."""
        sound = await self._decode(await file.read())
        if sound.damaged_after is not None:  # no format has a place to say so, and half must not pass for the whole
            raise UnreadError(f"the recording is damaged after {clock(sound.damaged_after)}")
        return sound

    async def _heard(self, job: _Job) -> Heard:
        """What was heard until somebody closes it is counted."""
        seconds = 0.0
        try:
            async with aclosing(self._speech.transcribe(job.sound, job.options, model=job.model)) as heard:
                async for each in heard:
                    if isinstance(each, Segment):
                        seconds = each.end
                    yield each
            seconds = job.sound.duration
        finally:
            if seconds:
                await self._count(replace(job.use, seconds=seconds))

    async def _count(self, use: ApiUse) -> None:
        try:
            await self._used(use)
        except DatabaseError as error:
            log.error("what a program used could not be counted", reason=str(error))


_ENDPOINTS = {Task.TRANSCRIBE: "transcriptions", Task.TRANSLATE: "translations"}


def _options(body: AudioForm, language: str | None) -> TranscribeOptions:
    options = TranscribeOptions(
        language=language, task=Task.TRANSLATE, prompt=body.prompt, temperature=body.temperature
    )
    if not isinstance(body, TranscriptionForm):
        return options
    # Whisper's only way to be told words is to have them come before; of what is too long it takes the end.
    keywords = f"{', '.join(body.keywords)}." if body.keywords else ""
    return replace(
        options,
        language=body.language or next(iter(body.languages), language),
        task=Task.TRANSCRIBE,
        prompt=" ".join(filter(None, [keywords, body.prompt])),
        words="word" in body.timestamp_granularities,
    )


async def _whole(body: AudioForm, job: _Job, heard: Heard) -> web.Response:
    language, segments = "", []
    async for each in heard:
        if isinstance(each, Detected):
            language = each.language
        else:
            segments.append(each)
    task, duration = job.options.task, job.sound.duration
    translated = task is Task.TRANSLATE
    transcript = Transcript(
        segments=segments, language=ENGLISH if translated else language, duration=duration, task=task
    )
    form = Format(body.response_format or Format.JSON)
    if form not in {Format.JSON, Format.VERBOSE_JSON}:
        return web.Response(text=written(transcript, form), content_type="text/plain", charset="utf-8")
    times = body.timestamp_granularities if isinstance(body, TranscriptionForm) else []
    found = described(transcript, form, words="word" in times, segments=not times or "segment" in times)
    if not translated:
        found["usage"] = {"type": "duration", "seconds": math.ceil(duration)}
        if form is Format.JSON:
            found["languages"] = _languages(language)
    return web.json_response(found)


def _languages(language: str) -> list[dict[str, str]]:
    return [{"code": language}] if language else []


async def _streamed(request: web.Request, heard: Heard) -> web.StreamResponse:
    """What is said, as it is found. What is wrong before the first word is told as everywhere else."""
    each = await anext(heard, None)
    stream = EventStream(request)
    await stream.begin()
    said, language = Said(), ""
    try:
        while each is not None:
            if isinstance(each, Detected):
                language = each.language
            elif delta := said.more(each.text):
                await stream.send(json.dumps({"type": "transcript.text.delta", "delta": delta}))
            each = await anext(heard, None)
    except ConnectionError:
        raise
    except asyncio.CancelledError:
        if not request[TIME_LEFT].expired():
            raise
        return await stream.fail(left())
    except HANDLED as error:
        return await stream.fail(told(error, request))
    except Exception:
        log.exception("a program's stream failed", **about(request))
        return await stream.fail(Fault(status=500, message=FAILED, type=SERVER))
    done = {"type": "transcript.text.done", "text": said.text, "languages": _languages(language)}
    await stream.send(json.dumps(done))
    return await stream.end()


class Said:
    """A text that comes in pieces: all deltas together are the whole of it, without space around it."""

    def __init__(self) -> None:
        self.text = ""
        self._space = ""

    def more(self, piece: str) -> str:
        """What the next piece adds. Space is kept back until a word follows it."""
        piece = self._space + piece if self.text else piece.lstrip()
        delta = piece.rstrip()
        self._space = piece[len(delta) :]
        self.text += delta
        return delta
