"""Grammars of answers with calls in them, in llguidance's dialect of Lark."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bot.api import Function
from bot.constraints import guided
from bot.reasoning import TAGS

_COMBINED = frozenset({"$ref", "allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "additionalProperties"})
"""Keywords beside which `additionalProperties` would change what a schema means, or is said already."""


class Rules:
    """A grammar in the making."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        """`ids`: control strings that are one token."""
        self._ids = ids
        self._rules: list[str] = []
        self._tag = ""
        """With which the model may begin to reason."""

    def add(self, name: str, body: str, *, attributes: str = "") -> str:
        """Returns the name."""
        self._rules.append(f"{name}{attributes}: {body}")
        return name

    def control(self, string: str) -> str:
        """The token, or the text if it is none."""
        return f"<[{self._ids[string]}]>" if string in self._ids else literal(string)

    def is_token(self, string: str) -> bool:
        """Whether it is one token."""
        return string in self._ids

    def thinking(self, head: str, known: Sequence[str]) -> str:
        """The reasoning before the answer: its end, if the template opened it, or perhaps a block that the model opens."""
        opened = next((tag for tag in TAGS if head.rstrip().endswith(tag)), None)
        closed_already = any(head.rstrip().endswith(close) for close in TAGS.values())
        tag = opened or next(iter(known), None)
        if tag is None or closed_already:
            return ""
        close = TAGS[tag]
        if self.is_token(close):
            self.add("THOUGHT", without(close))
            self.add("thought", f"THOUGHT {self.control(close)}")
        else:
            self.add("thought", ANY, attributes=f"[suffix={literal(close)}]")
        self.add("SPACE", r"/[ \n]{0,4}/")
        if opened:
            return "thought SPACE"
        self._tag = tag
        return f"({self.control(tag)} thought SPACE)?"

    def answer(self, pattern_: str) -> str:
        """A terminal for text that may not be taken for reasoning: what is in that binds nothing."""
        return f"({pattern_}) & ~/\\s*{pattern(self._tag)}(?s:.*)/" if self._tag else pattern_

    def text(self, start: str) -> str:
        """The grammar."""
        return "\n".join([f"start: {start}", *self._rules])


ANY = "/(?s:.*)/"
FURTHER = 31
"""So many calls beside the first: a weak model would repeat itself until its tokens are used up."""


def repeated(expression: str) -> str:
    """For the calls after the first."""
    return f"({expression}){{0,{FURTHER}}}"


def literal(text: str) -> str:
    """A string of the grammar."""
    return json.dumps(text, ensure_ascii=False)


def pattern(text: str) -> str:
    """A string within a regular expression of the grammar."""
    return "".join(char if char.isalnum() or ord(char) > 127 else f"\\x{ord(char):02X}" for char in text)


def without(text: str) -> str:
    """Anything that does not have this in it."""
    return f"{ANY} & ~/(?s:.*){pattern(text)}(?s:.*)/"


def inline(schema: Mapping[str, Any]) -> str:
    """JSON of a schema, within a grammar."""
    return f"%json {json.dumps(schema)}"


def arguments_schema(function: Function) -> dict[str, Any]:
    """What the arguments have to be. Of a function that is not strict, keywords that cannot be kept are left out."""
    return guided(plain_arguments(function), lenient=not function.strict)


def plain_arguments(function: Function) -> dict[str, Any]:
    """The schema of the arguments, whatever can be kept of it."""
    return {"type": "object", **closed(function.parameters)}


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with no properties but those that it names: a weak model would make some up."""
    new = dict(schema)
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        new["properties"] = {key: _closed_part(part) for key, part in properties.items()}
    if "items" in schema:
        new["items"] = _closed_part(schema["items"])
    is_object = schema.get("type", "object" if isinstance(properties, Mapping) or not schema else None) == "object"
    if is_object and not _COMBINED & schema.keys() and (properties or not schema.get("required")):
        new["additionalProperties"] = False
    return new


def _closed_part(part: Any) -> Any:
    return closed(part) if isinstance(part, Mapping) and part else part


def as_property(schema: Mapping[str, Any], key: str) -> Any:
    """A schema of its own -> the same as that of a property: where its references lead is further down then."""
    return _moved({name: part for name, part in schema.items() if name != "x-guidance"}, f"#/properties/{key}")


def _moved(part: Any, place: str) -> Any:
    if isinstance(part, Mapping):
        return {
            key: re.sub("^#", place, value) if key == "$ref" and isinstance(value, str) else _moved(value, place)
            for key, value in part.items()
        }
    return [_moved(one, place) for one in part] if isinstance(part, list | tuple) else part
