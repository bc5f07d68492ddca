"""A whole Hearth on Telegram in a test: a scripted model, SQLite in a folder, and the stand-in for the platform."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.telegram.adapter import Telegram
from bot.app import App, running
from bot.config import Config, ModelConfig
from bot.messages import ConversationKey
from bot.ports import ChatEngine
from bot.testing import ScriptedEngine
from tests.house import configuration
from tests.telegram import Chat, TelegramServer

FAST = {"private_pace": 0.001, "group_pace": 0.001, "calls_per_second": 10_000}
"""No test waits for a pace that it is not about."""


def telegram_config(folder: Path, server: TelegramServer, **sections: Any) -> Config:
    """Everybody on Telegram may talk; what else is configured comes from `sections`."""
    telegram = {"token": server.token, "api_base": server.url, **FAST, **sections.pop("telegram", {})}
    permissions = {"allow": ["telegram:*"], "messages_per_minute": 1000, **sections.pop("permissions", {})}
    sections = {"web": {"enabled": False}, **sections}
    return configuration(data_dir=folder / "data", telegram=telegram, permissions=permissions, **sections)


@dataclass
class TelegramHouse:
    """A running Hearth and its bot."""

    app: App
    adapter: Telegram
    engine: ScriptedEngine
    server: TelegramServer

    def prompts(self) -> list[str]:
        """What the model was asked, as text."""
        return [self.engine.decode(request.prompt) for request in self.engine.requests]

    def key(self, chat: Chat, thread: str = "") -> ConversationKey:
        """A chat as Hearth knows it."""
        return ConversationKey("telegram", self.adapter.account, str(chat.id), thread)

    async def answered(self, chat: Chat, *texts: str) -> None:
        """Return when the bot's messages in a chat are these, and nothing is in progress."""
        await self.server.wait_for(
            lambda: chat.texts_of_bot() == list(texts), f"{texts}; there is {chat.texts_of_bot()}"
        )
        await self.settled()

    async def settled(self) -> None:
        """Return when everything was received and nothing waits for an answer."""
        await self.server.wait_for(lambda: not self.server.queue.pending, "the last acknowledgement")
        while self.app.dispatcher.in_progress or await self.app.store.pending():
            await self.server.wait_for(lambda: self.app.dispatcher.in_progress == 0, "answers in progress")
            await asyncio.sleep(0.002)


@asynccontextmanager
async def telegram_house(
    folder: Path,
    server: TelegramServer,
    *,
    engine: ScriptedEngine | None = None,
    wrap: Callable[[Telegram], Telegram] = lambda adapter: adapter,
    **sections: Any,
) -> AsyncIterator[TelegramHouse]:
    """Open a house on a folder; what an earlier one left there is found again."""
    model = engine or ScriptedEngine()
    config = telegram_config(folder, server, **sections)

    async def load(alias: str, settings: ModelConfig, data_dir: Path) -> ChatEngine:
        return model

    adapter = wrap(Telegram(config.telegram))
    async with running(config, adapters=[(adapter.account, adapter)], loaders={".fake": load}) as app:
        try:
            yield TelegramHouse(app, adapter, model, server)
        finally:
            model.resume.set()
