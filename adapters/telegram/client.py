"""The library's bot, and its errors as Hearth's own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from telegram import Bot
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, NetworkError, RetryAfter, TelegramError

from adapters.telegram.requests import Parameters, Requests
from bot.errors import Barred, FloodWait, MessageGone, PlatformError, TextRefused, Unreachable

CONNECTIONS = 512
"""At once: twice as many as answers in progress (`chat.concurrent_conversations`), so that slow calls keep none from its way."""
CONNECT_SECONDS = 10.0
CALL_SECONDS = 20.0
"""For an answer to a call; what takes longer is tried again."""
UPLOAD_SECONDS = 120.0

_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid", "message to delete not found")
_REFUSED = ("can't parse entities", "entity_bounds_invalid", "unsupported start tag", "can't find end")
_BARRED = (
    "chat not found",
    "not enough rights",
    "have no rights to send",
    "chat_write_forbidden",
    "topic_closed",
    "user is deactivated",
    "chat_restricted",
    "need administrator rights",
    "peer_id_invalid",
    "group chat was deactivated",
)
"""How Telegram's words about it begin; it has no codes for them."""
TOO_LARGE = "(413)"
NOT_MODIFIED = "message is not modified"
NO_TEXT = "there is no text in the message to edit"
NO_THREAD = "message thread not found"


def make_bot(token: str, api_base: str) -> Bot:
    """A bot that calls this server. Nothing is sent yet. Its connections are closed by `bot.request.shutdown()`."""
    os.environ.setdefault("PTB_TIMEDELTA", "1")  # durations as timedelta, which the library will make its default
    # The library logs what it cannot parse: people's words.
    logging.getLogger("telegram").setLevel(logging.CRITICAL)
    request = Requests(connections=CONNECTIONS, connect=CONNECT_SECONDS, call=CALL_SECONDS, upload=UPLOAD_SECONDS)
    return Bot(
        token,
        base_url=f"{api_base}/bot",
        base_file_url=f"{api_base}/file/bot",
        request=request,
        get_updates_request=request,
    )


async def call(bot: Bot, method: str, *, seconds: float = CALL_SECONDS, **parameters: Any) -> Any:
    """Call a method with JSON-ready parameters (None: left out) and return its result as the JSON has it.

    The library need not understand every update of a batch; and of a message that was sent it would make an object of a
    hundred fields, of which only the id is wanted. Raises TelegramError.
    """
    given = Parameters({name: value for name, value in parameters.items() if value is not None})
    # The library hands the parameters on to `Requests.do_request`, which takes these too.
    return await bot.request.post(f"{bot.base_url}/{method}", given, read_timeout=seconds)  # type: ignore[arg-type]


@contextmanager
def as_platform_errors() -> Iterator[None]:
    """What Telegram refuses, as PlatformError. No words hold the token."""
    try:
        yield
    except RetryAfter as error:
        raise FloodWait(seconds_of(error.retry_after)) from error
    except ChatMigrated as error:
        raise Unreachable("the chat has moved") from error
    except BadRequest as error:
        raise _bad_request(error.message) from error
    except Forbidden as error:
        raise Barred(error.message) from error
    except InvalidToken as error:
        if "not found" in error.message.lower():
            raise PlatformError("Telegram does not know the method") from error
        raise Unreachable("Telegram refuses the token") from error  # what waits is sent once there is a good one
    except NetworkError as error:
        if TOO_LARGE in error.message:
            raise PlatformError("the file is larger than Telegram takes") from error
        raise Unreachable(type(error).__name__) from error
    except TelegramError as error:  # an answer that is no JSON, a conflict
        raise Unreachable(type(error).__name__) from error


def seconds_of(value: float | timedelta) -> float:
    """A duration as the library gives it, in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _bad_request(message: str) -> PlatformError:
    words = message.lower()
    if any(part in words for part in _GONE):
        return MessageGone(message)
    if any(part in words for part in _REFUSED):
        return TextRefused(message)
    if any(part in words for part in _BARRED):
        return Barred(message)
    return PlatformError(message)
