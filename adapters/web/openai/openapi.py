"""The OpenAPI document of what is served here, made from the routes and the models of their bodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from adapters.web.openai.objects import OBJECTS
from adapters.web.openai.parameters.audio import TranscriptionForm, TranslationForm
from adapters.web.openai.parameters.base import refused_in
from adapters.web.openai.parameters.chat import MAX_METADATA, ChatBody, MetadataBody
from adapters.web.openai.parameters.text import EmbeddingBody, TextBody

OPENAPI = "3.1.0"
JSON, FORM, EVENTS, PLAIN = "application/json", "multipart/form-data", "text/event-stream", "text/plain"
REFUSED = {
    "400": "A parameter is wrong, unknown or not supported; `param` names it.",
    "401": "No key, or none that opens anything.",
    "403": "Not from this site, or not through this proxy.",
    "429": "The key's limits are reached, or the queue is full; Retry-After says when to come again.",
    "503": "The server is about to stop, or its database does not answer.",
}
"""What every operation may answer."""
MISSING = {"404": "There is no such model, or nothing of this name."}
BODY = {"408": "The body takes too long.", "413": "The body is too large.", "415": "The body is of another type."}
WORK = {"500": "The model failed."}
_REFS = "#/components/schemas/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path, which is that of a route."""

    method: str
    path: str
    summary: str
    answers: str
    """The name of the object, of OBJECTS."""
    body: type[BaseModel] | None = None
    form: bool = False
    streams: bool = False
    """Whether `stream` makes a stream of it."""
    plain: bool = False
    """Whether there are text formats."""
    query: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the address: name -> schema. Objects are written `name[key]=value` (OpenAPI's deepObject)."""
    free: bool = False
    """Costs no model's time."""


_PAGE = {
    "after": {"type": "string"},
    "limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "order": {"type": "string", "enum": ["asc", "desc"]},
}
_MODEL = {"type": "string", "description": "Any of its names: those that its present snapshot answered."}
_METADATA = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "maxProperties": MAX_METADATA,
    "description": "As `metadata[key]=value`: those that have it, all of it if it is several.",
}
OPERATIONS: Sequence[Operation] = (
    Operation(
        method="post",
        path="/chat/completions",
        summary="An answer to a conversation",
        answers="ChatCompletion",
        body=ChatBody,
        streams=True,
    ),
    Operation(
        method="get",
        path="/chat/completions",
        summary="Kept chat completions",
        answers="ChatCompletionList",
        query={**_PAGE, "model": _MODEL, "metadata": _METADATA},
        free=True,
    ),
    Operation(
        method="get",
        path="/chat/completions/{completion_id}",
        summary="A kept chat completion",
        answers="ChatCompletion",
        free=True,
    ),
    Operation(
        method="post",
        path="/chat/completions/{completion_id}",
        summary="Other metadata for a kept chat completion",
        answers="ChatCompletion",
        body=MetadataBody,
        free=True,
    ),
    Operation(
        method="delete",
        path="/chat/completions/{completion_id}",
        summary="Remove a kept chat completion",
        answers="ChatCompletionDeleted",
        free=True,
    ),
    Operation(
        method="get",
        path="/chat/completions/{completion_id}/messages",
        summary="The messages of a kept chat completion",
        answers="ChatCompletionMessageList",
        query=_PAGE,
        free=True,
    ),
    Operation(
        method="post",
        path="/completions",
        summary="A text that goes on",
        answers="TextCompletion",
        body=TextBody,
        streams=True,
    ),
    Operation(
        method="post", path="/embeddings", summary="Texts as vectors", answers="EmbeddingList", body=EmbeddingBody
    ),
    Operation(
        method="post",
        path="/audio/transcriptions",
        summary="What is said in a recording",
        answers="Transcription",
        body=TranscriptionForm,
        form=True,
        streams=True,
        plain=True,
    ),
    Operation(
        method="post",
        path="/audio/translations",
        summary="What is said in a recording, in English",
        answers="Transcription",
        body=TranslationForm,
        form=True,
        plain=True,
    ),
    Operation(method="get", path="/models", summary="The models and their names", answers="ModelList", free=True),
    Operation(method="get", path="/models/{model}", summary="A model", answers="Model", free=True),
    Operation(
        method="get", path="/engines", summary="The models, as SDKs of before 2023 ask", answers="EngineList", free=True
    ),
    Operation(method="get", path="/engines/{model}", summary="A model, asked so", answers="Engine", free=True),
    Operation(method="get", path="/openapi.json", summary="This document", answers="Document", free=True),
)


def document(version: str, *, audio: bool = True) -> dict[str, Any]:
    """The document. `audio`: whether recordings are heard here."""
    served = [operation for operation in OPERATIONS if audio or not operation.path.startswith("/audio/")]
    schemas: dict[str, Any] = dict(OBJECTS)
    paths: dict[str, dict[str, Any]] = {}
    for operation in served:
        if operation.body is not None:
            schemas |= _schemas(operation.body)
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    return {
        "openapi": OPENAPI,
        "info": {"title": "Hearth", "version": version},
        "servers": [{"url": "/v1"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def routes(app: web.Application, version: str, *, audio: bool) -> None:
    """Add the route of the document, as it is from now on."""
    found = document(version, audio=audio)

    async def openapi(_: web.Request) -> web.Response:
        return web.json_response(found)

    app.router.add_get("/openapi.json", openapi, name="openapi.json")


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method}_{operation.answers}_{operation.path.count('/')}",
        "responses": _responses(operation),
    }
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.body is not None:
        kind = FORM if operation.form else JSON
        content = {kind: {"schema": {"$ref": f"{_REFS}{operation.body.__name__}"}}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    found = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return [*found, *(_of_address(name, schema) for name, schema in operation.query.items())]


def _of_address(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    form = {"style": "deepObject", "explode": True} if schema["type"] == "object" else {}
    return {"name": name, "in": "query", **form, "schema": schema}


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": {"$ref": f"{_REFS}{operation.answers}"}}}
    if operation.streams:
        content[EVENTS] = {}  # a schema would be that of the whole: OpenAPI 3.1 has no word for each event
    if operation.plain:
        content[PLAIN] = {"schema": {"type": "string"}}
    told = REFUSED | (MISSING if "{" in operation.path or operation.body is not None else {})
    if operation.body is not None:
        told = told | BODY
    if not operation.free:
        told = told | WORK
    error = {JSON: {"schema": {"$ref": f"{_REFS}Error"}}}
    refused = {status: {"description": words, "content": error} for status, words in sorted(told.items())}
    return {"200": {"description": operation.summary, "content": content}, **refused}


def _schemas(body: type[BaseModel]) -> dict[str, Any]:
    """The schema of a body and of what it refers to. What is refused is not in it."""
    schema = body.model_json_schema(ref_template=_REFS + "{model}")
    inner = schema.pop("$defs", {})
    for name in refused_in(body):
        schema["properties"].pop(name, None)
    return {**inner, body.__name__: schema}
