"""Text that every database and every encoding can hold."""

from __future__ import annotations


def clean(text: str) -> str:
    """The text without what a database cannot hold: NUL and lone surrogates become U+FFFD.

    PostgreSQL refuses both; SQLite's tools end a text at NUL. JSON from a platform can carry either.
    """
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
