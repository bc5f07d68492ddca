"""The process that decodes one file: bytes in on standard input, samples out on standard output, a report on standard error.

Run by `bot.speech.decode`. FFmpeg reads what strangers sent, so it does that in a process of its own, with limits, without
access to other files (it is given bytes, never a path that could be a playlist), and is killed when it takes too long.
Imports PyAV and the standard library only: the process should start quickly.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

import av
import av.error

from bot.speech.containers import MP4, Kind, Report, is_cut, kind_of, states_its_length
from bot.transcription import SAMPLE_RATE

MEMORY = 2**30
"""Bytes of address space, beside the file. PyAV's libraries take 200 MiB of it; a decoder needs some tens."""
GROWTH = 2
"""Times a file's size: it grows in memory while it comes."""
GAP_SECONDS = 0.1
"""A longer step between two timestamps is time that is missing."""
LONGEST_GAP = 60.0
"""Seconds. Where nothing says how long a file is, a longer step is taken for a false timestamp."""
MISSING_SECONDS = 0.5
"""Less of the stated length is missing from whole files too: encoders pad, and players trim."""
MISSING_SHARE = 0.02
RESTARTS = 1000
"""So often a damaged file's demultiplexer may be started again behind what it could not read."""
FFMPEG = (av.error.FFmpegError, ValueError, OverflowError)
"""How a damaged file shows. PyAV itself raises the last two for values that make no sense."""


@dataclass
class Decoding:
    """One file on its way to samples."""

    kind: Kind
    out: BinaryIO
    most: int
    """Samples."""
    report: Report
    samples: int = 0
    resamplers: dict[tuple[object, ...], av.AudioResampler] = field(default_factory=dict)
    due: float | None = None
    """The timestamp, in seconds, that the next packet should have; the first one that of the whole file's beginning."""
    length: float | None = None
    """Seconds from the beginning to the end of all that is in the file, if it says so."""
    position: int | None = None
    """The byte at which the next packet should begin, where packets follow each other without a gap."""

    @property
    def seconds(self) -> float:
        """Of what was decoded so far."""
        return self.samples / SAMPLE_RATE

    def damaged(self) -> None:
        """Something is missing here."""
        if self.report.damaged_after is None:
            self.report.damaged_after = round(self.seconds, 2)

    def run(self, container: Any) -> None:
        """Raises _TooLongError."""
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise ValueError("nothing decodes this")
        stream.codec_context.thread_count = 1
        if self.kind.timed:
            self.due, self.length = _begin(container), _length(container, self.kind)
        for packet in self._packets(container, stream):
            self._look(packet)
            try:
                frames = packet.decode()
            except FFMPEG:
                self.damaged()
                continue
            for frame in frames:
                self._write(frame)
        for resampler in self.resamplers.values():
            self._put(resampler.resample(None))

    def end(self, *, cut: bool) -> None:
        """After the last packet: whether the file was whole."""
        if not self.samples and self.report.damaged_after is not None:
            self.report.error = "unreadable"
        if cut or _is_short(self.seconds, self.report.stated):
            self.damaged()

    def _packets(self, container: Any, stream: Any) -> Iterator[Any]:
        """The packets that can be read; what cannot be is passed over. Last an empty one, which flushes the decoder."""
        for _ in range(RESTARTS):
            try:
                yield from container.demux(stream)
                return
            except FFMPEG:
                self.damaged()
        self.damaged()

    def _look(self, packet: Any) -> None:
        """Whether something is missing before this packet."""
        if packet.size == 0:
            return
        if self.kind.contiguous and packet.pos is not None:
            if self.position is not None and packet.pos > self.position:
                self.damaged()
            self.position = packet.pos + packet.size
        if self.kind.timed and packet.pts is not None and packet.duration and packet.time_base:
            at = float(packet.pts * packet.time_base)
            if self.due is not None and at - self.due > GAP_SECONDS:
                self._gap(at - self.due)
            self.due = at + float(packet.duration * packet.time_base)

    def _gap(self, seconds: float) -> None:
        """Becomes silence, so that what is said behind it keeps its time. One for which there is no room is not believed."""
        room = LONGEST_GAP if self.length is None else self.length + _tolerated(self.length) - self.seconds
        if seconds > room or (
            self.kind.gaps_are_damage and self.samples
        ):  # before the first sound there may be pictures alone
            self.damaged()
        if seconds <= room:
            self._silence(seconds)

    def _write(self, frame: Any) -> None:
        known = (frame.format.name, frame.layout.name, frame.sample_rate)
        if known not in self.resamplers:
            self.resamplers[known] = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        frame.pts = None
        try:
            frames = self.resamplers[known].resample(frame)
        except FFMPEG:
            self.damaged()
            return
        self._put(frames)

    def _put(self, frames: list[Any]) -> None:
        for frame in frames:
            self._bytes(bytes(frame.planes[0])[: frame.samples * 2])

    def _silence(self, seconds: float) -> None:
        left = self.most - self.samples + 1
        self._bytes(bytes(2 * min(round(seconds * SAMPLE_RATE), left)))

    def _bytes(self, data: bytes) -> None:
        self.samples += len(data) // 2
        if self.samples > self.most:
            raise _TooLongError
        self.out.write(data)


