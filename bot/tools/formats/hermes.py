"""Hermes, Qwen 2.5 and 3, Granite 4, SmolLM 3 and many others: each call between `<tool_call>` and `</tool_call>`."""

from __future__ import annotations

from bot.tools.formats.family import Family
from bot.tools.formats.grammar import Rules, repeated
from bot.tools.formats.parsing import Shape
from bot.turns import Turn

OPEN, CLOSE = "<tool_call>", "</tool_call>"


class Hermes(Family):
    """`<tool_call>`, an object, `</tool_call>`, for each call."""

    name = "hermes"
    shape = Shape(openers=(OPEN,), closer=CLOSE)

    def _section(self, rules: Rules, *, parallel: bool) -> tuple[str, str]:
        section = rf'"\n" one "\n" {rules.control(CLOSE)}'
        return section, repeated(rf'"\n" {rules.control(OPEN)} {section}') if parallel else ""

    def _around(self, call: str) -> str:
        return f"{OPEN}\n{call}\n{CLOSE}"

    def _result(self, turn: Turn) -> str:
        return f"<tool_response>\n{turn.content}\n</tool_response>"
