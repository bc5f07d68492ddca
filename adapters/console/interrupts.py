"""Ctrl-C on a terminal. What it does changes with what is going on; the handler stays.

A handler that is put in place and taken away again leaves moments between the two, in which Ctrl-C would end the program.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapters.console.client import Client

_LFLAG = 3
"""Of what `termios.tcgetattr` returns: the local modes."""


class Interrupts:
    """Does what is to be done at a Ctrl-C by now; at first, and after each block, nothing."""

    def __init__(self) -> None:
        self._do: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Ctrl-C was pressed."""
        if self._do is not None:
            self._do()

    @contextmanager
    def doing(self, do: Callable[[], None]) -> Iterator[None]:
        """Do this in the block."""
        self._do = do
        try:
            yield
        finally:
            self._do = None


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Take the process's SIGINT for the block."""
    loop, before, taken = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT), Interrupts()
    loop.add_signal_handler(signal.SIGINT, taken)
    try:
        with _keeping_what_is_shown():
            yield taken
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


@contextmanager
def _keeping_what_is_shown() -> Iterator[None]:
    """A terminal throws away what it has not yet shown, and what has been typed ahead, at each Ctrl-C; in the block it keeps both."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    mode = termios.tcgetattr(sys.stdin)
    mode[_LFLAG] |= termios.NOFLSH
    termios.tcsetattr(sys.stdin, termios.TCSANOW, mode)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


@contextmanager
def stopping(client: Client, conversation: str, pressed: Interrupts) -> Iterator[Callable[[], bool]]:
    """While an answer is made Ctrl-C asks for its end; where nobody makes it, it ends the block.

    Yields what tells, behind the block, whether it was ended so.
    """
    loop, asking = asyncio.get_running_loop(), asyncio.current_task()
    assert asking is not None
    stops: set[asyncio.Task[None]] = set()
    given_up = False

    def ended(task: asyncio.Task[None]) -> None:
        stops.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: where the process is gone, the answer's own error says so

    def stop() -> None:
        nonlocal given_up
        if client.lost:
            if not given_up:
                asking.cancel()
            given_up = True
            return
        task = loop.create_task(client.stop(conversation))
        stops.add(task)
        task.add_done_callback(ended)

    try:
        with pressed.doing(stop):
            yield lambda: given_up
    except asyncio.CancelledError:
        if not given_up:
            raise
        asking.uncancel()
