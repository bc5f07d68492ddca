"""Rendered text -> token ids, in segments that are encoded once and checked once.

A text is cut where the template writes a control string: tokenizers encode what lies between two of them on its own,
so a segment (a control string and the text up to the next one) has the same ids in every prompt. Each segment's
control ids must be those of the control strings that the template wrote in it, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bot.prompt.aside import Aside
from bot.prompt.guard import MARK, SPLICE_OPEN, Guard
from bot.prompt.memo import Memo
from bot.prompt.values import Tokenizing

_MEMO_CHARS = 16_000_000
"""About 100 conversations of 32k tokens."""
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


class Encoder:
    """Encodes segments with one vocabulary, and remembers those of the last `remembers` characters."""

    def __init__(self, vocabulary: Tokenizing, guard: Guard, aside: Aside, *, remembers: int = _MEMO_CHARS) -> None:
        self._vocabulary = vocabulary
        self._aside = aside
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

    async def segments(self, rendered: str, landmarks: Sequence[tuple[int, str]]) -> list[Segment | int]:
        """Cut a rendered text; a number stands for the generated ids of that turn.

        `landmarks`: where in it a control string or a splice mark begins, and which.
        """
        await self._learn_divides({text for _, text in landmarks if text[0] != SPLICE_OPEN})
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

    async def encode(self, segments: Sequence[Segment]) -> list[tuple[int, ...]]:
        """The ids of each segment, with one call for those not seen before. Raises ForgedError."""
        known = dict(zip(segments, self._memo.get_all(segments), strict=True))
        unseen = [segment for segment, ids in known.items() if ids is None]
        for segment, ids in zip(unseen, await self._encode_unseen(unseen) if unseen else [], strict=True):
            self._memo.put(segment, ids, len(segment.text))
            known[segment] = ids
        return [known[segment] or () for segment in segments]

    async def _encode_unseen(self, segments: Sequence[Segment]) -> list[tuple[int, ...]]:
        size = sum(len(segment.text) for segment in segments)
        splits = await self._aside.run(size, lambda: [self._split(segment) for segment in segments])
        found = await self._encode_parts([part for split in splits for part in split])
        return await self._aside.run(size, lambda: self._joined(splits, found))

    def _joined(self, splits: list[list[tuple[bool, str]]], found: list[list[int]]) -> list[tuple[int, ...]]:
        """The ids of each segment, from those of its parts. Raises ForgedError."""
        parts = iter(found)
        result = []
        for split in splits:
            ids: list[int] = []
            for _, text in split:
                part = next(parts)
                self._check(text, part)
                ids += part
            result.append(tuple(ids))
        return result

    async def _encode_parts(self, parts: Sequence[tuple[bool, str]]) -> list[list[int]]:
        """Encode each text; one that continues another, as if a line break were before it."""
        size = len(self._anchor)
        anchored = [size > 0 and continues for continues, _ in parts]
        texts = [_ANCHOR + text if after else text for after, (_, text) in zip(anchored, parts, strict=True)]
        found = await self._vocabulary.encode(texts) if texts else []
        if not any(anchored):
            return found
        lost = [i for i, ids in enumerate(found) if anchored[i] and tuple(ids[:size]) != self._anchor]
        alone = dict(zip(lost, await self._vocabulary.encode([parts[i][1] for i in lost]), strict=True)) if lost else {}
        return [alone[i] if i in alone else ids[size:] if anchored[i] else ids for i, ids in enumerate(found)]

    def _split(self, segment: Segment) -> list[tuple[bool, str]]:
        """The parts of a segment, each with whether it continues what is before it."""
        parts = enumerate(segment.text.split(MARK))
        return [(number > 0 or segment.continues, part) for number, part in parts if part]

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
