"""What the formats of all families have in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from bot import constraints
from bot.api import Function, ToolChoice
from bot.errors import BadRequest
from bot.generation import ChatTemplate
from bot.messages import Role
from bot.reasoning import TAGS
from bot.tools.formats.base import Parser
from bot.tools.formats.grammar import (
    ANY,
    Rules,
    arguments_schema,
    as_property,
    inline,
    literal,
    pattern,
    plain_arguments,
    without,
)
from bot.tools.formats.parsing import SectionParser, Shape
from bot.turns import ToolCall, Turn

_GAP = "\n\n"
END = literal("}")
MOST_PARTS = 5000
"""Of the schemas of all functions that the model is told of: each is looked at, and stands in the prompt."""
TOGETHER = f"at most {MOST_PARTS} parts"


class Family(ABC):
    """A `ToolFormat`."""

    name: ClassVar[str]
    shape: ClassVar[Shape]
    arguments: ClassVar[str] = "arguments"
    """The key of a call's arguments."""

    def __init__(self, template: ChatTemplate, ids: Mapping[str, int], *, in_template: bool) -> None:
        """`ids`: the control strings that are one token. `in_template`: the template tells of functions and calls."""
        self._ids = ids
        self._in_template = in_template
        self._thinks = [tag for tag in TAGS if tag in template.source or tag in ids]

    @property
    def shows(self) -> frozenset[str]:
        """The control strings that the parser has to see."""
        shape = self.shape
        strings = {*shape.openers, shape.closer, shape.named, shape.call_id}
        return frozenset(strings & self._ids.keys())

    def check(self, functions: Sequence[Function]) -> None:
        """Raises BadRequest for a function whose arguments' schema is none, or cannot be kept."""
        parts = 0
        for function in functions:
            kind = function.parameters.get("type", "object")
            if kind != "object":
                raise BadRequest(f"The parameters of {function.name} are no schema of an object.", param="tools")
            words = f"The schema of {function.name} cannot be kept"
            size = constraints.check_schema(
                plain_arguments(function), param="tools", words=words, lenient=not function.strict
            )
            if (parts := parts + size.parts) > MOST_PARTS:
                raise BadRequest(f"The schemas of all functions together are too large: {TOGETHER}.", param="tools")

    # --- told ---

    def told(self, functions: Sequence[Function]) -> str:
        """What the system is to say of the functions; empty where the model's template says it."""
        if self._in_template or not functions:
            return ""
        listed = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in _tools(functions))
        return f"You can call these functions:\n<tools>\n{listed}\n</tools>\n{self._instruction()}"

    def prepare(
        self, turns: Sequence[Turn], functions: Sequence[Function]
    ) -> tuple[list[Turn], list[dict[str, Any]] | None]:
        """The turns and the tools for `PromptBuilder.build`."""
        if self._in_template:
            return list(turns), _tools(functions)
        folded = [self._folded(turn) for turn in turns]
        if not (told := self.told(functions)):
            return folded, None
        if folded and folded[0].role in {Role.SYSTEM, Role.DEVELOPER}:
            first = Turn(folded[0].role, f"{folded[0].content}{_GAP}{told}" if folded[0].content else told)
            return [first, *folded[1:]], None
        return [Turn(Role.SYSTEM, told), *folded], None

    def _folded(self, turn: Turn) -> Turn:
        """Calls and their results as text, as the model was told to write them."""
        if turn.role is Role.TOOL:
            return Turn(Role.USER, self._result(turn))
        if not turn.tool_calls:
            return turn
        calls = self._joined([self._written(call) for call in turn.tool_calls])
        return Turn(turn.role, "\n".join(part for part in (turn.content, calls) if part), turn.name)

    def _instruction(self) -> str:
        """How a function is called, for a model whose template does not say it."""
        example = f'{{"name": NAME, "{self.arguments}": {{ARGUMENTS}}}}'
        return f"To call functions, answer with nothing but this for each call:\n{self._around(example)}"

    def _written(self, call: ToolCall) -> str:
        return self._around(json.dumps({"name": call.name, self.arguments: dict(call.arguments)}, ensure_ascii=False))

    def _around(self, call: str) -> str:
        """A call with what it stands between."""
        return call

    def _joined(self, calls: Sequence[str]) -> str:
        return "\n".join(calls)

    def _result(self, turn: Turn) -> str:
        head = f"Result of {turn.name}:" if turn.name else "Result:"
        return f"{head}\n{turn.content}"

    # --- constrained ---

    def constraint(
        self,
        functions: Sequence[Function],
        choice: ToolChoice,
        *,
        parallel: bool = True,
        head: str = "",
        schema: Mapping[str, Any] | None = None,
    ) -> str | None:
        """The grammar; None where the model may write what it likes."""
        chosen = [function for function in functions if choice.name in (None, function.name)]
        if choice.name is not None and not chosen:
            raise BadRequest(f"tool_choice names {choice.name}, which is no function of tools.", param="tool_choice")
        forced = choice.mode == "required"
        if choice.mode == "none" or not chosen:
            return None
        if not forced and schema is None and not any(function.strict for function in chosen):
            return None
        if schema is not None:
            constraints.check_schema(schema)
        constraints.check_together([plain_arguments(function) for function in chosen], schema)
        rules = Rules(self._ids)
        within_json = schema is not None and not forced and self.shape.bare
        self._add_calls(rules, chosen, as_json=within_json)
        section, more = self._section(rules, parallel=parallel and choice.name is None)
        opener = "" if self.shape.bare else rules.control(self.shape.openers[0])
        calls = " ".join(part for part in (opener, section, more) if part)
        thinking = rules.thinking(head, self._thinks)
        if not forced and schema is not None:
            rules.add("answer", inline(constraints.guided(schema)))
            main = f"answer | {calls}"
        elif not forced:
            main = self._or_text(rules, section, more, calls)
        else:
            main = calls
        rules.add("main", main)
        return rules.text(f"{thinking} main".strip())

    def answer(self, schema: Mapping[str, Any], *, head: str = "") -> str | None:
        """The grammar of an answer in JSON that calls nothing; None where the model does not reason before it."""
        rules = Rules(self._ids)
        thinking = rules.thinking(head, self._thinks)
        if not thinking:
            return None
        constraints.check_schema(schema)
        rules.add("main", inline(constraints.guided(schema)))
        return rules.text(f"{thinking} main")

    @abstractmethod
    def _section(self, rules: Rules, *, parallel: bool) -> tuple[str, str]:
        """What comes after the opener, and further sections: `one` is a call."""

    def _add_calls(self, rules: Rules, functions: Sequence[Function], *, as_json: bool) -> None:
        """Rules for each function's call, and `one` for any of them.

        `as_json`: each as JSON of one schema, because the answer may be JSON as well, and llguidance tells two kinds of
        JSON from each other, but not JSON from text.
        """
        for number, function in enumerate(functions):
            arguments = arguments_schema(function)
            if as_json:
                rules.add(f"call_{number}", inline(self._object(function, arguments)))
                continue
            rules.add(f"arguments_{number}", inline(arguments))
            rules.add(f"call_{number}", self._call(rules, function, f"arguments_{number}"))
        rules.add("one", " | ".join(f"call_{number}" for number in range(len(functions))))

    def _object(self, function: Function, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {
                "name": {"const": function.name},
                self.arguments: as_property(arguments, self.arguments),
            },
            "required": ["name", self.arguments],
            "additionalProperties": False,
            "x-guidance": arguments["x-guidance"],
        }

    def _call(self, rules: Rules, function: Function, arguments: str) -> str:
        """A call; `arguments` is the name of a rule."""
        begin = f'{{"name": {json.dumps(function.name)}, "{self.arguments}": '
        return f"{literal(begin)} {arguments} {END}"

    def _or_text(self, rules: Rules, section: str, more: str, calls: str) -> str:
        """Text, or text and then calls."""
        opener = self.shape.openers[0]
        if rules.is_token(opener):
            rules.add("TEXT", rules.answer(without(opener)))
            return f"TEXT ({calls})?"
        rules.add("HEAD", rules.answer(f"/(?s:.*){pattern(opener)}/"))
        rules.add("head", "HEAD", attributes="[lazy]")
        rules.add("TEXT", rules.answer(ANY))
        return f"head {section} {more} | TEXT"

    # --- read ---

    def parser(self, functions: Sequence[Function], *, forced: bool = False) -> Parser:
        """For one answer."""
        return SectionParser(self.shape, [function.name for function in functions], forced=forced)


def _tools(functions: Sequence[Function]) -> list[dict[str, Any]]:
    """As the OpenAI API has them."""
    return [
        {
            "type": "function",
            "function": {
                "name": function.name,
                "description": function.description,
                "parameters": dict(function.parameters),
            },
        }
        for function in functions
    ]
