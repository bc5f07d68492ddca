"""Models that were shown no format, or one that is not known here: they are told of one, an object for each call."""

from __future__ import annotations

from bot.tools.formats.bare import Bare
from bot.tools.formats.grammar import Rules, repeated
from bot.tools.formats.parsing import Shape


class Generic(Bare):
    """`{"name": ..., "arguments": {...}}`, each on a line, and nothing else in the answer."""

    name = "json"
    shape = Shape(openers=(), bare=True, fences={"```json": "```", "```": "```"})

    def _section(self, rules: Rules, *, parallel: bool) -> tuple[str, str]:
        return "one", repeated(r'"\n" one') if parallel else ""
