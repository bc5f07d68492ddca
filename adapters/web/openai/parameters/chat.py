"""The body of a chat completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from adapters.web.openai import json_text
from adapters.web.openai.parameters.base import (
    MAX_LOGPROBS,
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
    at_most,
    only_nothing,
    refusal,
)

MAX_FUNCTIONS = 128
MAX_MESSAGES = 10_000
MAX_ARGUMENTS = 2**20
"""Characters of all calls: they are JSON again, and hold as many values at most as a body."""
NAME = r"^[a-zA-Z0-9_-]{1,64}$"
"""The specification's rule for names of functions and schemas."""
MAX_DESCRIPTION = 100_000
"""Characters of a function's; OpenAI takes 1,024."""
MAX_ROLE = 32
"""Characters that are looked at."""
MAX_NAME = 64
"""Characters of who says something: more would not be told to the model (bot/prompt/guard.py)."""
MAX_METADATA, MAX_KEY, MAX_VALUE = 16, 64, 512
ONE_TIER = "there is one tier of service"
CACHE = "whatever begins alike is served from the cache already"
NO_VOICE = "no model here speaks"
NULL: dict[str, Any] = {"type": "null"}
NULL_OR_EMPTY = {"anyOf": [{"type": "array", "maxItems": 0}, NULL]}


class Part(BaseModel):
    """A part of a message's content."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(Part):
    """Text."""

    type: Literal["text"]
    text: Text
    prompt_cache_breakpoint: only_nothing(CACHE, NULL) = None  # type: ignore[valid-type]


class RefusalPart(Part):
    """What the assistant said when it refused."""

    type: Literal["refusal"]
    refusal: Text


Several = Field(min_length=1, fail_fast=True)
"""Of many that are wrong only the first is told, and looked for."""
Parts = Annotated[list[Annotated[TextPart, STEP]], Several]


class Call(Part):
    """A function's name and arguments, as the model wrote them."""

    name: Text
    arguments: Text


class ToolCall(Part):
    """A call that the assistant made."""

    id: Text
    type: Literal["function"] = "function"
    function: Call


Name = Annotated[str, Field(strict=True, max_length=MAX_NAME)]
Description = Annotated[
    str, Field(strict=True, json_schema_extra={"maxLength": MAX_DESCRIPTION}), at_most(MAX_DESCRIPTION)
]


class SystemMessage(Part):
    """What the program tells the model beforehand."""

    role: Literal["system", "developer"]
    content: Text | Parts
    name: Name | None = None


class UserMessage(Part):
    """What a person says."""

    role: Literal["user"]
    content: Text | Parts
    name: Name | None = None


class AssistantMessage(Part):
    """What the model said before."""

    role: Literal["assistant"]
    content: Text | Annotated[list[Annotated[TextPart | RefusalPart, STEP]], Several] | None = None
    name: Name | None = None
    refusal: Text | None = None
    reasoning_content: Text | None = Field(
        default=None, description="Accepted as it was given; a model is not told its earlier reasoning."
    )
    tool_calls: Annotated[list[Annotated[ToolCall, STEP]], Several] | None = None
    function_call: Call | None = None
    # Answers have them, and programs send answers back as they came.
    audio: only_nothing(NO_VOICE, NULL) = None  # type: ignore[valid-type]
    annotations: only_nothing("a model is not told of sources", NULL_OR_EMPTY, []) = None  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _says_something(self) -> AssistantMessage:
        if self.content is None and not (self.tool_calls or self.function_call or self.refusal):
            raise ValueError("content is needed unless tool_calls or function_call is specified")
        return self


class ToolMessage(Part):
    """What a called tool answered."""

    role: Literal["tool"]
    content: Text | Parts
    tool_call_id: Text
    name: Text | None = Field(
        default=None, description="That of the function that was called, as older examples have it."
    )


class FunctionMessage(Part):
    """What a called function answered, before there were tools."""

    role: Literal["function"]
    content: Text | None
    name: Text


