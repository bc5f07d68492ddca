"""How long a prompt is: counted by the server where it can, else estimated, and the estimate corrected by its usage.

vLLM counts messages at /tokenize; llama.cpp renders them at /apply-template and encodes text at /tokenize. Both lie
beside the API's path, not in it. Other servers are not asked again once they have said that they have no such thing.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog

from bot import aside
from bot.engines.remote import wire
from bot.engines.remote.asking import as_json
from bot.errors import EngineError
from bot.generation import ChatMessage

log = structlog.get_logger(__name__)

TOKENS_PER_BYTE = 1 / 3
"""Before anything is known. Of text in UTF-8 current vocabularies have 0.2 (English, Chinese, Russian) to 0.35 (code);
only numbers, base64 and languages that a vocabulary hardly knows have more."""
LEAST_RATIO, MOST_RATIO = 1 / 8, 2.0
MARGIN = 1.1
"""Over what was last seen: the next prompt may be of other text."""
SLOWLY = 0.1
"""How far a lower ratio is believed at once; a higher one is believed wholly."""
LEARN_FROM = 1000
"""Bytes: in shorter prompts the template's own words outweigh the text."""
TEMPLATE_TOKENS, MESSAGE_TOKENS = 64, 8
"""What a template writes by itself, once and around each message: few write more."""
SURELY = 1.5
"""A learnt estimate times this is no less than the truth."""
COUNT_SECONDS = 5.0
"""An answer that waits for its prompt to be counted waits no longer; the estimate is there."""
MOST_ANSWER = 64 * 2**20
"""Bytes of a counted prompt: a million ids of some ten digits each, and as much again."""
NO_SUCH_THING = frozenset({401, 403, 404, 405, 501})

Count = Callable[[str, list[dict[str, str]]], Awaitable[int | None]]
"""Of messages as JSON, by the root of a server."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long a prompt is, as far as can be seen without its model."""

    bytes: int
    """Of its texts, in UTF-8."""
    messages: int

    @property
    def around(self) -> int:
        """Tokens that a template writes by itself."""
        return TEMPLATE_TOKENS + MESSAGE_TOKENS * self.messages


def length(messages: Sequence[ChatMessage]) -> Length:
    """Goes through all of it: see `work`."""
    found = sum(len(step.encode()) for message in messages for step in aside.steps(message.content))
    return Length(found, len(messages))


def work(messages: Sequence[ChatMessage]) -> int:
    """How much it is to go through a prompt, in characters, for `aside`; not looked through beyond HUGE."""
    found = 0
    for message in messages:
        found += aside.EACH + len(message.content)
        if found > aside.HUGE:
            break
    return found


class Estimate:
    """Tokens by bytes, as the last usages told."""

    def __init__(self) -> None:
        self._ratio = TOKENS_PER_BYTE
        self._learnt = False

    def of(self, prompt: Length) -> int:
        """Rather too many than too few."""
        return min(math.ceil(prompt.bytes * self._ratio), prompt.bytes) + prompt.around

    def at_most(self, prompt: Length) -> int:
        """What it cannot well be more than: a token for each byte, or by what is known of this model's."""
        most = prompt.bytes + prompt.around
        return min(most, math.ceil(self.of(prompt) * SURELY)) if self._learnt else most

    def weigh(self, message: ChatMessage) -> float:
        """A single message's share."""
        return length([message]).bytes * self._ratio + MESSAGE_TOKENS

    def learn(self, prompt: Length, tokens: int) -> None:
        """The server has counted a prompt."""
        if prompt.bytes < LEARN_FROM or tokens <= 0:
            return
        seen = min(max(tokens / prompt.bytes * MARGIN, LEAST_RATIO), MOST_RATIO)
        self._ratio += (seen - self._ratio) * (1.0 if seen > self._ratio else SLOWLY)
        self._learnt = True

    def was_too_low(self, prompt: Length, at_least: int) -> None:
        """The server has refused a prompt: it had at least so many tokens."""
        self._ratio = min(MOST_RATIO, max(self._ratio * SURELY, at_least / max(1, prompt.bytes)))


class Counter:
    """Asks servers how long a prompt is."""

    def __init__(self, http: aiohttp.ClientSession, remote_model: str) -> None:
        self._http = http
        self._model = remote_model
        self._ways: dict[str, list[Count]] = {}
        """By URL, those that may still work; a way that worked is the only one left."""

    async def count(self, url: str, messages: Sequence[ChatMessage]) -> int | None:
        """The tokens, or None if this server does not tell."""
        ways = self._ways.setdefault(url, [self._by_vllm, self._by_llamacpp])
        root = url.removesuffix("/v1")
        asked = await aside.run(work(messages), lambda: as_json(messages))
        for way in list(ways):
            try:
                tokens = await way(root, asked)
            except EngineError as error:
                log.debug("a prompt was not counted", reason=str(error))
                return None
            if tokens is not None:
                ways[:] = [way]
                return tokens
            ways[:] = [other for other in ways if other != way]
        return None

    async def _by_vllm(self, root: str, messages: list[dict[str, str]]) -> int | None:
        body = {"model": self._model, "messages": messages, "add_generation_prompt": True}
        answer = await self._post(f"{root}/tokenize", body)
        return _positive(answer.get("count")) if answer else None

    async def _by_llamacpp(self, root: str, messages: list[dict[str, str]]) -> int | None:
        rendered = await self._post(f"{root}/apply-template", {"messages": messages})
        if not rendered or not isinstance(rendered.get("prompt"), str):
            return None
        body = {"content": rendered["prompt"], "add_special": True, "parse_special": True}
        answer = await self._post(f"{root}/tokenize", body)
        tokens = answer.get("tokens") if answer else None
        return _positive(len(tokens)) if isinstance(tokens, list) else None

    async def _post(self, url: str, body: object) -> dict[str, Any] | None:
        """The answer; None if there is nothing of the kind here. Raises EngineError if it is not known whether."""
        status, answer = await wire.ask(self._http, url, body, seconds=COUNT_SECONDS, most=MOST_ANSWER)
        if status == 200 and isinstance(answer, dict):
            return answer
        if status == 200 or status in NO_SUCH_THING:
            return None
        raise EngineError(detail=f"{url}: {status}")


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
