"""What is done to an answer when it is over: a line under it, its buttons gone."""

from __future__ import annotations

from dataclasses import replace

from adapters.text import split
from bot.errors import TextRefused
from bot.messages import Limits, MessageRef, Outgoing
from bot.ports import Adapter, Mark


def last_marked(mark: Mark, words: str, limits: Limits) -> Outgoing | None:
    """The last message of an answer with a line under it, without it where that does not fit.

    None if the answer stands in other messages than it would now: what its last one shows is not known then.
    """
    texts = split(mark.text, limits.text, limits.measure)
    if len(texts) != len(mark.parts):
        return None
    marked = f"{texts[-1]}\n\n{words}"
    return Outgoing(text=marked if limits.measure(marked) <= limits.text else texts[-1])


async def edit_as_it_goes(adapter: Adapter, message: MessageRef, what: Outgoing) -> None:
    """Edit a message, plain if its text is refused as Markdown. Raises PlatformError."""
    try:
        await adapter.edit(message, what)
    except TextRefused:
        await adapter.edit(message, replace(what, plain=True))
