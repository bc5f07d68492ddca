"""What every SpeechToText promises, on the scripted one and on faster-whisper with the demo model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.config import SpeechConfig
from bot.errors import BadRequest
from bot.ports import SpeechToText
from bot.speech.models import SpeechModels
from bot.testing import ScriptedSpeech
from bot.transcription import SAMPLE_RATE, Audio, Detected, Segment, Task, TranscribeOptions
from tests import speech

TEXT = "what is my name"


@asynccontextmanager
async def scripted(folder: Path) -> AsyncIterator[SpeechToText]:
    yield ScriptedSpeech(lambda audio: [f" {TEXT}"])


@asynccontextmanager
async def whisper(folder: Path) -> AsyncIterator[SpeechToText]:
    models = SpeechModels(SpeechConfig(device="cpu", threads=1), folder)
    yield models
    await models.aclose()


Make = Callable[[Path], Any]


@pytest.fixture(params=[scripted, whisper], ids=lambda make: make.__name__)
async def ears(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SpeechToText]:
    make: Make = request.param
    async with make(tmp_path) as ears:
        yield ears


async def heard(
    ears: SpeechToText, audio: Audio, options: TranscribeOptions | None = None
) -> tuple[list[Detected], list[Segment]]:
    found = [each async for each in ears.transcribe(audio, options or TranscribeOptions())]
    return [each for each in found if isinstance(each, Detected)], [each for each in found if isinstance(each, Segment)]


class TestSpeechToText:
    async def test_the_language_comes_first_and_then_what_is_said(self, ears: SpeechToText) -> None:
        found = [each async for each in ears.transcribe(speech.audio(TEXT), TranscribeOptions())]
        assert isinstance(found[0], Detected)
        assert found[0].language == "en"
        assert 0.5 < found[0].probability <= 1
        assert all(isinstance(each, Segment) for each in found[1:])
        assert "".join(each.text for each in found[1:] if isinstance(each, Segment)).strip() == TEXT

    async def test_segments_lie_within_the_audio_in_order(self, ears: SpeechToText) -> None:
        audio = speech.audio(TEXT)
        _, segments = await heard(ears, audio)
        times = [time for segment in segments for time in (segment.start, segment.end)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= audio.duration + 0.1

    async def test_words_have_their_times_when_asked(self, ears: SpeechToText) -> None:
        _, segments = await heard(ears, speech.audio(TEXT), TranscribeOptions(words=True, language="en"))
        words = [word for segment in segments for word in segment.words]
        assert [word.text.strip() for word in words] == TEXT.split()
        assert [word.start for word in words] == sorted(word.start for word in words)
        _, segments = await heard(ears, speech.audio(TEXT), TranscribeOptions(language="en"))
        assert not any(segment.words for segment in segments)

    @pytest.mark.parametrize("seconds", [0, 0.05, 0.29, 5, 40])
    async def test_silence_says_nothing(self, ears: SpeechToText, seconds: float) -> None:
        assert await heard(ears, Audio(pcm=bytes(2 * round(seconds * SAMPLE_RATE)))) == ([], [])

    async def test_less_than_a_third_of_a_second_says_nothing(self, ears: SpeechToText) -> None:
        pcm = speech.audio(TEXT).pcm
        assert await heard(ears, Audio(pcm=pcm[4000:12000])) == ([], [])

    async def test_a_given_language_is_not_looked_for(self, ears: SpeechToText) -> None:
        [detected], _ = await heard(ears, speech.audio(TEXT), TranscribeOptions(language="de"))
        assert detected == Detected("de", 1.0)

    async def test_an_unknown_language_is_refused(self, ears: SpeechToText) -> None:
        with pytest.raises(BadRequest, match="'xx'") as caught:
            await heard(ears, speech.audio(TEXT), TranscribeOptions(language="xx"))
        assert caught.value.param == "language"

    async def test_who_closes_early_leaves_it_ready_for_the_next(self, ears: SpeechToText) -> None:
        async with aclosing(ears.transcribe(speech.audio(TEXT), TranscribeOptions())) as stream:
            await anext(stream)
        _, segments = await heard(ears, speech.audio(TEXT), TranscribeOptions(task=Task.TRANSCRIBE))
        assert segments
