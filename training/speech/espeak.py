"""Speech by libespeak-ng through ctypes, with the time of every word and phoneme.

The library knows when it says what, so nothing has to be aligned afterwards. It is not thread-safe.
"""

import ctypes
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

SAMPLE_RATE = 16_000

# Constants and structures of espeak-ng's speak_lib.h.
_SYNCHRONOUS, _PHONEME_EVENTS, _CHARACTERS, _UTF8 = 2, 1, 1, 1
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_EVENT_LIST_ENDS, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
# The library speaks at 22,050 Hz: 320/441 of that is 16,000 Hz.
_UP, _DOWN, _NATIVE_RATE = 320, 441, 22_050
_AUDIBLE = 1e-3


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Span(NamedTuple):
    """A word or phoneme, and its time in seconds."""

    name: str
    start: float
    end: float


class Utterance(NamedTuple):
    """Samples at 16 kHz without silence around them, and the spans of the words and phonemes in it."""

    samples: NDArray[np.float32]
    words: tuple[Span, ...]
    phonemes: tuple[Span, ...]


class Speaker:
    """The library, loaded; one per process (`speaker()`)."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        if self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS) != _NATIVE_RATE:
            raise RuntimeError("espeak-ng is not installed, or its data is missing")
        self._samples: list[NDArray[np.int16]] = []
        self._events: list[tuple[int, int, int, str]] = []
        self._callback = _Callback(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def say(
        self, text: str, voice: str, *, rate: int = 175, pitch: int = 50, range_: int = 50, gap: int = 0
    ) -> Utterance:
        """Speaks a text; the defaults are espeak-ng's own. `rate` is in words a minute, `gap` in units of 10 ms."""
        self._samples.clear()
        self._events.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice}")
        settings = ((_RATE, rate), (_VOLUME, 100), (_PITCH, pitch), (_RANGE, range_), (_WORD_GAP, gap))
        for parameter, value in settings:
            self._library.espeak_SetParameter(parameter, value, 0)
        raw = text.encode() + b"\0"
        if self._library.espeak_Synth(raw, len(raw), 0, _CHARACTERS, 0, _UTF8, None, None) != 0:
            raise RuntimeError(f"espeak-ng could not say {text!r} as {voice}")
        self._library.espeak_Synchronize()
        return self._utterance(text)

    def _collect(
        self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]"
    ) -> int:
        if samples and count > 0:
            self._samples.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_LIST_ENDS:
            event = events[index]
            if event.type in (_EVENT_WORD, _EVENT_PHONEME):
                name = event.id.decode(errors="replace") if event.type == _EVENT_PHONEME else ""
                self._events.append((event.type, event.text_position - 1, event.sample, name))
            index += 1
        return 0

    def _utterance(self, text: str) -> Utterance:
        native = np.concatenate(self._samples).astype(np.float32) / 32_768
        samples = resample_poly(native, _UP, _DOWN).astype(np.float32)
        loud = np.nonzero(np.abs(samples) > _AUDIBLE)[0]
        first, last = (loud[0], loud[-1] + 1) if len(loud) else (0, len(samples))
        end = float(last - first) / SAMPLE_RATE

        def seconds(sample: int) -> float:
            return min(end, max(0.0, sample / _NATIVE_RATE - first / SAMPLE_RATE))

        phonemes = [(name, seconds(sample)) for kind, _, sample, name in self._events if kind == _EVENT_PHONEME]
        starts = {position: seconds(sample) for kind, position, sample, _ in self._events if kind == _EVENT_WORD}
        return Utterance(samples[first:last], _word_spans(text, starts, end), _spans(phonemes, end))


@lru_cache(maxsize=1)
def speaker() -> Speaker:
    """This process's library."""
    return Speaker()


def _spans(starts: list[tuple[str, float]], end: float) -> tuple[Span, ...]:
    """Each lasts until the next one begins; what begins with an underscore is a pause."""
    ends = [start for _, start in starts[1:]] + [end]
    pairs = zip(starts, ends, strict=True)
    return tuple(Span(name, start, stop) for (name, start), stop in pairs if stop > start and not name.startswith("_"))


def _word_spans(text: str, starts: dict[int, float], end: float) -> tuple[Span, ...]:
    """The span of every word; words that the library tells as one share its time by their letters."""
    groups: list[tuple[float, list[str]]] = []
    position = 0
    for word in text.split(" "):
        if position in starts or not groups:
            groups.append((starts.get(position, 0.0), []))
        groups[-1][1].append(word)
        position += len(word) + 1
    spans: list[Span] = []
    for index, (start, words) in enumerate(groups):
        stop = groups[index + 1][0] if index + 1 < len(groups) else end
        letters = sum(map(len, words))
        edges = [start + (stop - start) * sum(map(len, words[:count])) / letters for count in range(len(words) + 1)]
        spans += map(Span, words, edges, edges[1:])
    return tuple(spans)
