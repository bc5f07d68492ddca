"""Recordings for tests: made by FFmpeg's own encoders through PyAV, so nothing need be installed or committed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import av
import av.container
import numpy as np

RATE = 48_000
FORMATS = {
    "flac": ("flac", "flac", RATE),
    "mp3": ("mp3", "libmp3lame", RATE),
    "mp4": ("mp4", "aac", RATE),
    "mpeg": ("mpeg", "mp2", RATE),
    "mpga": ("mp2", "mp2", RATE),
    "m4a": ("ipod", "aac", RATE),
    "ogg": ("ogg", "flac", RATE),
    "opus": ("ogg", "libopus", RATE),
    "wav": ("wav", "pcm_s16le", RATE),
    "webm": ("webm", "libopus", RATE),
    "amr": ("amr", "libopencore_amrnb", 8_000),
    "aac": ("adts", "aac", RATE),
}
"""By the usual suffix: FFmpeg's container, its encoder, and samples per second."""


def tone(seconds: float, rate: int = RATE) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A tone that swells and fades, and so never is the same for long."""
    time = np.arange(round(seconds * rate)) / rate
    wave = 12000 * np.sin(2 * np.pi * 330 * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    return wave.astype(np.int16)


def silence(seconds: float, rate: int = RATE) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.zeros(round(seconds * rate), np.int16)


@cache
def recording(suffix: str, seconds: float = 4.0) -> bytes:
    """A tone in a container."""
    container, codec, rate = FORMATS[suffix]
    return encoded(tone(seconds, rate), container, codec, rate)


def encoded(
    samples: np.ndarray[Any, np.dtype[np.int16]], container: str, codec: str, rate: int, **options: str
) -> bytes:
    """Mono samples in a container. `options` are the muxer's."""
    out = io.BytesIO()
    with av.open(out, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        _add(file, stream, samples, rate)
        file.mux(stream.encode(None))
    return out.getvalue()


PICTURES = {"mp4": "mpeg4", "webm": "libvpx"}
"""FFmpeg's encoders by container."""


def silent_video(seconds: float = 1.0) -> bytes:
    """Pictures without sound."""
    return video((), seconds=seconds)


def video(
    sounds: Sequence[tuple[float, np.ndarray[Any, np.dtype[np.int16]]]],
    container: str = "mp4",
    *,
    seconds: float = 0.0,
    rate: int = RATE,
    **options: str,
) -> bytes:
    """Sounds, each from a time on, beside so many seconds of pictures. `options` are the muxer's."""
    out = io.BytesIO()
    with av.open(out, "w", format=container, options=options) as file:
        pictures = file.add_stream(PICTURES[container], rate=10) if seconds else None
        sound = (
            file.add_stream({"mp4": "aac", "webm": "libopus"}[container], rate=rate, layout="mono") if sounds else None
        )
        if isinstance(pictures, av.VideoStream):
            pictures.width, pictures.height, pictures.pix_fmt = 64, 64, "yuv420p"
            for number in range(round(seconds * 10)):
                frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 256, np.uint8), format="rgb24")
                file.mux(pictures.encode(frame))
            file.mux(pictures.encode(None))
        if isinstance(sound, av.AudioStream):
            for at, samples in sounds:
                _add(file, sound, samples, rate, round(at * rate))
            file.mux(sound.encode(None))
    return out.getvalue()


def _add(
    file: av.container.OutputContainer,
    stream: av.AudioStream,
    samples: np.ndarray[Any, np.dtype[np.int16]],
    rate: int,
    at: int = 0,
) -> None:
    """Samples from a timestamp on."""
    step = stream.codec_context.frame_size or 4096
    resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate, frame_size=step)
    for start in range(0, len(samples), step):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + step], format="s16", layout="mono")
        frame.rate, frame.pts, frame.time_base = rate, at + start, Fraction(1, rate)
        for ready in resampler.resample(frame):
            file.mux(stream.encode(ready))
    for ready in resampler.resample(None):
        file.mux(stream.encode(ready))


def with_stated_samples(flac: bytes, samples: int) -> bytes:
    """A FLAC file that states another length: 36 bits from the 14th byte of STREAMINFO on (RFC 9639, section 8.2)."""
    changed = bytearray(flac)
    changed[21] = changed[21] & 0xF0 | samples >> 32
    changed[22:26] = (samples & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(changed)
