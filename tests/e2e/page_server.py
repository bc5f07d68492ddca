"""A whole Hearth with its web page and a model whose words are scripted: `python -m tests.e2e.page_server`.

It is `bot.app.running` as `hearth run` uses it. The data directory and the port come from the environment, as for
`hearth run`; its configuration must name models whose path ends with `.script`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path

from bot.app import configure_logging, running
from bot.config import ModelConfig, load
from bot.errors import EngineBroken
from bot.ports import ChatEngine
from bot.recent import LastErrors
from bot.testing import ScriptedEngine, echo
from tests.e2e.holding import HeldEngine

CONFIG = """
[models.default]
path = "scripted-example.script"
slots = 1
description = "writes what a script says"
[models.other]
path = "another-example.script"
[personas.pirate]
system = "You are a pirate."
description = "talks like a pirate"
[permissions]
messages_per_minute = 100000
[chat]
drain = "1s"
[engine]
loaded_models = 2
[queue]
stall_timeout = "10m"
"""
SECONDS_PER_CHARACTER = 0.003
CONTEXT = 32_768
LONG = "\n\n".join(f"Paragraph {n}. The embers glow, the kettle hums, and the evening is quiet." for n in range(1, 13))
BANKING = """\
A fire lasts through the night on *little air* and *hard wood*:

1. Let it burn down to a deep bed of embers, and rake them to the back.
2. Lay one large, dense log on top: oak, ash or beech.
3. Cover it with ash, a finger thick, so that it only smoulders.
4. Close the air almost, but **never the flue**.

In the morning open the air, rake the embers forward and add kindling."""
CODE = """\
Keep a line with the date for each log in `wood.txt`. This counts them by day:

```python
from collections import Counter
from pathlib import Path

def per_day(log: Path) -> Counter[str]:
    return Counter(log.read_text().split())
```

`per_day(Path("wood.txt"))` then says how many each day took."""


def script() -> Callable[[str], str]:
    """The model: the longest and the failing answer on demand, some for the pictures, else the question said back."""
    numbers = count(1)

    def answer(prompt: str) -> str:
        said = echo(prompt)
        if "break" in said:
            raise EngineBroken
        if "quick" in said:
            return "Yes."
        if "long" in said:
            return LONG
        if "fire" in said:
            return BANKING
        if "Python" in said:
            return CODE
        return f"{said}\n\nThis is answer {next(numbers)}."

    return answer


async def serve() -> None:
    """Serve until SIGTERM."""
    errors = LastErrors()
    config = load(Path(os.environ["HEARTH_DATA_DIR"]) / "config.toml", os.environ)
    configure_logging(config.log, errors=errors)

    async def scripted(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        engine = ScriptedEngine(
            script(),
            name=f"{alias}@000000000000",
            context_length=CONTEXT,
            batch=4096,
            seconds_per_token=SECONDS_PER_CHARACTER,
        )
        return HeldEngine(engine, data_dir)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running(config, loaders={".script": scripted}, errors=errors):
        print("Hearth is ready.", flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve())
