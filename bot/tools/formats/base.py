"""What every format of calls has: a `ToolFormat` for a model, and a `Parser` for an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bot.api import Function, ToolChoice
from bot.tools.formats.events import ToolEvent
from bot.turns import Turn


class Parser(Protocol):
    """Reads one answer."""

    def feed(self, text: str) -> list[ToolEvent]:
        """What the next text tells. Nothing of it is lost: what turns out to be no call is said as text."""

    def end(self) -> list[ToolEvent]:
        """The answer has ended: what was held back. A call that it ended within is told as far as it came."""


class ToolFormat(Protocol):
    """How one model is told of functions and calls them. It has no state."""

    @property
    def name(self) -> str:
        """Of the family: `hermes`, `llama3`, `mistral`, `json`."""

    @property
    def shows(self) -> frozenset[str]:
        """The control strings that the parser has to see: for `Generation.shows`."""

    def check(self, functions: Sequence[Function]) -> None:
        """Raises BadRequest for what no call could be made of, naming the function."""

    def told(self, functions: Sequence[Function]) -> str:
        """What the system is to say of the functions; empty where the model's template says it."""

    def prepare(
        self, turns: Sequence[Turn], functions: Sequence[Function]
    ) -> tuple[list[Turn], list[dict[str, Any]] | None]:
        """The turns and the tools for `PromptBuilder.build`: told of either by the template or by the system's turn."""

    def constraint(
        self,
        functions: Sequence[Function],
        choice: ToolChoice,
        *,
        parallel: bool = True,
        head: str = "",
        schema: Mapping[str, Any] | None = None,
    ) -> str | None:
        """The grammar for `Generation.grammar`; None where the model may write what it likes.

        `head`: what the template wrote before the answer (`answer_head`), where reasoning may have begun. `schema`:
        an answer that calls nothing is JSON of it. Raises BadRequest for a schema that cannot be kept.
        """

    def answer(self, schema: Mapping[str, Any], *, head: str = "") -> str | None:
        """The grammar of an answer in JSON of a schema that calls nothing, for a model that reasons before it.

        None where the model does not: then `Generation.json_schema` says it all. Raises BadRequest for a schema that
        cannot be kept.
        """

    def parser(self, functions: Sequence[Function], *, forced: bool = False) -> Parser:
        """For one answer, without its reasoning. Calls of other functions than these are text.

        `forced`: the grammar lets the model write calls alone, so that what is left at the end is no text.
        """
