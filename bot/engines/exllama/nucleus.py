"""top_p as everybody means it: the smallest set of the likeliest tokens that reaches it, with the one that crosses it.

exllamav2's own leaves that one out: of 45, 30 and 25 percent, a top_p of .7 would leave the first alone. torch's tensors
come in and go out; this module does not import it.
"""

from __future__ import annotations

from typing import Any

from bot.generation import Sampling

UNLIKELY = 1e-6
"""Tokens below are looked at only if all others do not reach top_p: sorting a whole vocabulary takes milliseconds."""


def cuts(sampling: Sampling) -> bool:
    """Whether top_p leaves anything out."""
    return sampling.temperature > 0 and sampling.top_p < 1


def cut(torch: Any, logits: Any, sampling: Sampling, size: int) -> Any:
    """Logits, (padded vocabulary,) -> new ones, without what top_p leaves out of the first `size`; top_k goes before it."""
    values = logits[:size].float()
    ids = None
    if 0 < sampling.top_k < size:
        values, ids = values.topk(sampling.top_k)
    probs = torch.softmax(values / sampling.temperature, dim=-1)
    likely = (probs > UNLIKELY).nonzero().view(-1)
    if float(probs[likely].sum()) < sampling.top_p:
        likely = torch.arange(len(probs))
    ordered, order = probs[likely].double().sort(descending=True)
    count = max(1, int((ordered.cumsum(0) - ordered < sampling.top_p).sum()))
    left = likely[order[:count]]
    left = left if ids is None else ids[left]
    new = torch.full_like(logits, float("-inf"))
    new[left] = logits[left]
    return new
