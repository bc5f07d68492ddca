"""What programs ask of the OpenAI-compatible API, what they are given, and the ports behind it.

The API is a face without conversations: its client brings the history. So what it asks are values, and the answer is a
stream of events, from which both kinds of response are made.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from bot.generation import PlainText, Sampling, TokenLogprob, Usage
from bot.turns import Turn
from bot.ways_in import WEB_PLATFORM

# --- who asks ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a request: a key, whoever has a token of the page, or, where the API is open, anybody."""

    id: str
    """In the fair queue and in the counts of usage: `key/7`, `page/owner`, or `open`."""
    name: str
    """For people: the key's name."""
    organisation: str = ""
    models: frozenset[str] | None = None
    """What it may use, each by any of its names; None: all."""
    requests_per_minute: int = 0
    """0: no limit."""
    tokens_per_day: int = 0
    """Read and written together, since midnight UTC. 0: no limit."""


def key_caller(key: int) -> str:
    """The `Caller.id` of a key, by its id."""
    return f"key/{key}"


def person_caller(platform: str, person: str) -> str | None:
    """The `Caller.id` under which a person's use of the API is kept: somebody with a token of the page; None for others."""
    return f"page/{person}" if platform == WEB_PLATFORM else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is kept: its secret is not, only the SHA-256 of it."""

    id: int
    name: str
    """Names one key that is not revoked."""
    hint: str
    """The secret's beginning and last four characters, by which its owner knows it again."""
    organisation: str = ""
    models: tuple[str, ...] = ()
    """Empty: all."""
    requests_per_minute: int = 0
    tokens_per_day: int = 0
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None
    """To the minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiUse:
    """What one request cost, to be counted. It holds nobody's words."""

    caller: Caller
    endpoint: str
    """`chat`, `completions`, `embeddings`, `transcriptions` or `translations`."""
    model: str
    """Its alias."""
    user: str = ""
    """Whom the program names by the parameter `user`."""
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    """Of audio."""


