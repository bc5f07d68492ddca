"""What exllamav3's compiled extension does on the CPU, in Python, and Triton's decorators, so that its own Python can be imported.

After exllamav3_ext/generator (staging.cpp, strings.cpp, cache.cu), sam.cpp, and the sampler's kernels.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch


def install() -> None:
    """To be called before exllamav3 is imported."""
    if "exllamav3_ext" in sys.modules:
        return
    os.environ["EXL3_FUSED_SAMPLER"] = "0"  # its steps in Python, as they are without the fused kernel
    for name in ("triton", "triton.language"):
        sys.modules[name] = Permissive(name)
    module = Strict("exllamav3_ext")
    module.__spec__ = ModuleSpec("exllamav3_ext", None, origin="exllamav3_ext.abi3.so")
    module.__spec__.loader = object()  # type: ignore[assignment]
    for function in (
        *(generator_stage_decode, count_match_tensor, cache_rotate, apply_logit_bitmask),
        *(gumbel_noise_f16, gumbel_noise_f32, gumbel_noise_log, BC_SAM),
    ):
        setattr(module, function.__name__, function)
    sys.modules["exllamav3_ext"] = module
    _without_cuda()


class Anything:
    """Whatever a kernel's decoration asks for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else Anything()


class Permissive(ModuleType):
    """A module of such."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


class Missing:
    """A compiled function that no test needs: it may be named, and not be called."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(self.name)


class Strict(ModuleType):
    """A module of such."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(name)


def _without_cuda() -> None:
    """Pinned memory and waiting for a GPU are nothing here."""
    for name in ("empty", "zeros"):
        made = getattr(torch, name)

        def unpinned(*arguments: Any, _made: Any = made, **keywords: Any) -> Any:
            keywords.pop("pin_memory", None)
            return _made(*arguments, **keywords)

        setattr(torch, name, unpinned)
    torch.cuda.synchronize = lambda device=None: None


def generator_stage_decode(
    arena: torch.Tensor,
    width: int,
    tables: list[torch.Tensor],
    positions: list[int],
    rope: list[int],
    batch_ids: torch.Tensor | None,
    ids: list[torch.Tensor],
    pages: list[torch.Tensor],
    offsets: list[int],
) -> None:
    rows = len(tables)
    arena[: rows * width] = 0
    for row, indices in enumerate(tables):
        table = indices.view(-1)
        count = min(len(table), width)
        arena[row * width : row * width + count] = table[:count]
        arena[rows * width + row] = positions[row]
    assert not rope
    for row, sequence in enumerate(ids):
        assert batch_ids is not None
        token = sequence[0, positions[row]]
        batch_ids[row, 0] = token
        pages[row][0, offsets[row]] = token


def count_match_tensor(a: torch.Tensor, b: torch.Tensor, most: int) -> int:
    most = min(most, b.shape[1], a.numel())
    different = (a[0, :most] != b[0, :most]).nonzero()
    return int(different[0]) if len(different) else most


def cache_rotate(cache: torch.Tensor, order: torch.Tensor, buffer: torch.Tensor) -> None:
    """Pairs (to, from) of pages, -1 for the buffer."""
    for to, source in order.view(-1, 2).tolist():
        value = buffer if source < 0 else cache[source]
        (buffer if to < 0 else cache[to]).copy_(value.clone())


def apply_logit_bitmask(logits: torch.Tensor, masked: torch.Tensor, bits: torch.Tensor) -> None:
    words = bits.to(torch.int64) & 0xFFFFFFFF
    allowed = (words.unsqueeze(-1) >> torch.arange(32)) & 1
    allowed = allowed.view(bits.shape[0], -1)[:, : logits.shape[1]].bool()
    masked.fill_(float("-inf"))
    masked[:, : allowed.shape[1]] = logits[:, : allowed.shape[1]].masked_fill(~allowed, float("-inf"))


def _gumbel(shape: torch.Size, seed: int) -> torch.Tensor:
    uniform = torch.rand(shape, generator=torch.Generator().manual_seed(seed)).clamp_min(1e-9)
    return -torch.log(-torch.log(uniform))


def gumbel_noise_f32(logits: torch.Tensor, noised: torch.Tensor, seed: int) -> None:
    noised.copy_(logits + _gumbel(logits.shape, seed))


def gumbel_noise_f16(logits: torch.Tensor, noised: torch.Tensor, seed: int) -> None:
    gumbel_noise_f32(logits, noised, seed)


def gumbel_noise_log(probs: torch.Tensor, noised: torch.Tensor, seed: int) -> None:
    noised.copy_(probs.log() + _gumbel(probs.shape, seed))


class BC_SAM:  # noqa: N801 the extension's name
    """A suffix automaton: the longest end of a sequence that stands earlier in it."""

    def __bool__(self) -> bool:
        return True

    def accept_tensor(self, ids: torch.Tensor) -> tuple[int, int]:
        """Where that is: (begin, end)."""
        tokens = ids[0].tolist()
        for length in range(min(16, len(tokens) - 1), 0, -1):
            for end in range(len(tokens) - 1, length - 1, -1):
                if tokens[end - length : end] == tokens[-length:]:
                    return end - length, end
        return 0, 0
