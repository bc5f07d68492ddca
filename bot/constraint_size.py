"""How large a grammar becomes of a JSON schema or a regular expression: bounded before an engine compiles it.

llama-server compiles a grammar in the thread that writes everybody's answers, so one that takes a second stops all of
them that long; and of one that is too large llguidance gives up, and the model writes what it likes. Measured in
xllamacpp on one of two busy cores: 1,000 parts take 50 to 150 ms, 20,000 characters that must follow each other 30 ms,
and of 2,000 repeats at one place the parser gives up (at 65,536 the compiler does). `minLength` and `maxLength` cost
nothing, up to ten million.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PARTS = 1000
"""Of a schema: every schema within it, and as often as combining them (`allOf` and the like) makes copies."""
REPEATS = 1000
"""The sum of what stands beside `minItems`, `maxItems`, `minProperties` and `maxProperties`."""
CHOICES = 1900
"""What the parser has to follow at one place: an optional property is four, a repeat that may be left out one, and of
branches those of all. It gives up beyond 2,000, in the middle of an answer."""
PER_OPTIONAL = 4
TEXT = 20_000
"""Characters of values and names, and of what patterns spell with their repeats."""
VALUES, CHARACTERS = 10_000, 500_000
"""Everything in the document of a schema, what is only said about it as well."""

PAIRS, SMALL = 10, 10
"""So many pairs of patterns, and so many values of `enum` or `required`, take as long as one part."""

_OWN = "x-guidance"
_ONE = (
    *("items", "additionalProperties", "additionalItems", "unevaluatedItems", "unevaluatedProperties"),
    *("not", "if", "then", "else", "contains", "propertyNames"),
)
_NAMED = ("properties", "patternProperties", "dependentSchemas")
_OTHERS = ("items", "additionalProperties", "additionalItems", "patternProperties", "unevaluatedProperties")
_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties")
_EITHER = ("anyOf", "oneOf")
_COMBINING = frozenset({"$ref", "allOf", *_EITHER})
_SAID = frozenset({"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"})
_ASIDE = frozenset({"$defs", "definitions", "$schema", "$id"})
"""What is combined with nothing."""


class Unfit(Exception):
    """It is more than the bounds let through, or how large it is cannot be told; the message says why."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a schema's grammar is made of."""

    parts: int = 0
    repeats: int = 0
    text: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.parts + other.parts, self.repeats + other.repeats, self.text + other.text)

    def __mul__(self, times: int) -> Size:
        return Size(self.parts * times, self.repeats * times, self.text * times)

    def check(self) -> None:
        """Raises Unfit."""
        for found, most, what in (
            (self.parts, PARTS, "parts (schemas, and combinations of them)"),
            (self.repeats, REPEATS, "repeats (minItems, maxItems, minProperties, maxProperties)"),
            (self.text, TEXT, "characters of names, values and patterns"),
        ):
            if found > most:
                raise Unfit(f"it is too large: at most {most} {what}, together")


def of_schema(schema: Mapping[str, Any]) -> Size:
    """The size of a schema, as far as it is within bounds. Raises Unfit, also for `x-guidance`:
    how the answer is written is not the asker's to say.

    RecursionError for what is nested too deeply to be looked through.
    """
    values = characters = 0
    pending: list[Any] = [schema]
    while pending:  # before anything that is slow on a large one
        part = pending.pop()
        values += len(part)
        if values > VALUES:
            raise Unfit(f"it is too large: at most {VALUES} values")
        names = part if isinstance(part, Mapping) else ()
        characters += sum(len(text) for text in (*names, *_parts(part)) if isinstance(text, str))
        if characters > CHARACTERS:
            raise Unfit(f"it is too large: at most {CHARACTERS} characters of all that it says")
        pending.extend(one for one in _parts(part) if isinstance(one, Mapping | list | tuple))
    size = _Measure(schema).size(schema)
    size.check()
    return size


def of_regex(regex: str) -> int:
    """How many characters a regular expression spells, where each repeat is written out: an upper bound.

    `a{3}` are 3, `(ab|c){0,10}` are 40; what is repeated without a bound counts once.
    """
    groups, last = [0], 0
    for token in _TOKENS.finditer(regex):
        kind = token.lastgroup
        if kind == "open":
            groups.append(0)
            last = 0
        elif kind == "close":
            last = groups.pop() if len(groups) > 1 else 0
            groups[-1] += last
        elif kind == "times":
            most = max(int(number) for number in re.findall(r"\d+", token.group()))
            groups[-1] += last * max(0, most - 1)
            last *= max(1, most)
        elif kind == "atom":
            last = 1
            groups[-1] += 1
        if groups[-1] > TEXT:
            return groups[-1]
    return sum(groups)


