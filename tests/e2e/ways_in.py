"""How a process is told of the stand-ins of chat platforms: by environment variables, or by config.toml."""

from __future__ import annotations

from collections.abc import Mapping

from tests import discord_house, telegram_house
from tests.discord_fake import DiscordServer
from tests.telegram import TelegramServer


def on_telegram(server: TelegramServer) -> dict[str, str]:
    """A Telegram bot."""
    return _variables("TELEGRAM", {**telegram_house.FAST, "token": server.token, "api_base": server.url})


def on_discord(server: DiscordServer) -> dict[str, str]:
    """A Discord bot."""
    own = {"token": server.token, "api_base": server.api_base, "gateway": server.gateway}
    return _variables("DISCORD", {**discord_house.FAST, **own})


def _variables(section: str, values: Mapping[str, object]) -> dict[str, str]:
    return {f"HEARTH_{section}__{name.upper()}": str(value) for name, value in values.items()}


def as_sections(server: DiscordServer, *, pace: float) -> str:
    """A Discord bot, and no page. `pace`: seconds for each call of a channel."""
    own = f'token = "{server.token}"\napi_base = "{server.api_base}"\ngateway = "{server.gateway}"\npace = {pace}\n'
    return f"[web]\nenabled = false\n[discord]\n{own}"
