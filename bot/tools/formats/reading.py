"""One call as an object, `{"name": ..., "arguments": {...}}`, read as it is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

from bot.tools.formats.events import Arguments, CallBegun, CallEnded, ToolEvent
from bot.tools.formats.json_text import SPACE, JsonReader, State, object_of

NAME = "name"
ARGUMENTS = frozenset({"arguments", "parameters"})
"""Families have the one or the other, and models mix them up."""
KEYS = frozenset({NAME, "id", "type", *ARGUMENTS})


def cut_off(number: int, name: str) -> list[ToolEvent]:
    """A call that ended before its arguments."""
    return [CallBegun(number, name), Arguments(number, ""), CallEnded(number, whole=False)]


class ArgumentsReader:
    """A call whose name is known: an object of arguments, told as it comes."""

    def __init__(self, number: int, name: str) -> None:
        self.state: State = "reading"
        self._number = number
        self._name: str | None = name
        self._json = JsonReader()

    def feed(self, text: str) -> tuple[list[ToolEvent], int]:
        """The next text, which begins with `{` -> what it tells, and how much of it is taken."""
        piece, taken = self._json.feed(text)
        self.state = self._json.state
        events: list[ToolEvent] = []
        if piece and self._name is not None:
            events.append(CallBegun(self._number, self._name))
            self._name = None
        events += [Arguments(self._number, piece)] if piece else []
        events += [CallEnded(self._number, self.state == "done")] if self.state != "reading" else []
        return events, taken

    def end(self) -> list[ToolEvent]:
        """The answer has ended within it."""
        return [CallEnded(self._number, whole=False)] if self._name is None else []


class CallReader:
    """Reads one call. `held` is the text that was taken and that no event tells: if it fails, that is said as text."""

    def __init__(self, number: int, functions: Collection[str], *, alone: bool = False) -> None:
        """`alone`: nothing but its keys tells that it is a call, so that it has to begin with a known one."""
        self.state: State = "reading"
        self.held = ""
        self.begun = False
        self._number = number
        self._functions = functions
        self._alone = alone
        self._step: Callable[[str], int] = self._begin
        self._events: list[ToolEvent] = []
        self._key = ""
        self._json = JsonReader()
        self._read = ""
        """What `_json` has taken."""
        self._arguments: ArgumentsReader | None = None
        self._name: str | None = None
        self._whole: str | None = None
        """Arguments that were there before the name."""
        self._is_told = False
        """The arguments are complete."""

    def feed(self, text: str) -> tuple[list[ToolEvent], int]:
        """The next text, which begins with `{` -> what it tells, and how much of it is taken."""
        self._events, at = [], 0
        while at < len(text) and self.state == "reading":
            size = self._step(text[at:])
            at += size
        return self._events, at

    def end(self) -> list[ToolEvent]:
        """The answer has ended within it: of one whose name is whole, what was not told of it."""
        if self._arguments is not None:
            return self._arguments.end()
        if self._name is None or self._is_told:
            return []
        self.begun = True
        return cut_off(self._number, self._name)

    def _fail(self) -> int:
        self.state = "failed"
        return 0

    def _hold(self, text: str) -> int:
        self.held += text
        return len(text)

    def _begin(self, text: str) -> int:
        self._step = self._key_or_end
        return self._hold(text[0])

    def _key_or_end(self, text: str) -> int:
        if text[0] == "}":
            return self._end_object(text[0])
        return self._key_begin(text)

    def _key_begin(self, text: str) -> int:
        if text[0] in SPACE:
            return self._hold(text[0])
        if text[0] != '"':
            return self._fail()
        self._json, self._read, self._step = JsonReader(), "", self._key_text
        return 0

    def _key_text(self, text: str) -> int:
        taken = self._json_text(text)
        if self._json.state == "done":
            self._key, self._step = json.loads(self._read), self._colon
            if self._alone and self._key not in KEYS:
                self.state = "failed"
            self._alone = False
        return taken

    def _json_text(self, text: str) -> int:
        """Read on in a value of which nothing is told by itself."""
        piece, taken = self._json.feed(text)
        self._read += piece
        self._hold(text[:taken])
        if self._json.state == "failed":
            self.state = "failed"
        return taken

    def _colon(self, text: str) -> int:
        if text[0] == ":":
            self._step = self._value_begin
        elif text[0] not in SPACE:
            return self._fail()
        return self._hold(text[0])

    def _value_begin(self, text: str) -> int:
        if text[0] in SPACE:
            return self._hold(text[0])
        again = self._key == NAME and self._name is not None
        again = again or (self._key in ARGUMENTS and (self._is_told or self._whole is not None))
        if again:
            return self._fail()
        if self._key in ARGUMENTS and self._name is not None and text[0] == "{":
            self._arguments, self._step = ArgumentsReader(self._number, self._name), self._arguments_text
            return 0
        self._json, self._read, self._step = JsonReader(), "", self._value_text
        return 0

    def _arguments_text(self, text: str) -> int:
        assert self._arguments is not None, "set with this step"
        events, taken = self._arguments.feed(text)
        self._events += events
        self.begun, self.held = True, ""
        if self._arguments.state == "failed":
            self.state = "failed"
        if self._arguments.state == "done":
            self._arguments, self._is_told, self._step = None, True, self._after_value
        return taken

    def _value_text(self, text: str) -> int:
        taken = self._json_text(text)
        if self._json.state == "done":
            self._step = self._after_value
            if not self._understood():
                self.state = "failed"
        return taken

    def _understood(self) -> bool:
        """A value is complete. Whether a call can have it; calls with both name and arguments are told."""
        if self._key == NAME:
            self._name = json.loads(self._read)
            if not isinstance(self._name, str) or self._name not in self._functions:
                return False
        elif self._key in ARGUMENTS:
            value = json.loads(self._read) if self._read[0] in '"n' else self._read
            self._whole = object_of("{}" if value is None else value)
            if self._whole is None:
                return False
        if self._name is not None and self._whole is not None and not self._is_told:
            self._tell(self._whole)
        return True

    def _tell(self, arguments: str) -> None:
        assert self._name is not None, "known by now"
        number = self._number
        self._events += [CallBegun(number, self._name), Arguments(number, arguments), CallEnded(number)]
        self.begun, self.held, self._is_told = True, "", True

    def _after_value(self, text: str) -> int:
        if text[0] == "}":
            return self._end_object(text[0])
        if text[0] == ",":
            self._step = self._key_begin
        elif text[0] not in SPACE:
            return self._fail()
        return self._hold(text[0])

    def _end_object(self, text: str) -> int:
        if self._name is None:
            return self._fail()
        if not self._is_told:
            self._tell("{}")
        self.held, self.state = "", "done"
        return len(text)
