"""A Generation -> the body of a chat completion, checked first: servers ignore much of what they cannot do."""

from __future__ import annotations

from collections.abc import Sequence

from bot.errors import BadRequest
from bot.generation import ChatMessage, Generation


def check(request: Generation) -> None:
    """Raises BadRequest for what a server would ignore or cannot be asked for."""
    if not request.messages or request.messages[-1].role != "user":
        raise BadRequest("There is no message to answer.", param="messages")
    if request.prompt:
        raise BadRequest("A model on a server takes messages, no token ids.", param="prompt")
    if any(not text for text in request.stop):
        raise BadRequest("A stop string is empty.", param="stop")
    if request.sampling.logprobs is not None:
        raise BadRequest("A model on a server is not asked for log-probabilities.", param="logprobs")
    if request.regex is not None:
        raise BadRequest("A model on a server has no common name for a regular expression.", param="regex")
    if request.grammar is not None:
        raise BadRequest("A model on a server is not given a grammar.", param="grammar")
    if request.sampling.repeat_penalty != 1.0:
        raise BadRequest("A model on a server has no common name for this penalty.", param="repeat_penalty")


def body(request: Generation, model: str, messages: Sequence[ChatMessage], max_tokens: int) -> dict[str, object]:
    """The JSON body, with only what differs from the API's defaults: strict servers refuse names that they do not know.

    But the temperature and top_p are always in it, because servers have defaults of their own for them.
    """
    sampling = request.sampling
    optional: dict[str, object] = {
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "stop": list(request.stop),
        "logit_bias": {str(token): value for token, value in sampling.logit_bias.items()},
    }
    fields = {key: value for key, value in optional.items() if value}
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
    if request.json_schema is not None:
        schema = {"name": "answer", "schema": request.json_schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {
        "model": model,
        "messages": as_json(messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        **fields,
    }


def as_json(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """Messages as the API takes them."""
    return [{"role": message.role, "content": message.content} for message in messages]
