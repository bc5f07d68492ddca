"""What a server says of itself: which models it has, and how long their context is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from bot.config import RemoteModelConfig
from bot.engines.remote import faults, wire
from bot.errors import EngineError, HearthError, ModelError

ASK_SECONDS = 10.0
MOST_ANSWER = 16 * 2**20
"""Bytes: some services list thousands of models."""
SHOWN = 8
"""Names of models in an error's words."""
MOST_CONTEXT = 100_000_000
BOUNDARY = (
    "keeping control strings in people's text from being taken for roles is the server's affair: Hearth keeps that "
    "promise for models of its own only"
)

_LENGTHS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""In the list of models: vLLM and SGLang; OpenRouter and others; Groq; Mistral and LM Studio."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A server's answer."""

    models: Mapping[str, int | None]
    """Name -> context length, if it is told. Other names for the same model are in it, too."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at one URL."""

    url: str
    good: bool
    words: str


async def ask(http: aiohttp.ClientSession, url: str) -> Facts:
    """The server's models. Raises ModelError in words for the owner."""
    try:
        status, answer = await wire.ask(http, f"{url}/models", seconds=ASK_SECONDS, most=MOST_ANSWER)
    except EngineError as error:
        raise ModelError(str(error)) from error
    if status != 200:
        told = faults.from_json(url, status, answer).told()
        hint = "" if url.endswith("/v1") or status != 404 else "; most servers want /v1 at the end of the URL"
        raise ModelError(f"{told}{hint}")
    listed = answer.get("data") if isinstance(answer, dict) else None
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    models = {name: _length(entry) for entry in entries for name in _names(entry)}
    if not models:
        raise ModelError(f"{url}: does not list a model; is it an OpenAI-compatible server?")
    return Facts(models)


async def context_length(http: aiohttp.ClientSession, url: str, model: str, facts: Facts) -> int | None:
    """A model's context length, also where the server tells it elsewhere than in its list of models."""
    listed = _listed(model, facts) or (next(iter(facts.models)) if len(facts.models) == 1 else "")
    known = facts.models.get(listed)
    if known is not None:
        return known
    for place, path in ((f"{url.removesuffix('/v1')}/props", _LLAMACPP), (f"{url}/model", _TABBY)):
        try:
            status, answer = await wire.ask(http, place, seconds=ASK_SECONDS, most=MOST_ANSWER)
        except EngineError:
            continue
        if status == 200 and (found := _at(answer, path)) is not None:
            return found
    return None


def choose(config: RemoteModelConfig, url: str, facts: Facts) -> str:
    """The model to ask for. Raises ModelError if the server has not the one that is configured, or several."""
    if config.remote_model:
        if _listed(config.remote_model, facts) is None and len(facts.models) > 1:
            raise ModelError(f"{url}: has no model {config.remote_model!r}; there are {_some(facts.models)}")
        return config.remote_model  # a server with a single model often takes any name
    names = list(facts.models)
    if len(names) > 1:
        raise ModelError(f"{url}: has several models; remote_model chooses one of {_some(names)}")
    return names[0]


async def settle(http: aiohttp.ClientSession, config: RemoteModelConfig) -> tuple[str, int]:
    """The model to ask for and its context length, the shortest of those servers that answer. Raises ModelError."""
    if config.remote_model and config.context_length is not None:
        return config.remote_model, config.context_length
    looks = await asyncio.gather(*(_settle_at(http, config, url) for url in config.servers), return_exceptions=True)
    known = [look for look in looks if not isinstance(look, BaseException)]
    if not known:
        reasons = "; ".join(str(look) for look in looks)
        raise ModelError(f"{reasons}. With remote_model and context_length set, Hearth starts without its server.")
    lengths = [length for _, length in known if length is not None]
    length = config.context_length or min(lengths, default=None)
    if length is None:
        raise ModelError(f"{config.servers[0]}: does not tell its context length; set context_length")
    return known[0][0], length


async def _settle_at(http: aiohttp.ClientSession, config: RemoteModelConfig, url: str) -> tuple[str, int | None]:
    facts = await ask(http, url)
    model = choose(config, url, facts)
    return model, config.context_length or await context_length(http, url, model, facts)


async def look(config: RemoteModelConfig) -> list[Look]:
    """Ask every URL, and tell what would be wrong."""
    async with wire.session(config) as http:
        return list(await asyncio.gather(*(_look(http, config, url) for url in config.servers)))


async def _look(http: aiohttp.ClientSession, config: RemoteModelConfig, url: str) -> Look:
    try:
        facts = await ask(http, url)
        model = choose(config, url, facts)
        length = await context_length(http, url, model, facts)
        if length is None and config.context_length is None:
            raise ModelError(f"{url}: does not tell its context length; set context_length")
    except HearthError as error:
        return Look(url, False, str(error))
    if length and config.context_length and config.context_length > length:
        return Look(url, False, f"{model}: context_length is {config.context_length}, but the server has {length}")
    listed = "" if _listed(model, facts) else f" (the server calls it {_some(facts.models)})"
    return Look(url, True, f"{model}{listed}, context {config.context_length or length}; {BOUNDARY}")


_LLAMACPP = ("default_generation_settings", "n_ctx")
_TABBY = ("parameters", "max_seq_len")
_IN_THE_LIST = ("meta", "n_ctx")
"""llama.cpp's, since 2026; `n_ctx_train` beside it is the model's, not the server's."""


def _length(entry: Mapping[str, Any]) -> int | None:
    found = [_at(entry, (key,)) for key in _LENGTHS]
    return next((value for value in (*found, _at(entry, _IN_THE_LIST)) if value is not None), None)


def _at(answer: Any, path: Sequence[str]) -> int | None:
    for key in path:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer if isinstance(answer, int) and not isinstance(answer, bool) and 0 < answer < MOST_CONTEXT else None


def _names(entry: Mapping[str, Any]) -> list[str]:
    name = entry.get("id")
    return [name] if isinstance(name, str) and name and name.isprintable() else []


def _listed(model: str, facts: Facts) -> str | None:
    """The name under which the server lists a model; Ollama's may be asked for without their tag."""
    return next((name for name in (model, f"{model}:latest") if name in facts.models), None)


def _some(names: Mapping[str, object] | Sequence[str]) -> str:
    shown = [name[:100] for name in list(names)[:SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
