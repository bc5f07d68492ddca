"""A JSON schema, regular expression or grammar -> which tokens may come next, by llguidance, for both libraries alike.

In both an exception here would end everybody's answers, so what goes wrong is kept, and only the end is allowed then.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

import llguidance
import numpy as np
import numpy.typing as npt

from bot import constraints
from bot.engines.exllama.vocabulary import Vocabulary
from bot.errors import BadRequest
from bot.generation import Generation

WORD = 32
"""Tokens in one word of a mask."""


class Grammars:
    """Makes matchers for one vocabulary. Any thread may ask; the first takes about a second for 150,000 tokens."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._made: llguidance.LLTokenizer | None = None
        self._lock = threading.Lock()

    def matcher(self, request: Generation) -> Matcher:
        """For a request that is constrained. Raises BadRequest for what cannot be kept."""
        tokenizer = self._tokenizer()
        constraints.check(request, tokenizer)
        matcher = llguidance.LLMatcher(tokenizer, constraints.compiled(request), log_level=0)
        if matcher.is_error():
            raise BadRequest(f"This cannot be kept: {matcher.get_error()}", param=constraints.param(request))
        return Matcher(matcher, tokenizer.vocab_size, self._vocabulary.end_ids)

    def _tokenizer(self) -> llguidance.LLTokenizer:
        with self._lock:
            if self._made is None:
                ends = sorted(self._vocabulary.end_ids)
                size = self._vocabulary.size
                self._made = llguidance.LLTokenizer(self._vocabulary.serialized(), n_vocab=size, eos_token=ends)
            return self._made


class Matcher:
    """One answer's way through its grammar. Of the engine's thread alone."""

    def __init__(self, matcher: llguidance.LLMatcher, vocabulary: int, end_ids: Collection[int]) -> None:
        self._matcher = matcher
        self._bits = np.zeros((vocabulary + WORD - 1) // WORD, dtype=np.int32)
        """Of exactly the size that the library writes."""
        self._end_ids = sorted(end_ids)
        self._ended = False
        self.failed = ""
        """Why the grammar cannot be kept any more; empty while it is kept."""

    def bits(self, size: int) -> npt.NDArray[np.int32]:
        """The next tokens that may come: bit n % 32 of word n // 32, for `size` tokens. Never none, and never an error."""
        mask = np.zeros((size + WORD - 1) // WORD, dtype=np.int32)
        if not self.failed:
            self._compute()
            common = min(len(mask), len(self._bits))
            mask[:common] = self._bits[:common]
        if self.failed or not mask.any():
            mask[:] = 0
            words = mask.view(np.uint32)
            for id_ in self._end_ids:
                words[id_ // WORD] |= np.uint32(1 << id_ % WORD)
        return mask

    def _compute(self) -> None:
        try:
            self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        except Exception as error:  # noqa: BLE001 the library raises bare Exception, and others must go on
            self.failed = str(error) or type(error).__name__
        if self._matcher.is_error():
            self.failed = self._matcher.get_error().partition("\n")[0]

    def allowed(self, size: int) -> npt.NDArray[np.bool_]:
        """As `bits`, a boolean for each token."""
        words = self.bits(size)
        return np.unpackbits(words.view(np.uint8), bitorder="little")[:size].astype(np.bool_)

    def accept(self, token: int) -> None:
        """The token that came. The end of the answer is no part of the grammar."""
        if self._ended or self.failed:
            return
        if token in self._end_ids:
            self._ended = True
        elif not self._matcher.consume_token(token):
            self.failed = "a token came that the grammar does not allow"
