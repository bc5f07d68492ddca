"""Where a speech model computes: CTranslate2's wheel is built for CUDA 12, and finds its cuBLAS only if that is loaded."""

from __future__ import annotations

import ctypes
import site
import sys
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

CUBLAS = ("libcublasLt.so.12", "libcublas.so.12")
"""In the order in which they need each other."""
HINT = "pip install nvidia-cublas-cu12"


def choose(device: str) -> tuple[str, int]:
    """`auto`, `cpu`, `cuda` or `cuda:N` -> CTranslate2's device and its index.

    Where a GPU cannot be used it is the CPU, with a warning unless none was asked for and there is none.
    """
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return "cpu", 0
    import ctranslate2

    count = ctranslate2.get_cuda_device_count()
    if kind == "auto" and not count:
        return "cpu", 0
    missing = _load_cublas()
    if missing or not count:
        why = f"a library is missing ({missing}): {HINT}" if count else "CTranslate2 finds none"
        log.warning("no GPU is used for speech", reason=why)
        return "cpu", 0
    return "cuda", int(index or 0)


def _load_cublas() -> str:
    """Load cuBLAS 12, by its name or from a package beside PyTorch's own of CUDA 13. Returns what is missing, or nothing."""
    for name in CUBLAS:
        places = [name, *(str(path) for path in _packaged(name))]
        if not any(_loads(place) for place in places):
            return name
    return ""


def _packaged(name: str) -> list[Path]:
    folders = {*site.getsitepackages(), *sys.path}
    return [path for folder in folders if (path := Path(folder) / "nvidia" / "cublas" / "lib" / name).is_file()]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
