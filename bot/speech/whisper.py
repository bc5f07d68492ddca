"""One Whisper model on faster-whisper. Everything here blocks: `bot.speech.models` gives it threads."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from bot.config import SpeechConfig
from bot.errors import BadRequest, ModelError
from bot.speech import device
from bot.transcription import SAMPLE_RATE, Audio, Detected, Segment, Task, TranscribeOptions, Word

if TYPE_CHECKING:
    import numpy as np
    from faster_whisper import WhisperModel
    from faster_whisper.vad import SpeechTimestampsMap

    Samples = np.ndarray[Any, np.dtype[np.float32]]

log = structlog.get_logger(__name__)

LEAST_SECONDS = 0.3
"""What is shorter holds no word, but Whisper finds some in it."""
BLOCK_SECONDS = 600
"""Longer recordings are transcribed in blocks: the spectrogram of ten minutes takes 0.6 GB while it is made."""
SEAM_SECONDS = 30
"""A block ends at the most silent moment of its last seconds."""
QUIET_SECONDS = 0.25
FULL_SCALE = 2**15
"""Of signed 16-bit samples."""
MOST_THREADS = 4
"""Of one transcription, where the configuration says nothing: more were measured by the library to help little."""
GPU_BATCH = 8
"""Windows that a GPU decodes at once."""
WINDOW_SECONDS = 30
"""What Whisper hears at once: https://arxiv.org/abs/2212.04356, section 2.2."""
FRAMES = 100
"""A second of the spectrogram has so many."""
LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Temperatures of the reference: https://github.com/openai/whisper, `transcribe`."""
LEAST_LOGPROB, MOST_COMPRESSION, SILENT = -1.0, 2.4, 0.6
"""The reference's thresholds: a text that is less probable, or repeats itself more, is decoded again; improbable text where
probably nobody speaks is dropped."""
TURBO_MELS, TURBO_LAYERS = 128, 4
"""large-v3-turbo has large-v3's spectrogram and four decoder layers. It was fine-tuned without translations:
https://github.com/openai/whisper/discussions/2363."""
NO_MEMORY = "out of memory"
"""CTranslate2's `CUDA failed with error out of memory`, a RuntimeError."""
MONOLINGUAL = re.compile(r"turbo|distil|\.en$")
"""In names of models that were trained for one language, or not to translate."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording, in samples."""

    start: int
    end: int


class Whisper:
    """A loaded model. Safe to call from several threads."""

    def __init__(self, name: str, model: WhisperModel, *, translates: bool, batch_size: int) -> None:
        self.name = name
        self._model = model
        self._translates = translates
        self._batch_size = batch_size

    def check(self, options: TranscribeOptions) -> None:
        """Raises BadRequest for what this model cannot do."""
        if options.language is not None and options.language not in self._model.supported_languages:
            raise BadRequest(f"The speech model does not know the language {options.language!r}.", param="language")
        if options.task is Task.TRANSLATE and not self._translates:
            name = Path(self.name).name  # a folder's path is nobody else's business
            raise BadRequest(f"The speech model {name} was not trained to translate.", param="model")

    def transcribe(self, audio: Audio, options: TranscribeOptions) -> Iterator[Detected | Segment]:
        """The language, if there is speech, and the segments as they are found: at least one window lies between two.

        Closing the iterator ends the work. Raises BadRequest.
        """
        import numpy as np

        self.check(options)
        if audio.duration < LEAST_SECONDS:
            return
        pcm = np.frombuffer(audio.pcm, np.int16)
        detected: Detected | None = None
        for start, end in _blocks(pcm):
            given = options.language or (detected.language if detected else None)
            for item in self._block(_floats(pcm[start:end]), options, given):
                if isinstance(item, Detected):
                    if detected is None:
                        detected = item
                        yield item
                else:
                    yield _later(item, start / SAMPLE_RATE)

    def _block(
        self, samples: Samples, options: TranscribeOptions, language: str | None
    ) -> Iterator[Detected | Segment]:
        batched = self._batch_size > 1 and len(samples) > 2 * WINDOW_SECONDS * SAMPLE_RATE
        return (self._batched if batched else self._in_turn)(samples, options, language)

    def _in_turn(
        self, samples: Samples, options: TranscribeOptions, language: str | None
    ) -> Iterator[Detected | Segment]:
        """Window after window; faster-whisper climbs the ladder itself."""
        ladder = LADDER if options.temperature == 0 else (options.temperature,)
        segments, info = self._model.transcribe(
            samples, vad_filter=True, language=language, temperature=ladder, **_common(options)
        )
        if info.duration_after_vad:
            yield _detected(info)
        for segment in segments:
            yield _segment(segment, segment.temperature or 0.0)

    def _batched(
        self, samples: Samples, options: TranscribeOptions, language: str | None
    ) -> Iterator[Detected | Segment]:
        """Several windows at once at the first temperature; those that fail the thresholds then in turn at the others."""
        from faster_whisper import BatchedInferencePipeline
        from faster_whisper.vad import SpeechTimestampsMap

        spoken = _spoken(samples)
        if not spoken:
            return
        packed, windows = _packed(samples, spoken), _windows(spoken)
        times = SpeechTimestampsMap([{"start": each.start, "end": each.end} for each in spoken], SAMPLE_RATE)
        found, info = BatchedInferencePipeline(self._model).transcribe(
            packed,
            language=language,
            temperature=options.temperature,
            batch_size=self._batch_size,
            without_timestamps=False,
            clip_timestamps=[_seconds(window) for window in windows],
            **_common(options),
        )
        yield _detected(info)
        by_seek = {_frames(window.start / SAMPLE_RATE): window for window in windows}
        for seek, first in groupby(found, key=lambda segment: segment.seek):  # a batch is decoded when it is asked for
            for segment in self._trusted(packed, by_seek[seek], list(first), options, info.language):
                yield _restored(segment, times)

    def _trusted(
        self,
        samples: Samples,
        window: Stretch,
        first: Sequence[Any],
        options: TranscribeOptions,
        language: str,
    ) -> Iterator[Segment]:
        """A window's segments as they were `first` found, or decoded again if they fail the thresholds."""
        if _fails(first) and _is_silent(first):
            return
        if options.temperature or not _fails(first):
            yield from (_segment(segment, options.temperature) for segment in first)
        else:
            again, _ = self._model.transcribe(
                samples[window.start : window.end],
                vad_filter=False,
                language=language,
                temperature=LADDER[1:],
                **_common(options),
            )
            yield from (
                _later(_segment(segment, segment.temperature or 0.0), window.start / SAMPLE_RATE) for segment in again
            )