class _TooLongError(Exception):
    """There is more than is allowed."""


def decode(data: bytes, out: BinaryIO, max_seconds: float) -> Report:
    """Write the samples of the file's first audio stream."""
    report = Report()
    kind = kind_of(data)
    if kind is None:
        report.error = "unknown"
        return report
    try:
        with av.open(io.BytesIO(data), format=kind.format, mode="r", metadata_errors="ignore") as container:
            if container.duration and states_its_length(data, kind):
                report.stated = _stated(container, kind)
            if not container.streams.audio:
                report.error = "silent"
            elif report.stated is not None and report.stated > max_seconds + MISSING_SECONDS:
                report.error = "long"
            else:
                decoding = Decoding(kind, out, round((max_seconds + MISSING_SECONDS) * SAMPLE_RATE), report)
                decoding.run(container)
                decoding.end(cut=is_cut(data, kind))
    except _TooLongError:
        report.error = "long"
    except FFMPEG as error:
        report.error, report.detail = "unreadable", type(error).__name__
    return report


def _stated(container: Any, kind: Kind) -> float | None:
    """The length of the sound; of a file with pictures only what its sound itself states."""
    audio = container.streams.audio
    if not (audio and audio[0].duration and audio[0].time_base):
        return _length(container, kind) if len(container.streams) == len(audio) else None
    stated = float(audio[0].duration * audio[0].time_base)
    if kind is MP4 and audio[0].start_time is not None:
        stated += float(audio[0].start_time * audio[0].time_base)
    return stated - _begin(container) if kind.timed else stated


def _begin(container: Any) -> float:
    """The timestamp of whatever comes first, in seconds: where somebody joined a stream that is not 0."""
    return float(container.start_time or 0) / av.time_base


def _length(container: Any, kind: Kind) -> float | None:
    """From the beginning to the end. Ogg and WebM files state the end, MP4 files the length."""
    if not container.duration:
        return None
    return float(container.duration / av.time_base) - (_begin(container) if kind.timed and kind is not MP4 else 0.0)


def _is_short(seconds: float, stated: float | None) -> bool:
    return stated is not None and stated - seconds > _tolerated(stated)


def _tolerated(seconds: float) -> float:
    return max(MISSING_SECONDS, MISSING_SHARE * seconds)


NICENESS = 10
"""Whoever is being answered goes first."""


def _limit(seconds: int, size: int) -> None:
    """Where the system has these limits: macOS refuses some."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY + GROWTH * size),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def main() -> None:
    """`python -m bot.speech.decoder MAX_SECONDS CPU_SECONDS FILE_BYTES`."""
    max_seconds, cpu_seconds, size = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    av.logging.set_level(None)
    _limit(cpu_seconds, size)
    with suppress(OSError):
        os.nice(NICENESS)
    try:
        report = decode(sys.stdin.buffer.read(), sys.stdout.buffer, max_seconds)
        sys.stdout.buffer.flush()
    except MemoryError:
        report = Report(error="unreadable", detail="MemoryError")
    sys.stderr.write(json.dumps(asdict(report)) + "\n")


if __name__ == "__main__":
    main()
