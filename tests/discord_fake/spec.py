"""The platform's specification as a check: of what a client asks for, and of what this server answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator

from tests.discord_fake.errors import INVALID_FORM, Json, Misuse, field_errors, invalid, not_implemented

PATH = Path(__file__).parent.parent / "specs" / "discord-v10-2026-07-18.json"
_PARAMETER = re.compile(r"\{(\w+)\}")
_SNOWFLAKE = re.compile(r"0|[1-9][0-9]{0,19}")
_LOOSE_SNOWFLAKE: Json = {
    "oneOf": [{"type": "string", "pattern": "^(0|[1-9][0-9]*)$"}, {"type": "integer", "minimum": 0}]
}
"""Of requests: the platform takes numbers too, and discord.py sends them."""
_REFERENCE: Json = {"type": "integer", "enum": [0, 1]}
"""The specification knows replies only; 1 is a forwarded message."""
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "True": True, "False": False}
_LONGEST_LIST = 8
"""So many items of an answer are looked at: all are made by the same hand, and a look takes a millisecond."""
_IGNORED = {
    "nsfw": "commands: age restriction, which the specification forgets",
    "tts": "edits by webhook: discord.py sends it with every message",
    "use_nested_fields": "a forum's new post, in the query: discord.py sends it",
}
"""Properties and parameters that the platform takes without having them in its specification, and who sends them."""
_CODES = {
    "maxLength": ("BASE_TYPE_MAX_LENGTH", "Must be {} or fewer in length."),
    "minLength": ("BASE_TYPE_MIN_LENGTH", "Must be {} or more in length."),
    "maxItems": ("BASE_TYPE_MAX_LENGTH", "Must be {} or fewer in length."),
    "minItems": ("BASE_TYPE_MIN_LENGTH", "Must be {} or more in length."),
    "maximum": ("NUMBER_TYPE_MAX", "int value should be less than or equal to {}."),
    "minimum": ("NUMBER_TYPE_MIN", "int value should be greater than or equal to {}."),
    "required": ("BASE_TYPE_REQUIRED", "This field is required"),
    "enum": ("BASE_TYPE_CHOICES", "Value must be one of {}."),
    "const": ("BASE_TYPE_CHOICES", "Value must be one of {}."),
    "additionalProperties": ("UNKNOWN_PROPERTY", "The specification has no such property."),
}
_formats = FormatChecker(formats=())


@_formats.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value).tzinfo)


@_formats.checks("uri")
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme)


@_formats.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


@dataclass(frozen=True)
class Operation:
    """A method of a path. `id` is the specification's name for it, such as create_message."""

    id: str
    method: str
    template: str
    parameters: tuple[Json, ...]
    body: Json | None
    responses: Mapping[str, Json | None]
    needs_token: bool
    pattern: re.Pattern[str] = field(compare=False)


class Spec:
    """Operations and schemas of version 10."""

    def __init__(self, document: Json) -> None:
        self.left_out = [(_pattern(path), methods) for path, methods in document["left_out"].items()]
        self.operations = [_operation(name, entry) for name, entry in document["operations"].items()]
        # Of two paths that fit, the one with more fixed words is meant: /users/@me and not /users/{user_id}.
        self.operations.sort(key=lambda operation: operation.template.count("{"))
        schemas = {name: _closed(schema) for name, schema in document["schemas"].items()}
        schemas["MessageReferenceType"] = _REFERENCE
        self._answers = _Schemas(schemas)
        self._requests = _Schemas(schemas | {"SnowflakeType": _LOOSE_SNOWFLAKE})

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]]:
        """The operation of a request, and the parameters in its path. Raises Misuse."""
        for operation in self.operations:
            if operation.method == method and (match := operation.pattern.fullmatch(path)):
                return operation, match.groupdict()
        if any(method.lower() in methods and pattern.fullmatch(path) for pattern, methods in self.left_out):
            raise not_implemented(f"{method} {path}")
        raise Misuse(404, 0, f"404: Not Found ({method} {path})")

    def query(self, operation: Operation, given: Mapping[str, str]) -> Json:
        """The typed parameters of a query. Raises Misuse for one that is unknown or wrong."""
        known = {p["name"]: p["schema"] for p in operation.parameters if p["in"] == "query"}
        found: Json = {}
        for name, text in given.items():
            if name in _IGNORED and name not in known:
                continue
            if name not in known:
                raise invalid(name, "UNKNOWN_PROPERTY", f"{operation.id} has no parameter {name}")
            found[name] = _from_text(known[name], text)
            self._must_fit(known[name], found[name], [name])
        return found

    def path(self, operation: Operation, given: Mapping[str, str]) -> None:
        """Look at the ids within a path. Raises Misuse."""
        for parameter in operation.parameters:
            text = given.get(parameter["name"])
            snowflake = parameter["schema"].get("$ref", "").endswith("/SnowflakeType")
            if text is not None and snowflake and not _SNOWFLAKE.fullmatch(text):
                raise invalid(parameter["name"], "NUMBER_TYPE_COERCE", f'Value "{text}" is not snowflake.')

    def body(self, operation: Operation, body: Any) -> None:
        """Look at a request's body. Raises Misuse."""
        if operation.body is None:
            if body:
                raise Misuse(400, INVALID_FORM, f"{operation.id} takes no body, and this came: {body}")
            return
        if operation.id == "create_thread" and isinstance(body, dict) and "message" in body:
            # discord.py tells a post's type too, of which there is only one.
            body = {name: value for name, value in body.items() if name != "type"}
        self._must_fit(operation.body, _without_ignored(body), [])

    def _must_fit(self, schema: Json, value: Any, path: list[str]) -> None:
        for error in self._requests.errors(schema, value):
            where, code, message = _described(error)
            raise Misuse(400, INVALID_FORM, "Invalid Form Body", field_errors(path + where, code, message))

    def returns(self, operation: Operation, status: int, answer: Any) -> list[str]:
        """What is wrong with an answer."""
        if str(status) not in operation.responses:
            return [f"{operation.id} can't be answered with {status}"]
        schema = operation.responses[str(status)]
        if schema is None or answer is None:
            return [] if answer is None and schema is None else [f"{operation.id}: {answer} with {status}"]
        if operation.id == "create_thread":
            # A forum's post comes back with its message, which the specification forgets.
            answer = {name: value for name, value in answer.items() if name != "message"}
        if isinstance(answer, list) and len(answer) > _LONGEST_LIST:
            answer = answer[:_LONGEST_LIST]
        return [f"{operation.id}'s answer: {_sentence(error)}" for error in self._answers.errors(schema, answer)]

    def complaints(self, schema: str, value: Any) -> list[str]:
        """What is wrong with a value that should be of this schema; nothing if it is."""
        errors = self._answers.errors({"$ref": f"#/components/schemas/{schema}"}, value)
        return [f"{schema}: {_sentence(error)}" for error in errors]


