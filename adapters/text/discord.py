"""Markdown -> Discord's own Markdown.

Mentions stay as text here; that they ping nobody is the adapter's part (`AllowedMentions.none()`).
"""

from __future__ import annotations

import re

from markdown_it.token import Token

from adapters.text import markdown as md
from adapters.text.fences import TICKS
from adapters.text.tables import aligned
from adapters.text.weights import utf16_length

_CHANGED = re.compile(r"^[ \t>]*\|?[ \t]*:?-[-| :\t]*$|~~~|````|^[ \t]*#{4}", re.MULTILINE)
"""Without any of these (a table's second row, a fence or heading that Discord does not know) the text stays as it is."""
_LINK = re.compile(r"(?s:```.*?(?:```|\Z))|`[^`\n]*`|(?P<link>!?\[(?P<label>[^\[\]\n]*+)\]\((?P<target>[^()\s]++)\))")
_DEEP_HEADING = re.compile(r"^([ \t>]*)#{4,6}(?=[ \t])")
_INFO = re.compile(r"[\w+#.-]*")


def discord_markdown(markdown: str) -> str:
    """The text as it is, but for what Discord would show as signs.

    Tables become code blocks, every fence one of three backticks, deep headings third ones, and a link whose words are
    another address is shown with its own.
    """
    text = _blocks(markdown) if _CHANGED.search(markdown) else markdown
    return _LINK.sub(_honest, text) if "](" in text else text


def discord_length(markdown: str) -> int:
    """Length against Discord's 2000, in UTF-16 code units: never less than what Discord counts."""
    return utf16_length(discord_markdown(markdown))


def _blocks(markdown: str) -> str:
    source = md.lines(markdown)
    lines = list(source)
    tokens = md.parser().parse(markdown)
    for begin in reversed(range(len(tokens))):
        token = tokens[begin]
        if token.map is None:
            continue
        first, last = token.map
        if token.type == "table_open":
            lines[first:last] = [TICKS, *_inert(aligned(md.rows(_table(tokens, begin), source))).split("\n"), TICKS]
        elif token.type == "fence" and token.markup != TICKS:
            language = _INFO.match(token.info.strip())
            opening = TICKS + (language.group() if language else "")
            lines[first:last] = [opening, *_inert(token.content.removesuffix("\n")).split("\n"), TICKS]
        elif token.type == "heading_open":
            lines[first] = _DEEP_HEADING.sub(r"\1###", lines[first])
    return "\n".join(lines)


def _table(tokens: list[Token], begin: int) -> list[Token]:
    last = begin
    while tokens[last].type != "table_close":
        last += 1
    return tokens[begin:last]


def _inert(code: str) -> str:
    """Code within which no fence of three backticks ends: an invisible space parts them."""
    return code.replace(TICKS, "`\u200b``")


def _honest(found: re.Match[str]) -> str:
    if found["link"] and md.deceives(found["label"], found["target"]):
        return f"{found['label']} <{found['target']}>"
    return found.group()
