"""Audio files of every kind, whole, damaged and hostile, through the real decoder in its own process."""

from __future__ import annotations

import array
import asyncio
import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psutil
import pytest

from bot.errors import UnreadError
from bot.speech.decode import ENVIRONMENT, AudioLimits, Decoder
from bot.transcription import SAMPLE_RATE, Audio
from tests.recordings import FORMATS, RATE, encoded, recording, silence, silent_video, tone, video, with_stated_samples

MEBIBYTE = 2**20
LIMITS = AudioLimits(max_seconds=900, max_bytes=25 * MEBIBYTE)
TOO_MUCH_MEMORY = 50 * MEBIBYTE
UNKNOWN = "not a recording that I can read"
Started = Callable[[], list[psutil.Process]]
"""The processes that this one has now and did not have when the test began: other tests may leave theirs running."""


@pytest.fixture
def decode() -> Decoder:
    return Decoder(LIMITS)


@pytest.fixture
def started() -> Started:
    parent = psutil.Process()
    before = parent.children()
    return lambda: [child for child in parent.children() if child not in before]


async def decoder(started: Started) -> psutil.Process:
    """The process that decodes, as soon as it is one."""
    while not (children := started()) or "bot.speech.decoder" not in children[0].cmdline():
        await asyncio.sleep(0.001)
    return children[0]


async def refusal(decode: Decoder, data: bytes) -> str:
    with pytest.raises(UnreadError) as caught:
        await decode(data)
    return caught.value.words


@cache
def bomb() -> bytes:
    """An hour of silence in less than a megabyte."""
    data = encoded(silence(3600), "flac", "flac", RATE)
    assert len(data) < MEBIBYTE
    return data


def loudest(audio: Audio, start: float, end: float) -> int:
    """Of the samples between two times, in seconds."""
    samples = array.array("h", audio.pcm)
    return max(map(abs, samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]))


