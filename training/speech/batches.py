"""Batches for training: features, token ids with their targets, and which frames each token and label belongs to."""

import random
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.speech.espeak import Span
from training.speech.model import MELS, POSITIONS
from training.speech.recordings import WINDOW_SECONDS, Example, Segment
from training.speech.tokenizer import (
    END_OF_TEXT,
    NO_SPEECH,
    NO_TIMESTAMPS,
    PREVIOUS,
    START,
    TIMESTAMPS,
    TRANSCRIBE,
    TRANSLATE,
    token_id,
)

IGNORED = -100

_FRAMES, _MOST_ROWS, _OVERHEAD_FRAMES = 6000, 24, 80
# So many batches are of recordings of several phrases only: those are harder, and fewer of them fit into a batch.
_LONG_SHARE, _LONG_FRAMES = 0.4, 500
_POSITION_SECONDS = 0.02
# Times are told to the tenth of a second: the model is surer of them, and they are no less true than speech is sharp.
_TIME_STEP = 0.1
# faster-whisper lets no first timestamp be later than this.
_LATEST_FIRST_TIME = 1.0
# A phrase that begins so shortly before the window's end is not heard.
_UNHEARD_SECONDS = 0.3

_WITHOUT_TIMESTAMPS, _TRANSLATED, _ENGLISH_TRANSLATED = 0.3, 0.45, 0.08
_PROMPTED, _LONG_PROMPTS = 0.1, 0.05
_LONGEST_PROMPT = 223


@dataclass(slots=True)
class Row:
    """One example's tokens, the target after each, and the time that each belongs to and that comes next."""

    tokens: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    times: list[tuple[float, float] | None] = field(default_factory=list)

    def add(self, token: int, time: tuple[float, float] | None = None, *, is_target: bool = True) -> None:
        """Puts a token at the end, and makes it the target of the one before."""
        if self.tokens:
            self.targets[-1] = token if is_target else IGNORED
        self.tokens.append(token)
        self.targets.append(IGNORED)
        self.times.append(time)


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one step; `here` and `following` mark the positions of each token's own and next time."""

    mel: Tensor
    tokens: Tensor
    targets: Tensor
    here: Tensor
    following: Tensor
    phonemes: Tensor
    words: Tensor


