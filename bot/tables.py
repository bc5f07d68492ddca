"""Tables on the terminal, as the commands print them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

WIDTH = 200
"""Characters of a line where no terminal says how many it has."""


def show(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; where there is no terminal its lines are not folded to 80 characters.

    What would command a terminal becomes U+FFFD: some cells are words from outside.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*(escape(_printable(cell)) for cell in row))
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if known else WIDTH).print(table)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
