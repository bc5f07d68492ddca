"""An answer with calls in it -> events, while it is written.

Calls stand in sections. A section is opened by a string, anywhere in the answer, or, where a format has no such string,
by the JSON with which the answer begins. What cannot be a call is said as text from where it could have been one on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from bot.tools.formats.events import Said, ToolEvent
from bot.tools.formats.json_text import SPACE
from bot.tools.formats.reading import ArgumentsReader, CallReader, cut_off

_NAME = re.compile(r"[A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Where a format has calls."""

    openers: Sequence[str]
    """Each opens a section wherever it stands."""
    closer: str = ""
    """What a section ends with; models forget it."""
    bare: bool = False
    """An answer that begins with `{` or `[` begins with a section."""
    fences: Mapping[str, str] = field(default_factory=dict)
    """What may stand before a bare section -> and then stands after it."""
    separators: str = ","
    """Characters between calls that are in no list."""
    named: str = ""
    """Between a function's name and its arguments, where calls are written like that as well."""
    call_id: str = ""
    """Before an id, between name and arguments."""


class SectionParser:
    """A `Parser` for a shape."""

    def __init__(self, shape: Shape, functions: Collection[str], *, forced: bool = False) -> None:
        """`forced`: the answer is calls and nothing else, so that at its end no beginning of one is text."""
        self._forced = forced
        self._shape = shape
        self._functions = frozenset(functions)
        self._events: list[ToolEvent] = []
        self._unread = ""
        self._held = ""
        """What was read since the last event and becomes text if no call follows."""
        self._step: Callable[[], bool] = self._begin if shape.bare else self._seek
        """Reads on; False: more text is needed."""
        self._is_over = False
        self._reader: CallReader | ArgumentsReader | None = None
        self._calls = 0
        self._in_list = False
        self._closer = shape.closer
        self._opened = False
        """The section was opened by a string."""
        self._name = ""
        self._marked = False
        """Behind the name came what stands before an id or arguments, and nowhere else."""
        self._after_call = False
        """Nothing but white space came since a call."""

    def feed(self, text: str) -> list[ToolEvent]:
        """What the next text tells."""
        self._unread += text
        while self._unread and self._step():
            pass
        return self._taken()

    def end(self) -> list[ToolEvent]:
        """What was held back: of a call that was cut off what is known, and else text."""
        if self._cut_off() or self._forced:
            self._unread = self._held = ""
            return self._taken()
        self._is_over = True
        while self._unread and self._step():
            pass
        if isinstance(self._reader, CallReader):
            self._held += self._reader.held
        rest = self._held + self._unread
        if rest.strip() or not self._after_call:
            self._say(rest)
        self._unread = self._held = ""
        return self._taken()

    def _cut_off(self) -> bool:
        """Whether the answer has ended within a call of a function that is known, or within what closes its section."""
        if self._reader is not None:
            self._events += self._reader.end()
            return isinstance(self._reader, ArgumentsReader) or self._reader.begun
        if self._step in (self._to_arguments, self._id) and (self._marked or self._unread):
            self._events += cut_off(self._calls, self._name)
            return True
        return self._step == self._close and bool(self._unread)

    def _taken(self) -> list[ToolEvent]:
        events, self._events = self._events, []
        return events

    def _say(self, text: str) -> None:
        if not text:
            return
        self._after_call = False
        if self._events and isinstance(last := self._events[-1], Said):
            self._events[-1] = Said(last.text + text)
        else:
            self._events.append(Said(text))

    def _take(self, size: int) -> None:
        self._held += self._unread[:size]
        self._unread = self._unread[size:]

    def _take_space(self) -> bool:
        """Whether something follows it."""
        self._take(len(self._unread) - len(self._unread.lstrip(SPACE)))
        return bool(self._unread)

    def _text(self) -> bool:
        """What is held is text after all."""
        held, self._held = self._held, ""
        self._say(held)
        self._in_list = False
        self._step = self._seek
        return True

    # --- text ---

    def _begin(self) -> bool:
        """The answer's first words: a bare section, or text."""
        start = self._unread.lstrip()
        if not start:
            return False
        before = len(self._unread) - len(start)
        if not self._is_over and any(fence.startswith(start) for fence in self._shape.fences):
            return False
        self._step = self._seek
        if start[0] in "{[":
            self._open(before, closer="")
        elif fence := max((fence for fence in self._shape.fences if start.startswith(fence)), key=len, default=""):
            self._open(before + len(fence), closer=self._shape.fences[fence])
        return True

    def _seek(self) -> bool:
        """Text: say what cannot be the beginning of a section, or white space before one."""
        found = [(at, opener) for opener in self._shape.openers if (at := self._unread.find(opener)) >= 0]
        if not found:
            keep = 0 if self._is_over else self._possible()
            self._say_before(len(self._unread) - keep)
            return False
        at, opener = min(found)
        self._say_before(at)
        self._open(self._unread.index(opener) + len(opener), closer=self._shape.closer)
        return True

    def _say_before(self, end: int) -> None:
        """Say the text up to there, without the white space at its end, which stays unread."""
        end = len(self._unread[:end].rstrip())
        self._say(self._unread[:end])
        self._unread = self._unread[end:]

    def _possible(self) -> int:
        """How many of the last characters may be the beginning of an opener."""
        longest = max((len(opener) for opener in self._shape.openers), default=0)
        for size in range(min(longest - 1, len(self._unread)), 0, -1):
            if any(opener.startswith(self._unread[-size:]) for opener in self._shape.openers):
                return size
        return 0

    # --- a section ---

    def _open(self, size: int, *, closer: str) -> None:
        self._take(size)
        self._opened = bool(self._held.strip())
        self._closer, self._in_list, self._step = closer, False, self._first

    def _first(self) -> bool:
        """A call has to come, perhaps within a list."""
        if not self._take_space():
            return False
        if self._unread[0] == "[" and not self._in_list:
            self._in_list = True
            self._take(1)
            return True
        if self._unread[0] == "{":
            return self._read(CallReader(self._calls, self._functions, alone=not self._opened))
        if self._shape.named and not self._in_list:
            self._step = self._named
            return True
        return self._text()

    def _read(self, reader: CallReader | ArgumentsReader) -> bool:
        self._reader, self._step = reader, self._call
        return True

    def _call(self) -> bool:
        """A call goes on."""
        assert self._reader is not None, "set with this step"
        events, taken = self._reader.feed(self._unread)
        self._unread = self._unread[taken:]
        if events:
            self._held, self._after_call = "", False
            self._events += events
        if self._reader.state == "reading":
            return False
        self._calls += isinstance(self._reader, ArgumentsReader) or self._reader.begun
        self._held += self._reader.held if isinstance(self._reader, CallReader) else ""
        done, self._reader = self._reader.state == "done", None
        if not done:
            return self._text()
        self._after_call, self._step = True, self._between
        return True

    def _between(self) -> bool:
        """After a call: another one, or the section's end."""
        if not self._take_space():
            return False
        char = self._unread[0]
        if self._in_list and char == "]":
            self._in_list = False
            self._unread, self._held = self._unread[1:], ""
            self._step = self._close
            return True
        if char in ("," if self._in_list else self._shape.separators):
            self._take(1)
            self._step = self._first
        elif char == "{" and not self._in_list:
            self._step = self._first
        else:
            self._step = self._close
        return True

    def _close(self) -> bool:
        """What closes the section, if it is there."""
        if not self._take_space():
            return False
        if self._closer.startswith(self._unread) and self._unread != self._closer and not self._is_over:
            return False
        if self._closer and self._unread.startswith(self._closer):
            self._unread = self._unread[len(self._closer) :]
            self._held = ""
        self._unread, self._held = self._held + self._unread, ""
        self._step = self._seek
        return True

    # --- a call by its name ---

    def _named(self) -> bool:
        """The function's name, up to what comes before its arguments."""
        match = _NAME.match(self._unread)
        size = match.end() if match else 0
        if size == len(self._unread) and not self._is_over:
            return False
        self._name = self._unread[:size]
        if self._name not in self._functions:
            return self._text()
        self._take(size)
        self._marked, self._step = False, self._to_arguments
        return True

    def _to_arguments(self) -> bool:
        """An id perhaps, a mark, and the object."""
        shape = self._shape
        if not self._take_space():
            return False
        for mark in (shape.call_id, shape.named):
            if mark and mark.startswith(self._unread) and mark != self._unread and not self._is_over:
                return False
        if shape.call_id and self._unread.startswith(shape.call_id):
            self._take(len(shape.call_id))
            self._marked, self._step = True, self._id
            return True
        if self._unread.startswith(shape.named):
            self._take(len(shape.named))
            self._marked = True
            return True
        if self._unread[0] == "{":
            return self._read(ArgumentsReader(self._calls, self._name))
        return self._text()

    def _id(self) -> bool:
        match = _NAME.match(self._unread)
        size = match.end() if match else 0
        self._take(size)
        if self._unread:
            self._step = self._to_arguments
        return True
