"""An engine over a real vocabulary and a real template, without a model: it records what it is asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from bot import constraints
from bot.engines.plain import fill_of
from bot.generation import Delta, Finish, Generation, PlainText, Prefill, Usage
from bot.testing import ScriptedEngine, StreamEvent
from tests.attacks.vocabularies import LlamaVocabulary


class Recorder(ScriptedEngine):
    """A ChatEngine whose `requests` are all that was handed to it."""

    def __init__(self, vocabulary: LlamaVocabulary) -> None:
        super().__init__(context_length=vocabulary.context_length)
        self._vocabulary = vocabulary
        self.control_strings = vocabulary.control_strings
        self.template = vocabulary.template
        found = {string: vocabulary.tokenize(string) for string in vocabulary.control_strings if len(string) > 1}
        # llama.cpp makes "</s>" plain text where Gemma 4's tokens are in the same vocabulary.
        added = {ids[0]: string for string, ids in found.items() if len(ids) == 1}
        self.control_ids = frozenset(added)
        begins = next((i for i, string in added.items() if string == self.template.bos_token), min(added))
        self.plain = PlainText(size=1_000_000, added=added, begins=begins, fill=fill_of(added))

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """By llama.cpp's tokenizer, control strings parsed."""
        return await self._vocabulary.encode(texts)

    def controls(self, request: Generation) -> list[int]:
        """The control ids of a request's prompt."""
        return [token_id for token_id in request.prompt if token_id in self.control_ids]

    def decode_controls(self, request: Generation) -> list[str]:
        """The control strings of a request's prompt."""
        return [self.plain.added[token_id] for token_id in self.controls(request)]

    async def stream(self, request: Generation) -> AsyncGenerator[StreamEvent, None]:
        """Record, and say two letters, or a number where the answer must be JSON."""
        constraints.check(request)
        self.requests.append(request)
        yield Prefill(len(request.prompt), len(request.prompt))
        yield Delta("ok" if request.json_schema is None else "12", (0,))
        yield Finish(reason="stop", usage=Usage(prompt_tokens=len(request.prompt), completion_tokens=1))