def load(name: str, config: SpeechConfig, cache: Path) -> Whisper:
    """Load a model by its name, its directory or its repository. Raises ModelError, in one line that names it."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as for llama.cpp, whose threads share the machine
    from faster_whisper import WhisperModel

    where = config.path_of(name)
    kind, index = device.choose(config.device)

    def opened(kind: str, index: int, compute_type: str) -> WhisperModel:
        return WhisperModel(
            str(where),
            device=kind,
            device_index=index,
            compute_type=compute_type,
            cpu_threads=config.threads or min(MOST_THREADS, os.cpu_count() or 1),
            num_workers=config.workers,
            download_root=str(cache),
            local_files_only=True,  # it was fetched before; whoever waits for this thread must not wait for a network
        )

    try:
        try:
            model = opened(kind, index, config.compute_type)
        except RuntimeError as error:
            if kind == "cpu" or NO_MEMORY not in str(error):
                raise
            log.warning("the GPU has no room for speech: it runs on the CPU", model=name)
            kind, model = "cpu", opened("cpu", 0, "default")  # a GPU's type of numbers may be none of the CPU's
    except Exception as error:
        raise ModelError(f"the speech model {name} cannot be loaded ({_one_line(error)})") from error
    batch_size = config.batch_size or (GPU_BATCH if kind == "cuda" else 1)
    translates = model.model.is_multilingual and not (
        MONOLINGUAL.search(Path(name).name) or _is_turbo(model, Path(where))
    )
    log.info("speech model loaded", model=name, device=kind, compute_type=model.model.compute_type)
    return Whisper(name, model, translates=translates, batch_size=batch_size)


def _is_turbo(model: WhisperModel, folder: Path) -> bool:
    try:
        heads = json.loads((folder / "config.json").read_text("utf-8"))["alignment_heads"]
        layers = max(layer for layer, _ in heads) + 1
    except (OSError, ValueError, KeyError, TypeError):  # a repository's name, which says it, or a model without them
        return False
    return bool(model.model.n_mels == TURBO_MELS and layers <= TURBO_LAYERS)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _common(options: TranscribeOptions) -> dict[str, Any]:
    return {
        "task": options.task.value,
        "initial_prompt": options.prompt or None,
        "word_timestamps": options.words,
        "log_prob_threshold": LEAST_LOGPROB,
        "compression_ratio_threshold": MOST_COMPRESSION,
        "no_speech_threshold": SILENT,
    }


def _fails(window: Sequence[Any]) -> bool:
    text = "".join(segment.text for segment in window).encode()
    ratio = len(text) / len(zlib.compress(text)) if text else 0.0
    return ratio > MOST_COMPRESSION or window[0].avg_logprob < LEAST_LOGPROB


def _is_silent(window: Sequence[Any]) -> bool:
    return bool(window[0].no_speech_prob > SILENT and window[0].avg_logprob < LEAST_LOGPROB)


def _floats(pcm: np.ndarray[Any, Any]) -> Samples:
    """As Whisper hears them: from -1 to 1."""
    samples = pcm.astype("float32")
    samples *= 1 / FULL_SCALE
    return samples


def _blocks(pcm: np.ndarray[Any, Any]) -> Iterator[tuple[int, int]]:
    start, most, seam = 0, BLOCK_SECONDS * SAMPLE_RATE, SEAM_SECONDS * SAMPLE_RATE
    while len(pcm) - start > most:
        end = start + most - seam + _quietest(_floats(pcm[start + most - seam : start + most]))
        yield start, end
        start = end
    yield start, len(pcm)


def _quietest(samples: Samples) -> int:
    """The middle of the most silent stretch."""
    length = int(QUIET_SECONDS * SAMPLE_RATE)
    energies = (samples[: len(samples) // length * length].reshape(-1, length) ** 2).sum(axis=1)
    return int(energies.argmin()) * length + length // 2


def _spoken(samples: Samples) -> list[Stretch]:
    """Where somebody speaks, in stretches of at most one window."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(max_speech_duration_s=WINDOW_SECONDS, min_silence_duration_ms=160)
    return [Stretch(found["start"], found["end"]) for found in get_speech_timestamps(samples, options)]