class _Schemas:
    """Validators, each made once."""

    def __init__(self, schemas: Json) -> None:
        self._root: Validator = Draft202012Validator({"components": {"schemas": schemas}}, format_checker=_formats)
        self._made: dict[str, Validator] = {}

    def errors(self, schema: Json, value: Any) -> Iterable[ValidationError]:
        """What is wrong with a value, in the order of the schema."""
        key = json.dumps(schema)
        if key not in self._made:
            self._made[key] = self._root.evolve(schema=schema)
        return self._made[key].iter_errors(value)


def _operation(name: str, entry: Json) -> Operation:
    template, _, method = name.rpartition(" ")
    return Operation(
        id=entry["operationId"],
        method=method.upper(),
        template=template,
        parameters=tuple(entry["parameters"]),
        body=_closed(entry.get("requestBody")),
        responses=entry["responses"],
        needs_token=entry["auth"],
        pattern=_pattern(template),
    )


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", template))


def _closed(schema: Any) -> Any:
    """The same schema without room for properties that it does not name: most of these are slips."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        name: {key: _closed(item) for key, item in value.items()} if name == "properties" else _closed(value)
        for name, value in schema.items()
    }
    if "properties" in schema and "additionalProperties" not in schema:
        closed["additionalProperties"] = False
    return closed


def _without_ignored(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_ignored(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_ignored(item) for name, item in value.items() if name not in _IGNORED}
    return value


def _from_text(schema: Json, text: str) -> Any:
    if schema.get("type") == "boolean":
        return _BOOLEANS.get(text, text)
    if schema.get("type") == "integer":
        return int(text) if re.fullmatch(r"-?\d+", text) else text
    return text


def _inner(error: ValidationError) -> ValidationError:
    """Within a union, the first thing that is wrong with the alternative that was meant: of the type, or the nearest."""
    while error.context:
        alternatives: dict[Any, list[ValidationError]] = {}
        for child in error.context:
            alternatives.setdefault(child.schema_path[0], []).append(child)

        def distance(errors: list[ValidationError]) -> tuple[bool, int]:
            other = any(child.validator in {"enum", "type", "const"} and len(child.path) <= 1 for child in errors)
            return other, len(errors)

        error = min(alternatives.values(), key=distance)[0]
    return error


def _described(error: ValidationError) -> tuple[list[str], str, str]:
    """Where an error is, its code, and its words."""
    error = _inner(error)
    where = [str(part) for part in error.absolute_path]
    validator, limit = str(error.validator), error.validator_value
    value: Any = error.instance
    schema: Any = error.schema
    if validator == "required":
        missing = [name for name in schema["required"] if name not in value]
        where += missing[:1]
    if validator == "additionalProperties":
        where += [name for name in value if name not in schema["properties"]][:1]
    code, words = _CODES.get(validator, ("BASE_TYPE_INVALID", error.message.replace("{", "{{").replace("}", "}}")))
    return where, code, words.format(limit)


def _sentence(error: ValidationError) -> str:
    where, code, words = _described(error)
    return f"{'.'.join(where)}: {words} ({code})"


@cache
def api() -> Spec:
    """Version 10, as of 2026-07-18."""
    return Spec(json.loads(PATH.read_text("utf-8")))
