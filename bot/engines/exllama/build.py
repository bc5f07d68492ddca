"""Compiling a library's extension ahead of the first message, in a process of its own."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bot.engines.exllama import device
from bot.engines.exllama.weights import Library
from bot.errors import NoGpu, StartError

MODULES: dict[Library, str] = {"exllamav2": "exllamav2.ext", "exllamav3": "exllamav3.ext"}
"""What compiles when it is imported."""
EXTENSIONS: dict[Library, str] = {"exllamav2": "exllamav2_ext", "exllamav3": "exllamav3_ext"}
UNITS: dict[Library, int] = {"exllamav2": 47, "exllamav3": 202}
"""Files to compile. V2's were measured to take 11 minutes of processor time for one architecture."""


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
    if not os.environ.get(device.ARCHITECTURES):
        if not torch.cuda.device_count():
            raise NoGpu(
                f"no NVIDIA GPU is visible; {device.ARCHITECTURES} names what to compile for, for example 8.6 or 8.9, "
                "here and at the start"
            )
        device.cards(torch, library)
        device.name_architectures(torch, library)
    begun = time.monotonic()
    done = subprocess.run(  # noqa: S603 our own interpreter imports an installed package
        [sys.executable, "-P", "-c", f"import {MODULES[library]}"], env=_environment(), check=False
    )
    if done.returncode:
        raise StartError(f"{library} could not be compiled; what the compiler said is above (docs/gpu.md)")
    return time.monotonic() - begun


def _environment() -> dict[str, str]:
    """This one, with the headers and libraries that pip installs beside PyTorch for a toolkit that lacks them.

    The architectures are left to the library: with others at the start it would compile everything again.
    """
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for folder in (Path(place) / "nvidia" / "cu13" for place in site.getsitepackages()):
        for variable, part in (("CPATH", "include"), ("LIBRARY_PATH", "lib")):
            if (folder / part).is_dir():
                environ[variable] = os.pathsep.join(filter(None, (environ.get(variable, ""), str(folder / part))))
    return environ


def _torch_for_cuda(library: Library) -> Any:
    device.installed(library)
    device.find_toolkit()
    device.find_ninja()
    try:
        import torch
    except ImportError as error:
        raise NoGpu(f"PyTorch is not installed ({device.INSTALL})") from error
    if torch.version.cuda is None:
        raise NoGpu(f"this PyTorch ({torch.__version__}) was built without CUDA")
    return torch
