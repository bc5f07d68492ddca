"""The Markdown parser that all platforms share, and what is asked of its tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.)[^\s<>]+", re.IGNORECASE)


@cache
def parser() -> MarkdownIt:
    """CommonMark with tables and strike-through. HTML and link definitions stay visible as the text that they are."""
    markdown = MarkdownIt("commonmark", {"html": False})
    return markdown.enable(["table", "strikethrough"]).disable(["html_block", "html_inline", "reference"])


def plain(children: Sequence[Token]) -> str:
    """The words of inline tokens, without any markup."""
    return "".join(_words(token) for token in children)


def rows(tokens: Sequence[Token]) -> list[list[str]]:
    """The cells of a table from its tokens, as plain words."""
    found: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            found.append([])
        elif token.type == "inline":
            words = plain(token.children or [])
            found[-1].append(re.sub(r"\s*<br ?/?>\s*", " ", words))
    return found


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
