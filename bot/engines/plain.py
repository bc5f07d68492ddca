"""What stands around plain text and in its middle, found out the same way for every engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.engines.ggml import FILL_TEXTS
from bot.generation import FillInMiddle


def surroundings(bare: Sequence[int], whole: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a tokenizer puts before and after a text: `bare` are the text's ids alone, `whole` those with it."""
    size = len(bare)
    at = next((i for i in range(len(whole) - size + 1) if list(whole[i : i + size]) == list(bare)), None)
    return ((), ()) if at is None else (tuple(whole[:at]), tuple(whole[at + size :]))


def fill_of(added: Mapping[int, str], named: Mapping[str, int] | None = None) -> FillInMiddle | None:
    """The ids of filling in: those that the model names (by `prefix`, `suffix`, `middle`), or by well-known texts."""
    ids = {part: i for part, texts in FILL_TEXTS.items() for i, text in added.items() if text in texts} | dict(
        named or {}
    )
    return FillInMiddle(**ids) if len(ids) == len(FILL_TEXTS) else None
