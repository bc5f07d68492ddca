"""Turns -> the messages that a chat template takes, and the shapes to try where a template refuses them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

TemplateMessage = dict[str, Any]
Shape = Callable[[list[TemplateMessage]], list[TemplateMessage]]

_GAP = "\n\n"
_NOBODY = "..."
"""The user's words where a template demands that the user speaks first and the assistant did."""


def merge(messages: list[TemplateMessage]) -> list[TemplateMessage]:
    """Join neighbours of the same role, with a blank line between, for templates that demand alternation."""
    runs: list[list[TemplateMessage]] = []
    for message in messages:
        if runs and _are_one(runs[-1][0], message):
            runs[-1].append(message)
        else:
            runs.append([message])
    return [run[0] if len(run) == 1 else {**run[0], "content": _joined(run)} for run in runs]


def merge_from_user(messages: list[TemplateMessage]) -> list[TemplateMessage]:
    """Join neighbours, and let a user speak first."""
    merged = merge(messages)
    head = 1 if merged and merged[0]["role"] == "system" else 0
    if len(merged) > head and merged[head]["role"] == "assistant":
        merged.insert(head, {"role": "user", "content": _NOBODY})
    return merged


def fold_late_system(messages: list[TemplateMessage]) -> list[TemplateMessage]:
    """Let a user say what a system message further on says, for templates that want one at the beginning only."""
    head = _system_end(messages)
    late = [{**message, "role": "user"} if message["role"] == "system" else message for message in messages[head:]]
    return [*messages[:head], *late]


def fold_system(messages: list[TemplateMessage]) -> list[TemplateMessage]:
    """Put the leading system messages before the first user's text, for templates without a system role."""
    head = _system_end(messages)
    text = _GAP.join(message["content"] for message in messages[:head] if message["content"])
    rest = fold_late_system(messages)[head:]
    if not text:
        return rest
    if rest and rest[0]["role"] == "user":
        return [{**rest[0], "content": _join(text, rest[0]["content"])}, *rest[1:]]
    return [{"role": "user", "content": text}, *rest]


def fold_tools(messages: list[TemplateMessage]) -> list[TemplateMessage]:
    """Write tool calls and results as text, for templates that know no tools."""
    return [_without_tools(message) for message in messages]


def plain(messages: list[TemplateMessage]) -> list[TemplateMessage]:
    """Users and assistants in turn, the user first, nothing else: what every template takes."""
    return merge_from_user(fold_system(fold_tools(messages)))


def as_it_is(messages: list[TemplateMessage]) -> list[TemplateMessage]:
    """No change."""
    return messages


SHAPES: Sequence[Shape] = (
    as_it_is,
    merge,
    merge_from_user,
    lambda messages: merge_from_user(fold_tools(messages)),
    lambda messages: merge_from_user(fold_late_system(messages)),
    lambda messages: merge_from_user(fold_system(messages)),
    plain,
)
"""From the faithful one to the plain one: the first that a template takes whole is used."""


def _system_end(messages: list[TemplateMessage]) -> int:
    return next((i for i, message in enumerate(messages) if message["role"] != "system"), len(messages))


def _are_one(first: TemplateMessage, second: TemplateMessage) -> bool:
    calls = "tool_calls" in first or "tool_calls" in second
    return bool(first["role"] == second["role"] != "tool" and not calls)


def _joined(messages: Sequence[TemplateMessage]) -> str:
    """Each text once, however many there are: to put one after the other would copy the first ones each time."""
    return _GAP.join([message["content"] for message in messages if message["content"]])


def _join(first: str, second: str) -> str:
    return f"{first}{_GAP}{second}" if first and second else first or second


def _without_tools(message: TemplateMessage) -> TemplateMessage:
    if message["role"] == "tool":
        head = f"Result of {message['name']}:" if message.get("name") else "Result:"
        return {"role": "user", "content": f"{head}\n{message['content']}"}
    if "tool_calls" in message:
        calls = [json.dumps(call["function"], ensure_ascii=False) for call in message["tool_calls"]]
        return {"role": message["role"], "content": _GAP.join([part for part in (message["content"], *calls) if part])}
    return message