class Batches:
    """A seeded source of batches of examples of like length."""

    def __init__(self, examples: list[Example], tokenizer: Tokenizer, seed: int) -> None:
        self._examples = sorted(examples, key=lambda example: example.mel.shape[1])
        self._lengths = [example.mel.shape[1] for example in self._examples]
        self._seed, self._rng = seed, random.Random(seed)
        spans = [segment for example in examples for segment in example.segments]
        self._phonemes = _numbered({span.name for segment in spans for span in segment.phonemes})
        self._words = _numbered({span.name for segment in spans for span in segment.words})
        self._id = lru_cache(maxsize=None)(lambda token: token_id(tokenizer, token))
        self._encode = lru_cache(maxsize=None)(lambda text: tokenizer.encode(f" {text}").ids)
        self._plain = [self._encode(word)[0] for word in self._words]

    @property
    def phoneme_classes(self) -> int:
        """How many phonemes there are, and none."""
        return len(self._phonemes) + 1

    @property
    def word_classes(self) -> int:
        """How many words there are, and none."""
        return len(self._words) + 1

    def go_on(self, step: int) -> None:
        """Draws other batches from here on than a run that begins at another step."""
        self._rng = random.Random(f"{self._seed}/{step}")

    def draw(self, longest_frames: int) -> Batch:
        """A batch of examples that are no longer than so many frames."""
        available = int(np.searchsorted(self._lengths, longest_frames, side="right"))
        least = int(np.searchsorted(self._lengths, _LONG_FRAMES)) if self._rng.random() < _LONG_SHARE else 0
        first = last = self._rng.randrange(min(least, available - 1), available)
        while last + 1 < available and last + 1 - first < _MOST_ROWS:
            if (last + 2 - first) * (self._lengths[last + 1] + _OVERHEAD_FRAMES) > _FRAMES:
                break
            last += 1
        examples = self._examples[first : last + 1]
        with_long_prompts = self._rng.random() < _LONG_PROMPTS
        rows = [self._row(example, with_long_prompts) for example in examples]
        mel = self._mel(examples)
        positions = mel.shape[2] // 2
        phonemes, words = (torch.zeros(len(rows), positions, dtype=torch.long) for _ in range(2))
        for index, example in enumerate(examples):
            for segment in example.segments:
                _label(phonemes[index], segment.phonemes, self._phonemes)
                _label(words[index], segment.words, self._words)
        return Batch(mel, *self._padded(rows), phonemes, words)

    def _mel(self, examples: list[Example]) -> Tensor:
        """The features, with a few frames and bands blotted out, so that no single one decides."""
        rng, frames = self._rng, max(example.mel.shape[1] for example in examples)
        mel = torch.zeros(len(examples), MELS, frames + frames % 2)
        for index, example in enumerate(examples):
            one = torch.from_numpy(example.mel.astype(np.float32)) + rng.uniform(-0.05, 0.05)
            length = one.shape[1]
            if rng.random() < 0.4:
                band = rng.randrange(MELS - 8)
                one[band : band + rng.randint(2, 8)] = one.mean()
            if rng.random() < 0.4:
                frame = rng.randrange(length)
                one[:, frame : frame + rng.randint(2, 6)] = one.mean()
            mel[index, :, :length] = one
        return mel

    def _padded(self, rows: list[Row]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        longest = max(len(row.tokens) for row in rows)
        tokens = torch.full((len(rows), longest), self._id(END_OF_TEXT))
        targets = torch.full((len(rows), longest), IGNORED)
        here, following = (torch.zeros(len(rows), longest, POSITIONS, dtype=torch.bool) for _ in range(2))
        for index, row in enumerate(rows):
            tokens[index, : len(row.tokens)] = torch.tensor(row.tokens)
            targets[index, : len(row.targets)] = torch.tensor(row.targets)
            for place, time in enumerate(row.times):
                if time is None:
                    continue
                start = int(time[0] / _POSITION_SECONDS)
                stop = max(start + 1, int(time[1] / _POSITION_SECONDS))
                here[index, place, start:stop] = True
                following[index, place - 1, start:stop] = True
        return tokens, targets, here, following

    def _row(self, example: Example, with_long_prompts: bool) -> Row:
        rng, row = self._rng, Row()
        if with_long_prompts or rng.random() < _PROMPTED:
            self._prompt(row, rng.randint(20, _LONGEST_PROMPT) if with_long_prompts else rng.randint(1, 12))
        row.add(self._id(START), is_target=False)
        if not example.segments:
            return self._nothing_said(row)
        heard = [one for one in example.segments if one.start < WINDOW_SECONDS - _UNHEARD_SECONDS]
        is_cut = heard[-1].end > WINDOW_SECONDS
        is_german = example.language == "de"
        can_translate = all(segment.phrase.english is not None for segment in heard)
        translates = can_translate and rng.random() < (_TRANSLATED if is_german else _ENGLISH_TRANSLATED)
        row.add(self._id(f"<|{example.language}|>"))
        row.add(self._id(TRANSLATE if translates else TRANSCRIBE), is_target=False)
        if rng.random() < _WITHOUT_TIMESTAMPS and not is_cut:
            row.add(self._id(NO_TIMESTAMPS), is_target=False)
            for segment in heard:
                self._text(row, segment, translates)
        else:
            self._timed_text(row, heard, translates)
        row.add(self._id(END_OF_TEXT))
        return row

    def _prompt(self, row: Row, length: int) -> None:
        """What came before: words, or phrases with their times, as faster-whisper hands them on from window to window."""
        row.add(self._id(PREVIOUS), is_target=False)
        timed, time = self._rng.random() < 0.5, 0
        while len(row.tokens) < length:
            words = [self._rng.choice(self._plain) for _ in range(self._rng.randint(2, 6))]
            if timed:
                start, time = time + self._rng.randint(0, 10), time + self._rng.randint(20, 40)
                words = [self._id(TIMESTAMPS[start * 5 % 1500]), *words, self._id(TIMESTAMPS[time * 5 % 1500])]
            for word in words:
                row.add(word, is_target=False)

    def _nothing_said(self, row: Row) -> Row:
        """No speech: so says the token after the start, and whatever is forced instead, the text is empty."""
        rng = self._rng
        row.add(self._id(rng.choice(("<|en|>", "<|en|>", "<|de|>"))))
        row.targets[-2] = self._id(NO_SPEECH)
        row.add(self._id(rng.choice((TRANSCRIBE, TRANSCRIBE, TRANSLATE))), is_target=False)
        is_timed = rng.random() >= _WITHOUT_TIMESTAMPS
        row.add(self._id(TIMESTAMPS[0] if is_timed else NO_TIMESTAMPS), is_target=is_timed)
        row.add(self._id(END_OF_TEXT))
        return row

    def _timed_text(self, row: Row, heard: list[Segment], translates: bool) -> None:
        """Each phrase between its two times. One that the window cuts is only begun: the next window will have it whole."""
        for index, segment in enumerate(heard):
            latest = _LATEST_FIRST_TIME if index == 0 else WINDOW_SECONDS
            self._time(row, min(segment.start, latest), (segment.start - _TIME_STEP / 2, segment.start + _TIME_STEP))
            if segment.end > WINDOW_SECONDS:
                return
            self._text(row, segment, translates)
            self._time(row, segment.end, (segment.end - _TIME_STEP, segment.end + _TIME_STEP / 2))

    def _time(self, row: Row, seconds: float, near: tuple[float, float]) -> None:
        steps = round(seconds / _TIME_STEP)
        row.add(self._id(TIMESTAMPS[min(POSITIONS, steps * 5)]), (max(0.0, near[0]), near[1]))

    def _text(self, row: Row, segment: Segment, translates: bool) -> None:
        if translates:
            for token in self._encode(segment.phrase.english):
                row.add(token)
            return
        for word in segment.words:
            row.add(self._encode(word.name)[0], (word.start, word.end))


def _numbered(names: set[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(sorted(names), start=1)}


def _label(labels: Tensor, spans: tuple[Span, ...], numbers: dict[str, int]) -> None:
    for name, start, end in spans:
        labels[int(start / _POSITION_SECONDS) : int(end / _POSITION_SECONDS)] = numbers[name]
