"""A look at the page from outside, for `hearth check`: whether it is served, or could be."""

from __future__ import annotations

import aiohttp

from adapters.web.connections import bindable
from adapters.web.guard import HEADERS, check_bind, local_address, open_to_all
from bot.config import WebConfig

SECONDS = 3.0


async def look(config: WebConfig) -> str:
    """What is to be said of the page. Raises StartError with what would not work."""
    if not config.enabled:
        return "is not served (web.enabled is false)"
    check_bind(config)
    who = "without a token, for this machine alone" if open_to_all(config) else f"with a token, for {_people(config)}"
    address = local_address(config.host, config.port)
    if not config.port:
        return f"{who}, on a port that the system chooses"
    if await _is_served(address):
        return f"{address} is served {who}"
    await bindable(config.host, config.port)
    return f"{address} can be served {who}"


def _people(config: WebConfig) -> str:
    return ", ".join([*(["the owner"] if config.token else []), *config.people])


async def _is_served(address: str) -> bool:
    """Whether a Hearth answers there."""
    try:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{address}/healthz") as response:
            return response.headers.get("Server") == HEADERS["Server"]
    except (aiohttp.ClientError, TimeoutError):
        return False
