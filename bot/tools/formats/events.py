"""What a parser finds in an answer while it is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """Text for the person: no part of a call."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A call of a function that is among those of the request."""

    number: int
    """Of the call in this answer, from 0."""
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """The next part of a call's arguments: all parts together are the JSON text of an object; empty if none came."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call's last event."""

    number: int
    whole: bool = True
    """Its arguments are whole. If not, the answer ended within them, or what came then is no JSON: it follows as text."""


ToolEvent = Said | CallBegun | Arguments | CallEnded
