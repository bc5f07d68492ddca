"""The messages of a conversation as a model is given them: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.messages import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that the assistant made. All three come from the model and are untrusted."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation. All its text is untrusted, whatever the role."""

    role: Role
    content: str
    name: str | None = None
    """The author's display name in a group (written before the text), or the tool's name for a tool's result."""
    token_ids: tuple[int, ...] | None = None
    """The ids that this same model generated for this turn, without the end-of-turn id: they are used as they are.

    If there is a control id among them (reasoning, a tool call) they are not used, and `content` is encoded instead.
    """
    tool_calls: tuple[ToolCall, ...] = ()
    """What an assistant's turn called."""
    tool_call_id: str | None = None
    """Which call a tool's turn answers."""