def _role(value: Any) -> str | None:
    role = value.get("role") if isinstance(value, dict) else getattr(value, "role", None)
    return role[:MAX_ROLE] if isinstance(role, str) else None


Message = Annotated[
    Annotated[SystemMessage, Tag("system")]
    | Annotated[SystemMessage, Tag("developer")]
    | Annotated[UserMessage, Tag("user")]
    | Annotated[AssistantMessage, Tag("assistant")]
    | Annotated[ToolMessage, Tag("tool")]
    | Annotated[FunctionMessage, Tag("function")],
    Discriminator(_role),
]


def _parts(messages: Sequence[Any]) -> list[Any]:
    """Of all messages' contents, and their calls."""
    made = [message for message in messages if isinstance(message, dict)]
    found = (message.get(name) for message in made for name in ("content", "tool_calls"))
    return [part for parts in found if isinstance(parts, list) for part in parts]


def _arguments(given: Any) -> str:
    """A call's arguments; `given`: one of tool_calls, or a message with a function_call."""
    call = given.get("function") or given.get("function_call") if isinstance(given, dict) else None
    written = call.get("arguments") if isinstance(call, dict) else None
    return written if isinstance(written, str) else ""


def _hold_more(arguments: Sequence[str]) -> bool:
    """Whether there are more values in them than a body may have."""
    signs = sum(written.count(sign) for written in arguments for sign in ",[{")
    if signs <= json_text.VALUES:
        return False
    left = json_text.VALUES
    for written in arguments:
        left -= json_text.values(written.encode("utf-8", "surrogatepass"), left)
        if left < 0:
            return True
    return False


Functions = Field(min_length=1, max_length=MAX_FUNCTIONS, fail_fast=True)


class FunctionDefinition(Part):
    """A function that the model may call."""

    name: Annotated[str, Field(strict=True, pattern=NAME)]
    description: Description | None = None
    parameters: dict[str, Any] | None = None
    strict: Flag | None = None


class Tool(Part):
    """A tool: a function is the only kind."""

    type: Literal["function"]
    function: FunctionDefinition


class Named(Part):
    """Which function."""

    name: Text


class NamedTool(Part):
    """The function that must be called."""

    type: Literal["function"]
    function: Named


class TextFormat(Part):
    """Plain text."""

    type: Literal["text"]


class JsonObjectFormat(Part):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchema(Part):
    """A schema that the answer keeps to."""

    name: Annotated[str, Field(strict=True, pattern=NAME)]
    description: Text | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: Flag | None = Field(default=None, description="Every schema is kept to, strict or not.")


class JsonSchemaFormat(Part):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


Format = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class StreamOptions(Part):
    """What a stream has besides."""

    include_usage: Flag | None = None
    include_obfuscation: Literal[False] | None = Field(
        default=None, description="Padding against who watches lengths on the line is not made: only false is taken."
    )


Metadata = Annotated[
    dict[
        Annotated[str, Field(strict=True, max_length=MAX_KEY)], Annotated[str, Field(strict=True, max_length=MAX_VALUE)]
    ],
    Field(max_length=MAX_METADATA),
    at_most(MAX_METADATA),
]


