"""What programs call the speech models."""

from __future__ import annotations

from pathlib import Path

from bot.api import SpeechNames
from bot.config import SpeechConfig

CALLED = ("whisper-1", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
"""By OpenAI's clients: each is the configured model."""


def names(config: SpeechConfig) -> SpeechNames:
    """Of all models that are configured."""
    models = dict.fromkeys(CALLED, config.model)
    models |= {public(config, model): model for model in (config.model, config.translator)}
    translators = {config.model: config.translator} if config.translator != config.model else {}
    return SpeechNames(models=models | config.names, translators=translators)


def public(config: SpeechConfig, model: str) -> str:
    """What a model is called: of a folder the last part, for its path is nobody else's business."""
    where = Path(config.path_of(model))
    return where.name if where.is_dir() else model
