"""Markdown -> HTML that may stand on the page: no raw HTML, no image, no address but http, https and mailto.

Two fences, each enough by itself: markdown-it passes no raw HTML on, and nh3 (ammonia) keeps only what is listed here.
"""

from __future__ import annotations

import html
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

LONGEST = 50_000
"""Characters that are read as Markdown; a longer text stands as it is. Far more than a model writes at once."""
DEEPEST = 20
"""Nested blocks and brackets; what is deeper stands as text."""
CACHE_CHARACTERS = 8 * 2**20
"""Of rendered messages that are kept: the lines of some hundred conversations."""

_TAGS = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code"),
    *("em", "strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES = {
    "a": {"href", "title"},
    "ol": {"start"},
    "code": {"class"},
    "pre": {"data-language"},
    "th": {"class"},
    "td": {"class"},
}
_SCHEMES = {"http", "https", "mailto"}
_LANGUAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+#._-]{0,31}")
_CLASS = re.compile(r"language-[A-Za-z0-9][A-Za-z0-9+#._-]{0,31}|align-(left|right|center)")
_ADDRESS = re.compile(r"(https?:/|mailto:)", re.IGNORECASE)
_ALIGNED = {"text-align:left": "align-left", "text-align:right": "align-right", "text-align:center": "align-center"}


class Renderer:
    """Renders, and remembers what it has rendered; in any thread."""

    def __init__(self, cached: int = CACHE_CHARACTERS) -> None:
        self._markdown = _parser()
        self._cleaner = cleaner()
        self._cached = cached
        self._known: OrderedDict[str, str] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def render(self, text: str) -> str:
        """The HTML of a whole text."""
        known = self._known.get(text)
        if known is not None:
            return known
        made = self.render_once(text)
        self._remember(text, made)
        return made

    def render_once(self, text: str) -> str:
        """The same, and nothing of it is remembered."""
        if len(text) > LONGEST:
            return plain(text)
        env: dict[str, Any] = {}
        return self._clean(self._markdown.parse(text, env), env)

    def knows(self, text: str) -> bool:
        """Whether to render this costs nothing."""
        return text in self._known

    def forget(self) -> None:
        """Let go of everything: people have their words removed."""
        with self._lock:
            self._known.clear()
            self._size = 0

    def blocks(self, text: str, env: dict[str, Any]) -> tuple[str, str, int]:
        """HTML of all blocks but the last, HTML of the last, and where in the text the last one begins.

        What was before the last block does not change any more, whatever is written after it: but for links to
        addresses that are given later. `env` carries those that were given before, and takes those of closed blocks.
        """
        trial: dict[str, Any] = {"references": dict(env.get("references", {}))}
        tokens = self._markdown.parse(text, trial)
        first = _last_block(tokens)
        if first == 0:
            return "", self._clean(tokens, trial), 0
        line = tokens[first].map
        assert line is not None, "a block has its place in the text"
        offset = _offset(text, line[0])
        self._markdown.parse(text[:offset], env)
        return self._clean(tokens[:first], trial), self._clean(tokens[first:], trial), offset

    def _clean(self, tokens: Sequence[Token], env: EnvType) -> str:
        made: str = self._markdown.renderer.render(tokens, self._markdown.options, env)
        return self._cleaner.clean(made)

    def _remember(self, text: str, made: str) -> None:
        with self._lock:
            if text not in self._known:
                self._known[text] = made
                self._size += len(text) + len(made)
            while self._size > self._cached and self._known:
                old, its = self._known.popitem(last=False)
                self._size -= len(old) + len(its)


class Growing:
    """The HTML of a text that grows: only its last block is rendered anew."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._env: dict[str, Any] = {}
        self._done = ""
        self._html = ""

    def cost(self, text: str) -> int:
        """How many characters of a text are to be rendered."""
        return len(text) - len(self._done)

    def render(self, text: str) -> str:
        """The HTML of the text as it is now; a text that is no continuation begins anew."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")  # markdown-it counts lines so
        if not text.startswith(self._done):
            self._done, self._html, self._env = "", "", {}
        rest = text[len(self._done) :]
        if len(rest) > LONGEST:
            return self._html + plain(rest)
        closed, last, offset = self._renderer.blocks(rest, self._env)
        self._html += closed
        self._done += rest[:offset]
        return self._html + last


def plain(text: str) -> str:
    """The text letter by letter."""
    return f"<pre>{html.escape(text)}</pre>"


def cleaner() -> nh3.Cleaner:
    """The second fence: whatever HTML it is given, what it gives may stand on the page."""
    return nh3.Cleaner(
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes=_SCHEMES,
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": DEEPEST}, renderer_cls=_Html)
    return parser.enable(["table", "strikethrough"]).disable(["html_block", "html_inline"])


class _Html(RendererHTML):
    """As usual, but images are links with their words, code says its language, and cells have classes for styles."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """An image that somebody else serves would tell them who reads it, and when."""
        token = tokens[idx]
        words = html.escape(self.renderInlineAsText(token.children or [], options, env).strip() or "image")
        address = str(token.attrGet("src") or "")
        return f'<a href="{html.escape(address)}">{words}</a>' if _ADDRESS.match(address) else words

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A block of code."""
        token = tokens[idx]
        found = _LANGUAGE.match(token.info.strip())
        language = html.escape(found[0]) if found else ""
        of = f' class="language-{language}"' if language else ""
        outer = f' data-language="{language}"' if language else ""
        return f"<pre{outer}><code{of}>{html.escape(token.content)}</code></pre>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A cell of a table's head."""
        return self._cell("th", tokens[idx])

    def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """A cell of a table."""
        return self._cell("td", tokens[idx])

    def _cell(self, tag: str, token: Token) -> str:
        aligned = _ALIGNED.get(str(token.attrGet("style") or ""))
        return f'<{tag} class="{aligned}">' if aligned else f"<{tag}>"


def _attribute(_: str, attribute: str, value: str) -> str | None:
    if attribute == "class":
        return value if _CLASS.fullmatch(value) else None
    if attribute == "data-language":
        return value if _LANGUAGE.fullmatch(value) else None
    return value


def _last_block(tokens: Sequence[Token]) -> int:
    """The index of the token that opens the last block of the text."""
    first = 0
    for index, token in enumerate(tokens):
        if token.level == 0 and token.nesting >= 0:
            first = index
    return first


def _offset(text: str, line: int) -> int:
    """Where a line begins, as markdown-it counts lines."""
    position = 0
    for _ in range(line):
        position = text.index("\n", position) + 1
    return position


def render_all(renderer: Renderer, texts: Iterable[str]) -> list[str]:
    """The HTML of all these; for a thread."""
    return [renderer.render(text) for text in texts]
