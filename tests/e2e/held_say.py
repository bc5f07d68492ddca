"""`hearth say` with a model that can be held, should it become the process: `python -m tests.e2e.held_say CONVERSATION TEXT`.

What a test holds in the data directory stands still, so that the process can be killed while others wait for it.
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
from tests.e2e.holding import HeldEngine


async def say(conversation: str, text: str) -> None:
    """Ask, and print the answer."""
    config = load(None, os.environ)

    async def held(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return HeldEngine(await LlamaCppEngine.load(alias, model, data_dir), data_dir)

    def start() -> AbstractAsyncContextManager[App]:
        return running(config, loaders={".gguf": held})

    async def use(client: Client) -> None:
        states = [state async for state in client.ask(conversation, text)]
        print(states[-1]["text"])

    await attached(config.socket, start, use)


if __name__ == "__main__":
    asyncio.run(say(*sys.argv[1:]))
