"""Where Markdown may be cut: between lines, between words, and in the last resort between characters."""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum

from adapters.text.fences import OPENING, Place

_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]")
_UNDERLINE = re.compile(r"[ \t>]*[-=|:][-=|: \t]*")
"""What makes the line above it a heading or the first row of a table; or the beginning of such a line."""
_BLOCK = re.compile(r"[#>+*=|`~-]|\d+[.)]")
"""What would begin another kind of block, or end one, at the start of a line."""
_WORD = re.compile(r"\s+(?=\S)")
_LONGEST_UNFINISHED = 500
"""A `[` further back than this is no link that is still being written."""
_MOST_FLAGS = 200
"""So many letters of flags in a row are counted; nobody sees more than that apart, and counting takes time."""

_TARGET = r"\((?:[^()\s]|\([^()\s]*+\))*+(?:[ \t]++\"[^\"\n]*+\")?+"
_WHOLE = re.compile(
    rf"!?\[(?:[^\[\]\n]|!?\[[^\[\]\n]*+\]\([^()\s]*+\))*+\]{_TARGET}\)|!?\[[^\[\]\n]*+\]{_TARGET}\)"
    r"|<[^<>\s]++>|`[^`\n]++`|https?://\S++|&#?\w{1,32};"
)
_UNFINISHED = re.compile(rf"!?\[[^\[\]\n]*+(?:\](?:{_TARGET})?+)?+\Z|<[^<>\s]*+\Z|https?://\S*+\Z|&#?\w{{0,32}}+\Z")


class Rank(IntEnum):
    """How good a place between two lines is for a cut; lower is better."""

    PARAGRAPH = 0
    LINE = 1
    CODE = 2


def rank(earlier: Place, here: Place, before: str, line: str) -> Rank | None:
    """How well a cut before `line` would do; None if it must not be. `line` may be its beginning only.

    `earlier` is the place before the line `before`, `here` the place after it.
    """
    if not line.strip():
        return None
    inside = here.before(line).fence
    if inside:
        opened_just_now = earlier.before(before).fence is None
        return None if opened_just_now or inside.may_close(line) else Rank.CODE
    if before.strip() and not here.fence and _UNDERLINE.fullmatch(line):
        return None
    closed_just_now = earlier.fence is not None
    if not before.strip() or closed_just_now or OPENING.match(line) or _HEADING.match(line):
        return Rank.PARAGRAPH
    return Rank.LINE


def spans(line: str) -> list[tuple[int, int]]:
    """Links, addresses, entities and code within a line, the last of them perhaps unfinished: begin and end."""
    found = [match.span() for match in _WHOLE.finditer(line)]
    tail = max(0, len(line) - _LONGEST_UNFINISHED)
    return found + [match.span() for match in _UNFINISHED.finditer(line, tail)]


def words(line: str, protected: list[tuple[int, int]]) -> list[int]:
    """Where words begin that a message could begin with, from the last to the first."""
    starts = [match.end() for match in _WORD.finditer(line)]
    return [at for at in reversed(starts) if not _within(at, protected) and not _BLOCK.match(line, at)]


def anywhere(line: str, lowest: int, protected: list[tuple[int, int]]) -> int | None:
    """The last place, not before `lowest`, between two characters that do not belong together."""
    down = range(len(line) - 1, lowest - 1, -1)
    apart = (at for at in down if line[at] not in "`~" and line[at - 1] != "\\" and not _within(at, protected))
    found = next((at for at in apart if _between_characters(line, at)), None)
    return found if found is not None else next((at for at in down if _between_characters(line, at)), None)


def _within(at: int, protected: list[tuple[int, int]]) -> bool:
    return any(begin < at < end for begin, end in protected)


def _between_characters(text: str, at: int) -> bool:
    """Whether a person sees the end of one character and the beginning of another here (after UAX #29)."""
    left, right = text[at - 1], text[at]
    if left == "\u200d" or unicodedata.combining(left) == 9:  # a joiner; a virama
        return False
    if _extends(right):
        return False
    if "\ud800" <= left <= "\udbff" and "\udc00" <= right <= "\udfff":
        return False
    return not (_is_regional(left) and _is_regional(right) and _regional_run(text, at) % 2)


def _extends(char: str) -> bool:
    """Whether a character belongs to the one before it: marks, joiners, skin tones, tags, vowels of Hangul."""
    if char < "\u0300":
        return False
    return (
        unicodedata.category(char)[0] == "M"
        or char in "\u200c\u200d"
        or "\U0001f3fb" <= char <= "\U0001f3ff"
        or "\U000e0020" <= char <= "\U000e007f"
        or "\u1160" <= char <= "\u11ff"
    )


def _is_regional(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _regional_run(text: str, at: int) -> int:
    begin = at
    while begin > max(0, at - _MOST_FLAGS) and _is_regional(text[begin - 1]):
        begin -= 1
    return at - begin
