"""The event loop of a process that serves."""

from __future__ import annotations

import gc
import weakref

from bot import loop


class Ring:
    """Only holds itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_there_when_the_process_had_begun_is_not_looked_at_again_and_what_comes_later_is() -> None:
    before = gc.get_threshold()
    early = Ring()
    try:
        loop.settle()
        assert gc.get_threshold() == (loop.YOUNG, *before[1:])
        gone, later = weakref.ref(early), weakref.ref(Ring())
        del early
        gc.collect()
        assert gone() is not None
        assert later() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
