"""Recordings to train and measure with: one phrase or several with pauses, one voice or two, or no speech at all."""

import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray

from training.speech import sounds
from training.speech.espeak import SAMPLE_RATE, Span, speaker
from training.speech.grammar import Phrase, random_words, sentence
from training.speech.voices import training_voice

FRAMES_PER_SECOND = 100
WINDOW_SECONDS = 30.0

_NOT_SPEECH, _GERMAN, _RANDOM_WORDS = 0.08, 0.22, 0.25
_SEVERAL_PHRASES, _OTHER_VOICE = 0.35, 0.2
# Some recordings are longer than a window, so that its cut edge is trained too.
_LONGEST_SECONDS = 38.0
_CHUNK = 500

Voice = Callable[[random.Random, str], str]
_extract = FeatureExtractor()


@dataclass(frozen=True, slots=True)
class Segment:
    """One phrase in a recording, with times in seconds from the recording's start."""

    phrase: Phrase
    voice: str
    start: float
    end: float
    words: tuple[Span, ...]
    phonemes: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """Samples at 16 kHz, the language, and what is said when; no segments where there is no speech."""

    samples: NDArray[np.float32]
    language: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A recording as the model sees it: log-mel features of shape (80, frames), 100 frames a second."""

    mel: NDArray[np.float16]
    language: str
    segments: tuple[Segment, ...]


def draw_phrase(rng: random.Random, language: str) -> Phrase:
    """A sentence mostly, else random words."""
    return random_words(rng, language) if rng.random() < _RANDOM_WORDS else sentence(rng, language)


def spoken(rng: random.Random, phrase: Phrase, voice: str) -> tuple[NDArray[np.float32], Segment]:
    """A phrase in a voice, at a random pace and pitch."""
    utterance = speaker().say(
        phrase.text,
        voice,
        rate=rng.choice((175, rng.randint(120, 225))),
        pitch=rng.choice((50, rng.randint(15, 85))),
        range_=rng.choice((50, rng.randint(20, 80))),
        gap=rng.choice((0, 0, 0, 0, 1, 3, 6)),
    )
    samples, scale = utterance.samples, 1.0
    if rng.random() < 0.25:
        tenths = rng.choice((9, 11))
        samples, scale = sounds.change_pace(samples, tenths), tenths / 10
    words, phonemes = (tuple(Span(name, a * scale, b * scale) for name, a, b in spans) for spans in utterance[1:])
    return samples, Segment(phrase, voice, 0.0, len(samples) / SAMPLE_RATE, words, phonemes)


def joined(rng: random.Random, parts: list[tuple[NDArray[np.float32], Segment]]) -> Recording:
    """The phrases one after the other, with pauses between them and some silence before and after."""
    pieces = [
        sounds.silence(rng.choice((0.0, rng.uniform(0, 0.4), rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0, 3))))
    ]
    segments: list[Segment] = []
    for index, (samples, segment) in enumerate(parts):
        if index:
            pieces.append(sounds.silence(rng.choice((rng.uniform(0.5, 1.2), rng.uniform(0.5, 2.5)))))
        at = sum(map(len, pieces)) / SAMPLE_RATE
        segments.append(moved(segment, at))
        pieces.append(samples)
    pieces.append(sounds.silence(rng.choice((0.0, rng.uniform(0, 0.4), rng.uniform(0.2, 1.5), rng.uniform(0, 3)))))
    return Recording(np.concatenate(pieces), parts[0][1].phrase.language, tuple(segments))


def moved(segment: Segment, seconds: float) -> Segment:
    """The segment, so much later."""
    words, phonemes = (
        tuple(Span(name, start + seconds, end + seconds) for name, start, end in spans)
        for spans in (segment.words, segment.phonemes)
    )
    start, end = segment.start + seconds, segment.end + seconds
    return Segment(segment.phrase, segment.voice, start, end, words, phonemes)


def training_recording(rng: random.Random, noise: np.random.Generator) -> Recording:
    """One recording as training draws it."""
    if rng.random() < _NOT_SPEECH:
        return Recording(sounds.not_speech(rng, noise), "en", ())
    language = "de" if rng.random() < _GERMAN else "en"
    count = rng.choice((2, 2, 2, 3, 3, 4, 6, 10)) if rng.random() < _SEVERAL_PHRASES else 1
    voice = training_voice(rng, language)
    parts = []
    for _ in range(count):
        speaks = training_voice(rng, language) if rng.random() < _OTHER_VOICE else voice
        parts.append(spoken(rng, draw_phrase(rng, language), speaks))
    recording = joined(rng, parts)
    return Recording(sounds.distort(rng, noise, recording.samples), language, recording.segments)


def features(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel features exactly as faster-whisper makes them, without the frame that it adds."""
    return _extract(samples)[:, :-1]


def training_examples(count: int, seed: int, workers: int) -> list[Example]:
    """So many examples; the same seed gives the same ones, whatever the number of processes."""
    chunks = range(0, count, _CHUNK)
    with ProcessPoolExecutor(workers) as pool:
        made = pool.map(partial(_chunk, seed=seed), chunks)
        examples: list[Example] = []
        for part in made:
            examples += part
            if len(examples) % 5000 == 0:
                print("recordings", len(examples), flush=True)
    return examples[:count]


def _chunk(first: int, seed: int) -> list[Example]:
    rng, noise = random.Random(f"{seed}/{first}"), np.random.default_rng((seed, first))
    examples: list[Example] = []
    while len(examples) < _CHUNK:
        recording = training_recording(rng, noise)
        if len(recording.samples) > _LONGEST_SECONDS * SAMPLE_RATE:
            continue
        mel = features(recording.samples)[:, : int(WINDOW_SECONDS * FRAMES_PER_SECOND)]
        examples.append(Example(mel.astype(np.float16), recording.language, recording.segments))
    return examples
