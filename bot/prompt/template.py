"""A model's own chat template, rendered in a sandbox as transformers renders it, and within bounds."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any, NoReturn

from jinja2 import Environment, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bot.errors import ModelError
from bot.generation import ChatTemplate
from bot.prompt.guard import MARK

# A template repeats a text at most a few times; anything far beyond that is a broken or hostile template.
_OUTPUT_FACTOR = 16
_OUTPUT_BASE = 1_000_000
_PRODUCT_LIMIT = 1_000_000
_EXPONENT_LIMIT = 64
_NOT_ASCII = re.compile(f"[^\x00-\x7f{MARK}]")


class TemplateRefused(Exception):
    """The template raised an error for these messages."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """No attributes beyond data, no changes to values, no products that fill the memory."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        for one, other in ((left, right), (right, left)):
            if operator == "*" and hasattr(one, "__len__") and len(one) * int(other) > _PRODUCT_LIMIT:
                raise SecurityError("a product is too long")
        if operator == "**" and abs(right) > _EXPONENT_LIMIT:
            raise SecurityError("a power is too large")
        return super().call_binop(context, operator, left, right)


class _Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; for a prompt it is only its body."""

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it as a variable of instances

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


class TemplateRenderer:
    """One template, compiled. Raises ModelError if that is not possible."""

    def __init__(self, template: ChatTemplate) -> None:
        environment = _environment()
        try:
            self._template = environment.from_string(template.source)
        except (TemplateError, RecursionError) as error:
            raise ModelError(f"the model's chat template cannot be read: {error}") from error
        self._strings = {"bos_token": template.bos_token, "eos_token": template.eos_token}
        words = [(kind, value) for _, kind, value in environment.lex(template.source) if kind in {"string", "name"}]
        self.words = frozenset(value[1:-1] if kind == "string" else value for kind, value in words)
        """Every string literal and every name in the template's code."""

    def render(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[Any] | None, day: date, *, generate: bool
    ) -> str:
        """The template's text for these messages; `generate` asks for the beginning of an assistant's turn.

        Raises TemplateRefused.
        """
        limit = _OUTPUT_BASE + _OUTPUT_FACTOR * sum(len(message["content"] or "") for message in messages)
        midnight = datetime.combine(day, time(), UTC)
        given = {
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": generate,
            "strftime_now": midnight.strftime,
            **self._strings,
        }
        pieces: list[str] = []
        try:
            for piece in self._template.root_render_func(self._template.new_context(given)):
                pieces.append(piece)
                limit -= len(piece)
                if limit < 0:
                    raise TemplateRefused("the chat template writes too much")
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise TemplateRefused(str(error)) from error
        except RecursionError as error:
            raise TemplateRefused("the chat template calls itself too often") from error
        return "".join(pieces)


def _environment() -> Environment:
    """The environment of transformers' `apply_chat_template`."""
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    return environment


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON that leaves `<`, `>`, `&` and `'` as they are, unlike Jinja's own, and a mark in any case."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
    return _NOT_ASCII.sub(lambda match: json.dumps(match.group())[1:-1], text) if ensure_ascii else text
