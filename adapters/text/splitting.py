"""Splits Markdown into messages; also while it is being written: a message that is full never changes again."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import reduce

from adapters.text import breaks
from adapters.text.fences import OPENING, TICKS, TILDES, Fence, Place, dedent, indentation
from adapters.text.weights import Measure, Scale, scale_of

_VISIBLE = re.compile(r"\S")
_BEGINNING = Place()
_HEAVIEST = 4
"""No character takes more of a platform's limit."""
_SPECIAL = (TICKS, TILDES, "|")
"""What a text has one of whose weight is not that of its characters, or in which something stays open at a cut."""
_TRIES = 12
"""How often a part is cut shorter if it is longer on the platform than its weight said."""


@dataclass(frozen=True, slots=True)
class Part:
    """One message.

    `text` is source[start:stop] between two lines that may have been added, `opening` and `closing`, less the
    indentation that it has in common with the line or the fence that it begins with. Between one part's `stop` and the
    next one's `start` there is nothing but whitespace.
    """

    text: str
    start: int
    stop: int
    opening: str = ""
    closing: str = ""


def split(markdown: str, limit: int, measure: Measure) -> list[str]:
    """Cut Markdown into texts of at most `limit` by `measure`; nothing but whitespace is dropped. Empty for no text.

    Cut between paragraphs, or else lines, words, characters. A code fence is closed and opened again with its language.
    All but the last text stay the same whatever is appended to the Markdown. `measure` must not be much longer than the
    Markdown itself (tables apart). A limit too small for one character, or for a fence's own lines, is not held.
    """
    return [part.text for part in cut(markdown, limit, measure)]


def cut(markdown: str, limit: int, measure: Measure) -> list[Part]:
    """`split`, with where the parts come from."""
    return Splitter(limit, measure).update(markdown)


