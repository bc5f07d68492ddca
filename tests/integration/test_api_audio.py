"""/v1/audio: what is said in files, in five formats and as a stream, with the embedded model and a scripted one."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import aiohttp
import jsonschema
import pytest
import srt
import webvtt

from bot.api import Caller
from bot.config import EMBEDDED_SPEECH_MODEL
from bot.errors import EngineError
from bot.speech.models import SpeechModels
from bot.speech.names import names
from bot.testing import ScriptedSpeech
from bot.transcription import Audio, Detected, Segment, TranscribeOptions
from tests import speech
from tests.audio_api import NAMES, SCHEMAS, TRANSCRIPTIONS, TRANSLATIONS, Api, Noting, Opening, serving
from tests.house import configuration, until
from tests.recordings import FORMATS, encoded, recording, silence, silent_video
from tests.web import site

TEXT = "what is my name"
CONTAINERS = ("flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm")
"""Those of the specification."""


@pytest.fixture
def ears() -> Noting:
    return Noting()


@pytest.fixture
async def api(ears: Noting) -> AsyncIterator[Api]:
    async with serving(ears) as opened:
        yield opened


@pytest.fixture
async def quick(ears: Noting) -> AsyncIterator[Api]:
    """Without a process for each file."""
    async with serving(ears, Opening()) as opened:
        yield opened


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Api]:
    """With the model of a fresh install."""
    config = configuration(speech={"device": "cpu", "threads": 1})
    models = SpeechModels(config.speech, tmp_path)
    async with serving(models, names=names(config.speech)) as opened:
        yield opened
    await models.aclose()


def matches(version: str, schema: str, value: object) -> None:
    """Raises unless the specification's schema holds."""
    root = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": SCHEMAS[version]}}
    jsonschema.Draft202012Validator(root).validate(value)


class TestEmbedded:
    """The model of a fresh install: it hears and translates what it knows."""

    async def test_json(self, demo: Api) -> None:
        answer = await demo.send(TRANSCRIPTIONS, speech.wav(TEXT))
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        told = answer.json
        assert told["text"] == TEXT
        assert told["languages"] == [{"code": "en"}]
        matches("2023-11-28", "CreateTranscriptionResponse", told)
        matches("2026-08-21", "CreateTranscriptionResponseJson", told)

    async def test_text(self, demo: Api) -> None:
        answer = await demo.send(TRANSCRIPTIONS, speech.wav(TEXT), ("response_format", "text"))
        assert (answer.text, answer.headers["Content-Type"]) == (f"{TEXT}\n", "text/plain; charset=utf-8")

    async def test_subtitles(self, demo: Api) -> None:
        answer = await demo.send(TRANSCRIPTIONS, speech.wav(TEXT), ("response_format", "srt"))
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        [cue] = srt.parse(answer.text)
        assert cue.content == TEXT
        assert 0 <= cue.start.total_seconds() < cue.end.total_seconds() < 2
        answer = await demo.send(TRANSCRIPTIONS, speech.wav(TEXT), ("response_format", "vtt"))
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        [caption] = webvtt.from_buffer(io.StringIO(answer.text)).captions
        assert caption.text == TEXT
        assert 0 <= caption.start_in_seconds <= caption.end_in_seconds < 2

    async def test_verbose_json(self, demo: Api) -> None:
        fields = [
            ("response_format", "verbose_json"),
            *[("timestamp_granularities[]", each) for each in ("word", "segment")],
        ]
        told = (await demo.send(TRANSCRIPTIONS, speech.wav(TEXT), *fields)).json
        matches("2026-08-21", "CreateTranscriptionResponseVerboseJson", told)
        assert (told["task"], told["language"], told["text"]) == ("transcribe", "english", TEXT)
        assert told["duration"] == pytest.approx(speech.audio(TEXT).duration, abs=0.05)
        [segment] = told["segments"]
        assert (segment["id"], segment["seek"], segment["text"], segment["temperature"]) == (0, 0, f" {TEXT}", 0.0)
        assert segment["tokens"]
        assert -1 < segment["avg_logprob"] < 0
        assert [word["word"] for word in told["words"]] == TEXT.split()
        assert told["words"][0]["start"] < told["words"][-1]["end"] <= told["duration"]

    async def test_a_stream(self, demo: Api) -> None:
        events = (await demo.send(TRANSCRIPTIONS, speech.wav(TEXT), ("stream", "true"))).events
        for event in events:
            matches("2026-08-21", "CreateTranscriptionResponseStreamEvent", event)
        assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]
        assert (events[0]["delta"], events[1]["text"]) == (TEXT, TEXT)

    @pytest.mark.parametrize(
        ("said", "voice", "written"), [(TEXT, "en", TEXT), ("wie heißt du", "de", "what is your name")]
    )
    async def test_it_translates(self, demo: Api, said: str, voice: str, written: str) -> None:
        """English stays as it is."""
        answer = await demo.send(TRANSLATIONS, speech.wav(said, voice))
        assert answer.json == {"text": written}
        told = (await demo.send(TRANSLATIONS, speech.wav(said, voice), ("response_format", "verbose_json"))).json
        assert (told["task"], told["language"], told["text"]) == ("translate", "english", written)
        matches("2023-11-28", "CreateTranslationResponse", told)
        matches("2026-08-21", "CreateTranslationResponseVerboseJson", told)

    @pytest.mark.parametrize("translator", ["", "demo"])
    async def test_a_model_that_learnt_no_translation(self, tmp_path: Path, translator: str) -> None:
        """It refuses, or another one translates."""
        (tmp_path / "my-turbo").symlink_to(EMBEDDED_SPEECH_MODEL)
        config = configuration(
            speech={"device": "cpu", "model": str(tmp_path / "my-turbo"), "translation_model": translator}
        ).speech
        models = SpeechModels(config, tmp_path)
        async with serving(models, names=names(config)) as api:
            answer = await api.send(TRANSLATIONS, speech.wav("guten morgen", "de"))
            if translator:
                assert answer.json == {"text": "good morning"}
            else:
                assert answer.refusal == (400, "model")
                assert answer.error["message"] == "The speech model my-turbo was not trained to translate."
            assert (await api.send(TRANSCRIPTIONS, speech.wav(TEXT))).json["text"] == TEXT
        await models.aclose()

    async def test_german_is_found_out(self, demo: Api) -> None:
        told = (
            await demo.send(TRANSCRIPTIONS, speech.wav("guten morgen", "de"), ("response_format", "verbose_json"))
        ).json
        assert (told["language"], told["text"]) == ("german", "guten morgen")

    async def test_silence_says_nothing(self, demo: Api) -> None:
        data = encoded(silence(2), "wav", "pcm_s16le", 48_000)
        assert (await demo.send(TRANSCRIPTIONS, data)).json["text"] == ""
        [done] = (await demo.send(TRANSCRIPTIONS, data, ("stream", "true"))).events
        assert (done["type"], done["text"], done["languages"]) == ("transcript.text.done", "", [])
        assert (await demo.send(TRANSCRIPTIONS, data, ("response_format", "srt"))).text == ""
        assert (await demo.send(TRANSLATIONS, data)).json == {"text": ""}

    async def test_it_has_a_name_and_a_snapshot(self, demo: Api) -> None:
        for model in ("hearth-demo-speech", "hearth-demo-speech-2026-11-28"):
            assert (await demo.send(TRANSCRIPTIONS, speech.wav(TEXT), ("model", model))).json["text"] == TEXT


