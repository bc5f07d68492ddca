"""torch and the GPU, imported as late as can be and only in the thread that will use them."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog

from bot.errors import ModelError, NoGpu

log = structlog.get_logger(__name__)

INSTALL = "pip install 'hearth[gpu]'"
ARCHITECTURES = "TORCH_CUDA_ARCH_LIST"
LEAST_CAPABILITY = {"exllamav2": (6, 0), "exllamav3": (8, 0)}
"""Pascal and Ampere: what the libraries' kernels are written for."""


def torch_with_gpu() -> Any:
    """torch, if it can use a GPU. Raises NoGpu, which says in one line what is missing."""
    find_toolkit()
    find_ninja()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as llama.cpp needs it, which may be loaded later
    try:
        import torch
    except ImportError as error:
        raise NoGpu(f"PyTorch is not installed ({INSTALL})") from error
    except Exception as error:
        raise NoGpu(f"PyTorch cannot be loaded ({error})") from error
    if torch.version.cuda is None:
        raise NoGpu(f"this PyTorch ({torch.__version__}) was built without CUDA")
    if not torch.cuda.is_available() or not torch.cuda.device_count():
        raise NoGpu("PyTorch finds no NVIDIA GPU (is the driver installed?)")
    return torch


def find_toolkit() -> None:
    """Tell PyTorch where CUDA's toolkit is, before it guesses: where `nvcc` on the path is a link, it guesses wrongly."""
    nvcc = shutil.which("nvcc")
    if nvcc is None or os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH"):
        return
    home = Path(nvcc).resolve().parents[1]
    if (home / "include" / "cuda.h").is_file():
        os.environ["CUDA_HOME"] = str(home)


def find_ninja() -> None:
    """Let PyTorch find `ninja`, without which it opens no extension, compiled or not.

    pip puts it beside our own program, where nothing looks if that is started by its path, as by a service.
    """
    scripts = sysconfig.get_path("scripts")
    if shutil.which("ninja") is None and shutil.which("ninja", path=scripts) is not None:
        os.environ["PATH"] = os.pathsep.join(filter(None, (os.environ.get("PATH", os.defpath), scripts)))


def installed(library: str) -> None:
    """Raises NoGpu if a library is not installed: then nobody meant to use a GPU here."""
    if importlib.util.find_spec(library) is None:
        raise NoGpu(f"{library} is not installed (pip install 'hearth[{library}]')")


def cards(torch: Any, library: str, split: Sequence[float] = ()) -> int:
    """How many GPUs are used: those before the first that is too old for the library's kernels, or those of `gpu.split`.

    PyTorch has the fastest first; those after an old one are left alone too, as both libraries count from the first.
    Raises NoGpu for none, ModelError for a split over more than there are.
    """
    least = LEAST_CAPABILITY[library]
    found = [tuple(torch.cuda.get_device_capability(device)) for device in range(torch.cuda.device_count())]
    usable = next((number for number, capability in enumerate(found) if capability < least), len(found))
    named = max((number for number, share in enumerate(split, 1) if share), default=usable)
    reason = ""
    if usable < len(found):
        has = f"{torch.cuda.get_device_name(usable)} has {'.'.join(map(str, found[usable]))}"
        reason = f"{library} needs compute capability {'.'.join(map(str, least))}; {has}"
    if not usable:
        first = ", and comes first (CUDA_VISIBLE_DEVICES chooses others)" if max(found) >= least else ""
        raise NoGpu(reason + first)
    if named > usable:
        raise ModelError(f"gpu.split names {named} GPUs, and {usable} can be used{f' ({reason})' if reason else ''}")
    if reason:
        log.warning("a GPU is not used", reason=reason, used=named, there=len(found))
    return named


def name_architectures(torch: Any, library: str) -> None:
    """Keep a GPU that is too old out of what the library compiles for, which is every one that it sees: it would fail.

    To be called before each import of it, because with other architectures it would compile everything again.
    """
    count = torch.cuda.device_count()
    found = {tuple(torch.cuda.get_device_capability(device)) for device in range(count)}
    able = {capability for capability in found if capability >= LEAST_CAPABILITY[library]}
    if os.environ.get(ARCHITECTURES) or not able or able == found:
        return
    known = [name.partition("_")[2].rstrip("af") for name in torch.cuda.get_arch_list() if name.startswith("sm_")]
    newest = max(((int(name) // 10, int(name) % 10) for name in known), default=max(able))
    names = sorted({".".join(map(str, min(newest, capability))) for capability in able})
    os.environ[ARCHITECTURES] = ";".join(names) + "+PTX"


def free_bytes(torch: Any, cards: int) -> int:
    """What is free on the first so many GPUs together."""
    return sum(int(torch.cuda.mem_get_info(device)[0]) for device in range(cards))


def release(torch: Any) -> None:
    """Give back the GPU's memory that nothing refers to any more."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def is_built(extension: str) -> bool:
    """Whether a library's extension is there already; if not, its import compiles it, which takes many minutes."""
    if importlib.util.find_spec(extension) is not None:
        return True
    from torch.utils import cpp_extension

    cpp: ModuleType = cpp_extension
    folder: str = cpp._get_build_directory(extension, False)
    return os.path.exists(os.path.join(folder, f"{extension}.so"))  # noqa: PTH110, PTH118 torch's own names
