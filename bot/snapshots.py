"""What a model is called towards programs: a dated snapshot, which changes its name when the weights change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from bot.config import EMBEDDED_CHAT_MODEL, EMBEDDED_EMBEDDING_MODEL, AnyModelConfig, ModelConfig, RemoteModelConfig

EMBEDDED = {EMBEDDED_CHAT_MODEL: date(2026, 11, 21), EMBEDDED_EMBEDDING_MODEL: date(2026, 11, 29)}
"""When the embedded models were made: an install gives their files a day of its own."""
UNKNOWN = date(1970, 1, 1)
"""Of a file that is not there, and of a server's model."""
_PART = re.compile(r"-\d{5}-of-\d{5}$")
"""Of a model in several files."""
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One model's weights as programs name them."""

    id: str
    """`<name>-<YYYY-MM-DD>`; of a model on a server its name there, which is no promise of ours."""
    released: datetime
    """Midnight UTC of the day in the name."""
    deprecated: datetime | None
    """From when on it may be taken away."""


def snapshot_of(alias: str, model: AnyModelConfig) -> Snapshot:
    """The snapshot that answers under an alias now. Looks at the file's day."""
    released = model.released or _day(model)
    if isinstance(model, RemoteModelConfig):
        name = named(model.remote_model or alias)
    else:
        assert isinstance(model, ModelConfig), "a model is a file or on a server"
        stem = model.path.name if model.path.is_dir() else _PART.sub("", model.path.stem)
        name = f"{named(stem)}-{released.isoformat()}"
    deprecated = None if model.deprecated is None else _midnight(model.deprecated)
    return Snapshot(name, _midnight(released), deprecated)


def named(text: str) -> str:
    """As it can stand in an address."""
    return _NOT_IN_A_NAME.sub("-", text).strip("-") or "model"


def _day(model: AnyModelConfig) -> date:
    if not isinstance(model, ModelConfig):
        return UNKNOWN
    if model.path in EMBEDDED:
        return EMBEDDED[model.path]
    try:
        return datetime.fromtimestamp(model.path.stat().st_mtime, UTC).date()
    except OSError:
        return UNKNOWN


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
