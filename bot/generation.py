"""The vocabulary of the engines: requests, what a stream yields, and what a model brings. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one generation cost, in tokens."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen, in the OpenAI API's terms; the defaults change nothing about the model's distribution."""

    temperature: float = 1.0
    """0 = always the most probable token."""
    top_p: float = 1.0
    top_k: int = 0
    """0 = off."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    """llama.cpp's multiplicative penalty; 1 = off."""
    seed: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Token id -> value added to its logit, -100 (never) to 100 (only)."""
    logprobs: int | None = None
    """How many alternatives to report with each token; 0 = the chosen token's alone; None = no log-probabilities."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation, for an engine that writes the model's control tokens itself."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One request to an engine: `prompt` for an engine by token ids, `messages` for one by messages."""

    prompt: tuple[int, ...] = ()
    """Token ids, from `bot.prompt` only."""
    messages: tuple[ChatMessage, ...] = ()
    """From `bot.prompt` only; the last is the user's."""
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    """Strings at which the text ends; not part of it."""
    json_schema: Mapping[str, object] | None = None
    """The answer must be JSON of this schema. At most one of this, `regex` and `grammar` is given."""
    regex: str | None = None
    """The whole answer matches it. In the syntax of Rust's crate `regex`: no look-around, no references back."""
    grammar: str | None = None
    """The answer keeps to this Lark grammar as llguidance takes it. `<[7]>` in it is the token 7."""
    shows: frozenset[str] = frozenset()
    """Control strings that stand in the text where the model writes their tokens. The tokens of others leave no text,
    unless they are added but not special in the model's vocabulary: those always do. For engines by token ids."""

    @property
    def is_constrained(self) -> bool:
        """Whether the answer has to keep to something."""
        return self.json_schema is not None or self.regex is not None or self.grammar is not None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with its natural log-probability under the model (before sampling changes)."""

    token_id: int
    text: str
    """A control token's is its name."""
    logprob: float | None
    """None: the engine does not tell. llama.cpp tells that of a character's last token alone."""
    raw: bytes
    """Exactly what it spells, where `text` has U+FFFD: a token may be half a character."""
    silent: bool = False
    """It leaves no text: a control token that `Generation.shows` does not name."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """The prompt is being read: `processed` of `total` tokens, `cached` of them were known."""

    processed: int
    total: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """The next tokens. `text` may be empty while a character or a possible stop string is incomplete."""

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[tuple[TokenLogprob, tuple[TokenLogprob, ...]], ...] = ()
    """For each token: itself and its alternatives, if asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The end of a generation."""

    reason: Literal["stop", "length"]
    """stop: the model's own end or a stop string; length: `max_tokens` or the context is full."""
    usage: Usage
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    drafted_tokens: int = 0
    """Tokens that were guessed and then checked, where the engine guesses."""
    accepted_draft_tokens: int = 0
    """Those of them that were right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """A model's own chat template and the strings it refers to."""

    source: str
    """Jinja."""
    bos_token: str = ""
    eos_token: str = ""
    adds_bos: bool = False
    """The model expects bos first although the template does not write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillInMiddle:
    """The control ids with which a model is asked for what stands between two texts."""

    prefix: int
    suffix: int
    middle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainText:
    """What a model wants around a text that stands in no chat template."""

    size: int
    """Token ids are below this."""
    added: Mapping[int, str] = field(repr=False)
    """Every added token, special or not."""
    before: tuple[int, ...] = ()
    """The model expects these ids before a text: bos, or what its kind has in its place."""
    after: tuple[int, ...] = ()
    """Those after a text that is complete; a text that is to be continued does not get them."""
    begins: int | None = None
    """The id that begins a document (bos, or what ends one): it stands for a text that is empty."""
    fill: FillInMiddle | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """How many tokens a prompt has."""

    tokens: int
    exact: bool
    """Counted, not estimated."""
