"""How much of a GPU's memory the KV cache may take, and how long conversations may be by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bot.config import ModelConfig
from bot.engines.exllama.weights import ModelFolder
from bot.errors import ModelError

PAGE = 256
"""Tokens: both libraries give out their caches in such pages."""
MEBIBYTE = 2**20
LEAST_CONTEXT = 2048
"""Under this no conversation fits."""
WORK_BYTES = 768 * MEBIBYTE
"""For the CUDA context's growth, activations, and logits, beside weights and cache, while so many tokens are read:"""
WORK_CHUNK = 512
CARD_BYTES = 1536 * MEBIBYTE
"""On each further card: the library's scratch memory once more, and the rest that no whole layer fills."""
WEIGHTS_FACTOR = 1.02
"""Padding of the weights in memory."""
WHOLE_BITS = 16
SCALE_BITS = 0.5
"""A quantised cache has a 16-bit scale for each 32 values."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be loaded."""

    context_length: int
    cache_tokens: int
    """Of all conversations together; a multiple of PAGE."""


def bytes_per_token(config: Mapping[str, Any], bits: int) -> int:
    """What one token takes in the KV cache; `config`: the text model's config.json. Raises ModelError."""
    per_value = bits / 8 if bits == WHOLE_BITS else (bits + SCALE_BITS) / 8
    with _told():
        layers = int(_first(config, "num_hidden_layers", "n_layer", "n_layers"))
        heads = int(_first(config, "num_attention_heads", "n_head", "n_heads"))
        key_values = int(config.get("num_key_value_heads") or heads)
        if rank := config.get("kv_lora_rank"):  # multi-head latent attention: one latent and one shared key
            return max(1, round(layers * (int(rank) + int(config.get("qk_rope_head_dim") or 0)) * per_value))
        width = _width(config, heads)
    whole = 4 * key_values * width if bits < WHOLE_BITS else 0  # exllamav2 keeps one layer in 16 bits, to compute with
    return max(1, round(2 * layers * key_values * width * per_value) + whole)


def matmul_bytes(config: Mapping[str, Any], chunk: int) -> int:
    """What attention without a kernel of its own takes for one token of the context while `chunk` tokens are read.

    Scores and their softmax, the mask, and keys and values repeated for every head, in 16 bits. Raises ModelError.
    """
    with _told():
        heads = int(_first(config, "num_attention_heads", "n_head", "n_heads"))
        return 2 * (2 * heads * chunk + chunk + 2 * heads * _width(config, heads))


def chunk_bytes(config: Mapping[str, Any], chunk: int) -> int:
    """What reading `chunk` tokens at a time takes beyond WORK_BYTES, in the layer that takes most. Raises ModelError.

    Of exllamav3's, which is the larger: two inner vectors of the feed-forward part in 32 bits and two in 16, and of the
    width of the model one each of input, output and residue, with queries, keys, values and their copies.
    """
    if chunk <= WORK_CHUNK:
        return 0
    with _told():
        width = _first(config, "hidden_size", "n_embd", "d_model")
        experts = int(config.get("num_experts_per_tok") or 0) * int(config.get("moe_intermediate_size") or 0)
        inner = max(int(config.get("intermediate_size") or config.get("n_inner") or 4 * width), experts)
        return (chunk - WORK_CHUNK) * (12 * inner + 16 * width)


def plan(
    *,
    trained: int,
    wanted_context: int | None,
    wanted_cache: int | None,
    slots: int,
    per_token: int,
    weights: int,
    free: int,
    reserve: int,
    work: int = WORK_BYTES,
) -> Plan:
    """Fit the cache into `free` bytes beside the weights and what is left for others. Raises ModelError if nothing fits.

    `slots` conversations get their whole context if there is room; with less they share it, and what is not in use
    keeps old conversations' beginnings.
    """
    context = min(wanted_context or trained, trained)
    room = free - reserve - round(weights * WEIGHTS_FACTOR) - work
    fits = max(0, room // per_token // PAGE * PAGE)
    if (
        wanted_cache is not None
    ):  # whoever names it knows better: some models' caches are smaller than is estimated here
        return Plan(min(context, _pages(wanted_cache)), _pages(wanted_cache))
    tokens = min(_pages(context * slots), fits)
    if tokens < min(LEAST_CONTEXT, _pages(context)):
        least = per_token * LEAST_CONTEXT
        raise ModelError(
            f"does not fit: {_need(weights, least, work, reserve)}, and {_gigabytes(free)} are free on the GPU"
        )
    return Plan(min(context, tokens), tokens)


def plan_for(
    folders: Sequence[ModelFolder],
    config: ModelConfig,
    *,
    free: int,
    slots: int,
    chunk: int,
    cards: int = 1,
    most_context: int | None = None,
    work_per_token: int = 0,
) -> Plan:
    """The plan for a model, and for the draft model after it, on so many cards. Raises ModelError, which names the model.

    `chunk`: tokens of a prompt that are read in one step.
    `work_per_token`: bytes that computing takes for each token of a conversation, for one at a time.
    """
    gpu, model = config.gpu, folders[0]
    trained = min(folder.context_length for folder in folders)
    try:
        return plan(
            trained=trained if most_context is None else min(most_context, trained),
            wanted_context=config.context_length,
            wanted_cache=gpu.cache_tokens,
            slots=slots,
            per_token=sum(bytes_per_token(folder.text_config, gpu.cache_bits) for folder in folders) + work_per_token,
            weights=sum(folder.size for folder in folders),
            free=free - (cards - 1) * CARD_BYTES,
            reserve=gpu.reserve_mib * MEBIBYTE,
            work=WORK_BYTES + max(chunk_bytes(folder.text_config, chunk) for folder in folders),
        )
    except ModelError as error:
        raise ModelError(f"{model.path}: {error}") from error


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(f"config.json does not tell the shape of the attention ({error})") from error


def _width(config: Mapping[str, Any], heads: int) -> int:
    return int(config.get("head_dim") or _first(config, "hidden_size", "n_embd", "d_model") // heads)


def _first(config: Mapping[str, Any], *keys: str) -> int:
    for key in keys:
        if config.get(key):
            return int(config[key])
    raise KeyError(keys[0])


def _pages(tokens: int) -> int:
    return (tokens + PAGE - 1) // PAGE * PAGE


def _need(weights: int, cache: int, work: int, reserve: int) -> str:
    return (
        f"the weights take {_gigabytes(round(weights * WEIGHTS_FACTOR))}, the least cache {_gigabytes(cache)}, "
        f"the work {_gigabytes(work)}, {_gigabytes(reserve)} are reserved"
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
