"""What would become of recordings, told before anybody sends one."""

from __future__ import annotations

import re
from pathlib import Path

from bot.config import EMBEDDED_SPEECH, SpeechConfig
from bot.errors import ModelError
from bot.speech import device

NEEDED = ("model.bin", "config.json", "tokenizer.json")
"""Without the last faster-whisper would ask the hub."""
MEBIBYTE = 2**20
LATER = "; downloaded when the first recording comes, if it is not here"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def look(config: SpeechConfig) -> str:
    """What hears, and where. Raises ModelError for a model that cannot be there; loads none."""
    kind, index = device.choose(config.device)
    place = kind if kind == "cpu" else f"{kind}:{index}"
    what, later = _one(config, config.model)
    others = [_one(config, model)[0] for model in dict.fromkeys([config.translator, *config.names.values()])]
    others = [other for other in others if other != what]
    return "".join([f"{what}, on {place}", later, *(f"; {other}" for other in others)])


def _one(config: SpeechConfig, model: str) -> tuple[str, str]:
    """A model in words, and when it comes if it may not be here. Raises ModelError."""
    from faster_whisper import available_models

    where = Path(config.path_of(model))
    if where.is_dir():
        missing = [name for name in NEEDED if not (where / name).is_file()]
        if missing:
            raise ModelError(f"{where}: no speech model in the form of CTranslate2 ({', '.join(missing)} missing)")
        size = sum(file.stat().st_size for file in where.iterdir()) // MEBIBYTE
        demo = ", a demo that knows 250 words" if model == EMBEDDED_SPEECH else ""
        return f"{where.name} ({size} MiB{demo})", ""
    if model in available_models():
        return model, LATER
    if _REPOSITORY.fullmatch(model):
        return f"{model} from the hub", LATER
    raise ModelError(
        f"{_key(config, model)}: there is no model {model!r}: neither a folder nor one of {', '.join(available_models())}"
    )


def _key(config: SpeechConfig, model: str) -> str:
    """Where a model stands in the configuration."""
    if model == config.model:
        return "speech.model"
    return "speech.translation_model" if model == config.translation_model else "speech.names"
