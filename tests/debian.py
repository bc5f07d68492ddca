"""Programs that the tests need, from Debian's packages where they are missing and may be installed (as root)."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Several processes run the tests: what they share on this machine is made by one of them, and the others wait."""
    with (Path(tempfile.gettempdir()) / f"hearth-tests-{os.getuid()}-{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(there: Callable[[], bool], *packages: str) -> None:
    """Install packages unless what they bring is there. Raises RuntimeError where that cannot be done."""
    if there():
        return
    with one_at_a_time("apt"):
        if not there() and os.geteuid() == 0 and shutil.which("apt-get"):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
                subprocess.run(["apt-get", "--quiet", *arguments], check=True, env=environment, capture_output=True)
    if not there():
        raise RuntimeError(f"the tests need this: apt-get install {' '.join(packages)}")
