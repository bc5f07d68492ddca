"""What Telegram sends, as its JSON has it: the Bot API's own names. Pure.

The library would make objects of all of it, which takes longer than everything else that is done to hear a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Raw = Mapping[str, Any]
"""An object of the Bot API: an update, or a part of one. What it lacks is a KeyError, what it is not a TypeError."""


def full_name(user: Raw) -> str:
    """First and last name; empty where Telegram tells none."""
    return " ".join(part for part in (user.get("first_name"), user.get("last_name")) if part)


def time_of(seconds: int) -> datetime:
    """A moment, of the seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
