"""Outgoing -> what Discord takes as a message. Pure.

Components are written as they are, without the library's views: those remember every message in memory, and a press reaches
Hearth by the button's id, after a restart too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from adapters.text.discord import discord_markdown
from bot.messages import Button, Outgoing

Json = dict[str, Any]

SUPPRESS_EMBEDS, EPHEMERAL, VERSION_2 = 1 << 2, 1 << 6, 1 << 15
ROW, BUTTON, SELECT, TEXT = 1, 2, 3, 10
GREY, RED = 2, 4
"""Styles of buttons."""
IN_A_ROW: Final = 5
LONGEST_LABEL = 80
LONGEST_OPTION = 100
NOBODY: Final[Json] = {"parse": [], "replied_user": False}
"""No text of the bot's pings anybody, whatever a model was talked into writing."""


def message(what: Outgoing) -> Json:
    """A new message."""
    flags = SUPPRESS_EMBEDS | (EPHEMERAL if what.private else 0)
    body: Json = {"allowed_mentions": NOBODY, **_shown(what)}
    if what.form:
        flags = flags & ~SUPPRESS_EMBEDS | VERSION_2
    if what.nonce:
        body |= {"nonce": what.nonce, "enforce_nonce": True}
    return body | {"flags": flags}


def edit(what: Outgoing) -> Json:
    """The new state of a message; a file that it had goes."""
    body: Json = {"allowed_mentions": NOBODY, "attachments": [], **_shown(what)}
    if not what.form:
        return body | {"flags": SUPPRESS_EMBEDS}
    lost: Json = {"content": None, "embeds": []}  # a form has none; what was talk before must lose it
    return body | lost | {"flags": VERSION_2}


def _shown(what: Outgoing) -> Json:
    text = what.text if what.plain else discord_markdown(what.text)
    if what.form:
        return {"components": [{"type": TEXT, "content": text or "-"}, *_rows(what.buttons)]}
    return {"content": text, "components": _rows(what.buttons)}


def _rows(buttons: Sequence[Button]) -> list[Json]:
    """A row for each select, and rows of five buttons."""
    rows: list[Json] = []
    for group, found in groupby(buttons, key=lambda button: button.group):
        items = list(found)
        if group:
            rows.append(_row([_select(group, items, number=len(rows))]))
            continue
        fives = (items[first : first + IN_A_ROW] for first in range(0, len(items), IN_A_ROW))
        rows += [_row([_button(button) for button in five]) for five in fives]
    return rows


def _row(parts: Iterable[Json]) -> Json:
    return {"type": ROW, "components": list(parts)}


def _button(button: Button) -> Json:
    style = RED if button.id.startswith("stop:") else GREY
    return {"type": BUTTON, "style": style, "label": button.label[:LONGEST_LABEL], "custom_id": button.id}


def _select(title: str, options: Sequence[Button], *, number: int) -> Json:
    """Its options say what is asked for, so its own id only has to be another one than those beside it."""
    rows = [
        {"label": option.label[:LONGEST_OPTION], "value": option.id, "default": option.chosen} for option in options
    ]
    return {"type": SELECT, "custom_id": f"select:{number}", "placeholder": title[:LONGEST_OPTION], "options": rows}
