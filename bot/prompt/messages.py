"""History -> messages, for an engine whose server has the template: the same window, and no promise about roles.

The server writes the control tokens, so it alone can keep text from becoming one. What is done here is what every
template takes: system messages first and joined, then the user and the assistant in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Protocol

from bot import aside
from bot.errors import BadRequest
from bot.generation import ChatMessage, Size
from bot.messages import Role
from bot.prompt import cutting
from bot.prompt.guard import clean
from bot.prompt.shape import TemplateMessage, fold_late_system, fold_system, fold_tools, merge_from_user
from bot.prompt.values import Prompt
from bot.prompt.wording import told
from bot.turns import Turn


class Sized(Protocol):
    """What the window must know of a `MessageEngine`."""

    @property
    def context_length(self) -> int:
        """In tokens."""

    async def size(self, messages: Sequence[ChatMessage], *, enough: int) -> Size:
        """The tokens of a prompt."""


class MessageBuilder:
    """Makes the prompts of one model behind a server."""

    answer_head = ""
    """The server's own; one that opens a reasoning block there must take it out of the answer, too."""

    def __init__(self, engine: Sized) -> None:
        self._engine = engine

    async def build(
        self,
        turns: Sequence[Turn],
        *,
        day: date,
        max_tokens: int,
        tools: Sequence[Mapping[str, object]] | None = None,
        whole: bool = False,
    ) -> Prompt:
        """The prompt for the next answer, cut (or, `whole`, refused) as by `PromptBuilder`; the day is the server's affair.

        Raises TooLong if the last question is known not to fit: where it is only guessed the server has the last
        word. Raises BadRequest for tools.
        """
        if tools:
            raise BadRequest("A model on another server is not given tools.", param="tools")
        room = self._engine.context_length - max_tokens
        head, earliest = await aside.run(cutting.work(turns), lambda: self._bounds(turns))
        begin = head
        if earliest == head:
            messages, size = await self._window(turns, enough=int(room * cutting.FULL))
            if size.tokens <= room * (1 if whole else cutting.FULL) or (whole and not size.exact):
                return Prompt((), head, cut=False, messages=messages, tokens=min(size.tokens, room))
        if whole:
            raise cutting.too_long(size.tokens if earliest == head else 0, room)
        if begins := [i for i in cutting.begins(turns, head) if i >= earliest]:
            enough = int(room * cutting.KEPT)
            begin, (messages, size) = await cutting.shortest_cut(
                begins,
                lambda begin: self._window([*turns[:head], *turns[begin:]], enough=enough),
                lambda built: built[1].tokens <= enough,
                cutting.guessed(turns, head, begins, size.tokens, enough) if earliest == head else None,
            )
        if size.tokens > room and size.exact:
            raise cutting.too_long(size.tokens, room)
        return Prompt((), begin, cut=begin > head, messages=messages, tokens=min(size.tokens, room))

    def _bounds(self, turns: Sequence[Turn]) -> tuple[int, int]:
        """Its head, and the first turn that can be in the prompt. Raises TooLong if the last one cannot."""
        head = cutting.head_of(turns)
        return head, cutting.earliest(turns, head, self._engine.context_length)

    async def _window(self, turns: Sequence[Turn], *, enough: int) -> tuple[tuple[ChatMessage, ...], Size]:
        messages = await aside.run(cutting.work(turns), lambda: _messages(turns))
        return messages, await self._engine.size(messages, enough=enough)


def without_system(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The system's text before the first user's, for templates without a system role."""
    return _values(merge_from_user(fold_system([{"role": m.role, "content": m.content} for m in messages])))


def shortened(
    messages: Sequence[ChatMessage], weigh: Callable[[ChatMessage], float], most: float
) -> tuple[ChatMessage, ...]:
    """From the first user's message on from which the weights come to `most`, or the last; system messages stay.

    Unchanged if nothing can go.
    """
    head = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    left = most - sum(weigh(message) for message in messages[:head])
    begin = None
    for i in range(len(messages) - 1, head, -1):
        left -= weigh(messages[i])
        if messages[i].role == "user" and (begin is None or left >= 0):
            begin = i
    return tuple(messages) if begin is None else (*messages[:head], *messages[begin:])


def _messages(turns: Sequence[Turn]) -> tuple[ChatMessage, ...]:
    return _values(merge_from_user(fold_late_system(fold_tools([_message(turn) for turn in turns]))))


def _message(turn: Turn) -> TemplateMessage:
    role = Role.SYSTEM if turn.role is Role.DEVELOPER else turn.role
    message: TemplateMessage = {"role": role.value, "content": told(turn)}
    if turn.role is Role.TOOL and turn.name:
        message["name"] = turn.name
    if turn.tool_calls:
        message["tool_calls"] = [
            {"function": {"name": call.name, "arguments": dict(call.arguments)}} for call in turn.tool_calls
        ]
    return message


def _values(messages: Sequence[TemplateMessage]) -> tuple[ChatMessage, ...]:
    return tuple(ChatMessage(message["role"], clean(message["content"])) for message in messages)
