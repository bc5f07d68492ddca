"""The objects that the API answers with, as JSON schemas for its OpenAPI document."""

from __future__ import annotations

from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
WHOLE: dict[str, Any] = {"type": "integer"}
NUMBER: dict[str, Any] = {"type": "number"}
FLAG: dict[str, Any] = {"type": "boolean"}


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(*optional: str, **properties: dict[str, Any]) -> dict[str, Any]:
    """All properties are there but those that are named."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _page(items: str) -> dict[str, Any]:
    ids = _maybe(TEXT)
    return _object(object={"const": "list"}, data=_list(_ref(items)), first_id=ids, last_id=ids, has_more=FLAG)


_FUNCTION = _object(name=TEXT, arguments=TEXT)
_MESSAGE = _object(
    "reasoning_content",
    "tool_calls",
    "function_call",
    role={"const": "assistant"},
    content=_maybe(TEXT),
    refusal=_maybe(TEXT),
    reasoning_content=TEXT,
    tool_calls=_list(_object(id=TEXT, type={"const": "function"}, function=_FUNCTION)),
    function_call=_FUNCTION,
)
_TOKEN = {"token": TEXT, "logprob": _maybe(NUMBER), "bytes": _list(WHOLE)}
_ANSWER = {"id": TEXT, "created": WHOLE, "model": TEXT, "system_fingerprint": TEXT, "usage": _ref("Usage")}
_REASONS = {"enum": ["stop", "length", "tool_calls", "function_call"]}
_SEGMENT = _object(
    id=WHOLE,
    seek=WHOLE,
    start=NUMBER,
    end=NUMBER,
    text=TEXT,
    tokens=_list(WHOLE),
    temperature=NUMBER,
    avg_logprob=NUMBER,
    compression_ratio=NUMBER,
    no_speech_prob=NUMBER,
)

OBJECTS: dict[str, Any] = {
    "Error": _object(error=_object(message=TEXT, type=TEXT, param=_maybe(TEXT), code=_maybe(TEXT))),
    "Usage": _object(
        prompt_tokens=WHOLE,
        completion_tokens=WHOLE,
        total_tokens=WHOLE,
        prompt_tokens_details=_object(cached_tokens=WHOLE),
        completion_tokens_details=_object(reasoning_tokens=WHOLE),
    ),
    "ChatCompletion": _object(
        "metadata",
        object={"const": "chat.completion"},
        choices=_list(
            _object(
                index=WHOLE,
                message=_MESSAGE,
                logprobs=_maybe(_object(content=_list(_object(**_TOKEN, top_logprobs=_list(_object(**_TOKEN)))))),
                finish_reason=_REASONS,
            )
        ),
        metadata={"type": "object", "additionalProperties": TEXT},
        **_ANSWER,
    ),
    "ChatCompletionList": _page("ChatCompletion"),
    "ChatCompletionDeleted": _object(object={"const": "chat.completion.deleted"}, id=TEXT, deleted=FLAG),
    "ChatCompletionMessageList": _page("ChatCompletionMessage"),
    "ChatCompletionMessage": _object(
        "content", id=TEXT, role=TEXT, name=_maybe(TEXT), content=_maybe(TEXT), content_parts=_maybe(_list({}))
    ),
    "TextCompletion": _object(
        object={"const": "text_completion"},
        choices=_list(
            _object(
                text=TEXT,
                index=WHOLE,
                logprobs=_maybe(
                    _object(
                        tokens=_list(TEXT),
                        token_logprobs=_list(_maybe(NUMBER)),
                        top_logprobs=_list(_maybe({"type": "object", "additionalProperties": _maybe(NUMBER)})),
                        text_offset=_list(WHOLE),
                    )
                ),
                finish_reason={"enum": ["stop", "length"]},
            )
        ),
        **_ANSWER,
    ),
    "EmbeddingList": _object(
        object={"const": "list"},
        data=_list(_object(object={"const": "embedding"}, index=WHOLE, embedding={"anyOf": [_list(NUMBER), TEXT]})),
        model=TEXT,
        usage=_object(prompt_tokens=WHOLE, total_tokens=WHOLE),
    ),
    "Transcription": _object(
        "task",
        "language",
        "duration",
        "segments",
        "words",
        "languages",
        "usage",
        text=TEXT,
        task={"enum": ["transcribe", "translate"]},
        language=TEXT,
        duration=NUMBER,
        segments=_list(_SEGMENT),
        words=_list(_object(word=TEXT, start=NUMBER, end=NUMBER)),
        languages=_list(_object(code=TEXT)),
        usage=_object(type={"const": "duration"}, seconds=WHOLE),
    ),
    "ModelList": _object(object={"const": "list"}, data=_list(_ref("Model"))),
    "Model": _object(
        id=TEXT,
        object={"const": "model"},
        created=WHOLE,
        owned_by=TEXT,
        kind={"enum": ["chat", "embedding", "speech"]},
        snapshot=TEXT,
        deprecated=_maybe(TEXT),
        context_length=_maybe(WHOLE),
        description=TEXT,
    ),
    "EngineList": _object(object={"const": "list"}, data=_list(_ref("Engine"))),
    "Engine": _object(
        id=TEXT, object={"const": "engine"}, created=WHOLE, owner=TEXT, permissions={"type": "null"}, ready=FLAG
    ),
    "Document": {"type": "object"},
}
"""By name."""