# --- chat and text ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that the model may call. All of it comes from outside."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """A JSON schema of an object."""
    strict: bool = False
    """Whether the arguments must keep to the schema, also where the model chooses to call."""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether functions are called."""

    mode: Literal["none", "auto", "required"] = "auto"
    name: str | None = None
    """With "required": which one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What chat and text completions have in common."""

    model: str
    """An alias, another name of one, or a snapshot."""
    n: int = 1
    max_tokens: int | None = None
    """None: as many as fit."""
    temperature: float | None = None
    top_p: float | None = None
    """None for these two: as the model is configured."""
    sampling: Sampling = field(default_factory=Sampling)
    """All else about the choice of tokens. Choice number i has the seed plus i."""
    stop: tuple[str, ...] = ()
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAsk(Ask):
    """A chat completion."""

    turns: tuple[Turn, ...]
    json_schema: Mapping[str, Any] | None = None
    """The answer must be JSON of this schema."""
    json_description: str = ""
    """What the program says of it: the model is told."""
    tools: tuple[Function, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAsk(Ask):
    """A text completion: no roles, no template."""

    prompts: tuple[str | tuple[int, ...], ...]
    """Each gets `n` choices: those of the first come first."""
    suffix: str = ""
    """What comes after the text that is written."""
    echo: bool = False
    """The answer begins with the prompt."""
    best_of: int = 1
    """So many are written for each prompt, and the `n` with the highest log-probability per token are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The first event: a model answers."""

    model: str
    """The snapshot that does."""
    fingerprint: str
    """Of the weights and of what runs them: the same seed gives the same text while it stays the same."""


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A choice goes on. Logprobs as in `Delta`."""

    choice: int
    text: str
    logprobs: tuple[tuple[TokenLogprob, tuple[TokenLogprob, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningPiece:
    """A choice's reasoning goes on: it is no part of the answer."""

    choice: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPiece:
    """A call begins (`id` and `name` are there) or its arguments go on."""

    choice: int
    number: int
    """Of the call in this choice, from 0."""
    id: str = ""
    name: str = ""
    arguments: str = ""
    """JSON text, the next part of it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A choice has ended."""

    choice: int
    reason: Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """The last event: what all of it cost. The prompt is counted once, whatever `n` is."""

    usage: Usage
    reasoning_tokens: int = 0


ApiEvent = Begun | TextPiece | ReasoningPiece | CallPiece | Ended | Used


# --- embeddings, models ---


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingAsk:
    """Texts, or token ids, to be placed in a model's space."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    """The first so many, scaled to length 1 again. None: all."""
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """One vector for each input, in order, of length 1."""

    model: str
    """The snapshot."""
    vectors: tuple[Sequence[float], ...]
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model as the API lists it."""

    id: str
    """An alias, another name, or a dated snapshot."""
    created: datetime
    kind: Literal["chat", "embedding", "speech"]
    snapshot: str
    """The snapshot that answers under this id now; its own id, if it is one."""
    deprecated: datetime | None = None
    """From when on it may be taken away."""
    context_length: int | None = None
    """None where only a load will tell."""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechModel:
    """A speech model towards programs."""

    alias: str
    snapshot: str
    """With the day of its weights; of one from a hub its name there, which is no promise of ours."""
    released: datetime
    model: str
    """As SpeechToText takes it."""
    translator: str
    """The same, for what translates in its place."""


SpeechNames = Mapping[str, SpeechModel]
"""By every name that programs may use. No other model can be asked for: it could be any path, or any download."""


Took = Callable[[int], None]
"""Is told that so many more tokens were read or written."""


def nobody(_: int) -> None:
    """Whom it is nothing to."""


class Completions(Protocol):
    """The models, for programs. Each method raises Told: NoSuchModel, BadRequest, TooLong, Busy, NotAllowed, EngineError."""

    async def models(self, caller: Caller) -> list[ModelCard]:
        """All that this caller may use: aliases, other names and snapshots."""

    def chat(self, ask: ChatAsk, caller: Caller, *, took: Took = nobody) -> AsyncGenerator[ApiEvent, None]:
        """`Begun`, the choices' pieces as they come, mixed, an `Ended` for each, and `Used`.

        What is wrong with the request is raised before `Begun`. Closing the iterator frees the engine; what was used
        by then is counted all the same. `took` hears of tokens when they are read or written.
        """

    def complete(self, ask: TextAsk, caller: Caller, *, took: Took = nobody) -> AsyncGenerator[ApiEvent, None]:
        """The same for text."""

    async def embed(self, ask: EmbeddingAsk, caller: Caller, *, took: Took = nobody) -> Embedded:
        """The vectors of a batch. `took` hears of its tokens when they begin to be read."""


class EmbeddingEngine(Protocol):
    """A model that places texts in a space. `bot.prompt.TextPrompts` makes what it is given."""

    name: str
    """As `Engine.name`."""
    context_length: int
    """The longest input in tokens, with what the model wants around it."""
    dimensions: int
    control_strings: frozenset[str]
    plain: PlainText

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """As `ChatEngine.encode`."""

    async def embed(self, inputs: Sequence[Sequence[int]]) -> list[array[float]]:
        """A vector of length 1 for each input's token ids, 32 bits a number, in the order of the inputs.

        Many may call at once; a call that is cancelled ends its work after the few inputs under way. Raises TooLong,
        which names the input and the numbers, BadRequest for no ids and for ids that the model does not have, and
        EngineError.
        """

    async def aclose(self) -> None:
        """Free the model."""


# --- what is kept ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A chat completion that its program asked to keep (`store: true`)."""

    id: str
    """As the answer named it: `chatcmpl-...`."""
    caller: str
    """`Caller.id`: nobody else finds it."""
    model: str
    created: datetime
    messages: str
    """The request's, as they came: the JSON of a list, which is empty where completions are listed."""
    completion: str
    """The answer, as it was given: the JSON of an object. Both are text because they may be large: `bot.clean_json`
    writes it and `bot.aside` reads it, beside the event loop and in steps, and no transaction waits for that."""
    metadata: Mapping[str, str] = field(default_factory=dict)


class ApiStore(Protocol):
    """Keys, usage and kept completions. Each method is one transaction; raises DatabaseError."""

    async def add_key(
        self,
        secret: str,
        *,
        name: str,
        organisation: str = "",
        models: Sequence[str] = (),
        requests_per_minute: int = 0,
        tokens_per_day: int = 0,
        expires_at: datetime | None = None,
    ) -> Key:
        """Keep a new key by the SHA-256 of its secret. Raises ValueError if a key that is not revoked has this name."""

    async def keys(self) -> list[Key]:
        """All, the revoked and expired ones too, oldest first."""

    async def revoke_key(self, name: str) -> Key | None:
        """Refuse this key from now on, for good; None if there is no such key (any more)."""

    async def find_key(self, secret: str) -> Key | None:
        """The key with this secret, whatever state it is in, but for `used_at`, which may be an older one.

        Costs nothing for one that was asked about lately; that another process revoked it counts in a minute.
        """

    async def has_keys(self) -> bool:
        """Whether a key was ever made, whatever became of it. Costs nothing; another process's first counts in a minute."""

    async def note_key_use(self, key: int) -> None:
        """Set `used_at` of a key. Costs nothing but for the first time in each minute."""

    async def count_api_use(self, use: ApiUse) -> None:
        """Add to the counts of the day by caller, user, endpoint and model.

        A name of a user is kept up to 128 characters; of a longer one its digest. At most 10,000 pairs of a caller
        and a user have counts of their own in a process's day: who comes later is counted as nobody by name.
        """

    async def api_tokens_today(self, caller: str) -> int:
        """Tokens read and written since midnight UTC by this `Caller.id`."""

    async def api_usage(self, *, caller: str | None = None) -> list[dict[str, object]]:
        """The counts by day, key's name, user, endpoint and model, newest first."""

    async def keep_completion(self, kept: Kept) -> None:
        """Keep a completion for the retention time. Raises ValueError where that is 0 days, so refuse it before it is made."""

    async def kept_completion(self, id: str, *, caller: str) -> Kept | None:  # noqa: A002 - as the API calls it
        """A kept completion of this caller's."""

    async def kept_completions(
        self,
        *,
        caller: str,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = False,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> tuple[list[Kept], bool]:
        """A page of this caller's without their messages, and whether there are more, oldest first unless `newest_first`.

        It may have fewer than `limit` although there are more: where they are large it ends after 16 MiB of them.
        `after`: the id of the last one of the page before; raises ValueError if that is not kept (any more).
        `metadata`: those that have all of this.
        """

    async def change_metadata(self, id: str, metadata: Mapping[str, str], *, caller: str) -> Kept | None:  # noqa: A002
        """Replace a kept completion's metadata; None if it is not kept."""

    async def drop_completion(self, id: str, *, caller: str) -> bool:  # noqa: A002
        """Remove a kept completion; whether there was one."""
