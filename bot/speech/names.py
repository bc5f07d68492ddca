"""Under which names programs find which speech model: its alias, its other names, and its dated snapshot."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path

from bot.api import SpeechModel, SpeechNames
from bot.config import EMBEDDED_SPEECH, SpeechConfig
from bot.snapshots import UNKNOWN, named

WHISPER = "whisper-1"
"""What OpenAI's clients call the configured model."""
OFFERED = ("gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
"""And what those of 2026 call it."""
EMBEDDED_DAY = date(2026, 11, 28)
"""When the embedded model was made: an install gives its files a day of its own."""
WEIGHTS = "model.bin"


def names(speech: SpeechConfig) -> SpeechNames:
    """Of all models that are configured; none where nothing is heard. Looks at the models' files."""
    if not speech.enabled:
        return {}
    wanted = {
        WHISPER: speech.model,
        **dict.fromkeys(OFFERED, speech.model),
        **{named(_called(speech, model)): model for model in (speech.model, speech.translator)},
        **speech.names,
    }
    aliases = {speech.model: WHISPER}
    found: dict[str, SpeechModel] = {}
    for name, model in wanted.items():
        one = _described(speech, aliases.setdefault(model, name), model)
        found[name] = one
        found.setdefault(one.snapshot, one)
    return found


def _described(speech: SpeechConfig, alias: str, model: str) -> SpeechModel:
    called, day = named(_called(speech, model)), _day(speech, model)
    return SpeechModel(
        alias=alias,
        snapshot=called if day == UNKNOWN else f"{called}-{day.isoformat()}",
        released=datetime.combine(day, time(), UTC),
        model=model,
        translator=speech.translator if model == speech.model else model,
    )


def _called(speech: SpeechConfig, model: str) -> str:
    """Of a folder the last part, for its path is nobody else's business."""
    where = Path(speech.path_of(model))
    return where.name if where.is_dir() else model


def _day(speech: SpeechConfig, model: str) -> date:
    if model == EMBEDDED_SPEECH:
        return EMBEDDED_DAY
    try:
        return datetime.fromtimestamp((Path(speech.path_of(model)) / WEIGHTS).stat().st_mtime, UTC).date()
    except OSError:  # it comes from a hub
        return UNKNOWN
