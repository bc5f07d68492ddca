"""What is done to an answer when it is over: a line under it, its buttons gone."""

from __future__ import annotations

from dataclasses import replace

from adapters.text import split, with_code_files
from bot.errors import TextRefused
from bot.messages import Limits, MessageRef, Outgoing
from bot.ports import Adapter, Mark


def last_marked(mark: Mark, words: str, limits: Limits, code_file_lines: int) -> tuple[MessageRef, Outgoing] | None:
    """The last message of an answer that is a text, with a line under it; without the line where that does not fit.

    None if the answer stands in other messages than it would now: what its last one shows is not known then.
    """
    text, files = with_code_files(mark.text, code_file_lines)
    texts = split(text, limits.text, limits.measure)
    if not texts or len(texts) + len(files) != len(mark.parts):
        return None
    marked = f"{texts[-1]}\n\n{words}"
    what = Outgoing(text=marked if limits.measure(marked) <= limits.text else texts[-1])
    return mark.parts[len(texts) - 1], what


async def edit_as_it_goes(adapter: Adapter, message: MessageRef, what: Outgoing) -> None:
    """Edit a message, plain if its text is refused as Markdown. Raises PlatformError."""
    try:
        await adapter.edit(message, what)
    except TextRefused:
        await adapter.edit(message, replace(what, plain=True))
