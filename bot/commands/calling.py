"""What is a command: as somebody typed or said it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.messages import Action, ActionName, Event, Message, StoredMessage

_COMMAND = re.compile(r"/([A-Za-z][A-Za-z0-9_]{0,31})(?:@\w+)?(?:\s+(.*))?", re.DOTALL)
"""A name has at most 32 characters on Telegram and on Discord; what is longer is a text."""
SPOKEN = {
    "new conversation": "new",
    "start a new conversation": "new",
    "new chat": "new",
    "start over": "new",
    "stop": "stop",
    "stop the answer": "stop",
    "try again": "retry",
    "answer again": "retry",
    "retry": "retry",
    "undo": "undo",
    "help": "help",
    "help me": "help",
    "show the history": "history",
    "change the model": "model",
    "neues gespräch": "new",
    "noch einmal": "retry",
    "hilfe": "help",
    "stopp": "stop",
}
"""What is a command if it is all that somebody says. What removes data has to be typed: a word can be misheard."""


@dataclass(frozen=True, slots=True)
class Call:
    """A command as somebody typed it."""

    name: str
    argument: str


def parse(text: str) -> Call | None:
    """A typed command, or None for ordinary text (`/etc/hosts is a file` is ordinary)."""
    match = _COMMAND.fullmatch(text.strip())
    return Call(match[1].lower(), (match[2] or "").strip()) if match else None


def as_action(event: Event) -> Event:
    """A /stop to this bot takes effect at once, so it is no message that waits in line."""
    if not isinstance(event, Message) or not (event.direct or event.addressed):
        return event
    if (call := parse(event.text)) and call.name == "stop":
        return Action(
            key=event.key,
            event_id=event.event_id,
            author=event.author,
            name=ActionName.STOP,
            sent_at=event.sent_at,
            interaction=event.interaction,
            can_reply_privately=event.can_reply_privately,
        )
    return event


def spoken(question: StoredMessage) -> Call | None:
    """The command that a voice message says, or None for what is to be answered."""
    if not question.attachments or any(item.speech is None for item in question.attachments):
        return None
    name = SPOKEN.get(" ".join(question.text.lower().strip(" .!?\n").split()))
    return Call(name, "") if name else None