def _packed(samples: Samples, spoken: Sequence[Stretch]) -> Samples:
    """What is spoken, without the pauses: fewer windows hold it."""
    import numpy as np

    return np.concatenate([samples[each.start : each.end] for each in spoken])


def _windows(spoken: Sequence[Stretch]) -> list[Stretch]:
    """Windows of the packed samples, each of as many whole stretches as fit."""
    windows: list[Stretch] = []
    start = end = 0
    for each in spoken:
        length = each.end - each.start
        if end + length - start > WINDOW_SECONDS * SAMPLE_RATE:
            windows.append(Stretch(start, end))
            start = end
        end += length
    return [*windows, Stretch(start, end)]


def _seconds(window: Stretch) -> dict[str, float]:
    """As the library takes it: it rounds down to samples, and a bare quotient may be a little less than it should be."""
    return {"start": (window.start + 0.5) / SAMPLE_RATE, "end": (window.end + 0.5) / SAMPLE_RATE}


def _detected(info: Any) -> Detected:
    return Detected(info.language, float(info.language_probability))


def _segment(segment: Any, temperature: float) -> Segment:
    return Segment(
        start=float(segment.start),
        end=float(segment.end),
        text=segment.text,
        seek=int(segment.seek),
        tokens=tuple(segment.tokens),
        temperature=float(temperature),
        avg_logprob=float(segment.avg_logprob),
        compression_ratio=float(segment.compression_ratio),
        no_speech_prob=float(segment.no_speech_prob),
        words=tuple(_words(segment.words or ())),
    )


def _words(words: Iterable[Any]) -> Iterator[Word]:
    return (Word(float(word.start), float(word.end), word.word, float(word.probability)) for word in words)


def _frames(seconds: float) -> int:
    return int(seconds * FRAMES)


def _later(segment: Segment, seconds: float) -> Segment:
    if not seconds:
        return segment
    return replace(
        segment,
        start=segment.start + seconds,
        end=segment.end + seconds,
        seek=segment.seek + _frames(seconds),
        words=tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in segment.words),
    )


def _restored(segment: Segment, times: SpeechTimestampsMap) -> Segment:
    """With the times that a segment of packed samples has in the recording."""
    seek = _frames(times.get_original_time(segment.seek / FRAMES))
    if not segment.words:
        start, end = times.get_original_time(segment.start), times.get_original_time(segment.end, is_end=True)
        return replace(segment, start=start, end=end, seek=seek)
    words = []
    for word in segment.words:
        where = times.get_chunk_index((word.start + word.end) / 2)  # a word lies in one stretch
        start, end = (times.get_original_time(at, where) for at in (word.start, word.end))
        words.append(replace(word, start=start, end=end))
    return replace(segment, start=words[0].start, end=words[-1].end, seek=seek, words=tuple(words))
