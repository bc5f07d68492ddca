"""The parts of a message that people make: text with its entities, captions, names of files."""

from __future__ import annotations

from pathlib import PurePosixPath

from tests.telegram.entities import CAPTION_LIMIT, TEXT_LIMIT, Formatted, cleaned, recognised
from tests.telegram.errors import Json
from tests.telegram.markup import units
from tests.telegram.scene import User

Mentions = dict[str, User]
"""Words of a text, and whom each mentions."""


def _written(words: str, limit: int, mentions: Mentions | None) -> Formatted:
    words = cleaned(words).strip()
    assert words, "clients send no empty text"
    assert units(words) <= limit, "clients send a longer text as several messages"
    found = [
        {
            "type": "text_mention",
            "offset": units(words[: words.index(name)]),
            "length": units(name),
            "user": user.json,
        }
        for name, user in (mentions or {}).items()
    ]
    return recognised(Formatted(words, found))


def text(words: str, mentions: Mentions | None = None) -> Json:
    """The text of a message."""
    written = _written(words, TEXT_LIMIT, mentions)
    return {"text": written.text} | ({"entities": written.entities} if written.entities else {})


def caption(words: str) -> Json:
    """The caption of a file; nothing for no words."""
    if not words:
        return {}
    written = _written(words, CAPTION_LIMIT, None)
    return {"caption": written.text} | ({"caption_entities": written.entities} if written.entities else {})


def suffix(file_name: str) -> str:
    """Of a file's name, as the platform keeps it in the path of the file."""
    return PurePosixPath(file_name).suffix
