"""Formatted text: a plain text and its entities, offsets and lengths in UTF-16 code units.

https://core.telegram.org/bots/api#formatting-options
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.telegram.errors import Json, bad_request, not_implemented
from tests.telegram.markup import HtmlReader, as_html, units, unparsable

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
_MONOSPACE = frozenset({"code", "pre"})
_STYLE = frozenset({"bold", "italic", "underline", "strikethrough", "spoiler"})
_FOUND = {
    "url": re.compile(r"\bhttps?://[^\s<>\"]+[^\s<>\".,:;!?)]"),
    "mention": re.compile(r"(?<![\w@/])@[A-Za-z]\w{3,31}\b", re.ASCII),
    "bot_command": re.compile(r"(?<![\w/<>@])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z]\w{2,31})?(?![\w/])", re.ASCII),
    "hashtag": re.compile(r"(?<![\w#])#\w*[^\W\d]\w*"),
}
"""What the platform makes entities of by itself."""


@dataclass(frozen=True)
class Formatted:
    """A text as a message has it."""

    text: str
    entities: list[Json] = field(default_factory=list)

    @property
    def length(self) -> int:
        """In UTF-16 code units."""
        return units(self.text)

    @property
    def html(self) -> str:
        """The text as HTML."""
        return as_html(self.text, self.entities)

    def slice(self, entity: Json) -> str:
        """The characters of an entity."""
        return cut(self.text, entity["offset"], entity["length"])


def cut(text: str, offset: int, length: int) -> str:
    """A part of a text, counted in UTF-16 code units."""
    return text.encode("utf-16-le")[2 * offset : 2 * (offset + length)].decode("utf-16-le", "surrogatepass")


def formatted(text: str, parse_mode: str | None = None, entities: list[Json] | None = None) -> Formatted:
    """What becomes of a text that a bot sends. Raises Refused as the platform does."""
    text = cleaned(text)
    if parse_mode:
        if parse_mode.lower() in {"markdown", "markdownv2"}:
            raise not_implemented(f"parse_mode {parse_mode}")
        if parse_mode.lower() != "html":
            raise bad_request("unsupported parse_mode")
        reader = HtmlReader(text)
        found = Formatted(reader.text, reader.entities)
    else:
        given = entities or []
        _check(text, given)
        found = Formatted(text, [dict(entity) for entity in given])
    return recognised(_settled(found))


def cleaned(text: str) -> str:
    """A text without what the platform takes out of every text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise bad_request("strings must be encoded in UTF-8") from None
    return "".join(" " if c < " " and c not in "\n\t" else c for c in text.replace("\r", ""))


def _check(text: str, entities: list[Json]) -> None:
    ends, encoded = units(text), text.encode("utf-16-le")
    for entity in entities:
        begin, end = entity["offset"], entity["offset"] + entity["length"]
        if begin < 0 or begin >= ends:
            raise unparsable(f"entity begins after the end of the text at UTF-16 offset {begin}")
        if entity["length"] <= 0 or end > ends:
            raise unparsable(f"entity beginning at UTF-16 offset {begin} ends after the end of the text at {end}")
        for at in (begin, end):
            if 0xDC <= (encoded[2 * at + 1] if at < ends else 0) < 0xE0:
                raise unparsable(f"entity at UTF-16 offset {at} is in the middle of a UTF-16 symbol")
        if entity["type"] == "text_link" and "url" not in entity:
            raise unparsable("an entity of type text_link must have a url")


def _settled(found: Formatted) -> Formatted:
    """Trimmed, and no two entities that can't share characters."""
    begins = min((e["offset"] for e in found.entities), default=found.length)
    ends = units(found.text.rstrip())
    leading = len(found.text) - len(found.text.lstrip(" \n"))
    skipped = min(leading, begins)
    kept: list[Json] = []
    for entity in found.entities:
        length = min(entity["offset"] + entity["length"], ends) - entity["offset"]
        if length > 0:
            kept.append(entity | {"offset": entity["offset"] - skipped, "length": length})
    return Formatted(found.text.rstrip()[skipped:], _apart(kept))


def _apart(entities: list[Json]) -> list[Json]:
    """Monospace text has no other style within: that one is cut around it, anything else within is dropped."""
    kept: list[Json] = []
    for entity in sorted(entities, key=lambda e: (e["offset"], -e["length"], e["type"] in _MONOSPACE)):
        around = [outer for outer in kept if _overlap(outer, entity)]
        if any(outer["type"] in _MONOSPACE or _rivals(outer, entity) for outer in around):
            continue
        if entity["type"] in _MONOSPACE:
            for style in (outer for outer in around if outer["type"] in _STYLE):
                kept.remove(style)
                kept += _around(style, entity)
        kept.append(entity)
    return sorted(kept, key=lambda e: (e["offset"], -e["length"]))


def _overlap(one: Json, other: Json) -> bool:
    return bool(one["offset"] < other["offset"] + other["length"] and other["offset"] < one["offset"] + one["length"])


def _rivals(outer: Json, inner: Json) -> bool:
    quotes = {"blockquote", "expandable_blockquote"}
    if outer["type"] in quotes or inner["type"] in quotes:
        return outer["type"] in quotes and inner["type"] in quotes
    return outer["type"] not in _STYLE and inner["type"] not in _STYLE


def _around(style: Json, inner: Json) -> list[Json]:
    before = inner["offset"] - style["offset"]
    end = inner["offset"] + inner["length"]
    after = style["offset"] + style["length"] - end
    parts = [style | {"length": before}, style | {"offset": end, "length": after}]
    return [part for part in parts if part["length"] > 0]


def recognised(found: Formatted) -> Formatted:
    """The same with the links, mentions, commands and hashtags that the platform finds by itself."""
    entities = list(found.entities)
    for kind, pattern in _FOUND.items():
        for match in pattern.finditer(found.text):
            entity: dict[str, Any] = {
                "type": kind,
                "offset": units(found.text[: match.start()]),
                "length": units(match[0]),
            }
            others = [e for e in entities if _overlap(e, entity)]
            if all(e["type"] in _STYLE or "blockquote" in e["type"] for e in others):
                entities.append(entity)
    return Formatted(found.text, sorted(entities, key=lambda e: (e["offset"], -e["length"])))


def message_text(given: Json) -> Formatted:
    """The text of sendMessage and its relatives: 1-4096 characters after entities parsing."""
    found = formatted(given.get("text", ""), given.get("parse_mode"), given.get("entities"))
    if not found.text:
        raise bad_request("message text is empty")
    if found.length > TEXT_LIMIT:
        raise bad_request("message is too long")
    return found


def caption(given: Json) -> Formatted:
    """The caption of a file: 0-1024 characters after entities parsing."""
    found = formatted(given.get("caption", ""), given.get("parse_mode"), given.get("caption_entities"))
    if found.length > CAPTION_LIMIT:
        raise bad_request("message caption is too long")
    return found