_TOKENS = re.compile(
    r"(?P<open>\()|(?P<close>\))|(?P<times>\{\s*\d{1,9}\s*(?:,\s*\d{0,9}\s*)?\})|(?P<free>[*+?])"
    r"|(?P<atom>\\[xuUpP]\{[^}]*\}|\\.|\[\^?\]?(?:\\.|\[:[^\]]*\]|[^\]\\])*\]|.)",
    re.DOTALL,
)
"""What regular expressions are made of, as Rust's crate `regex` reads them; a class is one atom."""


def _parts(part: Any) -> Iterator[Any]:
    return iter(part.values() if isinstance(part, Mapping) else part)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of a schema when it is combined with others."""

    size: Size = Size()
    ways: int = 1
    """In how many it can be met at its top: the branches of `anyOf` and `oneOf`, multiplied where they are combined."""
    inner: int = 1
    """The most ways of anything within."""
    choices: int = 1
    """The most at one place."""
    names: frozenset[str] = frozenset()
    """Of its properties; `_ANY` where others are described too."""


_ANY = "*"


class _Measure:
    """Adds up one schema."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._counted = {id(root)}
        """By identity the schemas that are there once, however often they are referred to."""
        self._choices: dict[int, int] = {}
        """Theirs, once they are known."""
        self._copied: dict[int, _Seen] = {}
        """The same for what a copy of one adds."""
        self._open: set[int] = set()

    def size(self, schema: Mapping[str, Any]) -> Size:
        """Of a schema, all that it holds, and all that it refers to. Raises Unfit for too many choices."""
        found = self._look(schema, copied=False)
        if found.choices > CHOICES:
            raise Unfit(
                f"it is too large: at most {CHOICES} choices at one place ({PER_OPTIONAL} for each optional property, "
                "one for each item that may be left out)"
            )
        return found.size

    def _look(self, schema: Any, *, copied: bool) -> _Seen:
        """`copied`: it is combined with something, so that what it refers to is written out there."""
        if not isinstance(schema, Mapping):
            return _Seen(Size(parts=1))
        if _OWN in schema:
            raise Unfit(f"{_OWN} is no keyword of a JSON schema")
        several = _listed(schema, "allOf") or ()
        keywords = schema.keys() - _SAID - _ASIDE - _COMBINING
        combined = len(several) + len(_COMBINING & schema.keys() - {"allOf"}) + bool(keywords) > 1
        inherited = copied or combined
        groups = [self._look(one, copied=True) for one in several]
        if "$ref" in schema:
            groups.append(self._copy(schema["$ref"]) if inherited else self._reference(schema["$ref"]))
        groups += [self._branches(found, inherited) for word in _EITHER if (found := _listed(schema, word)) is not None]
        return _combined([*groups, self._plain(schema, inherited)])

    def _branches(self, branches: Sequence[Any], copied: bool) -> _Seen:
        found = [self._look(branch, copied=copied) for branch in branches]
        return _Seen(
            size=_sum(one.size for one in found),
            ways=sum(one.ways for one in found) or 1,
            inner=max((one.inner for one in found), default=1),
            choices=sum(one.choices for one in found),
            names=frozenset[str]().union(*(one.names for one in found)),
        )

    def _plain(self, schema: Mapping[str, Any], copied: bool) -> _Seen:
        """A schema without what combines it with others."""
        within = [self._look(part, copied=copied) for part in _held(schema)]
        properties = schema.get("properties")
        names = frozenset(properties if isinstance(properties, Mapping) else ())
        if any(isinstance(schema.get(word), Mapping) for word in _OTHERS):
            names |= {_ANY}
        inner = max((max(one.ways, one.inner) for one in within), default=1)
        choices = max([_choices(schema), *(one.choices for one in within)])
        return _Seen(Size(parts=1) + _own(schema) + _sum(one.size for one in within), 1, inner, choices, names)

    def _reference(self, reference: Any) -> _Seen:
        """What it leads to is there once, and counted there; it can be met in as many ways as that."""
        target = self._found(reference)
        size = Size(parts=1)
        if id(target) in self._counted:
            return _Seen(size, choices=self._choices.get(id(target), 1))
        self._counted.add(id(target))
        found = self._look(target, copied=False)
        self._choices[id(target)] = found.choices
        return _Seen(size + found.size, choices=found.choices)

    def _copy(self, reference: Any) -> _Seen:
        """All that it leads to. Raises Unfit for what leads to itself."""
        target = self._found(reference)
        if id(target) in self._open:
            return _Seen(Size(parts=1))
        if id(target) not in self._copied:
            self._open.add(id(target))
            self._copied[id(target)] = self._look(target, copied=True)
            self._open.discard(id(target))
        return self._copied[id(target)]

    def _found(self, reference: Any) -> Any:
        """By its JSON pointer. Raises Unfit for another kind of reference: nobody knows how large that is."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise Unfit(f"where {reference!r} leads cannot be told; `#/...` can")
        part: Any = self._root
        for key in reference.removeprefix("#").split("/")[1:]:
            name = key.replace("~1", "/").replace("~0", "~")
            if isinstance(part, Mapping) and name in part:
                part = part[name]
            elif isinstance(part, list | tuple) and name.isdecimal() and int(name) < len(part):
                part = part[int(name)]
            else:
                raise Unfit(f"the reference {reference} leads nowhere")
        return part


def _combined(groups: Sequence[_Seen]) -> _Seen:
    """Schemas that all hold: each way of one meets each way of the others, and so do their properties of one name."""
    ways = math.prod(one.ways for one in groups)
    size = _sum(one.size * (ways // one.ways) for one in groups)
    described = Counter(name for one in groups for name in one.names)
    named = sum(bool(one.names) for one in groups)
    meeting = [one for one in groups if one.names and named > 1 and _meets(one, described)]
    inner = math.prod(one.inner for one in meeting)
    names = frozenset[str]().union(*(one.names for one in groups))
    choices = sum(one.choices * (ways // one.ways) for one in groups) * inner
    return _Seen(size * inner, ways, max(inner, *(one.inner for one in groups)), choices, names)


def _meets(one: _Seen, described: Counter[str]) -> bool:
    """Whether another one describes something that this one does. `described`: by how many each property is."""
    return _ANY in described or any(described[name] > 1 for name in one.names)


def _choices(schema: Mapping[str, Any]) -> int:
    """What its own keywords leave open at one place."""
    properties, patterns = schema.get("properties"), schema.get("patternProperties")
    required = {name for name in _listed(schema, "required") or () if isinstance(name, str)}
    optional = len(properties.keys() - required) if isinstance(properties, Mapping) else 0
    named = len(patterns) if isinstance(patterns, Mapping) else 0
    repeats = max(_number(schema.get("maxItems")), _number(schema.get("maxProperties")))
    return PER_OPTIONAL * (optional + named) + repeats + len(_listed(schema, "prefixItems") or ()) + 1


def _own(schema: Mapping[str, Any]) -> Size:
    """What its own keywords make."""
    repeats = sum(_number(schema.get(word)) for word in _COUNTS)
    values, patterns = _listed(schema, "enum") or (), schema.get("patternProperties")
    text = sum(map(_length, values)) + _length(schema.get("const", ""))
    if isinstance(pattern := schema.get("pattern"), str):
        text += of_regex(pattern)
    if isinstance(properties := schema.get("properties"), Mapping):
        text += sum(map(_length, properties))
    pairs = 0
    if isinstance(patterns, Mapping):
        text += sum(map(of_regex, patterns))
        # Each is compared with each other: a hundred take as long as a thousand properties, and 500 forty seconds.
        pairs = len(patterns) ** 2 // PAIRS
    few = (len(values) + len(_listed(schema, "required") or ())) // SMALL
    return Size(parts=pairs + few, repeats=repeats, text=text)


def _held(schema: Mapping[str, Any]) -> list[Any]:
    """The schemas within one, without those that it is combined of."""
    parts: list[Any] = [found for word in _ONE if isinstance(found := schema.get(word), Mapping)]
    for word in ("prefixItems", "items"):
        parts += _listed(schema, word) or ()
    for word in _NAMED:
        if isinstance(named := schema.get(word), Mapping):
            parts += named.values()
    return parts


def _sum(sizes: Iterable[Size]) -> Size:
    return sum(sizes, Size())


def _listed(schema: Mapping[str, Any], word: str) -> list[Any] | tuple[Any, ...] | None:
    found = schema.get(word)
    return found if isinstance(found, list | tuple) else None


def _number(value: Any) -> int:
    return max(0, int(value)) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _length(value: Any) -> int:
    """Characters of a value, roughly as JSON has them."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_length(key) + _length(one) for key, one in value.items()) + 2
    return sum(map(_length, value)) + 2 if isinstance(value, list | tuple) else 4
