"""What the API for programs is told of the rest: its face sees ports and these values."""

from __future__ import annotations

from collections.abc import Callable

from adapters.web.openai.programs import Programs
from bot.api import ApiStore
from bot.api_door import Allowance, KeyDoor
from bot.completions import ModelCompletions
from bot.config import Config
from bot.engines.registry import Registry
from bot.ports import SpeechToText
from bot.speech.decode import AudioLimits, Decoder


def programs(
    config: Callable[[], Config], store: ApiStore, registry: Registry, speech: SpeechToText | None
) -> Programs:
    """The API's ports over the parts of a process."""
    heard = config().speech
    return Programs(
        config=config,
        completions=ModelCompletions(registry, config, store.count_api_use),
        store=store,
        door=KeyDoor(store),
        limits=Allowance(store),
        used=store.count_api_use,
        speech=speech,
        decode=Decoder(AudioLimits(heard.max_duration, heard.max_bytes)),
    )
