"""What is faster-whisper's own: the ladder of temperatures, long recordings, cancelling, loading and unloading."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import faster_whisper
import numpy as np
import pytest

from bot.config import EMBEDDED_SPEECH_MODEL, SpeechConfig
from bot.errors import BadRequest, EngineBroken
from bot.speech import device, whisper
from bot.speech.models import SpeechModels
from bot.transcription import SAMPLE_RATE, Audio, Detected, Segment, Task, TranscribeOptions
from tests import speech
from tests.house import until
from tests.hub import Repo, silent, standing_in

TEXT = "what is my name"
DEADLINE = 60.0
STRANGE = "quantum chromodynamics bewilders archaeologists throughout yesterday"
"""Of words that the embedded model does not know: what it makes of them it does not believe itself."""
PHRASES = ["what is my name", "count to twenty", "who are you", "good morning", "start a new conversation"]
ENGLISH = TranscribeOptions(language="en")


def talk(seconds: int) -> Audio:
    """Somebody who asks one question after the other."""
    pause = np.zeros(round(0.4 * SAMPLE_RATE), np.int16)
    return Audio(pcm=np.resize(np.concatenate([speech.samples(TEXT), pause]), seconds * SAMPLE_RATE).tobytes())


class Counted(whisper.Whisper):
    """The embedded model, counted while its threads use it."""

    def __init__(self, name: str, config: SpeechConfig, cache: Path) -> None:
        self.__dict__ |= whisper.load(name, config, cache).__dict__
        self.running = 0
        self.windows: set[int] = set()
        """Where they begin."""

    def transcribe(self, audio: Audio, options: TranscribeOptions) -> Iterator[Detected | Segment]:
        self.running += 1
        try:
            for item in super().transcribe(audio, options):
                if isinstance(item, Segment):
                    self.windows.add(item.seek)
                yield item
        finally:
            self.running -= 1


@asynccontextmanager
async def models(folder: Path, **config: object) -> AsyncIterator[SpeechModels]:
    opened = SpeechModels(SpeechConfig.model_validate({"device": "cpu", "threads": 1, **config}), folder)
    yield opened
    await opened.aclose()


async def heard(ears: SpeechModels, audio: Audio, options: TranscribeOptions = ENGLISH) -> list[Segment]:
    return [each async for each in ears.transcribe(audio, options) if isinstance(each, Segment)]


def one_after_the_other(*parts: tuple[str, float]) -> Audio:
    """Texts, each in a stretch of so many seconds, the rest of which is silent."""
    whole = []
    for text, seconds in parts:
        said = speech.samples(text) if text else np.zeros(0, np.int16)
        whole += [said, np.zeros(round(seconds * SAMPLE_RATE) - len(said), np.int16)]
    return Audio(pcm=np.concatenate(whole).tobytes())


class TestLadder:
    """The embedded model is rarely in doubt, so that here it takes less doubt to decode again."""

    @pytest.fixture(autouse=True)
    def strict(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(whisper, "LEAST_LOGPROB", -0.4)

    async def test_what_fails_the_thresholds_is_decoded_again(self, tmp_path: Path) -> None:
        async with models(tmp_path) as ears:
            assert [segment.temperature for segment in await heard(ears, speech.audio(TEXT))] == [0.0]
            again = await heard(ears, speech.audio(STRANGE))
        assert again
        assert all(segment.temperature > 0 for segment in again)

    async def test_also_where_windows_are_decoded_together(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of three windows the middle one alone. The silence at the beginning takes no room in them, but has its time."""
        monkeypatch.setattr(whisper, "LEAST_LOGPROB", -0.6)  # a whole window of short questions is less sure than one
        known, strange = [(text, 2.5) for text in PHRASES], [(STRANGE, 5)] * 6
        async with models(tmp_path, batch_size=8) as ears:
            segments = await heard(ears, one_after_the_other(("", 40), *known * 3, *strange, *known * 2))
        windows = [
            [segment for segment in segments if begin <= segment.start < end]
            for begin, end in ((0, 81), (81, 119), (119, 200))
        ]
        assert [window[0].seek / 100 for window in windows] == pytest.approx([40, 82, 120], abs=1)
        assert [{segment.temperature == 0 for segment in window} for window in windows] == [{True}, {False}, {True}]
        for window, at in ((windows[0], 40), (windows[2], 120)):
            assert [segment.text.strip() for segment in window[:5]] == PHRASES
            assert [segment.start - at for segment in window[:5]] == pytest.approx([0, 2.5, 5, 7.5, 10], abs=0.5)

    @pytest.mark.parametrize("batch_size", [1, 8])
    async def test_a_temperature_of_ones_own_is_the_only_one(self, tmp_path: Path, batch_size: int) -> None:
        audio = one_after_the_other((STRANGE, 35), (STRANGE, 35))
        async with models(tmp_path, batch_size=batch_size) as ears:
            segments = await heard(ears, audio, TranscribeOptions(language="en", temperature=0.2))
        assert {segment.temperature for segment in segments} == {0.2}


