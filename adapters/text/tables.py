"""Tables as lines of text in columns, for platforms that have no tables of their own."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

WIDEST = 64
"""Columns; a wider table is not aligned, since a phone shows some 40 and folds the rest."""


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first one the header, as lines."""
    columns = list(zip_longest(*rows, fillvalue=""))
    widths = [max(map(width, column)) for column in columns]
    if sum(widths) + 3 * (len(widths) - 1) > WIDEST:
        return "\n".join(" | ".join(_without_empty_end(row)) for row in rows)
    lines = [" | ".join(_padded(cell, wide) for cell, wide in zip(row, widths, strict=False)).rstrip() for row in rows]
    return "\n".join([lines[0], "-+-".join("-" * wide for wide in widths), *lines[1:]])


def width(text: str) -> int:
    """Columns of a terminal or a code block: East Asian characters and emoji take two, marks none."""
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _without_empty_end(row: Sequence[str]) -> Sequence[str]:
    return row[: max((number for number, cell in enumerate(row, 1) if cell), default=0)]


def _padded(cell: str, wide: int) -> str:
    return cell + " " * (wide - width(cell))
