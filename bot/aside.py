"""Long work beside the event loop: small things are done at once, large ones in a thread, one after the other.

Python's threads take turns every few milliseconds, but not within one call of a C function, and each thread that works
makes the loop's turn come later. So there are three threads for all of the process: for people, who wait for no program's work, and
for what takes a program milliseconds, and what takes it longer. What they are given goes through large values in steps.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")

LARGE = 50_000
"""Characters. Up to here the work on a text takes some milliseconds; a thread for it would cost as much."""
HUGE = 8 * LARGE
"""Beyond this, some 40 ms, a program's work waits for others of its kind, and not what is only large for it."""
SCHEMA = 10
"""So many times as much work as a text is a schema of its size, which is compiled to be checked."""
EACH = 100
"""So many characters are as much work as a value of JSON, or a text of many: ten microseconds."""
STEP = 65_536
"""Characters that are gone through in one call."""
AT_ONCE = 64
"""Items of a list that are written in one call: of tokens with all that is told of each, some 3 ms."""
LEVELS = 7
"""So far down JSON is taken apart: to each token of a choice in a list of completions."""
MOST_SECONDS = 10.0
"""So long cycles are not collected at most, and the work that is going on then."""
NAME = "hearth-aside"

_PEOPLE, _LARGE, _HUGE = (ThreadPoolExecutor(1, f"{NAME}-{kind}") for kind in ("people", "large", "huge"))
"""They begin with the first work."""
_OF_A_PROGRAM = contextvars.ContextVar("of a program", default=False)


@contextmanager
def for_a_program() -> Iterator[None]:
    """What is done within, and by tasks that begin within, is a program's work and no person's."""
    before = _OF_A_PROGRAM.set(True)
    try:
        yield
    finally:
        _OF_A_PROGRAM.reset(before)


async def run(size: int, work: Callable[[], Result], *, large: int = LARGE) -> Result:
    """The result of `work`, which goes through so many characters; done at once unless those are more than `large`.

    Who is cancelled does not wait: work that has begun goes on for nobody, and what has not begun is left out.
    """
    if size <= large:
        return work()
    context = contextvars.copy_context()
    thread = (_HUGE if size > HUGE else _LARGE) if _OF_A_PROGRAM.get() else _PEOPLE
    return await asyncio.get_running_loop().run_in_executor(thread, context.run, _collecting.without, work)


class _Collecting:
    """Python's collection of cycles is let wait while there is large work.

    It would go through all that this work has made so far, again and again and in one call, for a hundred thousand objects 20 ms.
    Where there is always some, it has its turn now and then all the same.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working = 0
        self._was_on = False
        self._since = 0.0

    def without(self, work: Callable[[], Result]) -> Result:
        """The result of `work`."""
        with self._lock:
            self._working += 1
            if self._working == 1:
                self._was_on, self._since = gc.isenabled(), time.monotonic()
                gc.disable()
        try:
            return work()
        finally:
            with self._lock:
                self._working -= 1
                if self._was_on:
                    self._let_go()

    def _let_go(self) -> None:
        if not self._working:
            gc.enable()
        elif time.monotonic() - self._since > MOST_SECONDS:
            gc.collect(1)
            self._since = time.monotonic()


_collecting = _Collecting()


def amount(*given: Any, most: int = LARGE, each: int = EACH) -> int:
    """How much JSON-like values are, in characters, roughly; not looked through any further once it is more than `most`.

    `each`: so much is a value beside the characters of its texts.
    """
    found, pending = 0, list(given)
    while pending and found <= most:
        value = pending.pop()
        found += each
        if isinstance(value, str):
            found += len(value)
        elif isinstance(value, Mapping):
            pending += value.keys()
            pending += value.values()
        elif isinstance(value, list | tuple):
            pending += value
    return found


def amount_of_schemas(*schemas: Any) -> int:
    """The same of what is compiled."""
    return SCHEMA * amount(*schemas, most=HUGE // SCHEMA)


def steps(text: str) -> Iterator[str]:
    """A text in pieces that are gone through in no time."""
    if len(text) <= STEP:
        yield text
        return
    for begin in range(0, len(text), STEP):
        yield text[begin : begin + STEP]


def parsed(text: str | bytes, **how: Any) -> Any:
    """JSON as `json.loads` reads it, but in steps where it is large, which take twice as long.

    `how`: further arguments of that. Raises ValueError, RecursionError.
    """
    if len(text) <= LARGE:
        return json.loads(text, **how)
    return json.loads(text, parse_int=_integer, parse_float=_number, object_pairs_hook=_object, **how)


def _integer(digits: str) -> int:
    """A step of Python's, between which other threads have their turn; as the next two are."""
    return int(digits)


def _number(digits: str) -> float:
    return float(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


def written(value: Any, size: int) -> str:
    """JSON text as `json.dumps` writes it, but in steps where it is large. `size`: its characters, roughly."""
    return json.dumps(value) if size <= LARGE else "".join(json_steps(value))


def json_steps(value: Any, levels: int = LEVELS) -> Iterator[str]:
    """The text of `json.dumps(value)`, in small pieces."""
    if not levels or not value or not isinstance(value, dict | list | tuple):
        yield json.dumps(value)
    elif isinstance(value, dict):
        before = "{"
        for name, part in value.items():
            yield f"{before}{json.dumps(name)}: "
            yield from json_steps(part, levels - 1)
            before = ", "
        yield "}"
    else:
        before = "["
        for part in _parts(value, levels):
            yield before
            yield from part
            before = ", "
        yield "]"


def _parts(values: Sequence[Any], levels: int) -> Iterator[Iterator[str]]:
    """Objects and lists one after the other, anything else by the step."""
    if isinstance(values[0], dict | list | tuple):
        yield from (json_steps(value, levels - 1) for value in values)
    else:
        for begin in range(0, len(values), AT_ONCE):
            yield iter((json.dumps(values[begin : begin + AT_ONCE])[1:-1],))
