"""Markdown -> the HTML that Telegram's Bot API takes (https://core.telegram.org/bots/api#html-style)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from markdown_it.token import Token

from adapters.text import markdown as md
from adapters.text.tables import aligned
from adapters.text.weights import utf16_length

_LANGUAGE = re.compile(r"[\w+#.-]{1,32}")
_TAG = re.compile(r"<[^>]*>")
_LINKS = ("http://", "https://")
"""Other schemes are shown, not linked: `tg://user?id=...` would ping a person."""
_PLAIN = re.compile(r"[^\W\d_][^\n\r\0\\`*_~\[\]<>&]*")
"""A line that begins with a letter and holds no sign of Markdown: most short answers, and the first words of most others."""
_TAGS = {"strong_open": "b", "em_open": "i", "s_open": "s"}


class _Style(NamedTuple):
    tag: str
    href: str = ""


def telegram_html(markdown: str) -> str:
    """Well-formed HTML with b, i, s, code, pre, a and blockquote alone. Unfinished Markdown is text as it is."""
    if _PLAIN.fullmatch(markdown):
        return markdown.strip()
    html = rendered(markdown)
    return html if visible_text(html).strip() else escape(markdown.strip(), quote=False)


def rendered(markdown: str) -> str:
    """The HTML as the parser has it; nothing where it sees nothing."""
    return _Renderer(markdown).render(md.parser().parse(markdown))


def telegram_length(markdown: str) -> int:
    """UTF-16 code units of the message after its entities are parsed: what Telegram's 4096 are counted in."""
    return utf16_length(visible_text(telegram_html(markdown)))


def visible_text(html: str) -> str:
    """What is seen of the HTML of `telegram_html`."""
    text = _TAG.sub("", html)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


class _Renderer:
    """Writes tokens as HTML.

    Never writes a line that the source has not, so that the text is no longer than its Markdown: blocks are apart by an
    empty line where they are so in the source, and numbers of a list stay as written.
    """

    def __init__(self, source: str) -> None:
        self._lines = md.lines(source)
        self._out: list[str] = []
        self._styles: list[_Style] = []
        self._open: list[_Style] = []
        self._suffixes: list[str] = []
        self._items = 0
        self._quotes = 0
        self._in_quote = False
        self._fresh = True
        """Nothing stands between here and the beginning, or the item's bullet."""
        self._line = 1
        """The source line behind the last block."""

    def render(self, tokens: Sequence[Token]) -> str:
        """The HTML of a whole message."""
        table: list[Token] | None = None
        for token in tokens:
            if token.type == "table_open":
                table = []
            if table is not None:
                table.append(token)
            else:
                self._block(token)
            if token.type == "table_close" and table:
                self._pre(aligned(md.rows(table, self._lines)), "", table[0])
                table = None
        return "".join(self._out).strip()

    def _block(self, token: Token) -> None:
        match token.type:
            case "inline":
                self._inline(token.children or [])
            case "paragraph_open" | "heading_open":
                self._begin(token, quoted=True)
                self._styles = [_Style("b")] if token.type == "heading_open" else []
            case "fence" | "code_block":
                language = _LANGUAGE.match(token.info.strip())
                self._pre(token.content.removesuffix("\n"), language.group() if language else "", token)
            case "hr":
                self._begin(token, quoted=True)
                self._out.append("———")
            case "list_item_open":
                self._item(token)
            case "list_item_close":
                self._items -= 1
            case "blockquote_open":
                self._quotes += 1
            case "blockquote_close":
                self._quotes -= 1
                if not self._quotes:
                    self._end_quote()

    def _begin(self, token: Token, *, quoted: bool, indented: bool = True) -> None:
        """Come to the place where a block is written."""
        first, last = token.map or [self._line, self._line]
        if self._in_quote and not quoted:
            self._end_quote()
        if not self._fresh or first >= self._line:
            self._out.append("\n\n" if first > self._line and not self._fresh else "\n")
            if indented:
                self._out.append("  " * self._items)
        if self._quotes and quoted and not self._in_quote:
            self._out.append("<blockquote>")
            self._in_quote = True
        self._fresh = False
        self._line = last

    def _end_quote(self) -> None:
        if self._in_quote:
            self._out.append("</blockquote>")
        self._in_quote = False

    def _item(self, token: Token) -> None:
        first = (token.map or [self._line])[0]
        self._begin(token, quoted=True)
        self._items += 1
        self._out.append("• " if not token.info else f"{token.info}{token.markup} ")
        self._fresh = True
        self._line = first + 1

    def _pre(self, content: str, language: str, token: Token) -> None:
        if not content.strip():
            return
        self._begin(token, quoted=False, indented=False)
        text = escape(content, quote=False)
        inner = f'<code class="language-{language}">{text}</code>' if language else text
        self._out.append(f"<pre>{inner}</pre>")

    def _inline(self, children: Sequence[Token]) -> None:
        for number, token in enumerate(children):
            if token.type in _TAGS:
                self._styles.append(_Style(_TAGS[token.type]))
            elif token.type in ("strong_close", "em_close", "s_close"):
                self._styles.pop()
            elif token.type == "link_open":
                self._link(token, _label(children, number + 1))
            elif token.type == "link_close":
                self._styles.pop()
                self._write(self._suffixes.pop())
            elif token.type == "image":
                self._image(token)
            elif token.type == "code_inline":
                self._code(token.content)
            else:
                self._write("\n" if token.type.endswith("break") else token.content)
        self._wear([])
        self._styles = []

    def _link(self, token: Token, label: str) -> None:
        """A link, or words and address side by side where a link cannot be or would deceive."""
        target = str(token.attrGet("href") or "")
        shown = md.parser().normalizeLinkText(target)
        if not target.startswith(_LINKS) or md.deceives(label, target):
            self._styles.append(_Style(""))
            self._suffixes.append("" if shown == label else f" ({shown})" if label.strip() else shown)
            return
        self._styles.append(_Style("a", target))
        self._suffixes.append("")
        if not label.strip():
            self._write(shown)

    def _image(self, token: Token) -> None:
        source = str(token.attrGet("src") or "")
        linked = source.startswith(_LINKS) and not any(style.tag == "a" for style in self._styles)
        self._styles.append(_Style("a", source) if linked else _Style(""))
        self._write(token.content or source)
        self._styles.pop()

    def _code(self, content: str) -> None:
        """Code holds no other entity and is in none: styles end before it and begin again; in a link it is text."""
        if any(style.tag == "a" for style in self._styles):
            self._write(content)
            return
        self._wear([])
        self._out.append(f"<code>{escape(content, quote=False)}</code>")

    def _write(self, text: str) -> None:
        if text:
            self._wear(self._styles)
            self._out.append(escape(text, quote=False))

    def _wear(self, styles: Sequence[_Style]) -> None:
        """Close and open tags until just these are open, each once."""
        wanted: list[_Style] = []
        for style in styles:
            if style.tag and all(style.tag != other.tag for other in wanted):
                wanted.append(style)
        same = 0
        while same < min(len(wanted), len(self._open)) and wanted[same] == self._open[same]:
            same += 1
        self._out += [f"</{style.tag}>" for style in reversed(self._open[same:])]
        for style in wanted[same:]:
            self._out.append(f'<a href="{escape(style.href)}">' if style.href else f"<{style.tag}>")
        self._open = wanted


def _label(children: Sequence[Token], first: int) -> str:
    """The words of the link that begins here; links do not nest."""
    last = first
    while last < len(children) and children[last].type != "link_close":
        last += 1
    return md.plain(children[first:last])
