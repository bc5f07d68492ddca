"""Telegram's HTML style: read as strictly as the platform reads it, and written for those who look.

https://core.telegram.org/bots/api#html-style
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.telegram.errors import Json, Refused, bad_request

STYLES = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "span": "spoiler",
    "tg-spoiler": "spoiler",
    "tg-emoji": "custom_emoji",
    "a": "text_link",
    "code": "code",
    "pre": "pre",
    "blockquote": "blockquote",
}
_CHARACTERS = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
"""The only named entities; any other is left as it is."""
_ENTITY = re.compile(r"&(?:#(\d+)|#[xX]([0-9a-fA-F]+)|(lt|gt|amp|quot)(?![A-Za-z]));?")
_NAME = re.compile(r"[^\s>]*")
_ATTRIBUTE = re.compile(r"[^\s=>]*")
_BARE = re.compile(r"[\w.\-]+", re.ASCII)


def units(text: str) -> int:
    """Length in UTF-16 code units, in which the platform counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _plain(text: str) -> str:
    """Text with its HTML entities resolved."""

    def character(found: re.Match[str]) -> str:
        decimal, hexadecimal, name = found.groups()
        if name:
            return _CHARACTERS[name]
        code = int(decimal) if decimal else int(hexadecimal, 16)
        return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else found[0]

    return _ENTITY.sub(character, text)


def unparsable(words: str) -> Refused:
    """What the platform answers to markup that it can't read."""
    return bad_request(f"can't parse entities: {words}")


@dataclass
class _Open:
    """A tag whose end has not come yet."""

    tag: str
    offset: int
    at: int
    attributes: dict[str, str] = field(default_factory=dict)


