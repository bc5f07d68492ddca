"""Rendered text -> token ids, in segments that are encoded once and checked once.

A text is cut where the template writes a control string: tokenizers encode what lies between two of them on its own,
so a segment (a control string and the text up to the next one) has the same ids in every prompt. Each segment's
control ids must be those of the control strings that the template wrote in it, and no others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bot import aside
from bot.prompt.guard import MARK, SPLICE_OPEN, Guard, clean
from bot.prompt.memo import Memo
from bot.prompt.values import Tokenizing

_MEMO_CHARS = 16_000_000
"""About 100 conversations of 32k tokens."""
USUAL_TOKEN = 8
"""Characters: a text with more of them for each token that it may have is probably too long."""
AT_A_BORDER = 16
"""So many tokens more may come of a text that is cut in two, in a run of one character for instance."""
_ANCHOR = "\n"
"""Before a part that continues a text, where a tokenizer puts a space before what it takes for a beginning."""
_STRANGE = ("\U0010fffd", "\U000f8a31", "\ue7a5", "\U00012ff9")
"""Characters that no vocabulary holds: their id, where a tokenizer has no byte fallback, is the unknown token's."""


class ForgedError(Exception):
    """A segment has control ids that the template did not write."""


class Segment(NamedTuple):
    """A stretch of rendered text, with marks where it is to be split."""

    text: str
    continues: bool = False
    """It goes on where generated ids ended."""


@dataclass(frozen=True, slots=True)
class _Split:
    """Segments in parts, which are encoded each by itself."""

    segments: list[tuple[Segment, int]]
    """With the number of their parts."""
    texts: list[str]
    """Of all parts, none of them empty."""
    anchored: list[bool]
    """Whether a part continues what is before it, where that has to be shown to the tokenizer."""

    def after_anchors(self) -> list[str]:
        """The texts as they are encoded, each that continues another as if a line break were before it."""
        return [_ANCHOR + text if after else text for after, text in zip(self.anchored, self.texts, strict=True)]


