"""A model whose forward pass is a script: it reads what it was fed back from the KV cache, and says what comes next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bot.engines.exllama.vocabulary import Vocabulary

MODEL = Path(__file__).parents[1] / "assets" / "hearth-demo-chat-hf"
COUNT = " ".join(str(n) for n in range(1, 21))
PEAK = 8.0
"""By how much the scripted token's logit is above others of standard deviation 1: at temperature 2 others come."""


class Script:
    """The tokens that follow a history. Tests may change what it says, hold it up, or let it fail."""

    def __init__(self, vocabulary: Vocabulary, answer: str = COUNT) -> None:
        header, end, ids = vocabulary.encode(["<|im_start|>assistant\n", "<|im_end|>", answer])
        self.header, self.answer = header, [*ids, *end]
        self.end = end[0]
        self.before: Callable[[], None] = lambda: None
        """Called before each forward pass."""
        self.passes = 0
        self.read = 0
        """Tokens that went through the forward pass."""
        self.threads: set[int] = set()

    def begin(self, tokens: int) -> None:
        """A forward pass of so many tokens in all begins."""
        self.passes += 1
        self.read += tokens
        self.threads.add(threading.get_ident())
        self.before()

    def logits(self, history: Sequence[int], size: int) -> Any:
        """(size,) float32 of the token after `history`: the same for the same history."""
        noise = np.random.default_rng(sum(history) * 31 + len(history)).standard_normal(size).astype(np.float32)
        noise[self.next(history)] += PEAK
        return noise

    def next(self, history: Sequence[int]) -> int:
        """The scripted answer's next token; the end of the turn where something else was written."""
        length = len(self.header)
        for at in range(len(history) - length, -1, -1):
            if list(history[at : at + length]) == self.header:
                written = list(history[at + length :])
                if written == self.answer[: len(written)] and len(written) < len(self.answer):
                    return self.answer[len(written)]
                break
        return self.end
