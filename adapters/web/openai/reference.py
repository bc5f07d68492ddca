"""The page of endpoints and parameters, docs/api-parameters.md, made from the same models that read the requests.

python -m adapters.web.openai.reference > docs/api-parameters.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from adapters.web.openai.openapi import OPERATIONS, Operation, document
from adapters.web.openai.parameters.base import MAX_BIASES, MAX_STOP, MAX_STOPS, Body, refused_in
from adapters.web.openai.parameters.text import MAX_IDS, MAX_INPUTS, MAX_PROMPTS

HEAD = """# What the API takes

This page is made from the code that reads the requests (`python -m adapters.web.openai.reference`); a test holds it to that.
**yes**: the parameter does what OpenAI's reference says. **refused**: a request with it is answered with 400 and the parameter's
name, because nothing here could honour it. Nothing is ignored: what stands on no list is refused as unknown. [api.md](api.md) tells how
to use the API.
"""
NOTES = {
    "model": "An alias, another name (`[api.aliases]`, `[speech.names]`), or a dated snapshot.",
    "logit_bias": f"Ids of the model's own tokens, -100 to 100; at most {MAX_BIASES} of them.",
    "stop": f"At most {MAX_STOPS}, of at most {MAX_STOP} characters each.",
    "TextBody.prompt": f"A text or token ids, or at most {MAX_PROMPTS} of either; at most {MAX_IDS} ids in all. "
    "Left out: the model begins a text.",
    "EmbeddingBody.input": f"A text or token ids, or at most {MAX_INPUTS} of either; at most {MAX_IDS} ids in all.",
    "ChatBody.response_format": "`text`, `json_object`, `json_schema`",
    "tool_choice": "`none`, `auto`, `required`, or a function by name. With `tools`; `none` alone too.",
    "function_call": "`none`, `auto`, or a function by name. With `functions`; `none` alone too.",
}
"""What a schema does not say in a word: by the parameter's name, with its body's where others have one of that name."""


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([HEAD, *(line for operation in OPERATIONS for line in _operation(operation))])


def _operation(operation: Operation) -> Iterator[str]:
    yield f"## {operation.method.upper()} /v1{operation.path}"
    yield ""
    yield f"{operation.summary}.{' `stream` makes server-sent events of it.' if operation.streams else ''}"
    yield ""
    rows = [*_query(operation), *_body(operation)]
    if rows:
        yield "| parameter | | |"
        yield "|---|---|---|"
        yield from rows
        yield ""


def _query(operation: Operation) -> Iterator[str]:
    for name, schema in operation.query.items():
        written = f"{name}[KEY]" if schema["type"] == "object" else name
        yield f"| `{written}` (of the address) | yes | {_told(schema)} |"


def _body(operation: Operation) -> Iterator[str]:
    body = operation.body
    if body is None or not issubclass(body, Body):
        return
    refused = refused_in(body)
    schemas = document("")["components"]["schemas"]
    properties = schemas[body.__name__]["properties"]
    for name, field in body.model_fields.items():
        if name in refused:
            harmless = ", ".join(f"`{value}`" for value in refused[name].harmless if value)
            but = f" ({harmless} asks for nothing, and may be sent)" if harmless else ""
            yield f"| `{name}` | refused | {refused[name].why}{but} |"
        else:
            note = NOTES.get(f"{body.__name__}.{name}") or NOTES.get(name) or _told(properties[name])
            yield f"| `{name}` | yes{_needed(field)} | {note} |"


def _needed(field: FieldInfo) -> str:
    return ", needed" if field.is_required() else ""


def _told(schema: Mapping[str, Any]) -> str:
    """What a schema says for people: its description, its values, its bounds."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    bounds = "; ".join(text for kind in kinds if (text := _bounds(kind)))
    return " ".join(part for part in (bounds, schema.get("description", "")) if part).replace("\n", " ")


def _bounds(kind: Mapping[str, Any]) -> str:
    values = kind.get("enum", [kind["const"]] if "const" in kind else [])
    if values:
        return ", ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in values)
    low, high = kind.get("minimum"), kind.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}."
    if low is not None:
        return f"{low} or more."
    if "maxItems" in kind:
        return f"At most {kind['maxItems']}."
    return f"At most {kind['maxLength']} characters." if "maxLength" in kind else ""


if __name__ == "__main__":
    sys.stdout.write(page())
