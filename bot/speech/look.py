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
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def look(config: SpeechConfig) -> str:
    """What hears, and where. Raises ModelError for a model that cannot be there; loads none."""
    from faster_whisper import available_models

    where = Path(config.path_of(config.model))
    kind, index = device.choose(config.device)
    place = kind if kind == "cpu" else f"{kind}:{index}"
    if where.is_dir():
        missing = [name for name in NEEDED if not (where / name).is_file()]
        if missing:
            raise ModelError(f"{where}: no speech model in the form of CTranslate2 ({', '.join(missing)} missing)")
        size = sum(file.stat().st_size for file in where.iterdir()) // MEBIBYTE
        demo = ", a demo that knows 250 words" if config.model == EMBEDDED_SPEECH else ""
        return f"{where.name} ({size} MiB{demo}), on {place}"
    if config.model in available_models():
        return f"{config.model}, on {place}; downloaded when the first recording comes, if it is not here"
    if _REPOSITORY.fullmatch(config.model):
        return f"{config.model} from the hub, on {place}; downloaded when the first recording comes, if it is not here"
    raise ModelError(
        f"speech.model: there is no model {config.model!r}: neither a folder nor one of {', '.join(available_models())}"
    )
