"""Speech for tests: what a synthesizer says, as the bytes of a WAV file or as samples."""

from __future__ import annotations

import io
import shutil
import subprocess
from functools import cache

import av
import numpy as np

from bot.transcription import SAMPLE_RATE, Audio
from tests.debian import install
from tests.recordings import encoded

PROGRAM = "espeak-ng"
VOICE = "en"
"""One that the embedded model was not trained with."""


@cache
def program() -> str:
    """The synthesizer, installed if it is missing and may be."""
    install(lambda: shutil.which(PROGRAM) is not None, PROGRAM)
    return PROGRAM


@cache
def wav(text: str, voice: str = VOICE) -> bytes:
    """A WAV file in which somebody says this. It was written to a pipe, so its header states no length."""
    return subprocess.run([program(), "-v", voice, "--stdout", text], check=True, capture_output=True).stdout


@cache
def audio(text: str, voice: str = VOICE) -> Audio:
    """The same, decoded."""
    return Audio(pcm=samples(text, voice).tobytes())


def samples(text: str, voice: str = VOICE) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """The same as an array."""
    found = []
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    with av.open(io.BytesIO(wav(text, voice)), format="wav", mode="r") as file:
        for frame in file.decode(audio=0):
            found += [ready.to_ndarray()[0] for ready in resampler.resample(frame)]
    found += [ready.to_ndarray()[0] for ready in resampler.resample(None)]
    return np.concatenate(found)


def opus(text: str, voice: str = VOICE) -> bytes:
    """A voice message as Telegram sends it: Opus in Ogg."""
    return encoded(np.repeat(samples(text, voice), 3), "ogg", "libopus", 3 * SAMPLE_RATE)
