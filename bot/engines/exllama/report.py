"""What there is of a GPU, and whether a model would fit, told before anybody waits for it."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from typing import Any

from bot.config import ModelConfig
from bot.engines.exllama import build, device, sizing, v2
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import Library, look
from bot.errors import NoGpu

DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
SECONDS = 20.0
"""For a program that tells a version."""


def gpu() -> str:
    """Driver, PyTorch, toolkit, memory, flash-attn, and what is compiled. Raises NoGpu, in one line."""
    torch = device.torch_with_gpu()
    cards = ", ".join(_card(torch, number) for number in range(torch.cuda.device_count()))
    libraries = ", ".join(filter(None, (_library(name) for name in ("exllamav2", "exllamav3"))))
    return (
        f"{cards}; driver {_told(*DRIVER) or 'unknown'}, PyTorch {torch.__version__}, CUDA toolkit {_toolkit() or 'none'}, "
        f"flash-attn {_version('flash-attn') or 'none'}; {libraries or f'no library is installed ({device.INSTALL})'}"
    )


def model(config: ModelConfig, *, memory: bool = True) -> str:
    """A model folder: what it is, what runs it, and whether it fits, unless `memory` is not to be looked at. Raises ModelError."""
    folder = look(config.path)
    library = folder.library(config.gpu.library)
    _ = Vocabulary(folder)
    words = f"{folder.path.name}: {folder.architecture}, {folder.quantisation}, {folder.size // sizing.MEBIBYTE} MiB, {library}"
    try:
        device.installed(library)
        torch = device.torch_with_gpu()
        cards = device.cards(torch, library, config.gpu.split)
    except NoGpu as error:
        return f"{words}; {error}, so {config.gpu.fallback_model.name} answers on the CPU"
    if not memory:
        return words
    folders = [folder, *([look(config.gpu.draft_model)] if config.gpu.draft_model else [])]
    one_by_one = library == "exllamav2" and not _version("flash-attn")
    plan = sizing.plan_for(
        folders,
        config,
        free=device.free_bytes(torch, cards),
        slots=1 if one_by_one else config.slots,
        chunk=sizing.PAGE if one_by_one else config.gpu.chunk,
        cards=cards,
        most_context=v2.MOST_CONTEXT if library == "exllamav2" else None,
        work_per_token=max(map(v2.unpaged_work, folders)) if one_by_one else 0,
    )
    return (
        f"{words}, fits with a context of {plan.context_length} and {plan.cache_tokens} tokens in the cache"
        f"{', one answer at a time: no flash-attn' if one_by_one else ''}"
    )


def _card(torch: Any, number: int) -> str:
    free, total = torch.cuda.mem_get_info(number)
    return f"{torch.cuda.get_device_name(number)}, {free // sizing.MEBIBYTE} of {total // sizing.MEBIBYTE} MiB free"


def _library(name: Library) -> str:
    version = _version(name)
    if not version:
        return ""
    return f"{name} {version}{'' if build.is_ready(name) else ' (not compiled yet: hearth engine build)'}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _toolkit() -> str:
    words = _told("nvcc", "--version")
    return words.partition("release ")[2].partition(",")[0]


def _told(*command: str) -> str:
    """What a program writes; nothing if it is not there."""
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 a fixed program of the system's
            [program, *command[1:]], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return " ".join(done.stdout.split()) if done.returncode == 0 else ""
