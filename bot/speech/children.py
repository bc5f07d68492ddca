"""Processes that work for this one, and end with it."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill it, and wait until it is gone."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            # Process.kill() would look whether it has ended, and so take its end from who waits for it.
            os.kill(process.pid, signal.SIGKILL)
    await process.wait()
