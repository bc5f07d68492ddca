"""The prompt builder: one conversation in, token ids out, within the model's window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import structlog

from bot import aside
from bot.errors import RoleForgery
from bot.generation import ChatTemplate
from bot.messages import Role
from bot.prompt import cutting
from bot.prompt.encoding import Encoder, ForgedError, Segment
from bot.prompt.guard import Guard
from bot.prompt.layout import Layout, Rendered
from bot.prompt.values import Prompt, Vocabulary
from bot.prompt.wording import Window
from bot.turns import Turn

log = structlog.get_logger(__name__)

LOOKED_AT = 200
"""Of more turns none is looked at by itself for what makes control tokens: that takes as long as all of them, for each."""

_CHATML = """{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
_PLAIN = """{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}

{% elif message.role == 'assistant' %}Assistant: {{ message.content }}{{ eos_token }}
{% else %}User: {{ message.content }}
{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"""


class PromptBuilder:
    """Makes the prompts of one model. Raises ModelError if its chat template cannot be used."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        template = _template_of(vocabulary)
        self._context_length = vocabulary.context_length
        guard = Guard(vocabulary.control_strings, template)
        self._layout = Layout(template, guard)
        self._encoder = Encoder(vocabulary, guard)
        self._prepared = False

    @property
    def answer_head(self) -> str:
        """What the template writes before the model's answer; some open a reasoning block there."""
        return self._layout.prompt_head

    async def build(
        self,
        turns: Sequence[Turn],
        *,
        day: date,
        max_tokens: int,
        tools: Sequence[Mapping[str, object]] | None = None,
        whole: bool = False,
    ) -> Prompt:
        """The prompt for the next answer, with room for `max_tokens` after it.

        The system messages at the beginning are always in it. If the prompt fills more than 90 % of the room, the
        oldest turns are left out until 40 % is filled, so that the window begins with a user's turn. `day` is the
        conversation's first day, for templates that print the date. `whole`: nothing is left out.

        Raises TooLong if the last question (or, `whole`, all of it) does not fit, RoleForgery if the text cannot be made safe, BadRequest if
        the template refuses the conversation.
        """
        if not self._prepared:
            await self._encoder.prepare()
            self._prepared = True
        room = self._context_length - max_tokens
        size = cutting.work(turns, tools)
        window, head, earliest = await aside.run(size, lambda: self._window(turns, tools=tools, day=day, size=size))
        ids: tuple[int, ...] = ()
        if earliest == head:
            ids = await self._encode(window, most=room if whole else None)
            if len(ids) <= room * (1 if whole else cutting.FULL):
                return Prompt(ids, head, cut=False)
        if whole:
            raise cutting.too_long(len(ids), room)
        begin, ids = await self._cut(window, head, earliest, ids, room)
        if len(ids) > room:
            raise cutting.too_long(len(ids), room)
        return Prompt(ids, begin, cut=begin > head)

    def _window(
        self, turns: Sequence[Turn], *, tools: Sequence[Mapping[str, object]] | None, day: date, size: int
    ) -> tuple[Window, int, int]:
        """All of it, its head, and the first turn that can be in the prompt. Raises TooLong if the last one cannot."""
        head = cutting.head_of(turns)
        earliest = cutting.earliest(turns, head, self._context_length, tools)
        window = Window(turns=turns, spliced=self._spliced(turns), tools=tools, day=day, size=size)
        return window, head, earliest

    def _spliced(self, turns: Sequence[Turn]) -> frozenset[int]:
        """The turns whose generated ids can be used: no control id is among them."""
        return frozenset(
            i
            for i, turn in enumerate(turns)
            if turn.token_ids and turn.role is Role.ASSISTANT and not turn.tool_calls
            if not self._encoder.has_control(turn.token_ids)
        )

    async def _cut(
        self, whole: Window, head: int, earliest: int, ids: tuple[int, ...], room: int
    ) -> tuple[int, tuple[int, ...]]:
        """The first user's turn from which at most 40 % is filled, or the last one; and the prompt from there."""
        begins = [i for i in cutting.begins(whole.turns, head) if i >= earliest]
        if not begins:
            return head, ids
        most = room * cutting.KEPT
        return await cutting.shortest_cut(
            begins,
            lambda begin: self._encode(_from(whole, head, begin)),
            lambda ids: len(ids) <= most,
            cutting.guessed(whole.turns, head, begins, len(ids), most) if ids else None,
        )

    async def _encode(self, window: Window, *, most: int | None = None) -> tuple[int, ...]:
        """The ids; texts that give control ids in spite of the guard are taken apart.

        Raises RoleForgery, and TooLong where there are far more than `most`.
        """
        rendered = await self._render(window)
        if most is not None and await self._encoder.exceeds(rendered.text, most):
            raise cutting.too_long(0, most)
        if rendered.forged:
            window = await self._take_apart_transformed(window)
            rendered = await self._render(window)
        try:
            return await self._encode_rendered(rendered, window)
        except ForgedError:
            await self._take_apart_normalised(window)
        rendered = await self._render(window)
        try:
            return await self._encode_rendered(rendered, window)
        except ForgedError as error:
            raise RoleForgery(detail="the tokenizer makes control tokens of single characters") from error

    async def _render(self, window: Window, *, only: int | None = None) -> Rendered:
        return await aside.run(window.size, lambda: self._layout.render(window, only=only))

    async def _encode_rendered(self, rendered: Rendered, window: Window) -> tuple[int, ...]:
        if rendered.forged:
            raise RoleForgery(detail="the chat template makes control strings of the text")
        size = max(len(rendered.text), window.size)
        pieces = await self._encoder.segments(rendered.text, rendered.landmarks, size)
        segments = [piece for piece in pieces if isinstance(piece, Segment)]
        encoded = await self._encoder.encode(segments, size)
        return await aside.run(size, lambda: _joined(pieces, encoded, window.turns))

    async def _take_apart_transformed(self, window: Window) -> Window:
        """Set tools apart, then those turns of whose text the template makes control strings: all, if it is none alone."""
        log.warning("control strings came out of the chat template", turns=len(window.turns))
        if window.tools or any(turn.tool_calls for turn in window.turns):
            window = replace(window, apart=True)
            if not (await self._render(window)).forged:
                return window
        looked_at = range(len(window.turns) if len(window.turns) <= LOOKED_AT else 0)
        guilty = [window.turns[i] for i in looked_at if (await self._render(window, only=i)).forged]
        await self._take_apart(guilty or window.turns)
        return window

    async def _take_apart_normalised(self, window: Window) -> None:
        """Take those turns apart of whose text the tokenizer makes control ids: all, if it is none alone."""
        log.warning("control tokens came out of the tokenizer", turns=len(window.turns))
        looked_at = window.turns if len(window.turns) <= LOOKED_AT else ()
        guilty = [turn for turn in looked_at if await self._is_forging(turn)]
        await self._take_apart(guilty or window.turns)

    async def _take_apart(self, turns: Sequence[Turn]) -> None:
        def each() -> None:
            for turn in turns:
                self._layout.take_apart(turn)

        await aside.run(cutting.work(turns), each)

    async def _is_forging(self, turn: Turn) -> bool:
        text = await aside.run(len(turn.content), lambda: self._layout.protect(turn))
        try:
            await self._encoder.encode([Segment(text)], len(text))
        except ForgedError:
            return True
        return False


def _joined(
    pieces: Sequence[Segment | int], encoded: Sequence[tuple[int, ...]], turns: Sequence[Turn]
) -> tuple[int, ...]:
    """The ids of segments, and between them those that were generated for a turn."""
    segments = iter(encoded)
    ids: list[int] = []
    for piece in pieces:
        ids += next(segments) if isinstance(piece, Segment) else turns[piece].token_ids or ()
    return tuple(ids)


def _from(whole: Window, head: int, begin: int) -> Window:
    """The system messages, and the turns from `begin`."""
    dropped = begin - head
    spliced = frozenset(i - dropped for i in whole.spliced if i >= begin)
    turns = [*whole.turns[:head], *whole.turns[begin:]]
    return replace(whole, turns=turns, spliced=spliced, size=cutting.work(turns, whole.tools))


def _template_of(vocabulary: Vocabulary) -> ChatTemplate:
    """The model's own template; without one ChatML, if the model has its control strings, else plain text."""
    template = vocabulary.template
    if template.source.strip():
        return template
    if {"<|im_start|>", "<|im_end|>"} <= vocabulary.control_strings:
        log.warning("the model has no chat template", using="ChatML")
        return replace(template, source=_CHATML)
    log.warning("the model has no chat template", using="plain text")
    return replace(template, source=_PLAIN)
