"""A model that stands still where a test wants it to, so that the test meets an answer on its way however long it takes.

The test and the server are two processes: what holds the model is a file, which one writes and the other reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

from bot.generation import Delta, Finish, Generation, Prefill
from bot.ports import ChatEngine

LOOK_SECONDS = 0.01


def hold(folder: Path, words: str) -> None:
    """From now on an answer stands still as soon as it has these words; one that stands still at others goes on."""
    half = folder / ".held"
    half.write_text(words, "utf-8")
    half.rename(folder / "held")


def release(folder: Path) -> None:
    """Every answer goes on to its end."""
    (folder / "held").unlink(missing_ok=True)


class HeldEngine:
    """Another engine whose answers stand still where `hold` says so."""

    def __init__(self, engine: ChatEngine, folder: Path) -> None:
        self._engine = engine
        self._held = folder / "held"
        self.name = engine.name
        self.control_strings = engine.control_strings
        self.context_length = engine.context_length
        self.template = engine.template
        self.plain, self.text_of = engine.plain, engine.text_of

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """As the other engine."""
        return await self._engine.encode(texts)

    async def stream(self, request: Generation) -> AsyncGenerator[Prefill | Delta | Finish, None]:
        """As the other engine; it is the next word that is waited for."""
        written = ""
        async with aclosing(self._engine.stream(request)) as events:
            async for event in events:
                while self._holds(written):
                    await asyncio.sleep(LOOK_SECONDS)
                if isinstance(event, Delta):
                    written += event.text
                yield event

    async def aclose(self) -> None:
        """Free the other engine."""
        await self._engine.aclose()

    def _holds(self, written: str) -> bool:
        try:
            words = self._held.read_text("utf-8")
        except FileNotFoundError:
            return False
        return words in written
