"""Turns -> the messages of a template: with their protected words, or with inert ones of the same shape in their places."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any, NamedTuple

from bot.messages import Role
from bot.prompt.guard import MARK, SPLICE_CLOSE, SPLICE_OPEN, Guard, clean, clean_name, map_strings, take_apart
from bot.prompt.memo import Memo
from bot.prompt.shape import TemplateMessage
from bot.turns import Turn

_MEMO_CHARS = 16_000_000
_STRUCTURE = frozenset(
    {
        *("type", "function", "name", "description", "parameters", "properties", "required", "items", "enum"),
        *("arguments", "strict", "additionalProperties"),
        *("object", "string", "integer", "number", "boolean", "array", "null"),
    }
)
"""The words of the OpenAI API's tool definitions, which templates look for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is to be laid out."""

    turns: Sequence[Turn]
    spliced: frozenset[int]
    """The indices of the turns whose generated ids are used."""
    tools: Sequence[Any] | None
    day: date
    size: int
    """How much it is to lay it out, in characters, for `aside`."""
    apart: bool = False
    """The strings in tool definitions and calls are set apart from the template's words around them."""


class Protected(NamedTuple):
    """A turn's text as it is rendered."""

    text: str
    blank: bool
    """It has no words: nothing inert can stand for it."""


class Wording:
    """The words of one model's prompts."""

    def __init__(self, guard: Guard, looked_for: frozenset[str]) -> None:
        """`looked_for`: what the template's code compares words with."""
        self._guard = guard
        self._looked_for = looked_for
        self._known: Memo[tuple[str | None, str], Protected] = Memo(_MEMO_CHARS)
        self.roles = {role: role.value for role in Role}
        """What the template calls each."""

    def take_apart(self, turn: Turn) -> None:
        """From now on this turn's text is encoded character by character."""
        text = take_apart(clean(told(turn)))
        self._known.put(_key(turn), Protected(text, not told(turn).strip()), len(text))

    def texts(self, turns: Sequence[Turn]) -> list[Protected]:
        """Each turn's text, with its author's name before it."""
        keys = [_key(turn) for turn in turns]
        known = self._known.get_all(keys)
        for i, turn in enumerate(turns):
            if known[i] is None:
                words = told(turn)
                text = self._guard.protect(words)
                # Another thread may have taken it apart.
                known[i] = self._known.add(keys[i], Protected(text, not words.strip()), len(text))
        return [text for text in known if text is not None]

    def message(self, window: Window, index: int, protected: Protected, *, real: bool) -> TemplateMessage:
        """A turn as a message: `real`, or with inert words."""
        turn = window.turns[index]
        if index in window.spliced:
            content = splice(index)
        elif real or protected.blank:
            content = protected.text
        else:
            content = word(index)
        message: TemplateMessage = {"role": self.roles[turn.role], "content": content}
        if turn.role is not Role.TOOL and not turn.tool_calls:
            return message
        change = self.change(window, real=real)
        if turn.role is Role.TOOL:
            message |= {key: change(value) for key, value in _about_call(turn).items()}
        if turn.tool_calls:
            calls = [
                {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
                for call in turn.tool_calls
            ]
            message["tool_calls"] = [{"type": "function", **_change_call(call, change)} for call in calls]
        return message

    def change(self, window: Window, *, real: bool) -> Callable[[str], str]:
        """What to do with the strings of tool definitions and calls."""
        if real:
            return self._set_apart if window.apart else self._guard.protect
        return self._inert_apart if window.apart else self._inert

    def _inert(self, text: str) -> str:
        """A word without any meaning that is as long: for all but the words that the template may look for."""
        protected = self._guard.protect(text)
        looked_for = protected in self._looked_for and not self._guard.is_within(protected)
        return protected if looked_for or not protected.strip() else self._inert_apart(text)

    def _inert_apart(self, text: str) -> str:
        protected = self._guard.protect(text)
        return (
            protected
            if protected in _STRUCTURE
            else f"w{zlib.crc32(protected.encode()):08x}".ljust(len(protected), "w")
        )

    def _set_apart(self, text: str) -> str:
        protected = self._guard.protect(text)
        return protected if protected in _STRUCTURE else MARK + protected + MARK


def _key(turn: Turn) -> tuple[str | None, str]:
    return (None if turn.role is Role.TOOL else turn.name, turn.content)


def told(turn: Turn) -> str:
    """The turn's text, after its author's name in a group."""
    name, content = _key(turn)
    return content if name is None else f"{clean_name(name)}: {content}"


def _about_call(turn: Turn) -> dict[str, str]:
    return {key: value for key, value in (("name", turn.name), ("tool_call_id", turn.tool_call_id)) if value}


def _change_call(call: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Change what the model wrote in a call, not the words of the format."""
    function = call["function"]
    return {
        "id": change(call["id"]),
        "function": {"name": change(function["name"]), "arguments": map_strings(function["arguments"], change)},
    }


@cache
def word(index: int) -> str:
    """An inert content: no part of a control string, and found again in whatever case."""
    return f"q{index}z"


@cache
def splice(index: int) -> str:
    """A mark in the place of a turn's generated ids."""
    return f"{SPLICE_OPEN}{index}{SPLICE_CLOSE}"
