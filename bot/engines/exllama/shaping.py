"""What a request changes about the model's choice, and what it wants to know of it: the same for both libraries.

In the OpenAI API's meaning, which neither library has: penalties count generated tokens alone, and log-probabilities
are the model's own, before anything is changed. torch's tensors come in and go out; this module does not import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.engines.exllama.grammar import Matcher
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.writing import Logprobs
from bot.engines.request_body import NEVER, REPEAT_WINDOW
from bot.generation import Generation, TokenLogprob

FORBIDDEN = -1e4
"""For a logit: no chance beside any other at a temperature up to 100. Not minus infinity: where a grammar allows nothing
but what a bias forbids, there would be no probability left, and the libraries would choose an id that there is not."""


class Shaping:
    """One request's. Of the engine's thread, and of the libraries' sampling threads, one at a time."""

    def __init__(self, torch: Any, request: Generation, vocabulary: Vocabulary, matcher: Matcher | None) -> None:
        self._torch = torch
        self._sampling = request.sampling
        self._prompt_end = list(request.prompt[-REPEAT_WINDOW:])
        self._vocabulary = vocabulary
        self._silent = vocabulary.silent(request.shows)
        self.matcher = matcher
        self._bias: Any = None
        self._raw: Any = None
        """Log-probabilities of the position that is being chosen, (vocabulary,)."""
        self.reported: list[Logprobs] = []
        """Of the tokens that came, in their order; whoever tells them takes them out."""

    @property
    def changes(self) -> bool:
        """Whether it changes the logits, other than by a grammar."""
        sampling = self._sampling
        return bool(sampling.logit_bias) or sampling.repeat_penalty != 1.0 or self._counts

    @property
    def reports(self) -> bool:
        """Whether log-probabilities are wanted."""
        return self._sampling.logprobs is not None

    @property
    def _counts(self) -> bool:
        return bool(self._sampling.presence_penalty or self._sampling.frequency_penalty)

    def see(self, logits: Any) -> None:
        """The model's own logits of the next position, (padded vocabulary,): before anything changes them."""
        if self.reports:
            self._raw = self._torch.log_softmax(logits[: self._vocabulary.size].float(), dim=-1)

    def chose(self, token: int) -> None:
        """The token that came at the position that was seen last."""
        if self._raw is None:
            return
        values, ids = self._raw.topk(self._sampling.logprobs or 0)
        others = tuple(self._logprob(id_, value) for id_, value in zip(ids.tolist(), values.tolist(), strict=True))
        own = float(self._raw[token]) if token < self._raw.shape[0] else float("-inf")
        self.reported.append((self._logprob(token, own), others))
        self._raw = None

    def changed(self, logits: Any, generated: Any) -> Any:
        """Logits, (padded vocabulary,) -> new ones, float32. `generated`: a tensor of the ids so far, without the prompt."""
        sampling, torch = self._sampling, self._torch
        new = logits.float().clone()
        if sampling.logit_bias:
            new += self._biases(new)
        if sampling.repeat_penalty != 1.0:
            before = torch.tensor(self._prompt_end, dtype=torch.long, device=generated.device)
            recent = torch.cat((before, generated))[-REPEAT_WINDOW:].unique()
            values = new[recent]
            new[recent] = torch.where(values > 0, values / sampling.repeat_penalty, values * sampling.repeat_penalty)
        if self._counts and generated.shape[0]:
            counts = torch.bincount(generated, minlength=new.shape[0])[: new.shape[0]]
            new -= counts * sampling.frequency_penalty + (counts > 0) * sampling.presence_penalty
        return new

    def masked(self, logits: Any) -> Any:
        """Logits, (padded vocabulary,) of the CPU -> new ones with the grammar's mask; the same if there is no grammar."""
        if self.matcher is None:
            return logits
        allowed = self._torch.from_numpy(self.matcher.allowed(logits.shape[0]))
        return logits.masked_fill(~allowed, float("-inf"))

    def _biases(self, like: Any) -> Any:
        if self._bias is None:
            self._bias = self._torch.zeros_like(like)
            for token, value in self._sampling.logit_bias.items():
                self._bias[token] = value if value > NEVER else FORBIDDEN
        return self._bias

    def _logprob(self, token: int, value: float) -> TokenLogprob:
        raw = self._vocabulary.bytes_of(token)
        return TokenLogprob(token, raw.decode("utf-8", "replace"), value, raw, token in self._silent)


def taken(reported: list[Logprobs], count: int) -> Sequence[Logprobs]:
    """The first `count`, taken out."""
    first, reported[:] = reported[:count], reported[count:]
    return first