@pytest.mark.parametrize("container", CONTAINERS)
async def test_every_container_of_the_specification(api: Api, container: str) -> None:
    """By what is in it: the name says nothing."""
    answer = await api.send(TRANSCRIPTIONS, recording(container), name="recording")
    assert answer.json["text"] == "4 seconds"
    assert container in FORMATS


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"no sound at all", "not a recording that I can read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "not a recording that I can read"),
        (silent_video(), "there is no sound in it"),
        (recording("wav")[:200_000], "the recording is damaged after 0:02"),
        (b"OggS" + bytes(4000), "the recording is damaged"),
    ],
    ids=["empty", "text", "picture", "silent video", "cut", "damaged"],
)
async def test_what_is_no_recording_is_refused(api: Api, ears: Noting, data: bytes, words: str) -> None:
    for path in (TRANSCRIPTIONS, TRANSLATIONS):
        answer = await api.send(path, data)
        assert answer.refusal == (400, "file")
        assert words in answer.error["message"]
    assert (ears.heard, api.used) == (0, [])


async def test_what_is_longer_than_is_heard_is_refused() -> None:
    from bot.speech.decode import AudioLimits, Decoder

    async with serving(ScriptedSpeech(), Decoder(AudioLimits(3.0, 2**20))) as api:
        answer = await api.send(TRANSCRIPTIONS, recording("wav"))
        assert answer.refusal == (400, "file")
        assert "longer than 0:03" in answer.error["message"]


