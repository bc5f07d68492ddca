"""The event loop of a process that serves: uvloop's, which takes a sixth less CPU for a message than Python's own."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

YOUNG = 10_000
"""With so many new objects Python looks for those among them that only hold each other. Its own 700 come with a message or two,
most of which are gone soon without a look."""


def serve(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. Where there is no uvloop (Windows, other Pythons), on Python's own loop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def settle() -> None:
    """The process has begun: what is there by now is not looked at again.

    Python would go through all that was imported each time, which stops everything for a tenth of a second.
    """
    gc.freeze()
    gc.set_threshold(YOUNG)
