"""JSON of programs: bounded before it is read, and read in steps, between which other threads have their turn."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from adapters.web.openai.faults import refused
from adapters.web.openai.parameters.base import MOST_DEPTH, is_shallow
from bot import aside

VALUES = 100_000
"""Values of a body: each is looked at several times, and the parsers hold the interpreter's lock."""
STRINGS = 2 * VALUES
"""Strings of a body, names included, whatever other values it may hold."""
ENCODINGS = frozenset({"utf-8", "utf-8-sig"})
BLOCK = 2**18
"""Bytes that are gone through in one call: a millisecond or two."""
_WITHIN = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""What is within a string, up to its end or to half of an escape."""
TOO_DEEP = (
    f"We could not parse the JSON body of your request: more than {MOST_DEPTH} objects and lists are within one another"
)


def read(found: bytes, values: int) -> dict[str, Any]:
    """The object that a body is, which holds at most so many values. Raises Refused."""
    if json.detect_encoding(found) not in ENCODINGS:
        raise refused(400, "We could not parse the JSON body of your request: it is not in UTF-8")
    if len(found) > VALUES and holds_more(found, values):
        raise refused(400, f"The body holds too much: at most {values} values, whatever they are.")
    try:
        data = aside.parsed(_text(found), parse_constant=_constant)
    except ValueError as error:
        raise refused(400, f"We could not parse the JSON body of your request: {error}") from error
    except RecursionError as error:
        raise refused(400, TOO_DEEP) from error
    if not isinstance(data, dict):
        raise refused(400, "The body must be a JSON object.")
    if found.count(b"{") + found.count(b"[") > MOST_DEPTH and not is_shallow(data):
        raise refused(400, TOO_DEEP)
    return data


def _text(found: bytes) -> str:
    """As `json.loads` decodes it. Raises UnicodeDecodeError."""
    if len(found) <= BLOCK:
        return found.decode(json.detect_encoding(found), "surrogatepass")
    decoder = codecs.getincrementaldecoder(json.detect_encoding(found))("surrogatepass")
    blocks = []
    for begin in range(0, len(found), BLOCK):
        block = found[begin : begin + BLOCK]
        try:
            blocks.append(decoder.decode(block, final=begin + BLOCK >= len(found)))
        except UnicodeDecodeError as error:
            # The places that it tells are those in what the decoder had: the end of what came so far.
            before = begin + len(block) - len(error.object)
            places = before + error.start, before + error.end
            raise UnicodeDecodeError(error.encoding, found, *places, error.reason) from error
    return "".join(blocks)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def holds_more(found: bytes, most: int) -> bool:
    """Whether JSON has more than so many values, or too many of one kind, by what stands between its strings."""
    return values(found, most) > most


def values(found: bytes, most: int) -> int:
    """How many values JSON has, roughly; more than `most` where they are more, or too many of one kind."""
    commas = opened = strings = position = 0
    while commas + opened <= most and opened <= VALUES and strings <= STRINGS:
        quote = found.find(b'"', position)
        end = len(found) if quote < 0 else quote
        commas += found.count(b",", position, end)
        opened += sum(found.count(sign, position, end) for sign in (b"[", b"{"))
        if quote < 0:
            break
        strings += 1
        position = _end_of_string(found, quote)
    return most + 1 if opened > VALUES or strings > STRINGS else commas + opened


def _end_of_string(found: bytes, quote: int) -> int:
    """Where the text goes on after the string that begins at `quote`."""
    end = found.find(b'"', quote + 1)
    if end < 0 or found[end - 1] != ord("\\"):  # most strings; the next lines take milliseconds for a megabyte
        return len(found) if end < 0 else end + 1
    position, before = quote + 1, quote
    while position > before:
        before = position
        match = _WITHIN.match(found, position, position + BLOCK)
        position = position if match is None else match.end()
        if found[position : position + 1] == b'"':
            return position + 1
    return len(found)