class TestTimes:
    @pytest.mark.parametrize(
        ("times", "told"),
        [
            ([], {"segments"}),
            (["segment"], {"segments"}),
            (["word"], {"words"}),
            (["word", "segment"], {"words", "segments"}),
        ],
    )
    async def test_those_that_are_asked_for(self, api: Api, times: list[str], told: set[str]) -> None:
        fields = [("timestamp_granularities[]", value) for value in times]
        answer = await api.send(TRANSCRIPTIONS, recording("flac"), ("response_format", "verbose_json"), *fields)
        assert answer.json.keys() & {"words", "segments"} == told
        matches("2026-08-21", "CreateTranscriptionResponseVerboseJson", answer.json)

    async def test_usage_is_in_begun_seconds(self, api: Api) -> None:
        for form in ("json", "verbose_json"):
            answer = await api.send(TRANSCRIPTIONS, recording("wav", 4.2), ("response_format", form))
            assert answer.json["usage"] == {"type": "duration", "seconds": 5}


class TestModels:
    async def test_a_name_is_a_model(self, quick: Api, ears: Noting) -> None:
        for name in ("whisper-1", "gpt-4o-transcribe", "demo-2026-11-28", "other"):
            assert (await quick.send(TRANSCRIPTIONS, recording("flac"), ("model", name))).status == 200
        assert [model for _, model in ears.asked] == ["demo", "demo", "demo", "other"]
        assert [use.model for use in quick.used] == ["whisper-1", "whisper-1", "whisper-1", "other"]

    async def test_where_one_cannot_translate_another_does(self, quick: Api, ears: Noting) -> None:
        for name in ("whisper-1", "other"):
            await quick.send(TRANSLATIONS, recording("flac"), ("model", name))
        assert [model for _, model in ears.asked] == ["translator", "other"]

    @pytest.mark.parametrize("name", ["whisper-2", "large-v3", "/etc", "openai/whisper-large-v3", "../x"])
    async def test_no_other_can_be_had(self, quick: Api, ears: Noting, name: str) -> None:
        """Nobody can have a model downloaded, or a folder opened."""
        answer = await quick.send(TRANSCRIPTIONS, recording("flac"), ("model", name))
        assert answer.refusal == (404, "model")
        assert answer.error["code"] == "model_not_found"
        assert ears.asked == []

    async def test_one_that_chats_hears_nothing(self, quick: Api, ears: Noting) -> None:
        for path in (TRANSCRIPTIONS, TRANSLATIONS):
            answer = await quick.send(path, recording("flac"), ("model", "default"))
            assert answer.refusal == (400, "model")
            assert answer.error["code"] == "model_not_supported"
            assert answer.error["message"] == (
                "The model `default` is a model for chat and text; a model for recordings is needed here."
            )
        assert ears.asked == []

    @pytest.mark.parametrize(
        ("may", "served"),
        [
            ({"other"}, {"other"}),
            ({"whisper-1"}, {"whisper-1", "gpt-4o-transcribe", "demo-2026-11-28"}),
            ({"gpt-4o-transcribe"}, {"whisper-1", "gpt-4o-transcribe", "demo-2026-11-28"}),
            ({"gpt-4o-transcribe", "gone"}, {"whisper-1", "gpt-4o-transcribe", "demo-2026-11-28"}),
            ({"gone"}, set()),
            ({"demo-2026-11-28"}, {"whisper-1", "gpt-4o-transcribe", "demo-2026-11-28"}),
            (set(), set()),
        ],
    )
    async def test_a_key_has_its_models(self, may: set[str], served: set[str]) -> None:
        """By any of its names a model may be had under all of them."""
        ann = Caller(id="key/1", name="ann", models=frozenset(may))
        async with serving(ScriptedSpeech(), callers={"ann": ann}) as api:
            for name in NAMES:
                answer = await api.send(TRANSCRIPTIONS, recording("flac"), ("model", name), caller="ann")
                assert answer.status == (200 if name in served else 404)


class TestUsage:
    async def test_the_seconds_are_counted(self, api: Api) -> None:
        await api.send(TRANSCRIPTIONS, recording("flac"), caller="ann")
        await api.send(TRANSLATIONS, recording("flac"), ("model", "other"))
        await api.send(TRANSCRIPTIONS, recording("flac"), ("stream", "true"))
        uses = [(use.caller.id, use.endpoint, use.model, use.user, round(use.seconds)) for use in api.used]
        assert uses == [
            ("ann", "transcriptions", "whisper-1", "", 4),
            ("open", "translations", "other", "", 4),
            ("open", "transcriptions", "whisper-1", "", 4),
        ]

    async def test_silence_costs_time_too(self, api: Api) -> None:
        await api.send(TRANSCRIPTIONS, encoded(silence(2), "wav", "pcm_s16le", 48_000))
        assert [round(use.seconds) for use in api.used] == [2]


