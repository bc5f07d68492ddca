"""Speech models from the hub, downloaded by a process of its own.

The library downloads in threads that Python waits for when it ends; a process can be killed in the middle. What came so
far is kept, and the next download goes on from there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

from bot.config import SpeechConfig
from bot.errors import ModelError
from bot.speech.children import end


async def fetch(name: str, config: SpeechConfig, cache: Path) -> None:
    """See to it that a model is on this machine; one that is a directory is. Raises ModelError.

    Cancelling ends the download.
    """
    where = config.path_of(name)
    if Path(where).is_dir():
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "bot.speech.download", where, str(cache)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        words = (await process.stdout.read()).decode("utf-8", "replace").strip()
        failed = await process.wait() != 0
    except BaseException:
        await end(process)
        raise
    if failed:
        why = words.splitlines()[-1] if words else "its download was ended"
        raise ModelError(f"the speech model {name} cannot be loaded ({why})")


def _end_with_the_parent() -> None:
    """Standard input ends with the process at its other end, also where that was killed."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """`python -m bot.speech.download MODEL CACHE`: says nothing, or why not in its last line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which knows what is to end
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    from faster_whisper import download_model

    try:
        download_model(sys.argv[1], cache_dir=sys.argv[2])
    except (OSError, ValueError) as error:
        sys.exit(" ".join(str(error).split()) or type(error).__name__)


if __name__ == "__main__":
    main()