class Splitter:
    """`split` for a text that grows: what is full is remembered and not looked at again."""

    def __init__(self, limit: int, measure: Measure) -> None:
        self._limit = limit
        self._scale = scale_of(measure)
        self._full: list[Part] = []
        self._start = 0
        self._place = _BEGINNING
        self._dedent = 0

    def update(self, text: str) -> list[Part]:
        """The parts of the text, which begins with the text of the call before."""
        if not self._full and self._is_small(text):
            content = text.rstrip()
            return [Part(content, 0, len(content))]
        while True:
            if not self._skip_blank(text):
                return list(self._full)
            last = self._next(text)
            if last is not None:
                return [*self._full, last]

    def _is_small(self, text: str) -> bool:
        """Whether there is nothing to do for it: as most answers, far below the limit, and without fence, table or indentation."""
        weight = len(text) * _HEAVIEST
        return 0 < weight <= self._limit and not (text[0].isspace() or any(sign in text for sign in _SPECIAL))

    def _skip_blank(self, text: str) -> bool:
        """Go to the first visible character, within a fence to the beginning of its line. False if there is none."""
        found = _VISIBLE.search(text, self._start)
        if found is None:
            return False
        newline = text.rfind("\n", max(0, self._start - 1), found.start())
        if self._place.fence:
            self._start = max(self._start, newline + 1)
            return True
        if newline >= 0 or self._start == 0:
            self._dedent = indentation(text[newline + 1 : found.end()])
        self._start = found.start()
        return True

    def _next(self, text: str) -> Part | None:
        """Set the next full part aside, or return the last one, which is not full yet."""
        room = self._limit
        for _ in range(_TRIES):
            scan = _Scan(text, self._start, self._place, self._scale, room)
            stop, place = scan.cut() if scan.over is not None else (len(text), scan.end())
            part = self._part(text, stop, place, last=scan.over is None)
            length = self._length(part)
            if length <= self._limit or room == 1:
                break
            room = max(1, min(room - 1, room * self._limit // length))
        if scan.over is None:
            return part
        if part.stop > self._start:
            self._full.append(part)
            self._dedent = place.fence.indent if place.fence else 0
        self._start, self._place = stop, place
        return None

    def _length(self, part: Part) -> int:
        """On the platform; not asked for where the weight leaves no doubt, for it takes time."""
        return self._scale.measure(part.text) if len(part.text) * _HEAVIEST > self._limit else 0

    def _part(self, text: str, stop: int, place: Place, *, last: bool) -> Part:
        first = self._place.fence
        content = text[self._start : stop].rstrip()
        opening = f"{first.opening}\n" if first else ""
        closing = self._closing(content, place.fence, last=last) if place.fence else ""
        shown = "\n".join(_dedented(content.split("\n"), self._place, self._dedent)) if self._dedent else content
        return Part(opening + shown + closing, self._start, self._start + len(content), opening, closing)

    def _closing(self, content: str, fence: Fence, *, last: bool) -> str:
        """What closes the fence that is open behind the content; at the text's end it may be half written already."""
        *earlier, line = content.split("\n")
        place = reduce(Place.after, earlier, self._place)
        if last and place.before(line).fence and fence.may_close(line):
            return fence.missing(line)
        return "\n" + (fence.closing.lstrip(" ") if fence is self._place.fence else fence.closing)


def _dedented(lines: list[str], place: Place, columns: int) -> list[str]:
    """Lines without the indentation of the first, or of the fence they are in, as far as they share it."""
    shown: list[str] = []
    for number, line in enumerate(lines):
        in_first_fence = place.before(line).fence is not None and place.fence is not None
        if number and not in_first_fence and line.strip() and indentation(line) < columns:
            return shown + lines[number:]
        shown.append(dedent(line, columns) if number or in_first_fence else line)
        place = place.after(line)
    return shown


@dataclass(frozen=True, slots=True)
class _Break:
    """A place between two lines."""

    at: int
    rank: breaks.Rank
    weight: int
    place: Place


class _Scan:
    """One part's text read up to the first visible character with which it is too long (`over`), or to its end."""

    def __init__(self, text: str, start: int, place: Place, scale: Scale, room: int) -> None:
        self.text = text
        self.start = start
        self.room = room
        self.over: int | None = None
        self._scale = scale
        self._breaks: list[_Break] = []
        self._line, self._place = start, place
        self._weight = scale.weigh(place.fence.opening) + 1 if place.fence else 0
        self._read()

    def end(self) -> Place:
        """The place after the whole text; a fence that is too long for this limit is left open."""
        return self._reopenable(self._place.after(self.text[self._line :]))

    def cut(self) -> tuple[int, Place]:
        """The best place for a cut, and what is open there; uses nothing of the text behind `over`."""
        assert self.over is not None
        at, place = self._best(self.over)
        return at, self._reopenable(place)

    def _read(self) -> None:
        earlier, before = self._place, ""
        while True:
            end = self.text.find("\n", self._line)
            last, end = end < 0, end if end >= 0 else len(self.text)
            self.over = self._overflow(end)
            line = self.text[self._line : end if self.over is None else self.over + 1]
            if self._line > self.start:
                self._note(breaks.rank(earlier, self._place, before, line), line)
            if last or self.over is not None:
                return
            self._weight += self._row(line, self._place) + 1
            earlier, before = self._place, line
            self._place = self._place.after(line)
            self._line = end + 1

    def _note(self, found: breaks.Rank | None, line: str) -> None:
        if found is not None:
            self._breaks.append(_Break(self._line, found, self._weight, self._place.before(line)))

    def _overflow(self, end: int) -> int | None:
        """The first visible character of the line with which the part is too long."""
        view = self.text[self._line : min(end, self._line + self.room + 2)]
        if len(view) == end - self._line and self._with(view.rstrip()) <= self.room:
            return None
        low, high = 0, len(view)
        while low < high:
            middle = (low + high) // 2
            if self._with(view[: middle + 1]) > self.room:
                high = middle
            else:
                low = middle + 1
        found = _VISIBLE.search(self.text, self._line + low, end)
        return found.start() if found else None

    def _with(self, line: str) -> int:
        """The part's weight with this much of the present line, a fence closed. Grows with the line."""
        bare = self._weight + self._scale.weigh(line)
        if not line.strip():
            return bare
        row = self._weight + self._row(line, self._place)
        fence = self._place.before(line).fence
        if fence:
            closing = self._closing(fence)
            if fence.may_close(line):
                return max(row + len(fence.missing(line)), self._weight + closing)
            return row + closing
        if found := OPENING.match(line):
            return max(row, bare + min(len(found["prefix"]) + len(found["marker"]) + 1, self.room // 2))
        return row

    def _row(self, line: str, place: Place) -> int:
        """A line's weight, as a table's if it may be one; within a fence of another kind, backticks may be parted."""
        here = place.before(line)
        weight = self._scale.weigh(line)
        if here.fence:
            return weight if here.fence.marker == TICKS else weight + line.count(TICKS)
        is_row = "|" in line or (here.rows and line.strip())
        return max(weight, min(self._scale.row, self.room // 2)) if is_row else weight

    def _closing(self, fence: Fence) -> int:
        return min(self._scale.weigh(fence.closing) + 1, self.room // 2)

    def _reopenable(self, place: Place) -> Place:
        """A fence is closed and opened again if that leaves half of the room; at least without its language."""
        if place.fence is None:
            return place
        for fence in (place.fence, replace(place.fence, info="")):
            if self._scale.weigh(fence.opening + fence.closing) + 2 <= self.room // 2:
                return place if fence is place.fence else replace(place, fence=fence)
        return replace(place, fence=None)

    def _best(self, over: int) -> tuple[int, Place]:
        half = self.room // 2
        for wanted in breaks.Rank:
            fitting = [b for b in self._breaks if b.rank is wanted and b.weight >= half]
            if fitting:
                return fitting[-1].at, fitting[-1].place
        line = self.text[self._line : over + 1]
        in_fence = self._place.before(line).fence is not None
        protected = [] if in_fence else breaks.spans(line)
        starts = [] if OPENING.match(line) and not in_fence else breaks.words(line, protected)
        lowest = self._lowest()
        word = next((at for at in starts if at >= lowest), None)
        if word is not None and (self._with(line[:word]) >= half or not self._breaks):
            return self._within(word)
        if self._breaks:
            return self._breaks[-1].at, self._breaks[-1].place
        found = breaks.anywhere(line, lowest, protected)
        if found is not None:
            return self._within(found)
        return (self._line, self._place) if self._line > self.start else self._within(max(1, len(line) - 1))

    def _lowest(self) -> int:
        """The first place within the present line at which a cut leaves something visible before it."""
        found = _VISIBLE.search(self.text, self.start)
        assert found is not None
        return max(1, found.end() - self._line)

    def _within(self, at: int) -> tuple[int, Place]:
        return self._line + at, self._place.after(self.text[self._line : self._line + at])