class ChatBody(Body):
    """POST /v1/chat/completions."""

    model: Text
    messages: Annotated[
        list[Message], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True), at_most(MAX_MESSAGES)
    ] = Field(description="With at most as many parts of content and calls, all together.")
    stream: Flag | None = None
    stream_options: StreamOptions | None = Field(default=None, description="With `stream` alone.")
    n: Choices | None = None
    stop: Stops | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(strict=True, ge=1)] | None = None
    temperature: Temperature | None = Field(default=None, description="Left out: as the model is configured.")
    top_p: TopP | None = Field(default=None, description="Left out: as the model is configured.")
    presence_penalty: Penalty | None = Field(default=None, description=PRESENCE)
    frequency_penalty: Penalty | None = None
    logit_bias: Biases | None = None
    logprobs: Flag | None = None
    top_logprobs: Annotated[int, Field(strict=True, ge=0, le=MAX_LOGPROBS)] | None = None
    seed: Seed | None = None
    user: User | None = None
    safety_identifier: User | None = Field(default=None, description="Counted like `user`; both together are refused.")
    prompt_cache_key: User | None = Field(default=None, description="A hint, and met: whatever begins alike is cached.")
    response_format: Format | None = None
    tools: Annotated[list[Tool], Functions, at_most(MAX_FUNCTIONS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = Field(
        default=None, description="With `tools`; `none` alone too."
    )
    parallel_tool_calls: Flag | None = None
    functions: Annotated[list[FunctionDefinition], Functions, at_most(MAX_FUNCTIONS)] | None = None
    function_call: Literal["none", "auto"] | Named | None = Field(
        default=None, description="With `functions`; `none` alone too."
    )
    store: Flag | None = None
    metadata: Metadata | None = Field(default=None, description="With `store` alone.")
    top_k: Annotated[int, Field(strict=True, ge=0)] | None = Field(default=None, description="Not of OpenAI's; 0: off.")
    min_p: Annotated[float, Field(strict=True, ge=0, le=1)] | None = Field(
        default=None, description="Not of OpenAI's; 0: off."
    )
    audio: refusal(NO_VOICE) = None  # type: ignore[valid-type]
    modalities: refusal(NO_VOICE, ["text"]) = None  # type: ignore[valid-type]
    prediction: refusal("nothing is made faster by a prediction") = None  # type: ignore[valid-type]
    service_tier: refusal(ONE_TIER, "auto", "default") = None  # type: ignore[valid-type]
    reasoning_effort: refusal("what a model thinks is its own affair") = None  # type: ignore[valid-type]
    verbosity: refusal("say it in the system message") = None  # type: ignore[valid-type]
    web_search_options: refusal("nothing is searched") = None  # type: ignore[valid-type]
    moderation: refusal("nothing is moderated") = None  # type: ignore[valid-type]
    prompt_cache_retention: refusal(CACHE, "in_memory") = None  # type: ignore[valid-type]
    prompt_cache_options: refusal(CACHE) = None  # type: ignore[valid-type]

    @model_validator(mode="before")
    @classmethod
    def _is_bounded(cls, data: Any) -> Any:
        """Before a look at each."""
        messages = data.get("messages")
        if isinstance(messages, list) and len(messages) <= MAX_MESSAGES:
            parts = _parts(messages)
            if len(parts) > MAX_MESSAGES:
                raise ValueError(f"messages: at most {MAX_MESSAGES} parts of content and calls, all together")
            arguments = list(map(_arguments, [*messages, *parts]))
            if sum(map(len, arguments)) > MAX_ARGUMENTS:
                raise ValueError(f"messages: at most {MAX_ARGUMENTS} characters of arguments, all together")
            if _hold_more(arguments):
                raise ValueError(f"messages: at most {json_text.VALUES} values in arguments, all together")
        return data

    @model_validator(mode="after")
    def _is_of_a_piece(self) -> ChatBody:
        """What only makes sense together. The words begin with the parameter's name."""
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: only with logprobs")
        if self.metadata and not self.store:
            raise ValueError("metadata: only with store")
        if self.tool_choice not in {None, "none"} and not self.tools:
            raise ValueError("tool_choice: only with tools")
        if self.parallel_tool_calls is not None and not self.tools:
            raise ValueError("parallel_tool_calls: only with tools")
        if self.function_call not in {None, "none"} and not self.functions:
            raise ValueError("function_call: only with functions")
        if self.functions and self.tools:
            raise ValueError("functions: tools take their place")
        if self.functions and self.tool_choice is not None:
            raise ValueError("tool_choice: functions go with function_call")
        if self.tools and self.function_call is not None:
            raise ValueError("function_call: tools go with tool_choice")
        if None not in {self.user, self.safety_identifier}:
            raise ValueError("user: safety_identifier takes its place")
        if None not in {self.max_tokens, self.max_completion_tokens}:
            raise ValueError("max_tokens: max_completion_tokens takes its place")
        return self


class MetadataBody(Body):
    """POST /v1/chat/completions/{completion_id}."""

    metadata: Metadata
