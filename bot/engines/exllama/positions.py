"""How positions turn by config.json, in exllamav2's terms.

It reads no `rope_parameters`, which transformers 5 writes. Its own YaRN takes the context that is loaded for the one that
was trained, and neither that nor its LongRoPE keeps the attention factor within the trained context. Both are set here
through its "su": a divisor for each frequency, and a factor, which it computes from two lengths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.errors import ModelError

READ_RIGHTLY = frozenset({"default", "linear", "llama3", "mrope"})
"""`rope_scaling` types that exllamav2 0.3.2 (config.py) reads as they are meant."""
SET_HERE = frozenset({"default", "linear", "llama3", "yarn", "longrope"})
BETA_FAST, BETA_SLOW = 32.0, 1.0
"""YaRN's bounds, in turns within the trained context, where config.json names none."""


@dataclass(frozen=True, slots=True)
class Rope:
    """How positions turn, where exllamav2 would read it wrongly from config.json: to be set by ourselves."""

    theta: float | None
    """None: as the library reads it."""
    kind: str
    scaling: Mapping[str, Any]
    """As config.json has it."""
    partial: float | None = None
    trained: int = 0
    """Tokens of the context before it was extended, and how much that was: of YaRN and LongRoPE."""
    factor: float = 1.0
    attention: float = 1.0
    """By what both vectors are multiplied, so that longer contexts do not blur."""


def read(config: Mapping[str, Any]) -> Rope | None:
    """The text model's config.json -> what is to be set; None if exllamav2 reads it rightly.

    Raises ModelError for what exllamav2 cannot do, or would leave out without a word.
    """
    parameters = config.get("rope_parameters")
    new = isinstance(parameters, Mapping)
    scaling: Mapping[str, Any] = (parameters if new else config.get("rope_scaling")) or {}
    kind = str(scaling.get("rope_type") or scaling.get("type") or "default")
    kind = "longrope" if kind == "su" else kind  # as its first models called it
    if not new and kind in READ_RIGHTLY:
        return None
    if kind not in SET_HERE or any(isinstance(value, Mapping) for value in scaling.values()):
        words = "cannot run these rope_parameters" if new else "does not know the rope_scaling"
        raise ModelError(f"exllamav2 {words} {kind!r}; exllamav3 may")
    theta = scaling.get("rope_theta", config.get("rope_theta"))
    if new and not isinstance(theta, int | float):
        raise ModelError("rope_parameters has no rope_theta")
    partial = scaling.get("partial_rotary_factor")
    common = float(theta) if new else None, kind, scaling, float(partial) if isinstance(partial, int | float) else None
    try:
        return Rope(*common, *_extended(kind, scaling, config)) if kind in ("yarn", "longrope") else Rope(*common)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the {kind} of config.json is not whole ({error})") from error


def _extended(kind: str, scaling: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int, float, float]:
    """The trained context, the factor by which it was extended, and the attention factor, as transformers has them."""
    name = "original_max_position_embeddings"
    trained = int(scaling.get(name) or config[name])
    factor = float(scaling.get("factor") or config["max_position_embeddings"] / trained)
    if trained < 2 or factor <= 0:
        raise ValueError("its lengths")
    attention = scaling.get("attention_factor")
    if attention is None and kind == "yarn":
        one, all_ = scaling.get("mscale"), scaling.get("mscale_all_dim")
        attention = _mscale(factor, one) / _mscale(factor, all_) if one and all_ else _mscale(factor, 1.0)
    elif attention is None:
        attention = math.sqrt(1 + math.log(factor) / math.log(trained)) if factor > 1 else 1.0
    if kind == "longrope" and not (len(scaling["long_factor"]) == len(scaling["short_factor"]) > 0):
        raise ValueError("long_factor and short_factor")
    if float(attention) < 1:
        raise ModelError(f"exllamav2 cannot run this {kind}: its attention_factor is below 1; exllamav3 may")
    return trained, factor, float(attention)


def _mscale(factor: float, by: float) -> float:
    return 0.1 * by * math.log(factor) + 1.0 if factor > 1 else 1.0


def set_rope(config: Any, found: Rope) -> None:
    """Put it where the library looks for it (exllamav2/rope.py). `config.max_seq_len` is to be the one that is loaded."""
    if found.theta is not None:
        config.rotary_embedding_base = found.theta
    if found.partial is not None:
        config.partial_rotary_factor = found.partial
    scaling = found.scaling
    config.alt_rope_method, config.scale_pos_emb = None, 1.0
    match found.kind:
        case "linear":
            config.scale_pos_emb = float(scaling["factor"])
        case "llama3":
            config.alt_rope_method = "llama3"
            config.l3_rope_factor = scaling["factor"]
            config.l3_rope_low_freq_factor = scaling["low_freq_factor"]
            config.l3_rope_high_freq_factor = scaling["high_freq_factor"]
            config.l3_rope_original_max_position_embeddings = scaling["original_max_position_embeddings"]
        case "yarn" | "longrope":
            context = config.max_seq_len
            divisors = _yarn(found, config) if found.kind == "yarn" else _longrope(found, context)
            config.alt_rope_method = "su"
            config.scale_long_factor = config.scale_short_factor = list(divisors)
            # it multiplies by sqrt(1 + log(context / original) / log(original)) where the context is longer
            config.original_max_seq_len = context ** (1 / found.attention**2)


def _longrope(found: Rope, context: int) -> Sequence[float]:
    """One set for all conversations, as their cache is one: the long one where some may be longer than was trained."""
    divisors: Sequence[float] = found.scaling["long_factor" if context > found.trained else "short_factor"]
    return divisors


def _yarn(found: Rope, config: Any) -> Sequence[float]:
    """Frequencies that turn often within the trained context stay, slow ones are divided, those between in part."""
    width, base = int(config.head_dim * config.partial_rotary_factor), config.rotary_embedding_base

    def bound(turns: float) -> float:
        return width * math.log(found.trained / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = bound(found.scaling.get("beta_fast") or BETA_FAST)
    high = bound(found.scaling.get("beta_slow") or BETA_SLOW)
    if found.scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    high += 0.001 if low == high else 0
    ramp = (min(1.0, max(0.0, (n - low) / (high - low))) for n in range(width // 2))
    return [1 / (part / found.factor + 1 - part) for part in ramp]