@pytest.mark.parametrize("suffix", FORMATS)
async def test_every_container_is_heard_whole(decode: Decoder, suffix: str) -> None:
    audio = await decode(recording(suffix, 4.0))
    assert abs(audio.duration - 4.0) < 0.1
    assert audio.damaged_after is None
    samples = array.array("h", audio.pcm)
    assert max(samples[: SAMPLE_RATE // 2]) > 5000
    assert max(samples[-SAMPLE_RATE // 2 :]) > 5000


async def test_the_name_does_not_count_and_a_tag_before_the_sound_does_not_hide_it(decode: Decoder) -> None:
    """A cover in an ID3 tag is larger than what is looked at to tell the container."""
    size = 300_000
    tag = b"ID3\x04\x00\x00" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)
    assert abs((await decode(tag + recording("mp3"))).duration - 4.0) < 0.1


async def test_stereo_becomes_mono_and_a_quiet_second_stays(decode: Decoder) -> None:
    import numpy as np

    audio = await decode(encoded(np.concatenate([tone(1), silence(1), tone(1)]), "ogg", "libopus", RATE))
    samples = array.array("h", audio.pcm)
    assert max(map(abs, samples[int(1.2 * SAMPLE_RATE) : int(1.8 * SAMPLE_RATE)])) < 200


class TestDamage:
    @pytest.mark.parametrize("suffix", ["opus", "mp3", "flac", "wav", "webm", "amr", "aac"])
    async def test_a_file_that_breaks_off_is_heard_up_to_there_and_told(self, decode: Decoder, suffix: str) -> None:
        data = recording(suffix, 4.0)
        audio = await decode(data[: len(data) // 2])
        assert 1.0 < audio.duration < 3.0
        if suffix in {"opus", "flac", "wav", "mp3"}:  # the others do not say how long they should be
            assert audio.damaged_after == pytest.approx(audio.duration, abs=0.1)

    @pytest.mark.parametrize("suffix", ["webm", "amr", "aac"])
    async def test_what_the_platform_states_tells_a_cut_that_the_file_does_not(
        self, decode: Decoder, suffix: str
    ) -> None:
        data = recording(suffix, 8.0)
        audio = await decode(data[: len(data) // 2], stated=8)
        assert audio.damaged_after == pytest.approx(audio.duration, abs=0.01)

    async def test_whole_seconds_of_a_platform_are_no_cut(self, decode: Decoder) -> None:
        assert (await decode(recording("opus", 4.0), stated=5)).damaged_after is None

    @pytest.mark.parametrize("stated", [0, 0x7FFFF024, 0xFFFFFFFF])
    async def test_a_wav_file_that_was_written_to_a_pipe_is_whole(self, decode: Decoder, stated: int) -> None:
        """Its header was written before anybody knew how long it would be."""
        data = bytearray(recording("wav", 2.0))
        data[4:8] = stated.to_bytes(4, "little")
        at = data.index(b"data") + 4
        data[at : at + 4] = stated.to_bytes(4, "little")
        audio = await decode(bytes(data))
        assert abs(audio.duration - 2.0) < 0.1
        assert audio.damaged_after is None

    async def test_an_mp3_with_a_hole_goes_on_behind_it(self, decode: Decoder) -> None:
        data = bytearray(recording("mp3", 8.0))
        middle = len(data) // 2
        data[middle : middle + 4000] = bytes(4000)
        audio = await decode(bytes(data))
        assert 7.0 < audio.duration < 7.9
        assert audio.damaged_after == pytest.approx(4.0, abs=0.3)

    async def test_a_hole_in_an_ogg_file_is_silence_and_told(self, decode: Decoder) -> None:
        """So that what is said behind it keeps its time."""
        data = bytearray(recording("opus", 8.0))
        middle = len(data) // 2
        data[middle : middle + 6000] = bytes(6000)
        audio = await decode(bytes(data))
        assert abs(audio.duration - 8.0) < 0.1
        assert audio.damaged_after == pytest.approx(4.0, abs=1.2)

    async def test_an_mp4_file_without_its_table_is_damaged(self, decode: Decoder) -> None:
        data = recording("m4a")
        assert await refusal(decode, data[: len(data) // 2]) == "the recording is damaged"

    async def test_flipped_bytes_never_take_long_nor_much(self, decode: Decoder) -> None:
        dice = random.Random(7)
        for suffix in FORMATS:
            data = bytearray(recording(suffix, 4.0))
            for _ in range(200):
                data[dice.randrange(16, len(data))] = dice.randrange(256)
            try:
                audio = await decode(bytes(data))
            except UnreadError as error:
                assert error.words in {"the recording is damaged", "longer than 15:00", "there is no sound in it"}
            else:
                assert audio.duration <= LIMITS.max_seconds


CLUSTER, TIMESTAMP = b"\x1f\x43\xb6\x75", b"\xe7\x82"
"""Of a WebM file (RFC 9559, section 5.1.3). The second has two bytes here."""


class TestTimes:
    """What is said keeps its time, whatever the timestamps are."""

    async def test_a_pause_that_was_left_out_is_silence(self, decode: Decoder) -> None:
        audio = await decode(video([(0, tone(2)), (5, tone(2))], "webm"))
        assert audio.duration == pytest.approx(7.0, abs=0.1)
        assert audio.damaged_after is None
        assert loudest(audio, 2.5, 4.5) < 200
        assert loudest(audio, 5.5, 6.5) > 5000

    @pytest.mark.parametrize("container", ["mp4", "webm"])
    async def test_sound_that_begins_behind_the_pictures_begins_there(self, decode: Decoder, container: str) -> None:
        audio = await decode(video([(3, tone(2))], container, seconds=6))
        assert audio.duration == pytest.approx(5.0, abs=0.1)
        assert audio.damaged_after is None
        assert loudest(audio, 0, 2.8) < 200
        assert loudest(audio, 3.2, 4.8) > 5000

    @pytest.mark.parametrize("container", ["mp4", "webm"])
    async def test_who_joins_a_stream_late_hears_no_silence_before_it(self, decode: Decoder, container: str) -> None:
        audio = await decode(video([(3000, tone(2))], container))
        assert audio.duration == pytest.approx(2.0, abs=0.1)
        assert audio.damaged_after is None

    @pytest.mark.parametrize("number", [1, 4, 8])
    async def test_a_false_timestamp_is_damage_and_no_silence(self, number: int) -> None:
        """A minute ahead, in a file that states eight seconds."""
        data = bytearray(encoded(tone(8), "webm", "libopus", RATE, cluster_time_limit="1000"))
        at = 0
        for _ in range(number + 1):
            at = data.index(CLUSTER, at + 1)
        at = data.index(TIMESTAMP, at) + len(TIMESTAMP)
        data[at : at + 2] = b"\xff\xff"
        audio = await Decoder(AudioLimits(max_seconds=20, max_bytes=MEBIBYTE))(bytes(data))
        assert audio.duration == pytest.approx(8.0, abs=0.1)
        assert audio.damaged_after == pytest.approx(number, abs=0.2)

    @pytest.mark.parametrize(("seconds", "whole", "damaged_after"), [(20, 22.0, None), (5000, 4.0, 2.0)])
    async def test_where_no_length_is_stated_only_a_short_step_is_a_pause(
        self, decode: Decoder, seconds: int, whole: float, damaged_after: float | None
    ) -> None:
        """As in what browsers record."""
        audio = await decode(video([(0, tone(2)), (seconds, tone(2))], "webm", live="1"))
        assert audio.duration == pytest.approx(whole, abs=0.1)
        assert audio.damaged_after == (damaged_after and pytest.approx(damaged_after, abs=0.1))


class TestRefusals:
    async def test_an_empty_file(self, decode: Decoder) -> None:
        assert await refusal(decode, b"") == "the file is empty"

    @pytest.mark.parametrize("text", ["Hello.\n" * 100, "#EXTM3U\nfile:///etc/passwd\n", "{}", "OggX", "\x00" * 99])
    async def test_what_is_no_recording(self, decode: Decoder, text: str) -> None:
        assert (await refusal(decode, text.encode())).startswith(UNKNOWN)

    async def test_a_playlist_does_not_lead_to_a_file(
        self, decode: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """FFmpeg would read the file beside it, given a path."""
        (tmp_path / "secret.wav").write_bytes(recording("wav"))
        monkeypatch.chdir(tmp_path)
        assert (await refusal(decode, b"ffconcat version 1.0\nfile secret.wav\n")).startswith(UNKNOWN)

    async def test_pictures_without_sound(self, decode: Decoder) -> None:
        assert await refusal(decode, silent_video()) == "there is no sound in it"

    async def test_too_many_bytes(self) -> None:
        decode = Decoder(AudioLimits(max_seconds=900, max_bytes=MEBIBYTE))
        assert await refusal(decode, bytes(MEBIBYTE + 1)) == "larger than 1 MiB"

    async def test_an_hour_in_half_a_megabyte_is_refused_by_its_header(self, decode: Decoder) -> None:
        data, process = bomb(), psutil.Process()
        await decode(recording("flac"))  # what the first one loads is no growth
        before = process.memory_info().rss
        assert await refusal(decode, data) == "longer than 15:00"
        assert process.memory_info().rss - before < TOO_MUCH_MEMORY

    @pytest.mark.parametrize("stated", [0, 10 * RATE])
    async def test_a_false_header_ends_at_the_limit(self, decode: Decoder, stated: int) -> None:
        """0 is how a stream of unknown length begins."""
        process = psutil.Process()
        data = with_stated_samples(bomb(), stated)
        before = process.memory_info().rss
        assert await refusal(decode, data) == "longer than 15:00"
        assert process.memory_info().rss - before < TOO_MUCH_MEMORY

    async def test_ten_hours_of_silence(self, decode: Decoder) -> None:
        """As MP3 without a header, whose length nobody states."""
        hour = encoded(silence(600, 8000), "mp3", "libmp3lame", 8000, write_xing="0", id3v2_version="0")
        assert await refusal(decode, hour * 60) in {"longer than 15:00", "larger than 25 MiB"}


class TestProcesses:
    async def test_fifty_at_once_are_a_few_at_a_time(self, decode: Decoder, started: Started) -> None:
        data, most = recording("opus", 1.0), 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(started()))
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        every = await asyncio.gather(*(decode(data) for _ in range(50)))
        watching.cancel()
        assert {round(audio.duration, 1) for audio in every} == {1.0}
        assert 1 <= most <= 5

    async def test_whoever_gives_up_leaves_no_process(self, decode: Decoder, started: Started) -> None:
        task = asyncio.create_task(decode(with_stated_samples(bomb(), 0)))
        while not started():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert started() == []
        assert (await decode(recording("opus"))).damaged_after is None

    async def test_a_process_that_is_killed_is_told_apart_from_a_damaged_file(
        self, decode: Decoder, started: Started
    ) -> None:
        task = asyncio.create_task(decode(with_stated_samples(bomb(), 0)))
        while not (children := started()):
            await asyncio.sleep(0.001)
        os.kill(children[0].pid, 9)
        with pytest.raises(UnreadError, match="it could not be read"):
            await task

    async def test_no_secret_of_this_process_is_known_to_it(
        self, decode: Decoder, started: Started, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HEARTH_TEST_SECRET", "hunter2")
        monkeypatch.setenv("LANG", "C.UTF-8")
        task = asyncio.create_task(decode(with_stated_samples(bomb(), 0)))
        known = (await decoder(started)).environ()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert known["LANG"] == "C.UTF-8"
        assert known.keys() <= ENVIRONMENT

    async def test_a_large_file_fits_into_its_memory(self, decode: Decoder, started: Started) -> None:
        """As large as `speech.max_bytes` may be: the limit is for what the decoder needs beside it."""
        data = with_stated_samples(bomb(), 0) + bytes(20 * MEBIBYTE)
        task = asyncio.create_task(decode(data))
        process = await decoder(started)
        while (most := process.rlimit(psutil.RLIMIT_AS)[1]) == psutil.RLIM_INFINITY:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 2**30 + 1.125 * len(data) < most < 2**31  # by an eighth Python lets it grow while it reads

    async def test_the_current_directory_has_no_say(
        self, decode: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "bot").mkdir()
        (tmp_path / "bot" / "__init__.py").write_text("raise SystemExit('a stranger')")
        monkeypatch.chdir(tmp_path)
        assert abs((await decode(recording("opus"))).duration - 4.0) < 0.1
