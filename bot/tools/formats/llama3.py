"""Llama 3: an object with `parameters` is the whole answer, perhaps after `<|python_tag|>`; several stand between `;`."""

from __future__ import annotations

from collections.abc import Sequence

from bot.tools.formats.bare import Bare
from bot.tools.formats.grammar import Rules, repeated
from bot.tools.formats.parsing import Shape


class Llama3(Bare):
    """`{"name": ..., "parameters": {...}}`."""

    name = "llama3"
    shape = Shape(openers=("<|python_tag|>",), bare=True, separators=";,")
    arguments = "parameters"

    def _section(self, rules: Rules, *, parallel: bool) -> tuple[str, str]:
        return "one", repeated('"; " one') if parallel else ""

    def _joined(self, calls: Sequence[str]) -> str:
        return "; ".join(calls)
