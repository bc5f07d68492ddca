"""The library's client, and its errors as Hearth's own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.config import DiscordConfig
from bot.errors import Barred, FloodWait, MessageGone, PlatformError, Unreachable

log = structlog.get_logger(__name__)

GUILD_SECONDS = 1.0
"""After the last guild that Discord tells of, nobody waits longer for one more."""
UNKNOWN_CHANNEL, UNKNOWN_GUILD, UNKNOWN_MESSAGE, UNKNOWN_WEBHOOK = 10003, 10004, 10008, 10015
INVALID_WEBHOOK_TOKEN = 50027
ARCHIVED = 50083
UNKNOWN_INTERACTION, ANSWERED_ALREADY = 10062, 40060
_SLOW = frozenset({20016, 20028, 40062})
"""Slow mode, too many writes in a channel, the service is limited."""
SLOW_SECONDS = 5.0
"""How long to wait where Discord does not say."""
LONGEST_WAIT = 30.0
"""Seconds that the library waits by itself when Discord asks for patience; the least that it takes for this."""
STARTS_KEPT = 50
"""Sessions of the thousand a day that are left to people: of a bot that begins more of them Discord takes the token away."""
CONTENT_FLAGS = 1 << 18 | 1 << 19
"""Of an application: the portal lets it read what people write."""


class NoChannel(Barred):
    """There is no such channel or thread (any more), or not yet."""


class Archived(Barred):
    """The thread is archived: it must be taken out again before something in it can be changed."""


class NoReply(PlatformError):
    """Who may not read what was said in a channel may not refer to it."""


class ThreadIsThere(PlatformError):
    """Somebody has opened a thread at this message."""


_NAMED: dict[int, type[PlatformError]] = {
    UNKNOWN_CHANNEL: NoChannel,
    UNKNOWN_GUILD: Barred,
    ARCHIVED: Archived,
    UNKNOWN_MESSAGE: MessageGone,
    160002: NoReply,
    50005: MessageGone,  # it is somebody else's
    50021: MessageGone,  # it is the platform's own
    160004: ThreadIsThere,
}


class Ears(Protocol):
    """Is told what the gateway tells, in its order and without waiting."""

    def told(self, client: discord.Client, event: str, *what: Any) -> None:
        """One of the library's events, by its name there: `message`, `raw_message_edit`, `interaction`, `ready` ..."""


class _Heard:
    """A client that passes everything on at once. The library's own way is a task for each event."""

    ears: Ears

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Called by the library; what it raises would end the client."""
        try:
            assert isinstance(self, discord.Client), "mixed into one"
            self.ears.told(self, event, *args)
        except Exception as error:
            log.error("an event is passed over", name=event, error=type(error).__name__)
            log.debug("why an event is passed over", exc_info=error)


class _Client(_Heard, discord.Client):
    """One connection to the gateway."""


class _Shards(_Heard, discord.AutoShardedClient):
    """Several, each with a part of the guilds."""


@dataclass(frozen=True, slots=True)
class Portal:
    """What Discord says of a bot."""

    shards: int
    """So many connections it recommends."""
    content: bool
    """The portal lets the bot read what people write."""


@asynccontextmanager
async def looking(config: DiscordConfig) -> AsyncIterator[discord.Client]:
    """A client that calls Discord and hears nothing. Raises the library's LoginFailure, and what `as_platform_errors` turns into Hearth's."""
    point(config)
    client = discord.Client(intents=discord.Intents.none(), max_ratelimit_timeout=LONGEST_WAIT)
    try:
        await client.login(config.token.get_secret_value())
        yield client
    finally:
        await client.close()


async def ask(config: DiscordConfig) -> Portal:
    """Look the bot up. Raises as `looking`; FloodWait where too many sessions were begun today."""
    async with looking(config) as client:
        gateway = await client.http.request(Route("GET", "/gateway/bot"))
        starts = gateway["session_start_limit"]
        if starts["remaining"] < min(STARTS_KEPT, starts["total"]):
            raise FloodWait(starts["reset_after"] / 1000)
        return Portal(int(gateway["shards"]), reads(client))


def reads(client: discord.Client) -> bool:
    """Whether the portal lets the bot read what people write."""
    return bool(client.application_flags.value & CONTENT_FLAGS)


async def log_in(config: DiscordConfig, ears: Ears, portal: Portal) -> discord.Client:
    """A client that has shown its token, and is not connected to the gateway yet. Raises as `ask`."""
    how: dict[str, Any] = {
        "intents": intents(content=portal.content),
        "max_messages": None,
        "chunk_guilds_at_startup": False,
        "member_cache_flags": discord.MemberCacheFlags.none(),
        "guild_ready_timeout": GUILD_SECONDS,
        "max_ratelimit_timeout": LONGEST_WAIT,
    }
    shards = config.shard_count or portal.shards
    client: _Client | _Shards = _Client(**how)
    if shards > 1:
        ids = list(config.shard_ids) or list(range(shards))
        client = _Shards(**how, shard_count=shards, shard_ids=ids)
    client.ears = ears
    try:
        await client.login(config.token.get_secret_value())
    except BaseException:
        await client.close()
        raise
    return client


def point(config: DiscordConfig) -> None:
    """Let the library know where Discord is: its addresses are those of classes, so they hold for the process."""
    # It logs payloads and traces: people's words.
    logging.getLogger("discord").setLevel(logging.CRITICAL)
    Route.BASE = config.api_base
    if config.gateway:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(config.gateway)


def intents(*, content: bool) -> discord.Intents:
    """What a chat assistant has to be told: where it is, what is written and edited there, and what is written to it alone."""
    return discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=content)


@contextmanager
def as_platform_errors() -> Iterator[None]:
    """What Discord refuses, as PlatformError. No words hold the token."""
    try:
        yield
    except discord.RateLimited as error:
        raise FloodWait(error.retry_after) from error
    except discord.LoginFailure as error:
        raise Unreachable("Discord refuses the token") from error  # what waits is sent once there is a good one
    except discord.HTTPException as error:
        raise _refusal(error) from error
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:  # whose words may hold the URL
        raise Unreachable(type(error).__name__) from error
    except RuntimeError as error:
        if "closed" not in str(error):  # aiohttp's word for a session that another client's has taken the place of
            raise
        raise Unreachable("not connected to Discord") from error


def _refusal(error: discord.HTTPException) -> PlatformError:
    words = f"{error.text or error.status} ({error.code})"
    if error.status == 429 or error.code in _SLOW:
        return FloodWait(_retry_after(error))
    if error.status >= 500 or error.status == 401:
        return Unreachable(f"status {error.status}")
    usual = Barred if error.status == 403 else PlatformError
    return _NAMED.get(error.code, usual)(words)


def _retry_after(error: discord.HTTPException) -> float:
    given = error.response.headers.get("Retry-After", "")
    try:
        return min(max(float(given), 0.1), 3600.0)
    except ValueError:
        return SLOW_SECONDS
