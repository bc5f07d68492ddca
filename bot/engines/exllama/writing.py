"""Generated ids -> text, as it may be told: whole characters, and nothing of what may become a stop string.

The libraries' own text is not used: when a stop token comes, both forget text that they held back as the possible
beginning of a stop string. Ids are given out with the text that they spell; those whose text is cut are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.generation import Delta, TokenLogprob

Logprobs = tuple[TokenLogprob, tuple[TokenLogprob, ...]]

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
LONGEST_CHARACTER = 8
"""Tokens: a character has at most four bytes, but a tokenizer may spell each with two. What is unfinished longer is none."""


class Decoder(Protocol):
    """`vocabulary.Vocabulary` is one."""

    def decode(self, ids: Sequence[int]) -> str:
        """What ids spell."""


@dataclass(slots=True)
class _Piece:
    """Text that is not out yet, with the ids that spell it."""

    text: str
    ids: tuple[int, ...]
    logprobs: tuple[Logprobs, ...]


class Writer:
    """The text of one generation."""

    def __init__(self, decoder: Decoder, stops: Sequence[str]) -> None:
        self._decoder = decoder
        self._stops = tuple(stops)
        self._context: list[int] = []
        """The ids before `_ids`, which their text depends on (a space at the beginning of a word)."""
        self._ids: list[int] = []
        """Ids whose text is not known yet: they end within a character."""
        self._logprobs: list[Logprobs] = []
        self._pieces: list[_Piece] = []
        self.stopped = False
        """A stop string came: nothing more is to be generated."""

    def feed(self, ids: Sequence[int], logprobs: Sequence[Logprobs] = ()) -> Delta:
        """The next ids -> what may be told by now; its text may be empty."""
        for n, id_ in enumerate(ids):
            if self.stopped:
                break
            self._ids.append(id_)
            self._logprobs += logprobs[n : n + 1]
            if (text := self._text()) is not None:
                self._keep(text)
        return Delta("") if self.stopped and not self._pieces else self._release()

    def finish(self) -> Delta:
        """What was held back, without a character that did not become whole."""
        if self.stopped:
            return Delta("")
        before, after = self._spelled()
        text = after[len(before) :].rstrip(REPLACEMENT)
        if text:  # whole characters before the broken one: their ids cannot be told apart from its
            self._pieces.append(_Piece(text, (), ()))
            self._look_for_stops()
        delta = _joined(self._pieces)
        self._pieces, self._ids = [], []
        return delta

    def _text(self) -> str | None:
        """What the waiting ids spell; None if they end within a character."""
        before, after = self._spelled()
        if after.endswith(REPLACEMENT) and len(self._ids) < LONGEST_CHARACTER:
            return None
        return after[len(before) :]

    def _spelled(self) -> tuple[str, str]:
        before = self._decoder.decode(self._context) if self._context else ""
        return before, self._decoder.decode([*self._context, *self._ids])

    def _keep(self, text: str) -> None:
        self._pieces.append(_Piece(text, tuple(self._ids), tuple(self._logprobs)))
        # what leaves no text (a control token) tells nothing of where a word begins
        self._context = self._ids if text else [*self._context, *self._ids][-LONGEST_CHARACTER:]
        self._ids, self._logprobs = [], []
        self._look_for_stops()

    def _look_for_stops(self) -> None:
        held = "".join(piece.text for piece in self._pieces)
        found = min((at for stop in self._stops if (at := held.find(stop)) >= 0), default=-1)
        if found >= 0:
            self.stopped = True
            self._cut(found)

    def _cut(self, end: int) -> None:
        """Leave the first `end` characters; the ids of a piece that is cut are not told."""
        left = []
        for piece in self._pieces:
            if len(piece.text) > end:
                if end > 0:
                    left.append(_Piece(piece.text[:end], (), ()))
                break
            left.append(piece)
            end -= len(piece.text)
        self._pieces = left

    def _release(self) -> Delta:
        """All whole pieces before the possible beginning of a stop string."""
        if self.stopped:
            out, self._pieces = self._pieces, []
            return _joined(out)
        held = "".join(piece.text for piece in self._pieces)
        safe = len(held) - max((_overlap(held, stop) for stop in self._stops), default=0)
        out = []
        while self._pieces and len(self._pieces[0].text) <= safe:
            safe -= len(self._pieces[0].text)
            out.append(self._pieces.pop(0))
        return _joined(out)


def _joined(pieces: Sequence[_Piece]) -> Delta:
    return Delta(
        "".join(piece.text for piece in pieces),
        tuple(id_ for piece in pieces for id_ in piece.ids),
        tuple(logprobs for piece in pieces for logprobs in piece.logprobs),
    )


def _overlap(text: str, stop: str) -> int:
    """How many of the last characters of `text` are the first of `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
