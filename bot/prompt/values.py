"""The values of a prompt: what goes in (turns, of bot.turns) and what comes out (token ids)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from bot.generation import ChatMessage, ChatTemplate, PlainText
from bot.turns import Turn


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that fits: token ids, or messages for an engine that takes those."""

    ids: tuple[int, ...]
    turns_from: int
    """The index of the first turn in the window; the system message before it is in the prompt, too."""
    cut: bool
    """The window was cut just now: store it, and give only the system message and the turns from there next time."""
    messages: tuple[ChatMessage, ...] = ()
    tokens: int = 0
    """The prompt's length; 0 = that of `ids`. Of messages it may be an estimate."""

    @property
    def length(self) -> int:
        """In tokens."""
        return self.tokens or len(self.ids)


class Prompts(Protocol):
    """What makes the prompts of one model."""

    @property
    def answer_head(self) -> str:
        """What stands before the model's answer; some templates open a reasoning block there."""

    async def build(
        self,
        turns: Sequence[Turn],
        *,
        day: date,
        max_tokens: int,
        tools: Sequence[Mapping[str, object]] | None = None,
        whole: bool = False,
    ) -> Prompt:
        """The prompt for the next answer, with room for `max_tokens` after it. Raises Told.

        `whole`: nothing may be left out; what does not fit is TooLong.
        """


class Tokenizing(Protocol):
    """What must be known of any engine that takes token ids."""

    @property
    def control_strings(self) -> frozenset[str]:
        """Every added token."""

    @property
    def context_length(self) -> int:
        """In tokens."""

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts -> token ids; control strings are parsed, no bos is added."""


class Vocabulary(Tokenizing, Protocol):
    """What a prompt must know of a `ChatEngine`."""

    @property
    def template(self) -> ChatTemplate:
        """The model's own."""


class PlainVocabulary(Tokenizing, Protocol):
    """What a text without a template must know of a `ChatEngine` or an `EmbeddingEngine`."""

    @property
    def plain(self) -> PlainText:
        """What the model wants around it."""
