"""The bodies of text completions and embeddings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from adapters.web.openai.parameters.base import (
    PRESENCE,
    STEP,
    Biases,
    Body,
    Choices,
    Flag,
    Penalty,
    Seed,
    Stops,
    Temperature,
    Text,
    TopP,
    User,
)
from adapters.web.openai.parameters.chat import StreamOptions

MAX_BEST_OF = 20
MAX_PROMPTS = 128
"""Texts in one request, and what is written of all: prompts times `n` or `best_of`. Each is a stream of its own."""
MAX_IDS = 2**20
"""Token ids in one request: a window of a million."""
MAX_INPUTS = 2048
"""OpenAI's bound for a batch of embeddings."""
MAX_VALUES = MAX_IDS + 2 * MAX_INPUTS
"""With what stands around them."""
DEFAULT_TOKENS = 16

Id = Annotated[int, Field(strict=True, ge=0), STEP]
Ids = Annotated[list[Id], Field(min_length=1, max_length=MAX_IDS, fail_fast=True)]
Prompts = Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)
Inputs = Field(min_length=1, max_length=MAX_INPUTS, fail_fast=True)


def _few(most: int) -> Any:
    """Of many texts, or lists of ids, so many: without it the first would be blamed for being no token id."""

    def check(value: Any) -> Any:
        if isinstance(value, list) and len(value) > most and isinstance(value[0], str | list):
            raise ValueError(f"at most {most}; these are {len(value)}")
        return value

    return BeforeValidator(check)


class TextBody(Body):
    """POST /v1/completions."""

    model: Text
    prompt: Annotated[
        Text | Ids | Annotated[list[Text], Prompts] | Annotated[list[Ids], Prompts] | None, _few(MAX_PROMPTS)
    ] = Field(default=None, description="Left out: the model begins a text.")
    suffix: Text | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=0)] | None = Field(default=None, description="Left out: 16.")
    temperature: Temperature | None = Field(default=None, description="Left out: as the model is configured.")
    top_p: TopP | None = Field(default=None, description="Left out: as the model is configured.")
    n: Choices | None = Field(default=None, description=f"Times the prompts: at most {MAX_PROMPTS}.")
    stream: Flag | None = None
    stream_options: StreamOptions | None = Field(default=None, description="With `stream` alone.")
    logprobs: Annotated[int, Field(strict=True, ge=0, le=5)] | None = None
    echo: Flag | None = None
    stop: Stops | None = None
    presence_penalty: Penalty | None = Field(default=None, description=PRESENCE)
    frequency_penalty: Penalty | None = None
    best_of: Annotated[int, Field(strict=True, ge=0, le=MAX_BEST_OF)] | None = Field(
        default=None, description=f"Times the prompts: at most {MAX_PROMPTS}."
    )
    logit_bias: Biases | None = None
    seed: Seed | None = None
    user: User | None = None

    @model_validator(mode="after")
    def _is_of_a_piece(self) -> TextBody:
        """What only makes sense together. The words begin with the parameter's name."""
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream")
        if (self.best_of or 0) > 1 and self.stream:
            raise ValueError("best_of: the best can only be given when all are written; not with stream")
        if self.best_of and self.best_of < (self.n or 1):
            raise ValueError("best_of: at least n")
        each = max(self.n or 1, self.best_of or 1)
        if (several := _several(self.prompt)) * each > MAX_PROMPTS:
            name = "best_of" if (self.best_of or 0) > 1 else "n"
            raise ValueError(
                f"{name}: {several} prompts times {each}; at most {MAX_PROMPTS} are written in one request"
            )
        if self.echo and self.logprobs is not None:
            raise ValueError("logprobs: those of a prompt (echo) are not told")
        if self.echo and self.suffix:
            raise ValueError("echo: not with suffix")
        return self


def _several(prompt: object) -> int:
    """How many prompts these are."""
    return len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1


class EmbeddingBody(Body):
    """POST /v1/embeddings."""

    model: Text
    input: Annotated[
        Annotated[str, Field(strict=True, min_length=1)]
        | Ids
        | Annotated[list[Annotated[str, Field(strict=True, min_length=1)]], Inputs]
        | Annotated[list[Ids], Inputs],
        _few(MAX_INPUTS),
    ]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(strict=True, ge=1)] | None = None
    user: User | None = None
