"""Text completions: prompts without roles, `echo`, `suffix`, and the best of several."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bot import aside
from bot.api import ApiEvent, Begun, Ended, TextAsk, TextPiece
from bot.completions import chat
from bot.completions.choices import heard, tokens_in
from bot.engines.registry import Loaded
from bot.generation import Delta, Finish, Generation
from bot.prompt import TextPrompts

TOKEN = 8
"""Characters that are as much work as finding out what an id spells."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where one prompt's choices begin."""

    ids: tuple[int, ...]
    text: str
    """What `echo` says, where that is asked for."""


async def starts(ask: TextAsk, prompts: TextPrompts, text_of: Callable[[Sequence[int]], str]) -> list[Start]:
    """The prompts as ids; `text_of` tells what ids of a program spell. Raises BadRequest, TooLong, RoleForgery."""
    ids = await prompts.prompts(ask.prompts, suffix=ask.suffix)
    if not ask.echo:
        return [Start(found, "") for found in ids]
    size = TOKEN * sum(len(prompt) for prompt in ask.prompts if not isinstance(prompt, str))
    texts = await aside.run(
        size, lambda: [prompt if isinstance(prompt, str) else text_of(prompt) for prompt in ask.prompts]
    )
    return [Start(found, text) for found, text in zip(ids, texts, strict=True)]


def requests(ask: TextAsk, loaded: Loaded, starts: Sequence[Start]) -> list[Generation]:
    """`best_of` for each prompt, those of the first prompt first. Raises nothing: the prompts were looked at."""
    sampling = chat.sampling(ask, loaded.config)
    if ask.best_of > ask.n and sampling.logprobs is None:
        sampling = replace(sampling, logprobs=0)  # what they are ranked by
    found: list[Generation] = []
    for start in starts:
        tokens = chat.room(ask, loaded, len(start.ids))
        first = Generation(prompt=start.ids, max_tokens=tokens, sampling=sampling, stop=ask.stop)
        found += chat.seeded(first, ask.best_of)
    return found


class Choice:
    """One choice while it is written."""

    def __init__(self, number: int, *, echo: str, logprobs: bool) -> None:
        self.number = number
        self._echo = echo
        self._logprobs = logprobs
        self._sum = 0.0
        self._counted = 0
        self.completion_tokens = 0
        self.reasoning_tokens = 0
        self.ended = False

    @property
    def score(self) -> float:
        """The mean log-probability of its tokens, as far as that is known. What says nothing comes last."""
        return self._sum / self._counted if self._counted else -math.inf

    def feed(self, event: Delta | Finish) -> Iterator[ApiEvent]:
        """What the next event of the engine tells."""
        if self._echo:
            echo, self._echo = self._echo, ""
            for step in aside.steps(echo):  # each is an event of a stream
                yield TextPiece(self.number, step)
        if isinstance(event, Finish):
            self.completion_tokens = event.usage.completion_tokens
            self.ended = True
            yield Ended(self.number, event.reason)
            return
        self.completion_tokens += tokens_in(event)
        known = [token.logprob for token, _ in event.logprobs if token.logprob is not None]
        self._sum += sum(known)
        self._counted += len(known)
        logprobs = heard(event.logprobs) if self._logprobs else ()
        if event.text or logprobs:
            yield TextPiece(self.number, event.text, logprobs)


async def best(
    choices: Sequence[Choice], events: AsyncIterator[ApiEvent], ask: TextAsk
) -> AsyncGenerator[ApiEvent, None]:
    """The events of each prompt's `n` best choices, numbered anew, once all are written."""
    found: dict[int, list[TextPiece | Ended]] = {choice.number: [] for choice in choices}
    async for event in events:
        if isinstance(event, TextPiece | Ended):
            found[event.choice].append(event)
        elif isinstance(event, Begun):
            yield event
        else:
            for piece in _renumbered(choices, found, ask):
                yield piece
            yield event


def _renumbered(
    choices: Sequence[Choice], found: dict[int, list[TextPiece | Ended]], ask: TextAsk
) -> Iterator[TextPiece | Ended]:
    number = 0
    for begin in range(0, len(choices), ask.best_of):
        ranked = sorted(choices[begin : begin + ask.best_of], key=lambda choice: -choice.score)
        for choice in ranked[: ask.n]:
            yield from (replace(event, choice=number) for event in found[choice.number])
            number += 1
