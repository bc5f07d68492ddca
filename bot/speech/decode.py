"""The bytes of an audio file -> samples, within limits of size, length, time and memory.

Each file is decoded by a process of its own (`bot.speech.decoder`): what a stranger's file does to the decoder, it does to
that process alone, and cancelling kills it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass

import structlog

from bot.errors import UnreadError
from bot.speech.children import end
from bot.speech.containers import Report
from bot.transcription import SAMPLE_BYTES, SAMPLE_RATE, Audio, clock

log = structlog.get_logger(__name__)

PROCESSES = 4
"""So many files are decoded at once; more would only take each other's time and memory."""
START_SECONDS = 20.0
"""For a process to begin on a busy machine, beside the time for decoding."""
SPEED = 10.0
"""A file may take a tenth of its longest length to be decoded; real ones were measured at a thousandth."""
READ_BYTES = 2**16
MEBIBYTE = 2**20
ENVIRONMENT = frozenset(
    {
        *(
            "PYTHONPATH",
            "PYTHONHOME",
            "PYTHONUSERBASE",
            "PYTHONNOUSERSITE",
            "HOME",
        ),  # where Python finds what it imports
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL"),
    }
)
"""All that the process gets of this one's environment, which may hold tokens and passwords."""
NAMES = "FLAC, MP3, MP4, M4A, Ogg, Opus, WAV, WebM, AMR or AAC"


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What a file may be."""

    max_seconds: float
    max_bytes: int

    def check_size(self, size: int) -> None:
        """Raises UnreadError for so many bytes."""
        if size > self.max_bytes:
            raise UnreadError(f"larger than {self.max_bytes / MEBIBYTE:.0f} MiB")


class Decoder:
    """Implements bot.ports.Decode: a few files at a time. Belongs to one event loop."""

    def __init__(self, limits: AudioLimits, processes: int = PROCESSES) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(processes)

    async def __call__(self, data: bytes, *, stated: float | None = None) -> Audio:
        """The samples of a file's first audio stream.

        By `stated` a cut is found that the file itself does not show. Raises UnreadError, in words for people.
        """
        limits = self._limits
        if not data:
            raise UnreadError("the file is empty")
        limits.check_size(len(data))
        async with self._free:
            pcm, report = await _in_a_process(data, limits)
        _check(report, limits)
        damaged_after, seconds = report.damaged_after, len(pcm) / (SAMPLE_BYTES * SAMPLE_RATE)
        if damaged_after is None and stated is not None and _is_cut(seconds, stated):
            damaged_after = round(seconds, 2)
        return Audio(pcm=pcm, damaged_after=damaged_after)


def _is_cut(seconds: float, stated: float) -> bool:
    """Platforms state whole seconds, rounded either way."""
    return stated - seconds > max(1.5, 0.05 * stated)


def _check(report: Report, limits: AudioLimits) -> None:
    """Raises UnreadError."""
    match report.error:
        case "":
            return
        case "long":
            raise UnreadError(f"longer than {clock(limits.max_seconds)}")
        case "silent":
            raise UnreadError("there is no sound in it")
        case "unknown":
            raise UnreadError(f"not a recording that I can read ({NAMES})")
        case "unreadable":
            log.info("a recording is damaged", reason=report.detail)
            raise UnreadError("the recording is damaged")
        case _:
            log.warning("the process that decodes has failed", reason=report.detail)
            raise UnreadError("it could not be read")


async def _in_a_process(data: bytes, limits: AudioLimits) -> tuple[bytearray, Report]:
    """Raises UnreadError if the process takes too long or dies."""
    seconds = START_SECONDS + limits.max_seconds / SPEED
    process = await asyncio.create_subprocess_exec(
        # -P: the current directory may have a folder called `bot` too.
        *(sys.executable, "-P", "-m", "bot.speech.decoder"),
        *(str(limits.max_seconds), str(round(seconds)), str(len(data))),
        env={name: os.environ[name] for name in ENVIRONMENT & os.environ.keys()},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            group.create_task(_feed(process, data))
            samples = group.create_task(_samples(process, limits))
            words = group.create_task(_report(process))
    except BaseException as error:
        await end(process)
        if isinstance(error, TimeoutError):
            raise UnreadError("it takes too long to read") from error
        raise
    await process.wait()
    return samples.result(), words.result()


async def _feed(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # its report says why it does not want them
        for start in range(0, len(data), READ_BYTES):  # a pipe that is given all at once keeps a copy of it
            process.stdin.write(data[start : start + READ_BYTES])
            await process.stdin.drain()
    process.stdin.close()


async def _samples(process: asyncio.subprocess.Process, limits: AudioLimits) -> bytearray:
    """At most as many as are allowed, whatever the process has become."""
    assert process.stdout is not None
    most = round((limits.max_seconds + 1) * SAMPLE_RATE) * SAMPLE_BYTES
    found = bytearray()
    while chunk := await process.stdout.read(READ_BYTES):
        if len(found) < most:
            found += chunk
    del found[most:]
    return found


async def _report(process: asyncio.subprocess.Process) -> Report:
    """Its last line; a process that died leaves none."""
    assert process.stderr is not None
    lines = (await process.stderr.read()).decode("utf-8", "replace").strip().splitlines()
    try:
        return Report(**json.loads(lines[-1]))
    except (ValueError, TypeError, IndexError):
        return Report(error="failed", detail=lines[-1] if lines else "its process ended")
