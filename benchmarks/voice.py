"""What does hearing cost? Beside faster-whisper driven bare; and what do voice messages cost everybody else?

Speed and memory: each run is a process of its own, in alternating pairs, on the same samples with the same options. The
rival is `WhisperModel.transcribe` (or its batched pipeline) on decoded samples; Hearth's is what a voice message goes
through after it is decoded. The embedded model is a thousand times smaller than a real one, so what surrounds the model
weighs more here than it would there.

Company: eight voice messages in eight conversations while a ninth is being answered by a model in the shape of Qwen2 0.5B.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import random_model
from benchmarks.loop_lag import probing
from benchmarks.report import SCRATCH, Aim, Row, Table, milliseconds, percentile, run, scratch_directory
from bot.app import running
from bot.config import EMBEDDED_SPEECH_MODEL, Config, SpeechConfig
from bot.errors import UnreadError
from bot.messages import Author, ConversationKey, Limits, Message
from bot.speech.decode import AudioLimits, Decoder
from bot.speech.models import NICENESS, SpeechModels
from bot.testing import MemoryAdapter
from bot.transcription import SAMPLE_RATE, Audio, Segment, TranscribeOptions
from tests import speech

PAIRS = 3
SPEED_PAIRS = 7
"""A machine of two cores is never quite its own: single pairs were seen from 0.7 to 1.3."""
WARM_SECONDS = 5
"""Heard first, so that the model is loaded and every library has begun."""
LENGTHS = (10, 60, 600)
BATCH = 8
PHRASES = ("what is my name", "count to twenty", "who are you", "good morning", "start a new conversation")
PAUSE = 0.4
"""Seconds between two phrases: as somebody talks who talks without a stop."""
NOTES = 8
TOKENS = 96
ACCOUNT = "bench"
SPEED, LAG = Aim(0.97, at_least=True), Aim(20, "ms")
MEBIBYTE = 2**20


def talk(seconds: int) -> bytes:
    """Somebody who says one phrase after the other, as samples."""
    pause = np.zeros(round(PAUSE * SAMPLE_RATE), np.int16)
    once = np.concatenate([part for phrase in PHRASES for part in (speech.samples(phrase), pause)])
    return bytes(np.resize(once, seconds * SAMPLE_RATE).tobytes())


async def hearth(audio: Audio, batch_size: int) -> float:
    """Seconds, once the model is loaded."""
    models = SpeechModels(SpeechConfig(device="cpu", batch_size=batch_size), SCRATCH)
    options = TranscribeOptions(language="en")
    seconds = 0.0
    for part in (_beginning(audio), audio):
        began = time.perf_counter()
        count = len([each async for each in models.transcribe(part, options) if isinstance(each, Segment)])
        seconds = time.perf_counter() - began
        assert count, "nothing was heard"
    await models.aclose()
    return seconds


def bare(audio: Audio, batch_size: int) -> float:
    """The same with the library's own calls, and as much standing back behind what else runs here."""
    os.nice(NICENESS)
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(str(EMBEDDED_SPEECH_MODEL), device="cpu")
    seconds = 0.0
    for part in (_beginning(audio), audio):
        began = time.perf_counter()
        samples = np.frombuffer(part.pcm, np.int16).astype(np.float32) / 2**15
        if batch_size > 1 and part.duration > 60:
            found, _ = BatchedInferencePipeline(model).transcribe(
                samples, language="en", batch_size=batch_size, without_timestamps=False
            )
        else:
            found, _ = model.transcribe(samples, language="en", vad_filter=True)
        assert list(found), "nothing was heard"
        seconds = time.perf_counter() - began
    return seconds


def _beginning(audio: Audio) -> Audio:
    return Audio(pcm=audio.pcm[: 2 * WARM_SECONDS * SAMPLE_RATE])