class TestLongRecordings:
    @pytest.mark.parametrize("batch_size", [1, 8])
    async def test_what_is_said_late_has_its_time(self, tmp_path: Path, batch_size: int) -> None:
        audio = one_after_the_other((TEXT, 50), (TEXT, 50), (TEXT, 10))
        async with models(tmp_path, batch_size=batch_size) as ears:
            segments = await heard(ears, audio, TranscribeOptions(language="en", words=True))
        assert [segment.text.strip() for segment in segments] == [TEXT] * 3
        assert [segment.start for segment in segments] == pytest.approx([0, 50, 100], abs=1)
        starts = [word.start for segment in segments for word in segment.words]
        assert starts == sorted(starts)
        assert starts[-1] > 99

    async def test_blocks_end_where_nobody_speaks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that no word is cut, and each has its time."""
        monkeypatch.setattr(whisper, "BLOCK_SECONDS", 20)
        monkeypatch.setattr(whisper, "SEAM_SECONDS", 8)
        audio = one_after_the_other(*[(TEXT, 7)] * 6)
        async with models(tmp_path) as ears:
            segments = await heard(ears, audio)
        assert " ".join(segment.text.strip() for segment in segments) == " ".join([TEXT] * 6)
        assert segments[-1].start == pytest.approx(35, abs=1.5)


class TestPrompts:
    """What came before is told to the library's model before each window. The embedded one was not trained to heed it."""

    @pytest.fixture
    def prompts(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What the model is given, as text."""
        told: list[str] = []

        class Listening(faster_whisper.WhisperModel):  # type: ignore[misc]  # the library has no types
            def get_prompt(self, tokenizer: Any, *arguments: Any, **more: Any) -> list[int]:
                prompt: list[int] = super().get_prompt(tokenizer, *arguments, **more)
                told.append(tokenizer.tokenizer.decode(prompt, skip_special_tokens=False))
                return prompt

        monkeypatch.setattr(faster_whisper, "WhisperModel", Listening)
        return told

    @pytest.mark.parametrize("batch_size", [1, 8])
    @pytest.mark.parametrize("words", ["hello Zelda", "Gwendolyn " * 1000 + "hello Zelda"], ids=["short", "too long"])
    async def test_the_last_words_of_one_are_told(
        self, tmp_path: Path, prompts: list[str], batch_size: int, words: str
    ) -> None:
        """Of one that does not fit into half of the model's context: the other half is for what it writes."""
        audio = one_after_the_other((TEXT, 35), (TEXT, 35))
        async with models(tmp_path, batch_size=batch_size) as ears:
            assert await heard(ears, audio, TranscribeOptions(language="en", prompt=words))
        before, found, _ = prompts[0].partition("<|startoftranscript|>")
        assert found
        assert before.startswith("<|startofprev|>")
        assert before.endswith("hello Zelda")
        assert ("Gwendolyn" in before) == ("Gwendolyn" in words)

    async def test_without_one_nothing_is(self, tmp_path: Path, prompts: list[str]) -> None:
        async with models(tmp_path) as ears:
            await heard(ears, speech.audio(TEXT))
        assert prompts[0].startswith("<|startoftranscript|>")


class TestCancelling:
    @pytest.fixture
    async def counted(self, tmp_path: Path) -> Counted:
        return Counted("demo", SpeechConfig(device="cpu", threads=1), tmp_path)

    @pytest.fixture
    async def ears(self, tmp_path: Path, counted: Counted) -> AsyncIterator[SpeechModels]:
        opened = SpeechModels(SpeechConfig(device="cpu", threads=1), tmp_path, load=lambda *_: counted)
        yield opened
        await opened.aclose()

    async def test_it_ends_with_the_window_that_is_under_way(self, ears: SpeechModels, counted: Counted) -> None:
        """Of ten minutes in which somebody talks without a stop."""
        async with aclosing(ears.transcribe(talk(600), ENGLISH)) as stream:
            async for each in stream:
                if isinstance(each, Segment):
                    break
        await until(lambda: counted.running == 0, "the end of the window")
        assert len(counted.windows) <= 2

    async def test_who_waits_behind_another_and_gives_up_costs_nothing(
        self, ears: SpeechModels, counted: Counted
    ) -> None:
        audio = one_after_the_other(*[(TEXT, 35)] * 3)
        first = asyncio.create_task(heard(ears, audio))
        await until(lambda: counted.running == 1, "the first")
        second = asyncio.create_task(heard(ears, audio))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await first == await heard(ears, audio)
        assert counted.running == 0

    async def test_closing_ends_what_runs_and_nobody_takes_it_for_the_whole(
        self, ears: SpeechModels, counted: Counted
    ) -> None:
        running, waiting = (asyncio.create_task(heard(ears, talk(600))) for _ in range(2))
        await until(lambda: len(counted.windows) > 0, "the first window")
        await ears.aclose()
        for task in (running, waiting):
            with pytest.raises(EngineBroken, match="closed"):
                await task
        with pytest.raises(EngineBroken, match="closed"):
            await heard(ears, talk(1))
        assert len(counted.windows) <= 3


class TestModels:
    async def test_a_model_is_loaded_once_and_leaves_when_nobody_uses_it(self, tmp_path: Path) -> None:
        loads: list[str] = []

        def load(name: str, config: SpeechConfig, cache: Path) -> whisper.Whisper:
            loads.append(name)
            return whisper.load(name, config, cache)

        ears = SpeechModels(SpeechConfig(device="cpu", threads=1, idle_unload=0.05), tmp_path, load=load)
        await asyncio.gather(*(heard(ears, speech.audio(TEXT)) for _ in range(3)))
        assert loads == ["demo"]
        await until(lambda: ears.loaded == [], "the end of its time")
        assert await heard(ears, speech.audio(TEXT))
        assert loads == ["demo", "demo"]
        await ears.aclose()

    async def test_one_that_takes_long_to_load_is_not_loaded_once_more(self, tmp_path: Path) -> None:
        """Who asked for it first has gone, and its time with them."""
        loads: list[str] = []
        held = threading.Event()

        def load(name: str, config: SpeechConfig, cache: Path) -> whisper.Whisper:
            loads.append(name)
            held.wait()
            return whisper.load(name, config, cache)

        ears = SpeechModels(SpeechConfig(device="cpu", threads=1, idle_unload=0.05), tmp_path, load=load)
        first = asyncio.create_task(heard(ears, speech.audio(TEXT)))
        await until(lambda: loads == ["demo"], "the load")
        first.cancel()
        await asyncio.sleep(0.2)
        second = asyncio.create_task(heard(ears, speech.audio(TEXT)))
        await asyncio.sleep(0.1)
        held.set()
        assert await second
        assert loads == ["demo"]
        await until(lambda: ears.loaded == [], "the end of its time")
        await ears.aclose()

    async def test_a_model_in_use_stays(self, tmp_path: Path) -> None:
        async with models(tmp_path, idle_unload=0.01) as ears:
            async with aclosing(ears.transcribe(speech.audio(TEXT), ENGLISH)) as stream:
                await anext(stream)
                await asyncio.sleep(0.05)
                assert ears.loaded == ["demo"]
            await until(lambda: ears.loaded == [], "the end of its time")

    async def test_a_directory_is_a_model_and_several_are_there_at_once(self, tmp_path: Path) -> None:
        async with models(tmp_path) as ears:
            await heard(ears, speech.audio(TEXT))
            other = [
                each async for each in ears.transcribe(speech.audio(TEXT), ENGLISH, model=str(EMBEDDED_SPEECH_MODEL))
            ]
            assert other[-1].text.strip() == TEXT  # type: ignore[union-attr]  # the last is a segment
            assert sorted(ears.loaded) == sorted(["demo", str(EMBEDDED_SPEECH_MODEL)])

    @pytest.mark.parametrize("name", ["nobody/nothing", "no-such-size", "/no/such/folder"])
    async def test_one_that_is_not_there_is_an_error_each_time(self, tmp_path: Path, name: str) -> None:
        async with models(tmp_path) as ears:
            for _ in range(2):
                with pytest.raises(EngineBroken) as caught:
                    await anext(ears.transcribe(speech.audio(TEXT), ENGLISH, model=name))
                assert name in str(caught.value)
                assert "\n" not in str(caught.value)
            assert ears.loaded == []

    async def test_one_from_the_hub_is_downloaded_and_then_needs_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {file.name: file.read_bytes() for file in EMBEDDED_SPEECH_MODEL.iterdir()}
        with standing_in(owner__ears=Repo(files)) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            async with models(tmp_path, model="owner/ears") as ears:
                [segment] = await heard(ears, speech.audio(TEXT))
        assert segment.text.strip() == TEXT
        assert sum("model.bin" in line for line in hub.asked if line.startswith("store ")) == 1
        async with models(tmp_path, model="owner/ears") as ears:  # where nobody answers any more
            assert await heard(ears, speech.audio(TEXT)) == [segment]

    async def test_a_model_that_learnt_no_translation_is_not_asked_for_one(self, tmp_path: Path) -> None:
        folder = tmp_path / "my-turbo"
        folder.symlink_to(EMBEDDED_SPEECH_MODEL)
        async with models(tmp_path, model=str(folder)) as ears:
            with pytest.raises(BadRequest, match="was not trained to translate") as caught:
                await heard(ears, speech.audio(TEXT), TranscribeOptions(task=Task.TRANSLATE))
            assert caught.value.param == "model"
            assert str(tmp_path) not in caught.value.words

    async def test_german_becomes_english(self, tmp_path: Path) -> None:
        async with models(tmp_path) as ears:
            audio = speech.audio("guten morgen", "de")
            found = [each async for each in ears.transcribe(audio, TranscribeOptions())]
            assert isinstance(found[0], Detected)
            assert found[0].language == "de"
            assert isinstance(found[1], Segment)
            assert found[1].text.strip() == "guten morgen"
            [segment] = await heard(ears, audio, TranscribeOptions(task=Task.TRANSLATE, language="de"))
            assert segment.text.strip() == "good morning"


class TestClosing:
    """What is asked for a model that is not there yet ends as everything else does."""

    async def test_a_download_is_not_waited_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with silent() as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            ears = SpeechModels(SpeechConfig(device="cpu", model="nobody/nothing"), tmp_path)
            waiting = asyncio.create_task(heard(ears, speech.audio(TEXT)))
            await until(hub.asked.is_set, "the download")
            await asyncio.wait_for(ears.aclose(), DEADLINE)
            with pytest.raises(EngineBroken, match="closed"):
                await waiting
            await until(hub.left.is_set, "the end of its process")

    async def test_neither_a_load_nor_one_that_waits_behind_it_is_a_cancellation(self, tmp_path: Path) -> None:
        loads: list[str] = []
        held = threading.Event()

        def load(name: str, config: SpeechConfig, cache: Path) -> whisper.Whisper:
            loads.append(name)
            held.wait()
            return whisper.load(name, config, cache)

        ears = SpeechModels(SpeechConfig(device="cpu", threads=1), tmp_path, load=load)
        names = ("demo", str(EMBEDDED_SPEECH_MODEL))
        streams = [ears.transcribe(speech.audio(TEXT), ENGLISH, model=name) for name in names]
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await until(lambda: loads == ["demo"], "the first load")
        closing = asyncio.create_task(ears.aclose())
        for one in waiting:
            with pytest.raises(EngineBroken, match="closed"):
                await one
        assert not closing.done()
        held.set()
        await asyncio.wait_for(closing, DEADLINE)
        assert loads == ["demo"]


def threads() -> Iterator[str]:
    return (thread.name for thread in threading.enumerate())


async def test_closing_leaves_no_thread(tmp_path: Path) -> None:
    async with models(tmp_path) as ears:
        await heard(ears, speech.audio(TEXT))
        assert any(name.startswith("speech") for name in threads())
    assert not any(name.startswith("speech") for name in threads())


class TestNoRoomOnTheGpu:
    """A chat model may have taken the GPU's memory."""

    @pytest.fixture
    def devices(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
        """Where a model was tried to be loaded, and with which numbers."""
        tried: list[tuple[str, str]] = []

        class Crowded(faster_whisper.WhisperModel):  # type: ignore[misc]  # the library has no types
            def __init__(self, where: str, *, device: str, compute_type: str, **more: Any) -> None:
                tried.append((device, compute_type))
                if device == "cuda":
                    raise RuntimeError("CUDA failed with error out of memory")
                super().__init__(where, device=device, compute_type=compute_type, **more)

        monkeypatch.setattr(faster_whisper, "WhisperModel", Crowded)
        monkeypatch.setattr(device, "choose", lambda wanted: ("cuda", 0))
        return tried

    async def test_it_runs_on_the_cpu(self, tmp_path: Path, devices: list[tuple[str, str]]) -> None:
        async with models(tmp_path, device="cuda", compute_type="float16") as ears:
            assert await heard(ears, one_after_the_other((TEXT, 3)), ENGLISH)
        assert devices == [("cuda", "float16"), ("cpu", "default")]
