"""torch and the GPU, imported as late as can be and only in the thread that will use them."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from bot.errors import NoGpu

INSTALL = "pip install 'hearth[gpu]'"
LEAST_CAPABILITY = {"exllamav2": (6, 0), "exllamav3": (8, 0)}
"""Pascal and Ampere: what the libraries' kernels are written for."""


def torch_with_gpu() -> Any:
    """torch, if it can use a GPU. Raises NoGpu, which says in one line what is missing."""
    find_toolkit()
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


def installed(library: str) -> None:
    """Raises NoGpu if a library is not installed: then nobody meant to use a GPU here."""
    if importlib.util.find_spec(library) is None:
        raise NoGpu(f"{library} is not installed (pip install 'hearth[{library}]')")


def check_capability(torch: Any, library: str) -> None:
    """Raises NoGpu for a GPU that is too old for the library's kernels."""
    least = LEAST_CAPABILITY[library]
    for device in range(torch.cuda.device_count()):
        found = tuple(torch.cuda.get_device_capability(device))
        if found < least:
            name = torch.cuda.get_device_name(device)
            raise NoGpu(f"{library} needs compute capability {least[0]}.{least[1]}; {name} has {found[0]}.{found[1]}")


def free_bytes(torch: Any) -> int:
    """What is free on all GPUs together."""
    return sum(int(torch.cuda.mem_get_info(device)[0]) for device in range(torch.cuda.device_count()))


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