def one(who: str, seconds: int, batch_size: int) -> None:
    """A run in this process; prints its figures."""
    audio = Audio(pcm=talk(seconds))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = asyncio.run(hearth(audio, batch_size)) if who == "hearth" else bare(audio, batch_size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": took, "peak_mib": peak / 1024, "grown_mib": (peak - before) / 1024}))


def in_a_process(who: str, seconds: int, batch_size: int) -> dict[str, float]:
    """The figures of a run."""
    command = [sys.executable, "-m", "benchmarks.voice", "one", who, str(seconds), str(batch_size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def speeds() -> Table:
    """Seconds of audio per second, and memory, in pairs."""
    rows = []
    for seconds, batch_size in [*((length, 1) for length in LENGTHS), (LENGTHS[-1], BATCH)]:
        pairs = [
            (in_a_process("hearth", seconds, batch_size), in_a_process("bare", seconds, batch_size))
            for _ in range(SPEED_PAIRS)
        ]
        ratio = percentile([theirs["seconds"] / ours["seconds"] for ours, theirs in pairs], 0.5)
        ours, theirs = (percentile([seconds / pair[who]["seconds"] for pair in pairs], 0.5) for who in (0, 1))
        memory = [f"{max(pair[who]['peak_mib'] for pair in pairs):.0f} MiB" for who in (0, 1)]
        how = "one window after the other" if batch_size == 1 else f"{batch_size} windows at once"
        figures = (f"{ours:.1f}", f"{theirs:.1f}", *memory, f"{ratio:.3f}")
        rows.append(Row(f"{seconds} s, {how}", figures, SPEED, ratio))
    columns = ("Hearth, s of audio per s", "bare", "Hearth, peak memory", "bare", "ratio")
    return Table(
        "voice: speed and memory beside faster-whisper",
        columns,
        rows,
        [f"Median of {SPEED_PAIRS} alternating pairs, at the same niceness."],
    )


async def hear(decode: Decoder, models: SpeechModels, data: bytes) -> None:
    """A voice message on its way to words. Nobody answers it: that would be the chat model's cost."""
    audio = await decode(data)
    assert [each async for each in models.transcribe(audio, TranscribeOptions())], "nothing was heard"


async def company() -> Table:
    """Tokens per second and the loop's lag, alone and beside the voice messages."""
    rows, data = [], _opus(10)
    for count in (0, NOTES):
        with scratch_directory() as folder:
            platform = MemoryAdapter(limits=Limits(text=2000, seconds_per_call=1.0, burst=3))
            decode, models = Decoder(AudioLimits(900, 25 * MEBIBYTE)), SpeechModels(SpeechConfig(device="cpu"), SCRATCH)
            async with running(_config(folder), adapters=[(ACCOUNT, platform)]) as app:
                await hear(decode, models, data)  # loads the model
                async with probing() as lags:
                    notes = [asyncio.create_task(hear(decode, models, data)) for _ in range(count)]
                    began = time.perf_counter()
                    await platform.say(_question(platform))
                    while await app.store.pending():
                        await asyncio.sleep(0.05)
                    seconds = time.perf_counter() - began
                    await asyncio.gather(*notes)
            await models.aclose()
        p99 = percentile(lags, 0.99)
        what = f"beside {count} voice messages of 10 s" if count else "alone"
        times = map(milliseconds, (percentile(lags, 0.5), max(lags), p99))
        rows.append(Row(f"an answer {what}", (f"{TOKENS / seconds:.1f}", *times), LAG, p99 * 1000))
    columns = ("tokens per s", "lag p50", "max", "p99")
    return Table("voice: what others notice", columns, rows, ["The aim is about the lag of the event loop."])


def _question(platform: MemoryAdapter) -> Message:
    return Message(
        key=ConversationKey(platform.name, ACCOUNT, "chat"),
        event_id="question",
        author=Author("person", "Ada"),
        text="Tell me a story.",
        sent_at=datetime.now(UTC),
        direct=True,
    )


async def bomb() -> Table:
    """An hour of silence in half a megabyte: how soon it is refused, by its header."""
    from tests.recordings import RATE, encoded, silence

    data, times = encoded(silence(3600), "flac", "flac", RATE), []
    decode = Decoder(AudioLimits(900, 25 * MEBIBYTE))
    for _ in range(PAIRS + 1):
        began = time.perf_counter()
        try:
            await decode(data)
        except UnreadError:
            times.append(time.perf_counter() - began)
    median = percentile(times[1:], 0.5)
    row = Row(f"{len(data) // 1024} KiB of FLAC", (f"{median:.2f} s",), Aim(1, "s"), median)
    return Table("voice: an hour in half a megabyte", ("refused in",), [row])


async def first_segment() -> Table:
    """From a file's bytes to the first words."""
    rows = []
    decode = Decoder(AudioLimits(900, 25 * MEBIBYTE))
    models = SpeechModels(SpeechConfig(device="cpu"), SCRATCH)
    for seconds in (5, 60, 600):
        data, times = _opus(seconds), []
        for _ in range(PAIRS + 1):
            began = time.perf_counter()
            audio = await decode(data)
            decoded = time.perf_counter() - began
            async with aclosing(models.transcribe(audio, TranscribeOptions())) as heard:
                async for each in heard:
                    if isinstance(each, Segment):
                        break
            times.append((decoded, time.perf_counter() - began))
        medians = [percentile([pair[which] for pair in times[1:]], 0.5) for which in (0, 1)]
        rows.append(Row(f"{seconds} s of Opus, {len(data) // 1024} KiB", tuple(map(milliseconds, medians))))
    await models.aclose()
    return Table(
        "voice: from the file to the first words",
        ("decoded", "first segment"),
        rows,
        ["The language is found out, too."],
    )


def _opus(seconds: int) -> bytes:
    from tests.recordings import encoded

    samples = np.frombuffer(talk(seconds), np.int16)
    return encoded(np.repeat(samples, 3), "ogg", "libopus", 3 * SAMPLE_RATE)


def _config(folder: Path) -> Config:
    model: dict[str, Any] = {"path": random_model.write(SCRATCH), "context_length": 1024, "slots": 1}
    return Config.model_validate(
        {
            "data_dir": folder,
            "chat": {"max_tokens": TOKENS},
            "models": {"default": model},
            "permissions": {"allow": ["memory:*"]},
        }
    )


async def measure() -> AsyncIterator[Table]:
    """All of them."""
    yield await bomb()
    yield await asyncio.to_thread(speeds)
    yield await company()
    yield await first_segment()


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        run(measure())
