"""The Markdown parser that all platforms share, and what is asked of its tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.)[^\s<>]+", re.IGNORECASE)

_BAR = re.compile(r"(?<!\\)\|")
_BREAK = re.compile(r"\s*<br ?/?>\s*")


@cache
def parser() -> MarkdownIt:
    """CommonMark with tables and strike-through. HTML and link definitions stay visible as the text that they are."""
    markdown = MarkdownIt("commonmark", {"html": False})
    return markdown.enable(["table", "strikethrough"]).disable(["html_block", "html_inline", "reference"])


def lines(markdown: str) -> list[str]:
    """The source's lines, as the parser counts them."""
    return markdown.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def plain(children: Sequence[Token]) -> str:
    """The words of inline tokens, without any markup."""
    return "".join(_words(token) for token in children)


def rows(tokens: Sequence[Token], lines: Sequence[str]) -> list[list[str]]:
    """The cells of a table from its tokens, as plain words; `lines` are those of the whole source.

    Cells beyond the header's are kept, which GitHub's rules (and the parser) drop.
    """
    found: list[list[str]] = []
    line = ""
    for token in tokens:
        if token.type == "tr_open":
            found.append([])
            line = lines[token.map[0]] if token.map else ""
        elif token.type == "inline":
            found[-1].append(_one_line(token.children or []))
        elif token.type == "tr_close" and len(found) > 1:
            found[-1] += [_one_line(parser().parseInline(cell)[0].children or []) for cell in _cells(line, found)]
    return found


def _cells(line: str, found: Sequence[Sequence[str]]) -> list[str]:
    """The cells of a row's line beyond those of the first row."""
    cells = [cell.strip() for cell in _BAR.split(line.strip(" \t>"))]
    if cells and not cells[0]:
        del cells[0]
    if cells and not cells[-1]:
        del cells[-1]
    return cells[len(found[0]) :]


def _one_line(children: Sequence[Token]) -> str:
    return _BREAK.sub(" ", plain(children))


def deceives(label: str, target: str) -> bool:
    """Whether a link's words are an address of another host than the one it leads to."""
    named = _ADDRESS.search(label)
    return bool(named) and _host(named.group()) != _host(target) if named else False


def _host(address: str) -> str | None:
    whole = address if "://" in address else f"https://{address}"
    try:
        host = urlsplit(whole).hostname
    except ValueError:
        return None
    return host.removeprefix("www.") if host else None


def _words(token: Token) -> str:
    if token.type in ("softbreak", "hardbreak"):
        return " "
    if token.type == "image":
        return token.content or str(token.attrGet("src") or "")
    return token.content
