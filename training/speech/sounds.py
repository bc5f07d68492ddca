"""What happens to speech on its way to the model, and sounds that are no speech; all at 16 kHz."""

import io
import random

import av
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, lfilter, resample_poly

from training.speech.espeak import SAMPLE_RATE

Samples = NDArray[np.float32]

_MAINS_HUMS = (50, 60, 100, 120)
_SEMITONE = 2 ** (1 / 12)


def silence(seconds: float) -> Samples:
    """Digital silence."""
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def colored_noise(rng: np.random.Generator, length: int, color: float) -> Samples:
    """Noise of standard deviation 1: white at 0, the deeper the closer `color` comes to 1."""
    noise = lfilter([1.0], [1.0, -color], rng.standard_normal(length))
    return (noise / noise.std()).astype(np.float32)


def narrow_band(rng: random.Random, samples: Samples) -> Samples:
    """As over a telephone, or a microphone that cuts the lows and highs."""
    low, high = rng.uniform(60, 300), rng.uniform(3000, 7000)
    b, a = butter(2, [low, high], "band", fs=SAMPLE_RATE)
    return lfilter(b, a, samples).astype(np.float32)


def room(rng: random.Random, noise: np.random.Generator, samples: Samples) -> Samples:
    """As in a small room: an echo that fades within a fifth of a second. The speech stays where it was."""
    length = int(rng.uniform(0.05, 0.2) * SAMPLE_RATE)
    impulse = noise.standard_normal(length) * np.exp(-np.arange(length) / (length / 5))
    impulse[0] = rng.uniform(6, 14)
    return fftconvolve(samples, impulse)[: len(samples)].astype(np.float32)


