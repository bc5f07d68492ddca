"""Vocabularies as llguidance wants them: its check of a grammar knows the tokens' names then."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import llguidance


def guide(tokens: Sequence[bytes], special: Collection[int], ends: Collection[int]) -> llguidance.LLTokenizer:
    """A vocabulary for llguidance; about a second for 150,000 tokens. `ends`: the ids that end an answer, one at least."""
    wrapper = llguidance.TokenizerWrapper(_Tokens(tokens, special, min(ends)))
    return llguidance.LLTokenizer(wrapper, n_vocab=len(tokens), eos_token=sorted(ends))


class _Tokens:
    """What TokenizerWrapper wants. It is asked for a text's tokens where only one text may follow, which we never ask for."""

    def __init__(self, tokens: Sequence[bytes], special: Collection[int], end: int) -> None:
        self.tokens = list(tokens)
        self.special_token_ids = sorted(special)
        self.eos_token_id = end
        self.bos_token_id = None
        self._single: dict[int, int] = {token[0]: id_ for id_, token in enumerate(tokens) if len(token) == 1}

    def __call__(self, text: Any) -> list[int]:
        return [self._single[byte] for byte in text if byte in self._single]