class HtmlReader:
    """Reads one text: `text` and `entities` are the result. Raises Refused for what the platform refuses."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.text = ""
        self.entities: list[Json] = []
        self._stack: list[_Open] = []
        while self.at < len(source):
            if source[self.at] != "<":
                end = source.find("<", self.at)
                end = len(source) if end < 0 else end
                self.text += _plain(source[self.at : end])
                self.at = end
            elif source.startswith("</", self.at):
                self._end()
            else:
                self._begin()
        if self._stack:
            last = self._stack[-1]
            raise unparsable(f'Can\'t find end tag corresponding to start tag "{last.tag}"')
        self.entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))

    def _bytes(self, at: int) -> int:
        return len(self.source[:at].encode())

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.source, self.at)
        self.at = found.end() if found else self.at
        return found[0] if found else ""

    def _next(self) -> str:
        """The next character that is not a space; empty at the end."""
        while self.source[self.at : self.at + 1].isspace():
            self.at += 1
        return self.source[self.at : self.at + 1]

    def _begin(self) -> None:
        begins = self.at
        self.at += 1
        tag = self._take(_NAME).lower()
        if self.at == len(self.source):
            raise unparsable(f"Unclosed start tag at byte offset {self._bytes(begins)}")
        if tag not in STYLES:
            raise unparsable(f'Unsupported start tag "{tag}" at byte offset {self._bytes(begins)}')
        opened = _Open(tag, units(self.text), begins)
        while self._next() not in {">", ""}:
            self._attribute(opened)
        if not self._next():
            raise unparsable(f"Unclosed start tag at byte offset {self._bytes(begins)}")
        self.at += 1
        if tag == "span" and opened.attributes.get("class") != "tg-spoiler":
            raise unparsable(f'Tag "span" must have class "tg-spoiler" at byte offset {self._bytes(begins)}')
        self._stack.append(opened)

    def _attribute(self, opened: _Open) -> None:
        where = f'of the tag "{opened.tag}" at byte offset {self._bytes(opened.at)}'
        name = self._take(_ATTRIBUTE).lower()
        if not name:
            raise unparsable(f"Empty attribute name in the declaration {where}")
        if self._next() != "=":
            if (opened.tag, name) != ("blockquote", "expandable"):
                raise unparsable(f"Expected equal sign in declaration of an attribute {where}")
            opened.attributes[name] = ""
            return
        self.at += 1
        quote = self._next()
        if quote in {'"', "'"}:
            end = self.source.find(quote, self.at + 1)
            if end < 0:
                raise unparsable(f"Unclosed start tag at byte offset {self._bytes(opened.at)}")
            opened.attributes[name] = _plain(self.source[self.at + 1 : end])
            self.at = end + 1
        else:
            opened.attributes[name] = self._take(_BARE).lower()
            if self.source[self.at : self.at + 1] not in {" ", ">"}:
                raise unparsable(f"Unexpected end of name token at byte offset {self._bytes(self.at)}")

    def _end(self) -> None:
        begins = self.at
        self.at += 2
        tag = self._take(_NAME).lower()
        if self._next() != ">":
            raise unparsable(f"Unclosed end tag at byte offset {self._bytes(begins)}")
        self.at += 1
        if not self._stack:
            raise unparsable(f"Unexpected end tag at byte offset {self._bytes(begins)}")
        opened = self._stack.pop()
        if tag not in {"", opened.tag}:
            where = f"at byte offset {self._bytes(begins)}"
            raise unparsable(f'Unmatched end tag {where}, expected "</{opened.tag}>", found "</{tag}>"')
        length = units(self.text) - opened.offset
        if length:
            self._add(opened, {"type": STYLES[opened.tag], "offset": opened.offset, "length": length})

    def _add(self, opened: _Open, entity: Json) -> None:
        language = opened.attributes.get("class", "").removeprefix("language-")
        if opened.tag == "a":
            begins = len(self.text.encode("utf-16-le")[: 2 * opened.offset].decode("utf-16-le"))
            entity = _link(entity, opened.attributes.get("href") or self.text[begins:])
        elif opened.tag == "tg-emoji":
            entity["custom_emoji_id"] = opened.attributes.get("emoji-id", "")
        elif opened.tag == "blockquote" and "expandable" in opened.attributes:
            entity["type"] = "expandable_blockquote"
        elif opened.tag == "code" and language != opened.attributes.get("class", "") and self._stack_is_pre(opened):
            self._stack[-1].attributes["language"] = language
        elif opened.tag == "pre":
            entity = self._pre(opened, entity)
        if entity:
            self.entities.append(entity)

    def _stack_is_pre(self, opened: _Open) -> bool:
        return bool(self._stack) and self._stack[-1].tag == "pre" and self._stack[-1].offset == opened.offset

    def _pre(self, opened: _Open, entity: Json) -> Json:
        """<pre><code class="language-python"> over the same characters is one entity with a language."""
        same = [e for e in self.entities if e["type"] == "code" and e["offset"] == entity["offset"]]
        for code in same:
            if code["length"] == entity["length"]:
                self.entities.remove(code)
                if language := opened.attributes.get("language"):
                    entity["language"] = language
        return entity


def _link(entity: Json, target: str) -> Json:
    """A link; a mention of a user without a username; or nothing where the address is none, as on the platform."""
    if user := re.fullmatch(r"tg://user\?id=(\d+)", target):
        return entity | {"type": "text_mention", "user": {"id": int(user[1])}}
    try:
        address = urlsplit(target if "://" in target else f"http://{target}")
        known = address.scheme.lower() in {"http", "https", "tg", "ton", "tonsite"} and address.hostname
    except ValueError:
        return {}
    valid = known and ("." in str(address.hostname) or address.scheme == "tg" or address.hostname == "localhost")
    if address.scheme.lower() in {"http", "https"} and not address.path:
        address = address._replace(path="/")
    return entity | {"url": address.geturl()} if valid and " " not in target else {}


def as_html(text: str, entities: list[Json]) -> str:
    """A message's text as HTML, to look at what a reader sees."""
    opening: dict[int, str] = {}
    closing: dict[int, str] = {}
    for entity in entities:
        before, after = _tags(entity)
        opening[entity["offset"]] = opening.get(entity["offset"], "") + before
        end = entity["offset"] + entity["length"]
        closing[end] = after + closing.get(end, "")
    out, at = "", 0
    for character in text:
        out += closing.get(at, "") + opening.get(at, "") + html.escape(character, quote=False)
        at += units(character)
    return out + closing.get(at, "")


def _tags(entity: Json) -> tuple[str, str]:
    kind = entity["type"]
    if kind == "text_link":
        return f'<a href="{html.escape(entity["url"])}">', "</a>"
    if kind == "text_mention":
        return f'<a href="tg://user?id={entity["user"]["id"]}">', "</a>"
    if kind == "pre" and "language" in entity:
        return f'<pre><code class="language-{entity["language"]}">', "</code></pre>"
    if kind == "expandable_blockquote":
        return "<blockquote expandable>", "</blockquote>"
    short = {"bold": "b", "italic": "i", "underline": "u", "strikethrough": "s", "spoiler": "tg-spoiler"}
    tag = short.get(kind, kind if kind in {"code", "pre", "blockquote"} else "")
    return (f"<{tag}>", f"</{tag}>") if tag else ("", "")
