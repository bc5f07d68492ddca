"""Measures a speech model directory through faster-whisper, on voices that no training recording has.

Every recording is new. Word error rates are jiwer's; "exact" is the share of recordings without an error.
"""

import io
import random
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jiwer
import numpy as np
from faster_whisper import WhisperModel, decode_audio

from training.speech import sounds
from training.speech.espeak import SAMPLE_RATE
from training.speech.grammar import Phrase, random_words, sentence
from training.speech.recordings import Recording, Segment, joined, spoken
from training.speech.voices import HELD_OUT_ACCENTS, HELD_OUT_PLAIN, HELD_OUT_VARIANTS, held_out_voice

_SEED = "evaluation"
_LONGEST_SECONDS = 25.0

Rng = random.Random
Make = Callable[[Rng], Recording]


class Case(NamedTuple):
    """One row of the table: how its recordings are made, and what they are heard as."""

    name: str
    make: Make
    language: str = "en"
    task: str = "transcribe"


def _default(voice: str) -> Make:
    """As `espeak-ng -w` writes it: 22,050 Hz, its own pace and pitch, no silence added."""

    def make(rng: Rng) -> Recording:
        phrase = sentence(rng, voice[:2])
        written = subprocess.run(
            ["espeak-ng", "-v", voice, "--stdout", phrase.text], check=True, capture_output=True
        ).stdout
        samples = decode_audio(io.BytesIO(written))
        return Recording(samples, phrase.language, (Segment(phrase, voice, 0.0, 0.0, (), ()),))

    return make


def _phrases(
    language: str,
    *,
    least: int = 1,
    most: int = 1,
    draw: Callable[[Rng, str], Phrase] = sentence,
    voices: tuple[str, ...] = (),
    distorted: bool = False,
) -> Make:
    """So many phrases of one held-out voice, at any pace and pitch, with pauses between them."""

    def make(rng: Rng) -> Recording:
        voice = rng.choice(voices) if voices else held_out_voice(rng, language)
        while True:
            parts = [spoken(rng, draw(rng, language), voice) for _ in range(rng.randint(least, most))]
            recording = joined(rng, parts)
            if len(recording.samples) <= _LONGEST_SECONDS * SAMPLE_RATE:
                break
        if not distorted:
            return recording
        noise = np.random.default_rng(rng.randrange(2**32))
        return Recording(sounds.distort(rng, noise, recording.samples), language, recording.segments)

    return make


def _not_speech(rng: Rng) -> Recording:
    return Recording(sounds.not_speech(rng, np.random.default_rng(rng.randrange(2**32))), "en", ())


CASES = (
    Case("voice `en`, as `espeak-ng -w` writes it", _default(HELD_OUT_PLAIN["en"])),
    Case("`en-us` with held-out variants", _phrases("en", voices=tuple(f"en-us+{name}" for name in HELD_OUT_VARIANTS))),
    Case("held-out accents", _phrases("en", voices=HELD_OUT_ACCENTS)),
    Case("held-out voices, with noise, room, codec", _phrases("en", distorted=True)),
    Case("2 to 4 phrases with pauses", _phrases("en", least=2, most=4)),
    Case("5 to 9 phrases, up to 25 s", _phrases("en", least=5, most=9)),
    Case("random words, 1 to 5", _phrases("en", draw=random_words)),
    Case("German, voice `de`, as `espeak-ng -w` writes it", _default(HELD_OUT_PLAIN["de"]), "de"),
    Case("German, held-out voices", _phrases("de"), "de"),
    Case("German, 2 to 4 phrases", _phrases("de", least=2, most=4), "de"),
    Case("German to English", _phrases("de"), "de", "translate"),
    Case("German to English, 2 to 4 phrases", _phrases("de", least=2, most=4), "de", "translate"),
)


class Figures(NamedTuple):
    """What was measured for one case."""

    word_error_rate: float
    exact: float
    language_right: float
    time_error: float | None
    lowest_log_probability: float
    fallbacks: float
    highest_no_speech: float


def measure(
    model: WhisperModel, case: Case, count: int, **options: object
) -> tuple[Figures, list[tuple[str, str, str]]]:
    """The figures of so many recordings, and the wrong ones as (voice, said, heard)."""
    rng = Rng(f"{_SEED} {case.name}")
    said, heard, wrong, time_errors, log_probabilities, no_speech = [], [], [], [], [], []
    languages = fallbacks = 0
    for _ in range(count):
        recording = case.make(rng)
        stream, info = model.transcribe(recording.samples, task=case.task, **options)
        segments = list(stream)
        phrases = [segment.phrase for segment in recording.segments]
        said.append(" ".join((phrase.english or "") if case.task == "translate" else phrase.text for phrase in phrases))
        heard.append(" ".join(segment.text.strip() for segment in segments))
        if said[-1] != heard[-1]:
            wrong.append((recording.segments[0].voice, said[-1], heard[-1]))
        languages += info.language == case.language
        fallbacks += any(segment.temperature for segment in segments)
        log_probabilities += [segment.avg_logprob for segment in segments]
        no_speech += [segment.no_speech_prob for segment in segments]
        # A window's only segment begins, for faster-whisper, where the window does.
        if len(segments) == len(recording.segments) > 1:
            for true, found in zip(recording.segments, segments, strict=True):
                time_errors += [abs(true.start - found.start), abs(true.end - found.end)]
    figures = Figures(
        jiwer.wer(said, heard),
        1 - len(wrong) / count,
        languages / count,
        statistics.mean(time_errors) if time_errors else None,
        min(log_probabilities, default=0.0),
        fallbacks / count,
        max(no_speech, default=0.0),
    )
    return figures, wrong


def invented(model: WhisperModel, count: int, **options: object) -> Iterator[str]:
    """Whatever is heard in so many sounds without speech."""
    rng = Rng(_SEED)
    for _ in range(count):
        segments, _ = model.transcribe(_not_speech(rng).samples, **options)
        text = " ".join(segment.text.strip() for segment in segments)
        if text:
            yield text


def evaluate(path: Path, count: int, *, vad: bool = False) -> dict[str, object]:
    """Prints the table, with faster-whisper's default options but for voice activity detection; returns it."""
    model = WhisperModel(str(path), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
    table: dict[str, object] = {}
    print("word error rate, exact, language right, time error, lowest log probability, fallbacks, highest no-speech")
    for case in CASES:
        figures, wrong = measure(model, case, count, vad_filter=vad)
        table[case.name] = figures._asdict()
        print(f"{case.name:50}", *("-" if figure is None else f"{figure:.3f}" for figure in figures), flush=True)
        for voice, said, heard in wrong[:5]:
            print(f"    {voice}: {said} -> {heard}")
    texts = list(invented(model, 2 * count, vad_filter=vad))
    table["no speech"] = {"sounds": 2 * count, "with text": len(texts)}
    print(f"no speech: {2 * count} sounds, with text {len(texts)}", texts[:10], flush=True)
    return table
