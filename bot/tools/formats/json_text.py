"""JSON as it is written: one value, character by character, with nothing let through that cannot become one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Literal

State = Literal["reading", "done", "failed"]

SPACE = " \t\n\r"
_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
"""What a string may hold as it is."""
_HEX = frozenset("0123456789abcdefABCDEF")
_WORDS = {"t": "true", "f": "false", "n": "null"}
_DIGITS = "0123456789"
_NUMBER: dict[str, dict[str, str]] = {
    "begin": {"-": "minus", "0": "zero"} | dict.fromkeys("123456789", "whole"),
    "minus": {"0": "zero"} | dict.fromkeys("123456789", "whole"),
    "zero": {".": "point", "e": "exponent", "E": "exponent"},
    "whole": dict.fromkeys(_DIGITS, "whole") | {".": "point", "e": "exponent", "E": "exponent"},
    "point": dict.fromkeys(_DIGITS, "fraction"),
    "fraction": dict.fromkeys(_DIGITS, "fraction") | {"e": "exponent", "E": "exponent"},
    "exponent": dict.fromkeys(_DIGITS, "power") | {"+": "sign", "-": "sign"},
    "sign": dict.fromkeys(_DIGITS, "power"),
    "power": dict.fromkeys(_DIGITS, "power"),
}
"""RFC 8259, section 6: state -> character -> state."""
_WHOLE_NUMBER = frozenset({"zero", "whole", "fraction", "power"})


class JsonReader:
    """Reads one value, without white space before it."""

    def __init__(self) -> None:
        self.state: State = "reading"
        self._step: Callable[[str, int], str] = self._value
        self._open: list[str] = []
        """What closes the objects and arrays that are open."""
        self._is_key = False
        self._word = ""
        """What has to come of a word."""
        self._digits = 0
        """How many hexadecimal digits have to come."""
        self._number = ""

    def feed(self, text: str) -> tuple[str, int]:
        """The next text -> what of it belongs to the value, as JSON, and how many characters that are.

        Control characters within a string, which models write as they are, come out as escapes.
        """
        out: list[str] = []
        at = 0
        while at < len(text) and self.state == "reading":
            taken = self._step(text, at)
            if not taken:
                continue  # another state has to look at it, or none takes it
            at += len(taken)
            escaped = len(taken) == 1 and taken < " " and self._step == self._string
            out.append(json.dumps(taken)[1:-1] if escaped else taken)
        return "".join(out), at

    def _fail(self) -> str:
        self.state = "failed"
        return ""

    def _value(self, text: str, at: int) -> str:
        char = text[at]
        if char in "{[":
            self._open.append("}" if char == "{" else "]")
            self._step = self._key_or_end if char == "{" else self._item_or_end
        elif char == '"':
            self._is_key, self._step = False, self._string
        elif char in _WORDS:
            self._word, self._step = _WORDS[char][1:], self._rest_of_word
        elif char in _NUMBER["begin"]:
            self._number, self._step = _NUMBER["begin"][char], self._digit
        elif char not in SPACE or not self._open:
            return self._fail()
        return char

    def _item_or_end(self, text: str, at: int) -> str:
        if text[at] == "]":
            return self._close(text[at])
        if text[at] not in SPACE:
            self._step = self._value
            return ""
        return text[at]

    def _key_or_end(self, text: str, at: int) -> str:
        if text[at] == "}":
            return self._close(text[at])
        return self._key(text, at)

    def _key(self, text: str, at: int) -> str:
        if text[at] == '"':
            self._is_key, self._step = True, self._string
        elif text[at] not in SPACE:
            return self._fail()
        return text[at]

    def _colon(self, text: str, at: int) -> str:
        if text[at] == ":":
            self._step = self._value
        elif text[at] not in SPACE:
            return self._fail()
        return text[at]

    def _after_value(self, text: str, at: int) -> str:
        char = text[at]
        if char == ",":
            self._step = self._key if self._open[-1] == "}" else self._value
        elif char == self._open[-1]:
            return self._close(char)
        elif char not in SPACE:
            return self._fail()
        return char

    def _close(self, char: str) -> str:
        self._open.pop()
        self._end_value()
        return char

    def _end_value(self) -> None:
        self._step = self._after_value
        if not self._open:
            self.state = "done"

    def _string(self, text: str, at: int) -> str:
        if plain := _PLAIN.match(text, at):
            return plain.group()
        if text[at] == "\\":
            self._step = self._escape
        elif text[at] == '"' and self._is_key:
            self._step = self._colon
        elif text[at] == '"':
            self._end_value()
        return text[at]

    def _escape(self, text: str, at: int) -> str:
        if text[at] == "u":
            self._digits, self._step = 4, self._hexadecimal
        elif text[at] in '"\\/bfnrt':
            self._step = self._string
        else:
            return self._fail()
        return text[at]

    def _hexadecimal(self, text: str, at: int) -> str:
        if text[at] not in _HEX:
            return self._fail()
        self._digits -= 1
        if self._digits == 0:
            self._step = self._string
        return text[at]

    def _rest_of_word(self, text: str, at: int) -> str:
        if text[at] != self._word[0]:
            return self._fail()
        self._word = self._word[1:]
        if not self._word:
            self._end_value()
        return text[at]

    def _digit(self, text: str, at: int) -> str:
        following = _NUMBER[self._number].get(text[at])
        if following is not None:
            self._number = following
            return text[at]
        if self._number not in _WHOLE_NUMBER:
            return self._fail()
        self._end_value()
        return ""


def object_of(text: str) -> str | None:
    """The JSON object that a text is, alone, between white space; None if it is none."""
    reader = JsonReader()
    text = text.strip(SPACE)
    value, taken = reader.feed(text)
    return value if text.startswith("{") and reader.state == "done" and taken == len(text) else None
