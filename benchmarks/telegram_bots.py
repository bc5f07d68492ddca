"""The bots that `telegram` measures, each a process of its own: `python -m benchmarks.telegram_bots hearth|echo SETTINGS`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter

from benchmarks.report import quietly
from bot.app import running
from bot.config import Config, ModelConfig
from bot.ports import ChatEngine
from bot.testing import ScriptedEngine, echo

FAST = {"private_pace": 0.001, "group_pace": 0.001, "calls_per_second": 10_000}
"""No pace: what is measured is the program, and the stand-in does not mind."""
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
    data_dir: str = ""
    paced: bool = False
    """Keep the default pace."""
    answer_tokens: int = 0
    """0: the question is said back."""
    seconds_per_token: float = 0.0

    @property
    def account(self) -> str:
        """The bot's id."""
        return self.token.partition(":")[0]


def config_of(settings: Settings) -> Config:
    """Everything is stored; nobody is limited, and everything else is as by default."""
    pace = {} if settings.paced else FAST
    return Config.model_validate(
        {
            "data_dir": settings.data_dir,
            "telegram": {"token": settings.token, "api_base": settings.url, **pace},
            "permissions": {"allow": ["telegram:*"], "messages_per_minute": 10**6},
            "models": {"default": {"path": "scripted.fake", "slots": SLOTS}},
            "web": {"enabled": False},
        }
    )


def engine_of(settings: Settings) -> ScriptedEngine:
    """Reads a prompt in one step and keeps no cache: what that costs is the script's, not Hearth's."""

    def tell(prompt: str) -> str:
        if settings.answer_tokens:
            return (STORY * settings.answer_tokens)[: settings.answer_tokens]
        return echo(prompt).removeprefix("You said: ")

    return ScriptedEngine(
        tell, context_length=CONTEXT, batch=CONTEXT, slots=1, seconds_per_token=settings.seconds_per_token
    )


async def hearth(settings: Settings) -> None:
    """The whole of Hearth, as `hearth run` composes it, with a scripted model. Until SIGTERM."""
    from adapters.telegram.adapter import Telegram

    config, engine, end = config_of(settings), engine_of(settings), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)

    async def load(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return engine

    adapter = Telegram(config.telegram)
    async with running(config, adapters=[(adapter.account, adapter)], loaders={".fake": load}):
        await end.wait()


def rival(settings: Settings) -> None:
    """python-telegram-bot as its documentation shows it: a handler that says a text back. Until SIGTERM."""
    from telegram import Update
    from telegram.ext import ApplicationBuilder, MessageHandler, filters

    async def reply(update: Update, context: Any) -> None:
        if update.message is not None and update.message.text is not None:
            await update.message.reply_text(update.message.text)

    builder = ApplicationBuilder().token(settings.token)
    app = builder.base_url(f"{settings.url}/bot").base_file_url(f"{settings.url}/file/bot").build()
    app.add_handler(MessageHandler(filters.TEXT, reply))
    app.run_polling()


@asynccontextmanager
async def bot_process(kind: str, settings: Settings) -> AsyncIterator[psutil.Process]:
    """A bot for as long as the block. At its end it may call the platform, which is this process."""
    told = TypeAdapter(Settings).dump_json(settings).decode()
    command = [sys.executable, "-m", "benchmarks.telegram_bots", kind, told]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_")}
    with subprocess.Popen(command, env=environ | {"PTB_TIMEDELTA": "1"}) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, STOP_SECONDS)


if __name__ == "__main__":
    told = TypeAdapter(Settings).validate_json(sys.argv[2])
    if sys.argv[1] == "hearth":
        quietly()
        asyncio.run(hearth(told))
    else:
        rival(told)
