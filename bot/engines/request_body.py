"""A Generation -> the body of llama-server's native `/completion`, checked first, because it ignores what it dislikes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bot import constraints
from bot.errors import BadRequest, TooLong
from bot.generation import Generation, Sampling

SAMPLERS = ["penalties", "top_k", "min_p", "temperature", "top_p"]
"""Temperature before top_p, as in the OpenAI API and transformers; llama.cpp's own order has it last. The cuts that need
no sum come first: the sum over a vocabulary of 150,000 was measured at 20 ms a token, a third of all the work."""
GREEDY = ["penalties", "top_k"]
NEGLIGIBLE = 1e-8
"""Relative to the best token; less than the rounding of a float32 sum, so that leaving it out changes nothing."""
REPEAT_WINDOW = 64
"""llama.cpp's default reach of the multiplicative penalty, in tokens; the prompt's end counts in it."""
SEEDS = 2**32 - 1
"""llama.cpp's seed has 32 bits, and the highest means "choose one"."""
NEVER = -100.0
LARK = "%llguidance {}\n"
"""By this beginning llama.cpp tells such a grammar from its own kind."""
FINAL_FIELDS = ["stop", "stop_type", "tokens_predicted", "tokens_evaluated", "timings", "error"]
"""What the last frame is to hold: without this it repeats the whole prompt and every setting."""


def room(request: Generation, context_length: int, vocabulary: int) -> int:
    """How many tokens may be generated: `max_tokens`, or fewer where the context ends before.

    Raises TooLong if the prompt leaves no room, BadRequest for ids that the vocabulary does not have.
    """
    if not request.prompt:
        raise BadRequest("The prompt is empty.", param="prompt")
    if min(request.prompt) < 0 or max(request.prompt) >= vocabulary:
        raise BadRequest("The prompt holds token ids that this model does not have.", param="prompt")
    left = context_length - len(request.prompt)
    if left < 1:
        raise TooLong(detail=f"the prompt has {len(request.prompt)} tokens, the context {context_length}")
    return max(0, min(request.max_tokens, left))


def check_texts(request: Generation, vocabulary: int) -> None:
    """Raises BadRequest for an empty stop string, and for a bias of a token that the vocabulary does not have."""
    if any(not text for text in request.stop):
        raise BadRequest("A stop string is empty.", param="stop")
    if any(not 0 <= token < vocabulary for token in request.sampling.logit_bias):
        raise BadRequest("logit_bias names a token id that this model does not have.", param="logit_bias")


def body(request: Generation, tokens: int, *, context_length: int, vocabulary: int) -> dict[str, Any]:
    """The JSON body for `tokens` new tokens. Raises BadRequest for parameters that cannot be honoured."""
    sampling = request.sampling
    check_texts(request, vocabulary)
    fields: dict[str, Any] = {
        "prompt": request.prompt,
        "n_predict": tokens,
        "stream": True,
        "return_tokens": True,
        "return_progress": True,
        "response_fields": FINAL_FIELDS,
        "stop": request.stop,
        **_choice(sampling),
        **_penalties(request, context_length),
    }
    if sampling.seed is not None:
        fields["seed"] = sampling.seed % SEEDS
    if sampling.logprobs is not None:
        fields["n_probs"] = max(1, sampling.logprobs)
    if request.json_schema is not None:
        fields["json_schema"] = constraints.guided(request.json_schema)
    if (lark := constraints.source(request)) is not None:
        fields["grammar"] = LARK + lark
    return fields


def _choice(sampling: Sampling) -> dict[str, Any]:
    """How a token is chosen. min_p cuts before the temperature, by `p ** temperature`: the same tokens."""
    if sampling.temperature <= 0:
        return {"samplers": GREEDY, "top_k": 1, "temperature": 0.0}
    return {
        "samplers": SAMPLERS,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": max(NEGLIGIBLE, sampling.min_p) ** sampling.temperature,
    }


def _penalties(request: Generation, context_length: int) -> dict[str, Any]:
    """Penalties and biases.

    The OpenAI API's presence and frequency penalties count generated text alone; llama.cpp counts the prompt in, so
    that a long conversation would forbid its own end-of-turn token. So the window is the whole context, which makes
    the prompt's share constant, and a bias of the same size takes that share away again. The frequency penalty is
    exact then; a token of the prompt escapes the presence penalty.
    """
    sampling = request.sampling
    bias = {**sampling.logit_bias}
    counted = bool(sampling.presence_penalty or sampling.frequency_penalty)
    if counted:
        for token, count in Counter(request.prompt).items():
            share = sampling.presence_penalty + count * sampling.frequency_penalty
            if bias.get(token, 0.0) > NEVER:
                bias[token] = bias.get(token, 0.0) + share
    return {
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_penalty": sampling.repeat_penalty,
        "repeat_last_n": context_length if counted else REPEAT_WINDOW,
        "logit_bias": [[token, value if value > NEVER else False] for token, value in bias.items()],
    }
