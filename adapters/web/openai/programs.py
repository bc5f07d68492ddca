"""What the API needs of the rest of Hearth, as ports and values: the composition root fills it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.api import ApiStore, ApiUse, Caller, Completions, SpeechNames
from bot.api_limits import Door, Limits
from bot.config import Config
from bot.ports import Decode, SpeechToText


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The rest of Hearth, as programs see it."""

    config: Callable[[], Config]
    """As it is now: a running process reads some of it again."""
    completions: Completions
    store: ApiStore
    door: Door
    person: Callable[[str], Caller]
    """Who has a token of the page, as a caller. Raises NotAllowed for who may not talk."""
    limits: Limits
    used: Callable[[ApiUse], Awaitable[None]]
    """Counts what a request cost."""
    speech: SpeechToText | None
    """None where nothing is heard."""
    speech_names: SpeechNames
    decode: Decode
