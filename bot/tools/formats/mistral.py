"""Mistral: `[TOOL_CALLS]` and a list of objects, and since 2025 `[TOOL_CALLS]name[ARGS]{...}` for each call."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bot.api import Function
from bot.tools.formats.family import Family
from bot.tools.formats.grammar import Rules, literal, repeated
from bot.tools.formats.parsing import Shape
from bot.turns import ToolCall

CALLS, ARGS, CALL_ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"


class Mistral(Family):
    """A list of objects. What it reads is the newer form as well."""

    name = "mistral"
    shape = Shape(openers=(CALLS,), separators="", named=ARGS, call_id=CALL_ID)

    def _section(self, rules: Rules, *, parallel: bool) -> tuple[str, str]:
        more = repeated('", " one') if parallel else ""
        return f'" "? "[" one {more} "]"', ""

    def _joined(self, calls: Sequence[str]) -> str:
        return f"{CALLS}[{', '.join(calls)}]"

    def _instruction(self) -> str:
        call = f'{{"name": NAME, "{self.arguments}": {{ARGUMENTS}}}}'
        return f"To call functions, answer with nothing but a list of the calls:\n{CALLS}[{call}]"


class NamedMistral(Mistral):
    """A name and its arguments."""

    name = "mistral"

    def _section(self, rules: Rules, *, parallel: bool) -> tuple[str, str]:
        return "one", repeated(f"{rules.control(CALLS)} one") if parallel else ""

    def _call(self, rules: Rules, function: Function, arguments: str) -> str:
        return f"{literal(function.name)} {rules.control(ARGS)} {arguments}"

    def _written(self, call: ToolCall) -> str:
        return f"{CALLS}{call.name}{ARGS}{json.dumps(dict(call.arguments), ensure_ascii=False)}"

    def _joined(self, calls: Sequence[str]) -> str:
        return "".join(calls)

    def _instruction(self) -> str:
        return f"To call functions, answer with nothing but this for each call:\n{CALLS}NAME{ARGS}{{ARGUMENTS}}"
