"""Where code fences, lists and tables are in Markdown, line by line, known from the text so far alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

TICKS, TILDES = "```", "~~~"
"""What every line that opens a code fence has one of."""
OPENING = re.compile(
    r"(?P<prefix>(?:[ \t]*+(?:>|(?:[-*+]|\d{1,9}[.)])(?=[ \t])))*+[ \t]*+)(?P<marker>`{3,}+|~{3,}+)(?P<info>.*)",
    re.DOTALL,
)
"""A line that opens a code fence, within quotes and list items (CommonMark 0.31, section 4.5)."""
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)")
_QUOTE = re.compile(r"(?:[ \t]*>)*")
_CODE_INDENT = 4
"""So many columns make a line indented code, within which no fence opens (CommonMark 0.31, section 4.4)."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A code fence that is open."""

    marker: str
    info: str
    quotes: int
    """How many `>` its lines begin with."""
    indent: int
    """Columns before its marker; they are the list item's, not the code's."""
    inside: int
    """A line with less indentation ends the list item that the fence is in, and the fence with it."""

    @property
    def opening(self) -> str:
        """The line that opens it again in another message."""
        return "> " * self.quotes + self.marker + self.info

    @property
    def closing(self) -> str:
        """The line that closes it."""
        return "> " * self.quotes + " " * self.inside + self.marker

    def missing(self, line: str) -> str:
        """What makes a line that may close the fence do so."""
        return self.marker[len(_bare(line, self.quotes)) :]

    def ends_before(self, line: str) -> bool:
        """Whether this line is outside although nothing closed the fence: its quote or list item is over."""
        if not line.strip():
            return False
        if self.quotes:
            return line.lstrip()[:1] != ">"
        return indentation(line) < self.inside

    def may_close(self, line: str) -> bool:
        """Whether a line is the closing one, or may become it as it goes on."""
        bare = _bare(line, self.quotes)
        if not self.quotes and indentation(line) >= self.inside + _CODE_INDENT:
            return False
        return bool(bare) and not bare.strip(self.marker[0])

    def closes(self, line: str) -> bool:
        """Whether a whole line is the closing one."""
        return self.may_close(line) and len(_bare(line, self.quotes)) >= len(self.marker)


@dataclass(frozen=True, slots=True)
class Place:
    """What the lines so far have opened."""

    fence: Fence | None = None
    item: int = 0
    """Columns at which the text of the present list item begins; 0 outside of lists."""
    rows: bool = False
    """Since the last empty line there was a `|`: this may be a table."""

    def before(self, line: str) -> Place:
        """The place as this line finds it: a fence may be over without a closing line."""
        return replace(self, fence=None) if self.fence and self.fence.ends_before(line) else self

    def after(self, line: str) -> Place:
        """The place behind a line (without its newline)."""
        here = self.before(line)
        if here.fence:
            return replace(here, fence=None) if here.fence.closes(line) else here
        if not line.strip():
            return replace(here, rows=False)
        here = replace(here, item=_item(line, here.item), rows=here.rows or "|" in line)
        return replace(here, fence=_opened(line, here.item))


def indentation(line: str) -> int:
    """Columns before the first visible character; a tab goes to the next multiple of 4."""
    expanded = line.expandtabs(_CODE_INDENT)
    return len(expanded) - len(expanded.lstrip())


def dedent(line: str, columns: int) -> str:
    """The line without its first `columns` spaces, or as many of them as there are."""
    return line[min(columns, len(line) - len(line.lstrip(" "))) :]


def _bare(line: str, quotes: int) -> str:
    return (line[_quoted(line) :] if quotes else line).strip()


def _quoted(line: str) -> int:
    found = _QUOTE.match(line)
    return found.end() if found else 0


def _item(line: str, item: int) -> int:
    """Where the text of the list item begins that this line is in."""
    if found := _ITEM.match(line):
        return len(found.group().expandtabs(_CODE_INDENT))
    return item if indentation(line) >= min(item, 2) else 0


def _opened(line: str, item: int) -> Fence | None:
    found = OPENING.match(line)
    if found is None or (found["marker"][0] == "`" and "`" in found["info"]):
        return None
    prefix = found["prefix"]
    quotes = prefix.count(">")
    indent = 0 if quotes else len(prefix.expandtabs(_CODE_INDENT))
    if not prefix.strip() and indent >= item + _CODE_INDENT:
        return None
    inside = 0 if quotes or indent < item else item
    return Fence(found["marker"], found["info"].strip(), quotes, indent, inside)