class Encoder:
    """Encodes segments with one vocabulary, and remembers those of the last `remembers` characters."""

    def __init__(self, vocabulary: Tokenizing, guard: Guard, *, remembers: int = _MEMO_CHARS) -> None:
        self._vocabulary = vocabulary
        self._guard = guard
        self._ids_of: dict[str, int] = {}
        self._control: frozenset[int] = frozenset()
        self._anchor: tuple[int, ...] = ()
        self._divides: dict[str, bool] = {}
        self._memo: Memo[Segment, tuple[int, ...]] = Memo(remembers)

    async def prepare(self) -> None:
        """Learn the control strings' ids and the tokenizer's habits."""
        strings = sorted(self._guard.strings)
        probes = [*strings, _ANCHOR, "a", _ANCHOR + "a", *_STRANGE]
        found = await self._vocabulary.encode(probes)
        self._ids_of = {string: ids[0] for string, ids in zip(strings, found, strict=False) if len(ids) == 1}
        anchor, letter, both = found[len(strings) : len(strings) + 3]
        self._anchor = () if [*anchor, *letter] == both else tuple(anchor)
        unknown = {token_id for ids in found[-len(_STRANGE) :] for token_id in ids}
        self._control = frozenset(self._ids_of.values()) - unknown

    def has_control(self, ids: Iterable[int]) -> bool:
        """Whether a control id is among these."""
        return not self._control.isdisjoint(ids)

    async def segments(self, rendered: str, landmarks: Sequence[tuple[int, str]], size: int) -> list[Segment | int]:
        """Cut a rendered text; a number stands for the generated ids of that turn.

        `landmarks`: where in it a control string or a splice mark begins, and which. `size`: how much work it is, in
        characters.
        """
        strings = await aside.run(size, lambda: {text for _, text in landmarks if text[0] != SPLICE_OPEN})
        await self._learn_divides(strings)
        return await aside.run(size, lambda: self._cut(rendered, landmarks))

    def _cut(self, rendered: str, landmarks: Sequence[tuple[int, str]]) -> list[Segment | int]:
        result: list[Segment | int] = []
        begin, continues = 0, False
        for start, text in landmarks:
            splice = text[0] == SPLICE_OPEN
            if not splice and not self._divides[text]:
                continue
            if start > begin:
                result.append(Segment(rendered[begin:start], continues))
            begin, continues = start, False
            if splice:
                result.append(int(text[1:-1]))
                begin, continues = start + len(text), True
        if begin < len(rendered):
            result.append(Segment(rendered[begin:], continues))
        return result

    async def exceeds(self, text: str, most: int) -> bool:
        """Whether a text has more tokens than that. Of one that is much longer so many are counted and no more, in pieces.

        False where it is short enough to be encoded at once.
        """
        if len(text) <= most * USUAL_TOKEN:
            return False
        count = 0
        for step in aside.steps(text):
            [ids] = await self._vocabulary.encode([clean(step)])
            count += len(ids) - AT_A_BORDER
            if count > most:
                return True
        return False

    async def encode(self, segments: Sequence[Segment], size: int) -> list[tuple[int, ...]]:
        """The ids of each segment, with one call for those not seen before; `size` as above. Raises ForgedError."""
        known, split = await aside.run(size, lambda: self._looked_up(segments))
        found = await self._encode_parts(split, size) if split.texts else []
        return await aside.run(size, lambda: self._joined(segments, known, split, found))

    def _looked_up(self, segments: Sequence[Segment]) -> tuple[dict[Segment, tuple[int, ...] | None], _Split]:
        """What is known of segments, and the others in parts."""
        known = dict(zip(segments, self._memo.get_all(segments), strict=True))
        split = _Split([], [], [])
        for segment, ids in known.items():
            if ids is not None:
                continue
            parts = segment.text.split(MARK)
            anchored = [bool(self._anchor) and (number > 0 or segment.continues) for number in range(len(parts))]
            split.segments.append((segment, sum(map(bool, parts))))
            split.texts.extend(filter(None, parts))
            split.anchored.extend(after for after, part in zip(anchored, parts, strict=True) if part)
        return known, split

    def _joined(
        self,
        segments: Sequence[Segment],
        known: dict[Segment, tuple[int, ...] | None],
        split: _Split,
        found: Sequence[list[int]],
    ) -> list[tuple[int, ...]]:
        """The ids of each segment, those not seen before from those of their parts. Raises ForgedError."""
        parts = zip(split.texts, found, strict=True)
        made = []
        for segment, number in split.segments:
            ids: list[int] = []
            for text, part in itertools.islice(parts, number):
                self._check(text, part)
                ids += part
            made.append((segment, tuple(ids)))
        for segment, whole in made:
            self._memo.put(segment, whole, len(segment.text))
            known[segment] = whole
        return [known[segment] or () for segment in segments]

    async def _encode_parts(self, split: _Split, size: int) -> list[list[int]]:
        """The ids of each text."""
        if not any(split.anchored):
            return await self._vocabulary.encode(split.texts)
        found = await self._vocabulary.encode(await aside.run(size, split.after_anchors))
        lost = await aside.run(size, lambda: self._lost(split, found))
        alone = await self._vocabulary.encode([split.texts[number] for number in lost]) if lost else []
        return await aside.run(size, lambda: self._without_anchors(split, found, dict(zip(lost, alone, strict=True))))

    def _lost(self, split: _Split, found: Sequence[list[int]]) -> list[int]:
        """Which parts took the anchor before them along."""
        anchored = zip(split.anchored, found, strict=True)
        size = len(self._anchor)
        return [i for i, (after, ids) in enumerate(anchored) if after and tuple(ids[:size]) != self._anchor]

    def _without_anchors(
        self, split: _Split, found: Sequence[list[int]], alone: Mapping[int, list[int]]
    ) -> list[list[int]]:
        """`alone`: the ids of those that took it along."""
        anchored = zip(split.anchored, found, strict=True)
        size = len(self._anchor)
        return [alone[i] if i in alone else ids[size:] if after else ids for i, (after, ids) in enumerate(anchored)]

    def _check(self, text: str, ids: Sequence[int]) -> None:
        """Raise ForgedError unless the control ids are those of the control strings in the text."""
        expected = [self._ids_of[string] for string in self._guard.find(text) if string in self._ids_of]
        if [i for i in ids if i in self._control] != [i for i in expected if i in self._control]:
            raise ForgedError

    async def _learn_divides(self, strings: set[str]) -> None:
        """Find out which control strings take white space before them along, so that a text cannot be cut there."""
        unseen = sorted(strings - self._divides.keys())
        if not unseen:
            return
        before = "a \n "
        alone, *found = await self._vocabulary.encode([before, *(before + string for string in unseen)])
        for string, ids in zip(unseen, found, strict=True):
            self._divides[string] = string in self._ids_of and ids == [*alone, self._ids_of[string]]
