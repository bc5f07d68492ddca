"""How much of a message's room a piece of Markdown takes: a bound that only grows as the text does."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

Measure = Callable[[str], int]
"""Markdown -> length on a platform, after its markup is parsed."""

ROW = 72
"""The least that a table's line takes: `tables.WIDEST` columns, the end of the line, and its share of a fence."""
_BEFORE_TABLE = "|a|b|\n|-|-|\n|cccccccccccccccccccccccc|d|\n|e|f|\n|g|h|"


class Scale:
    """Weighs Markdown so that what weighs no more than a limit is no longer than it by `measure`.

    Lengths on a platform shrink when a link or a bold word is closed; a cut that is to stay where it is while the text
    grows needs a measure that never does. So markup counts as text here: each character takes what it takes alone
    (one unit at least), and a line that may be a table's takes what it takes when its columns are aligned.
    """

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self._two, self._three, self._four, self.row = _units(measure)
        self._same = self._two == self._three == self._four == 1

    def weigh(self, text: str) -> int:
        """The weight of a text, table lines apart."""
        if self._same or text.isascii():
            return len(text)
        return sum(map(self._char, text))

    def _char(self, char: str) -> int:
        if char < "\x80":
            return 1
        if char < "\u0800":
            return self._two
        return self._three if char < "\U00010000" else self._four


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text) + sum(char > "\uffff" for char in text)


@lru_cache(maxsize=16)
def scale_of(measure: Measure) -> Scale:
    """The scale of a measure, made once: it is asked for with each answer, and a measure may be slow."""
    return Scale(measure)


def _units(measure: Measure) -> tuple[int, int, int, int]:
    """What a character of two, three and four bytes in UTF-8 takes, and a table's row."""
    two, three, four = (_unit(measure, char) for char in ("é", "字", "😀"))
    return two, three, four, ROW if measure(_BEFORE_TABLE) > len(_BEFORE_TABLE) else 0


def _unit(measure: Measure, char: str) -> int:
    return max(1, measure(f"x{char}x") - measure("xx"))
