"""Formats in which nothing opens a call: the answer begins with it."""

from __future__ import annotations

from bot.tools.formats.family import Family
from bot.tools.formats.grammar import Rules


class Bare(Family):
    """Text does not begin as JSON does, nor with a block of code that could be JSON."""

    def _or_text(self, rules: Rules, section: str, more: str, calls: str) -> str:
        rules.add("TEXT", rules.answer(r"(/[^{\[\s`](?s:.*)/ | /`{1,2}[^`](?s:.*)/ | /```[a-ik-zA-Z](?s:.*)/)?"))
        return f"TEXT | {calls}"
