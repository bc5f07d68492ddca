"""Bodies -> what is asked of the core. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.web.openai.parameters.base import is_shallow
from adapters.web.openai.parameters.chat import (
    AssistantMessage,
    ChatBody,
    FunctionDefinition,
    FunctionMessage,
    JsonObjectFormat,
    JsonSchemaFormat,
    Message,
    Named,
    NamedTool,
    RefusalPart,
    TextPart,
    ToolMessage,
)
from adapters.web.openai.parameters.text import DEFAULT_TOKENS, EmbeddingBody, TextBody
from bot import aside
from bot.api import ChatAsk, EmbeddingAsk, Function, TextAsk, ToolChoice
from bot.errors import BadRequest
from bot.generation import Sampling
from bot.messages import Role
from bot.turns import ToolCall, Turn

MAX_ECHOED = 100
"""Characters of an id that are said again in an error."""
MAX_DIGITS = 10
"""Of a token id: no vocabulary has so many."""
ANY_OBJECT = {"type": "object"}


def chat(body: ChatBody) -> ChatAsk:
    """Raises BadRequest for messages that do not belong together, and for a bias of what is no token id."""
    sampling = Sampling(
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        seed=body.seed,
        logit_bias=_bias(body.logit_bias),
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        top_k=body.top_k or 0,
        min_p=body.min_p or 0.0,
    )
    definitions = [tool.function for tool in body.tools or ()] or body.functions or []
    return ChatAsk(
        model=body.model,
        turns=_turns(body.messages),
        n=body.n or 1,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        sampling=sampling,
        stop=_stops(body.stop),
        user=body.user or body.safety_identifier or "",
        json_schema=_schema(body),
        json_description=_description(body),
        tools=tuple(_function(definition) for definition in definitions),
        tool_choice=_choice(body),
        # A function_call is one: the API of its day has no place for a second.
        parallel_tool_calls=body.functions is None and body.parallel_tool_calls is not False,
    )


def text(body: TextBody) -> TextAsk:
    """Raises BadRequest for a bias of what is no token id."""
    sampling = Sampling(
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        seed=body.seed,
        logit_bias=_bias(body.logit_bias),
        logprobs=body.logprobs,
    )
    return TextAsk(
        model=body.model,
        prompts=_several(body.prompt) if body.prompt is not None else ("",),
        suffix=body.suffix or "",
        max_tokens=DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens,
        n=body.n or 1,
        best_of=max(body.best_of or 1, body.n or 1),
        echo=bool(body.echo),
        temperature=body.temperature,
        top_p=body.top_p,
        sampling=sampling,
        stop=_stops(body.stop),
        user=body.user or "",
    )


def embedding(body: EmbeddingBody) -> EmbeddingAsk:
    """All inputs, one or many."""
    return EmbeddingAsk(model=body.model, inputs=_several(body.input), dimensions=body.dimensions, user=body.user or "")


def _several(given: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]) -> tuple[str | tuple[int, ...], ...]:
    """One text or one list of ids, or many of either."""
    if isinstance(given, str):
        return (given,)
    numbers = tuple(item for item in given if isinstance(item, int))
    if numbers:
        return (numbers,)
    return tuple(item if isinstance(item, str) else tuple(item) for item in given if not isinstance(item, int))


def _stops(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)


def _bias(given: Mapping[str, float] | None) -> dict[int, float]:
    if not all(token.isascii() and token.isdecimal() and len(token) <= MAX_DIGITS for token in given or ()):
        raise BadRequest("Invalid 'logit_bias': the keys are token ids.", param="logit_bias")
    return {int(token): value for token, value in (given or {}).items()}


def _schema(body: ChatBody) -> Mapping[str, Any] | None:
    match body.response_format:
        case JsonObjectFormat():
            return ANY_OBJECT
        case JsonSchemaFormat(json_schema=given):
            return given.schema_
    return None


def _description(body: ChatBody) -> str:
    match body.response_format:
        case JsonSchemaFormat(json_schema=given):
            return given.description or ""
    return ""


def _function(given: FunctionDefinition) -> Function:
    parameters = {"type": "object", "properties": {}} if given.parameters is None else given.parameters
    return Function(
        name=given.name, description=given.description or "", parameters=parameters, strict=bool(given.strict)
    )


def _choice(body: ChatBody) -> ToolChoice:
    names = {tool.function.name for tool in body.tools or ()} | {function.name for function in body.functions or ()}
    match body.tool_choice if body.tools else body.function_call:
        case NamedTool(function=Named(name=name)) if name in names:
            return ToolChoice("required", name)
        case Named(name=name) if name in names:
            return ToolChoice("required", name)
        case NamedTool(function=Named(name=name)):
            raise BadRequest(f"tool_choice: there is no function {name!r} in tools", param="tool_choice")
        case Named(name=name):
            raise BadRequest(f"function_call: there is no function {name!r} in functions", param="function_call")
        case "none" | "auto" | "required" as mode:
            return ToolChoice(mode)
    return ToolChoice("auto" if names else "none")


def _turns(messages: Sequence[Message]) -> tuple[Turn, ...]:
    """Raises BadRequest where a tool answers what nobody called."""
    called: dict[str, str] = {}
    """The name of the function that each call was of."""
    turns = []
    for number, message in enumerate(messages):
        match message:
            case AssistantMessage():
                calls = _calls(message)
                called |= {call.id: call.name for call in calls}
                turns.append(Turn(Role.ASSISTANT, _content(message), message.name, tool_calls=calls))
            case ToolMessage() if message.tool_call_id not in called:
                raise BadRequest(
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls': "
                    f"no call has the id {message.tool_call_id[:MAX_ECHOED]!r}",
                    param=f"messages[{number}].tool_call_id",
                )
            case ToolMessage(tool_call_id=call, name=name) if name not in {None, called[call]}:
                raise BadRequest(
                    f"messages with role 'tool' have the name of the function that was called: {called[call]!r}",
                    param=f"messages[{number}].name",
                )
            case ToolMessage(tool_call_id=call):
                turns.append(Turn(Role.TOOL, _content(message), called[call], tool_call_id=call))
            case FunctionMessage(name=name):
                turns.append(Turn(Role.TOOL, message.content or "", name))
            case _:
                turns.append(Turn(Role(message.role), _content(message), message.name))
    return tuple(turns)


def _calls(message: AssistantMessage) -> tuple[ToolCall, ...]:
    calls = [
        ToolCall(name=c.function.name, arguments=_arguments(c.function.arguments), id=c.id)
        for c in message.tool_calls or ()
    ]
    if (call := message.function_call) is not None:
        calls.append(ToolCall(name=call.name, arguments=_arguments(call.arguments)))
    return tuple(calls)


def _arguments(written: str) -> Mapping[str, object]:
    """A model may have written what is no JSON object: it is told so again, as the one argument."""
    try:
        arguments = aside.parsed(written)
    except (ValueError, RecursionError):
        arguments = None
    return arguments if isinstance(arguments, dict) and is_shallow(arguments) else {"arguments": written}


def _content(message: Any) -> str:
    """Parts are joined as they are."""
    content = message.content
    if content is None:
        return getattr(message, "refusal", None) or ""
    if isinstance(content, str):
        return content
    return "".join(_words(part) for part in content)


def _words(part: TextPart | RefusalPart) -> str:
    return part.text if isinstance(part, TextPart) else part.refusal
