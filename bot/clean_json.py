"""JSON text as it is kept: compact, with texts that every database can hold, and written in steps where it is large."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot import aside
from bot.cleaning import clean

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dump(value: Any) -> str:
    """JSON whose texts are clean, in one call."""
    text = _ENCODER.encode(value)
    # JSON would hide a NUL from a column's own cleaning; a lone surrogate it leaves as it is.
    return _ENCODER.encode(_cleaned(value)) if "\\u0000" in text or clean(text) != text else text


def written(value: Any, size: int) -> str:
    """The same, in steps where it is large. `size`: its characters, roughly."""
    return dump(value) if size <= aside.LARGE else "".join(steps(value))


def length(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return sum(len(step.encode("utf-8", "surrogatepass")) for step in aside.steps(text))


def steps(value: Any, levels: int = aside.LEVELS) -> Iterator[str]:
    """The text of `dump(value)`, in small pieces. `levels`: so far down it is taken apart."""
    if isinstance(value, str):
        yield from _of_text(value)
    elif not levels or not value or not isinstance(value, Mapping | list | tuple):
        yield dump(value)
    elif isinstance(value, Mapping):
        before = "{"
        for name, part in value.items():
            yield f"{before}{_ENCODER.encode(name)}:"
            yield from steps(part, levels - 1)
            before = ","
        yield "}"
    else:
        before = "["
        for pieces in _of_items(value, levels):
            yield before
            yield from pieces
            before = ","
        yield "]"


def _of_text(text: str) -> Iterator[str]:
    if len(text) <= aside.STEP:
        yield dump(text)
        return
    yield '"'
    begin = 0
    while begin < len(text):
        end = begin + aside.STEP
        if "\ud800" <= text[end - 1 : end] <= "\udbff" and "\udc00" <= text[end : end + 1] <= "\udfff":
            end += 1  # the two halves of one character
        yield dump(text[begin:end])[1:-1]
        begin = end
    yield '"'


def _of_items(values: Sequence[Any], levels: int) -> Iterator[Iterator[str]]:
    """Numbers by the step, anything else one after the other."""
    for begin in range(0, len(values), aside.AT_ONCE):
        some = values[begin : begin + aside.AT_ONCE]
        if any(isinstance(value, str | Mapping | list | tuple) for value in some):
            yield from (steps(value, levels - 1) for value in some)
        else:
            yield iter((dump(some)[1:-1],))


def _cleaned(value: Any) -> Any:
    """The same with every text inside clean."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {name: _cleaned(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value
