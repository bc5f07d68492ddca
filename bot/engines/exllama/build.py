"""Compiling a library's extension ahead of the first message, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from bot.engines.exllama import device
from bot.engines.exllama.weights import Library
from bot.errors import NoGpu, StartError

MODULES: dict[Library, str] = {"exllamav2": "exllamav2.ext", "exllamav3": "exllamav3.ext"}
"""What compiles when it is imported."""
EXTENSIONS: dict[Library, str] = {"exllamav2": "exllamav2_ext", "exllamav3": "exllamav3_ext"}
UNITS: dict[Library, int] = {"exllamav2": 47, "exllamav3": 202}
"""Files to compile. V2's were measured to take 11 minutes of processor time for one architecture."""
ARCHITECTURES = "TORCH_CUDA_ARCH_LIST"


def is_ready(library: Library) -> bool:
    """Whether there is nothing to compile. Raises NoGpu if the library is not installed, or PyTorch not for CUDA."""
    _torch_for_cuda(library)
    return device.is_built(EXTENSIONS[library])


def expected(library: Library) -> str:
    """How much there is to do, in words."""
    return f"{UNITS[library]} files on {os.cpu_count() or 1} cores"


def build(library: Library) -> float:
    """Compile; what the compiler writes is shown. Returns the seconds. Raises NoGpu, StartError."""
    torch = _torch_for_cuda(library)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if not environ.get(ARCHITECTURES):
        if not torch.cuda.device_count():
            raise NoGpu(f"no NVIDIA GPU is visible; {ARCHITECTURES} names what to compile for, for example 8.6 or 8.9")
        found = {torch.cuda.get_device_capability(number) for number in range(torch.cuda.device_count())}
        environ[ARCHITECTURES] = ";".join(f"{major}.{minor}" for major, minor in sorted(found))
    begun = time.monotonic()
    done = subprocess.run(  # noqa: S603 our own interpreter imports an installed package
        [sys.executable, "-P", "-c", f"import {MODULES[library]}"], env=environ, check=False
    )
    if done.returncode:
        raise StartError(f"{library} could not be compiled; what the compiler said is above (docs/gpu.md)")
    return time.monotonic() - begun


def _torch_for_cuda(library: Library) -> Any:
    device.installed(library)
    try:
        import torch
    except ImportError as error:
        raise NoGpu(f"PyTorch is not installed ({device.INSTALL})") from error
    if torch.version.cuda is None:
        raise NoGpu(f"this PyTorch ({torch.__version__}) was built without CUDA")
    return torch
