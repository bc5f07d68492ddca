"""The bots that `discord` measures, each a process of its own: `python -m benchmarks.discord_bots hearth|echo SETTINGS`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from benchmarks import bots
from benchmarks.bots import Settings
from bot.config import Config

FAST = {"pace": 0.001}
"""No pace: what is measured is the program, and the stand-in does not mind."""


def config_of(settings: Settings) -> Config:
    """Of Hearth, which answers everything in every channel."""
    own = {"gateway": settings.gateway, **({} if settings.paced else FAST)}
    return bots.config_of(settings, "discord", own, groups={"always": ["discord:*"]})


def rival(settings: Settings) -> None:
    """discord.py as its documentation shows it: a client that says a text back. Until SIGTERM."""
    import discord
    import yarl
    from discord.gateway import DiscordWebSocket
    from discord.http import Route

    logging.getLogger("discord").setLevel(logging.ERROR)  # it warns that there is no voice
    Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = settings.url, yarl.URL(settings.gateway)
    intents = discord.Intents.default()
    intents.message_content = True
    client = discord.Client(intents=intents)

    @client.event
    async def on_message(message: discord.Message) -> None:
        if message.author != client.user:
            await message.channel.send(message.content)

    async def work() -> None:
        running = asyncio.current_task()
        assert running is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        async with client:
            await client.start(settings.token)

    try:
        asyncio.run(work())
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    bots.be(sys.argv[1:], config_of, rival)