def opus(samples: Samples, bits_per_second: int) -> Samples:
    """Through the codec of voice notes and back. The length stays, what the codec adds in front is cut."""
    encoded = io.BytesIO()
    with av.open(encoded, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = bits_per_second
        whole = (np.clip(samples, -1, 1) * 32_767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    encoded.seek(0)
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    with av.open(encoded) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    decoded = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32) / 32_768
    return np.pad(decoded, (0, max(0, len(samples) - len(decoded))))[: len(samples)]


def distort(rng: random.Random, noise: np.random.Generator, samples: Samples) -> Samples:
    """A recording as it reaches the model: some clean, some from a room or a telephone, noisy, too loud, compressed."""
    if rng.random() < 0.15:
        samples = narrow_band(rng, samples)
    if rng.random() < 0.15:
        samples = room(rng, noise, samples)
    samples = samples / (np.abs(samples).max() + 1e-6)
    if rng.random() < 0.5:
        samples = samples + _background(rng, noise, samples)
    if rng.random() < 0.04:
        samples = np.clip(samples * rng.uniform(1.5, 4), -1, 1)
    samples = samples / (np.abs(samples).max() + 1e-6) * 10 ** (rng.uniform(-30, -0.5) / 20)
    if rng.random() < 0.15:
        samples = opus(samples, rng.choice((12_000, 16_000, 24_000, 32_000)))
    return samples.astype(np.float32)


def _background(rng: random.Random, noise: np.random.Generator, samples: Samples) -> Samples:
    background = colored_noise(noise, len(samples), rng.choice((0.0, rng.uniform(0.5, 0.98))))
    if rng.random() < 0.2:
        background = background * 0.3 + tone(rng.choice(_MAINS_HUMS), len(samples))
    loudness = np.sqrt((samples**2).mean() / (background**2).mean())
    return background * loudness * 10 ** (-rng.uniform(8, 45) / 20)


def change_pace(samples: Samples, tenths: int) -> Samples:
    """Slower and deeper with 11 tenths, faster and higher with 9."""
    return resample_poly(samples, tenths, 10).astype(np.float32)


def tone(hertz: float, length: int) -> Samples:
    """A sine of amplitude 1."""
    return np.sin(2 * np.pi * hertz * np.arange(length) / SAMPLE_RATE).astype(np.float32)


def not_speech(rng: random.Random, noise: np.random.Generator) -> Samples:
    """One to twelve seconds without a word: silence, noise, tones, hum, clicks or something like music."""
    length = int(rng.choice((rng.uniform(0.4, 4), rng.uniform(1, 12))) * SAMPLE_RATE)
    make = rng.choice((_nothing, _noise, _noise, _tones, _tones, _hum, _clicks, _music, _music, _sweep))
    samples = make(rng, noise, length)
    if make is not _nothing:
        if rng.random() < 0.4:
            samples = samples + colored_noise(noise, length, rng.choice((0.0, 0.9))) * 10 ** (
                rng.uniform(-60, -15) / 20
            )
        samples = samples / (np.abs(samples).max() + 1e-9) * 10 ** (rng.uniform(-60, -1) / 20)
    if rng.random() < 0.3:
        before, after = (silence(rng.uniform(0, 1)) for _ in range(2))
        samples = np.concatenate([before, samples, after])
    return samples.astype(np.float32)


def _nothing(rng: random.Random, noise: np.random.Generator, length: int) -> Samples:
    return np.zeros(length, np.float32)


def _noise(rng: random.Random, noise: np.random.Generator, length: int) -> Samples:
    samples = colored_noise(noise, length, rng.choice((0.0, rng.uniform(0.3, 0.99))))
    if rng.random() < 0.3:
        samples = samples * (1.2 + tone(rng.uniform(0.2, 8), length))
    return narrow_band(rng, samples) if rng.random() < 0.3 else samples


def _tones(rng: random.Random, noise: np.random.Generator, length: int) -> Samples:
    """One pitch, as a sine or with overtones, held or beeping, steady or trembling."""
    hertz = 10 ** rng.uniform(1.7, 3.7)
    wave = tone(hertz, length)
    if rng.random() < 0.3:
        wave = np.sign(wave)
    elif rng.random() < 0.3:
        wave = sum(tone(hertz * k, length) / k for k in range(1, 6)) + wave
    if rng.random() < 0.3:
        wave = wave * (tone(rng.uniform(0.3, 5), length) > rng.uniform(-0.8, 0.8))
    elif rng.random() < 0.3:
        wave = wave * (1 + 0.5 * tone(rng.uniform(0.5, 8), length))
    return wave


def _hum(rng: random.Random, noise: np.random.Generator, length: int) -> Samples:
    base = rng.choice(_MAINS_HUMS)
    return sum(tone(base * k, length) * rng.random() for k in (1, 2, 3, 5, 7)) + tone(base, length)


def _clicks(rng: random.Random, noise: np.random.Generator, length: int) -> Samples:
    samples = np.zeros(length, np.float32)
    for _ in range(rng.randint(1, 12)):
        click = colored_noise(noise, rng.randint(8, 1200), rng.uniform(0, 0.9))
        click = click * np.exp(-np.arange(len(click)) / (len(click) / 6)) * rng.uniform(0.2, 1)
        start = rng.randrange(max(1, length - len(click)))
        samples[start : start + len(click)] += click[: length - start]
    return samples


def _music(rng: random.Random, noise: np.random.Generator, length: int) -> Samples:
    """Notes or chords that are struck and fade."""
    samples = np.zeros(length + SAMPLE_RATE * 2, np.float32)
    start, beat, base = 0, rng.uniform(0.15, 0.9), rng.uniform(80, 500)
    while start < length:
        notes = rng.choice(((0,), (0, 4, 7), (0, 3, 7), (0, 4, 7, 10)))
        size = int(min(2.0, beat * rng.uniform(0.8, 2)) * SAMPLE_RATE)
        fade = np.exp(-np.arange(size) / (SAMPLE_RATE * rng.uniform(0.1, 0.8)))
        step = rng.choice((0, 2, 4, 5, 7, 9, 12))
        for note in notes:
            hertz = base * _SEMITONE ** (step + note)
            overtones = sum(tone(hertz * k, size) / k**2 for k in (1, 2, 3))
            samples[start : start + size] += overtones * fade
        start += int(beat * SAMPLE_RATE)
    return samples[:length]


def _sweep(rng: random.Random, noise: np.random.Generator, length: int) -> Samples:
    low, high = sorted(10 ** rng.uniform(1.8, 3.8) for _ in range(2))
    phase = 2 * np.pi * np.cumsum(np.geomspace(low, high, length)) / SAMPLE_RATE
    wave = np.sin(phase).astype(np.float32)
    return wave[::-1].copy() if rng.random() < 0.5 else wave