class Failing(ScriptedSpeech):
    """Fails after some segments."""

    async def transcribe(
        self, audio: Audio, options: TranscribeOptions, *, model: str | None = None
    ) -> AsyncGenerator[Detected | Segment, None]:
        yield Detected("en", 1.0)
        for number, text in enumerate(self.words(audio)):
            yield Segment(start=number, end=number + 1.0, text=text)
        raise EngineError(detail="the device is gone")


class TestStreams:
    @pytest.mark.parametrize(
        "pieces",
        [
            [" Good", " morning."],
            ["Good ", " morning. ", ""],
            ["  ", " a", "\n", " b \n"],
            ["a", "b"],
            [" "],
            ["ä ", " 漢", "字 "],
        ],
    )
    async def test_the_deltas_make_the_whole(self, pieces: list[str]) -> None:
        async with serving(ScriptedSpeech(lambda _: pieces)) as api:
            *deltas, done = (await api.send(TRANSCRIPTIONS, recording("flac"), ("stream", "true"))).events
            whole = (await api.send(TRANSCRIPTIONS, recording("flac"))).json["text"]
        assert "".join(delta["delta"] for delta in deltas) == done["text"] == whole

    async def test_text_is_streamed_too(self, api: Api) -> None:
        answer = await api.send(TRANSCRIPTIONS, recording("flac"), ("stream", "true"), ("response_format", "text"))
        assert answer.events[-1]["text"] == "4 seconds"

    async def test_what_is_wrong_beforehand_is_told_as_elsewhere(self, api: Api) -> None:
        answer = await api.send(TRANSCRIPTIONS, b"no sound", ("stream", "true"))
        assert answer.refusal == (400, "file")
        answer = await api.send(TRANSCRIPTIONS, recording("flac"), ("stream", "true"), ("language", "fr"))
        assert answer.refusal == (400, "language")  # by the model, before its first word

    async def test_a_failure_is_an_event_at_the_end(self) -> None:
        async with serving(Failing(lambda _: [" one", " two"])) as api:
            answer = await api.send(TRANSCRIPTIONS, recording("flac"), ("stream", "true"))
            assert answer.status == 200
            *_, last, rest = answer.text.split("\n\n")
            assert rest == ""
            error = json.loads(last.removeprefix("data: "))["error"]
            assert (error["type"], error["message"]) == ("server_error", EngineError.words)
            assert "DONE" not in answer.text
            assert [use.seconds for use in api.used] == [2.0]  # what was heard until then
            answer = await api.send(TRANSCRIPTIONS, recording("flac"))
            assert answer.refusal == (500, None)


async def test_who_goes_away_stops_the_work() -> None:
    ears = ScriptedSpeech(lambda _: [" on"] * 10_000, seconds_per_window=0.01)
    async with serving(ears) as api:
        form = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        form += (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            + recording("flac")
            + b"\r\n--b--\r\n"
        )
        headers = {"Authorization": "Bearer ann", "Content-Type": "multipart/form-data; boundary=b"}
        response = await api.http.post(
            TRANSCRIPTIONS,
            data=form.replace(b"--b--", b"--b\r\nContent-Disposition: form-data; name=stream\r\n\r\ntrue\r\n--b--"),
            headers=headers,
        )
        async for line in response.content:
            if line.startswith(b"data"):
                break
        response.close()
        await until(lambda: len(api.used) == 1, "the end of the work")
        heard = ears.windows
        assert heard < 10_000
        assert 0 < api.used[0].seconds <= 4
        answer = await api.send(TRANSCRIPTIONS, b"no sound")  # its place is free
        assert answer.status == 400
        assert ears.windows == heard


async def test_a_fresh_install_hears_and_counts(tmp_path: Path) -> None:
    """The whole of Hearth, without a key, as `hearth run` is at first."""
    async with site(tmp_path, speech={"device": "cpu"}) as home, home.browser() as program:
        models = (await program.get("/v1/models")).json["data"]
        assert {"whisper-1", "hearth-demo-speech-2026-11-28"} <= {model["id"] for model in models}
        for path, voice, said, written in (
            (TRANSCRIPTIONS, "en", TEXT, TEXT),
            (TRANSLATIONS, "de", "guten morgen", "good morning"),
        ):
            form = aiohttp.FormData({"model": "whisper-1"})
            form.add_field("file", speech.wav(said, voice), filename="a.wav")
            answer = await program.send("POST", path, data=form)
            assert (answer.status, answer.json["text"]) == (200, written)
            assert answer.headers["x-request-id"].startswith("req_")
        counted = await home.app.store.api_usage()
    assert {(row["endpoint"], row["model"], row["requests"]) for row in counted} == {
        ("transcriptions", "whisper-1", 1),
        ("translations", "whisper-1", 1),
    }
    assert all(0.5 < float(str(row["audio_seconds"])) < 3 for row in counted)
