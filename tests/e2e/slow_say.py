"""`hearth say` with a slow model, should it become the process: `python -m tests.e2e.slow_say SECONDS CONVERSATION TEXT`.

SECONDS pass before each token, so that a test can kill the process while others wait for it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from adapters.console.client import Client
from bot.app import App, running
from bot.attaching import attached
from bot.config import ModelConfig, load
from bot.engines.llamacpp import LlamaCppEngine
from bot.ports import ChatEngine
from bot.testing import ThrottledEngine


async def say(seconds: float, conversation: str, text: str) -> None:
    """Ask, and print the answer."""
    config = load(None, os.environ)

    async def slow(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return ThrottledEngine(await LlamaCppEngine.load(alias, model, data_dir), seconds)

    def start() -> AbstractAsyncContextManager[App]:
        return running(config, loaders={".gguf": slow})

    async def use(client: Client) -> None:
        states = [state async for state in client.ask(conversation, text)]
        print(states[-1]["text"])

    await attached(config.socket, start, use)


if __name__ == "__main__":
    asyncio.run(say(float(sys.argv[1]), *sys.argv[2:]))
