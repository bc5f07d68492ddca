"""A model is opened once by llama.cpp itself, in a process of its own: a file that crashes it takes nobody along.

The weights are mapped, read and checked, and a context of the least length is made, on the CPU and without another copy
of the weights: so a running Hearth keeps its memory. A model of 0.5 billion parameters takes 1 s.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from bot.config import ModelConfig, socket_path
from bot.engines import gguf, llama_server
from bot.engines.llamacpp import BATCH
from bot.errors import ModelError
from bot.gguf_format import kind_of

CONTEXT = 256
"""Tokens: what llama.cpp pads a context to."""


def open_once(path: Path) -> None:
    """Raises ModelError in one line that names the file if llama.cpp cannot run it, or it neither answers nor embeds."""
    file = gguf.read(path)
    if kind_of(path) == "chat":
        _ = file.template
    try:
        code, words = _tried(path)
    except OSError as error:
        raise ModelError(f"{path}: llama.cpp cannot be started to try this model ({error})") from error
    if code:
        crash = f"it crashes: {signal.Signals(-code).name}" if code < 0 else ""
        raise llama_server.refused(path, ", ".join(part for part in (crash, words) if part))


def _tried(path: Path) -> tuple[int, str]:
    """The child's exit code, and what it told of a failure."""
    with tempfile.TemporaryDirectory(prefix="hearth-trial-") as folder, tempfile.TemporaryFile() as errors:
        # The child finds the packages where this process does; a crash is not to be followed by a debugger.
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "GGML_NO_BACKTRACE": "1"}
        done = subprocess.run(  # noqa: S603 our own interpreter runs our own module
            [sys.executable, "-P", "-m", "bot.engines.trial", str(path), folder],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            check=False,
        )
        errors.seek(0)
        return done.returncode, llama_server.cause(errors.read().decode("utf-8", "replace").splitlines())


def _main(path: Path, folder: Path) -> None:
    """The child's work. It ends without the library's farewell, which would wait for threads that have just begun."""
    try:
        xllamacpp = llama_server.library()
    except ModelError as error:
        sys.exit(str(error))
    config = ModelConfig(path=path, slots=1, prompt_cache_mib=0)
    socket = socket_path(folder, "engine.sock")
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    way = llama_server.Way(context_length=CONTEXT, batch=BATCH, pooling=gguf.read(path).pooling)
    params = llama_server.parameters(xllamacpp, config, way, socket, secrets.token_urlsafe(32))
    params.no_extra_bufts = True  # they hold the weights once more, in an order that is faster to compute with
    params.warmup = False
    try:
        _ = xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        llama_server.wait_for_cause(sys.stderr.fileno())
        if not os.fstat(sys.stderr.fileno()).st_size:
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
