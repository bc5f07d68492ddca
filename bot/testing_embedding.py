"""A working fake of the port EmbeddingEngine."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Sequence

from bot.engines.embedding import check
from bot.errors import EngineBroken
from bot.generation import PlainText


class ScriptedEmbedding:
    """An EmbeddingEngine without a model: each byte is a token, and a text's place counts its bytes.

    Texts of the same bytes are at the same place, whatever their order. Deterministic, also from one process to the next.
    """

    CONTROLS = ("[CLS]", "[SEP]")
    """Their ids follow the 256 bytes; they stand before and after each text."""

    def __init__(
        self, *, name: str = "scripted-embedding@000000000000", context_length: int = 512, dimensions: int = 16
    ) -> None:
        self.name = name
        self.context_length = context_length
        self.dimensions = dimensions
        self.control_strings = frozenset(self.CONTROLS)
        added = {256 + number: text for number, text in enumerate(self.CONTROLS)}
        self.plain = PlainText(size=258, added=added, before=(256,), after=(257,), begins=256)
        self.inputs: list[tuple[int, ...]] = []
        """Every input whose place was computed."""
        self.active = 0
        """Calls that are running."""
        self.resume: asyncio.Event | None = None
        """Set it, and calls stand still after their first input until it is set."""
        self.fail_with: Exception | None = None
        self.closed = False

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """One id per byte, and one per control string."""
        return [self._encode(text) for text in texts]

    async def embed(self, inputs: Sequence[Sequence[int]]) -> list[array[float]]:
        """See EmbeddingEngine."""
        check(inputs, self.context_length, self.plain.size)
        if self.closed:
            raise EngineBroken(detail="the engine is closed")
        self.active += 1
        try:
            found = []
            for ids in inputs:
                if self.fail_with is not None:
                    raise self.fail_with
                self.inputs.append(tuple(ids))
                found.append(self._place(ids))
                await asyncio.sleep(0)
                if self.resume is not None:
                    await self.resume.wait()
            return found
        finally:
            self.active -= 1

    async def aclose(self) -> None:
        """Refuse further calls."""
        self.closed = True

    def _encode(self, text: str) -> list[int]:
        for index, control in enumerate(self.CONTROLS):
            before, found, after = text.partition(control)
            if found:
                return [*self._encode(before), 256 + index, *self._encode(after)]
        return list(text.encode())

    def _place(self, ids: Sequence[int]) -> array[float]:
        counts = [1.0] * self.dimensions
        for token in ids:
            counts[token % self.dimensions] += 1
        length = math.hypot(*counts)
        return array("f", (count / length for count in counts))
