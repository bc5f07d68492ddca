"""What exllamav2's compiled extension does on the CPU, in Python: exllamav2_ext/ext_sampling.cpp and ext_cache.cpp."""

from __future__ import annotations

import itertools
import sys
from types import ModuleType
from typing import Any

import torch


def install() -> None:
    """To be called before exllamav2 is imported."""
    if "exllamav2_ext" in sys.modules:
        return
    module = ModuleType("exllamav2_ext")
    for function in (count_match, sample_basic, cache_rotate, apply_rep_penalty):
        setattr(module, function.__name__, function)
    sys.modules["exllamav2_ext"] = module


def count_match(a: torch.Tensor, b: torch.Tensor, most: int) -> int:
    """How many first tokens of (1, n) and (1, m) are equal."""
    most = min(most, b.shape[1])
    different = (a[0, :most] != b[0, :most]).nonzero()
    return int(different[0]) if len(different) else most


def cache_rotate(cache: torch.Tensor, order: torch.Tensor, buffer: torch.Tensor) -> None:
    """Page order[n] becomes what page order[n + 1] was, the last what the first was."""
    pages = order.tolist()
    first = cache[pages[0]].clone()
    for to, source in itertools.pairwise(pages):
        cache[to] = cache[source]
    cache[pages[-1]] = first


def apply_rep_penalty(
    ids: torch.Tensor,
    repetition: float,
    sustain: int,
    decay: int,
    frequency: float,
    presence: float,
    logits: torch.Tensor,
) -> None:
    """Of the warm-up alone, which runs with the library's defaults; the prompt counts in."""
    assert (sustain, decay, frequency, presence) == (-1, 0, 0.0, 0.0)
    for token in set(ids[0].tolist()):
        logits[0, 0, token] *= 1 / repetition if logits[0, 0, token] > 0 else repetition


def sample_basic(
    logits: torch.Tensor,
    temperature: float,
    top_k: int,
    top_p: float,
    top_a: float,
    min_p: float,
    tfs: float,
    typical: float,
    random: float,
    output_tokens: torch.Tensor,
    output_probs: torch.Tensor,
    output_kprobs: torch.Tensor,
    output_ktokens: torch.Tensor,
    logit_filter: torch.Tensor,
    mirostat: bool,
    *rest: Any,
) -> list[float]:
    """In the library's order: temperature, top-k, top-p (without the token that crosses it), min-p."""
    assert not (top_a or tfs or typical or mirostat)
    assert logits.dtype == torch.float32
    if temperature < 0.01:
        temperature, top_k = 1.0, 1
    probs, ids = torch.softmax(logits[0, 0].double() / temperature, dim=-1).sort(descending=True)
    keep = torch.ones_like(probs, dtype=torch.bool)
    if 0 < top_k < len(probs):
        keep[top_k:] = False
        probs = probs / probs[keep].sum()
    if 0 < top_p < 1:
        keep &= (probs * keep).cumsum(0) <= top_p
        keep[0] = True
    if 0 < min_p < 1:
        keep &= probs >= probs[0] * min_p
    left = (probs * keep) / (probs * keep).sum()
    at = int((left.cumsum(0) < random * 0.9998).sum())
    output_tokens[0, 0], output_probs[0, 0] = ids[at], left[at]
    return []
