"""What the events of all chat platforms have in common. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from bot.messages import ActionName, Edited, Message

LONGEST_QUOTE: Final = 2000
"""Characters of the message that somebody replies to, which the model is shown."""


def quoted(said: str, name: str = "") -> str:
    """Somebody's words, by name if it is known, as a quote that stands before what is said about them."""
    shown = said if len(said) <= LONGEST_QUOTE else said[:LONGEST_QUOTE] + " ..."
    by = f"{name}: " if name else ""
    return "\n".join(f"> {line}".rstrip() for line in (by + shown).splitlines())


def with_quotes(text: str, *quotes: str) -> str:
    """What was said, behind what it is about. A command stays what it is."""
    return text if text.startswith("/") else "\n\n".join(part for part in (*quotes, text) if part)


def brings_files(text: str, commands: Collection[str]) -> bool:
    """Whether words that only refer to somebody's message are about its files too: "@bot what does she say?".

    `commands`: those that are (`Command.brings_files`); no others are.
    """
    if not text.startswith("/"):
        return True
    name, _, _ = text[1:].partition(" ")
    return name.partition("@")[0].lower() in commands


def as_edit(message: Message, at: datetime) -> Message | Edited:
    """A message that was edited then. One that calls the bot by now is a message to it, if it was none before: the store knows which."""
    if message.addressed and not message.direct:
        return message
    return Edited(
        key=message.key,
        event_id=message.event_id,
        revision=message.revision,
        author=message.author,
        text=message.text,
        sent_at=at,
    )


def pressed(button: str) -> tuple[ActionName, str] | None:
    """What a press of a button asks for, by the button's id: the action, and what stands behind its name; None for a strange id."""
    name, _, choice = button.partition(":")
    return (ActionName(name), choice) if name in list(ActionName) else None
