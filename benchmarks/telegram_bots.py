"""The bots that `telegram` measures, each a process of its own: `python -m benchmarks.telegram_bots hearth|echo SETTINGS`."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks import bots
from benchmarks.bots import Settings
from bot.config import Config

FAST = {"private_pace": 0.001, "group_pace": 0.001, "calls_per_second": 10_000}
"""No pace: what is measured is the program, and the stand-in does not mind."""


def config_of(settings: Settings) -> Config:
    """Of Hearth."""
    return bots.config_of(settings, "telegram", {} if settings.paced else FAST)


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


if __name__ == "__main__":
    bots.be(sys.argv[1:], config_of, rival)
