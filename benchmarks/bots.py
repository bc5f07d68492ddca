"""What the bots that are measured beside each other have in common: what they are told, their script, their processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter

from benchmarks.report import quietly
from bot import loop
from bot.app import running
from bot.config import Config, ModelConfig
from bot.ports import ChatEngine
from bot.recent import LastErrors
from bot.testing import ScriptedEngine, echo

CONTEXT = 1024
SLOTS = 32
STORY = "Once there was a small house by the sea. "
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a bot is told."""

    url: str
    """The platform's."""
    token: str
    gateway: str = ""
    """Where events come from, if not from `url`."""
    data_dir: str = ""
    paced: bool = False
    """Keep the default pace."""
    answer_tokens: int = 0
    """0: the question is said back."""
    seconds_per_token: float = 0.0


def config_of(settings: Settings, platform: str, own: dict[str, Any], **more: object) -> Config:
    """Everything is stored; nobody is limited, and everything else is as by default. `own`: the platform's section."""
    return Config.model_validate(
        {
            "data_dir": settings.data_dir,
            platform: {"token": settings.token, "api_base": settings.url, **own},
            "permissions": {"allow": [f"{platform}:*"], "messages_per_minute": 10**6},
            "models": {"default": {"path": "scripted.fake", "slots": SLOTS}},
            "web": {"enabled": False},
            **more,
        }
    )


def engine_of(settings: Settings) -> ScriptedEngine:
    """Reads a prompt in one step and keeps no cache: what that costs is the script's, not Hearth's."""

    def tell(prompt: str) -> str:
        if settings.answer_tokens:
            return (STORY * settings.answer_tokens)[: settings.answer_tokens]
        said = echo(prompt)
        return said[said.find("hello") :]  # without the name that the prompt says in a group

    return ScriptedEngine(
        tell, context_length=CONTEXT, batch=CONTEXT, slots=1, seconds_per_token=settings.seconds_per_token
    )


async def hearth(settings: Settings, config: Config) -> None:
    """The whole of Hearth, as `hearth run` composes it, with a scripted model. Until SIGTERM."""
    engine, end = engine_of(settings), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)

    async def load(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return engine

    async with running(config, loaders={".fake": load}, errors=LastErrors()):
        loop.settle()
        await end.wait()


@asynccontextmanager
async def bot_process(module: str, kind: str, settings: Settings, **environ: str) -> AsyncIterator[psutil.Process]:
    """A bot for as long as the block. At its end it may call the platform, which is this process."""
    told = TypeAdapter(Settings).dump_json(settings).decode()
    command = [sys.executable, "-m", module, kind, told]
    own = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_")}
    with subprocess.Popen(command, env=own | environ) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, STOP_SECONDS)


def be(arguments: Sequence[str], config: Callable[[Settings], Config], rival: Callable[[Settings], None]) -> None:
    """Such a process: `hearth|echo SETTINGS`. `config`: Hearth's."""
    kind, told = arguments
    settings = TypeAdapter(Settings).validate_json(told)
    if kind == "hearth":
        quietly()
        loop.serve(hearth(settings, config(settings)))
    else:
        rival(settings)
