"""The Bot API's documentation as a check: of what a client asks for, and of what this server tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.telegram.errors import Json, Misuse

PATH = Path(__file__).parent.parent / "specs" / "telegram-bot-api-10.1.json"
_ARRAY = "Array of "
_PRIMITIVES: dict[str, tuple[type, ...]] = {
    "Integer": (int,),
    "Float": (int, float),
    "String": (str,),
    "Boolean": (bool,),
    "InputFile": (str,),
}


@dataclass(frozen=True)
class Upload:
    """A file that came with a request."""

    name: str
    content: bytes
    media_type: str


class Spec:
    """Methods and types of the Bot API."""

    def __init__(self, document: Json) -> None:
        self.methods: Json = document["methods"]
        self.types: Json = document["types"]
        self._spelt: dict[str, str] = {name.lower(): name for name in self.methods}

    def spelt(self, method: str) -> str:
        """A method's name as the documentation has it: they are case-insensitive."""
        return self._spelt.get(method.lower(), method)

    def arguments(self, method: str, given: Mapping[str, Any], uploads: Mapping[str, Upload]) -> Json:
        """The typed parameters of a call. `given` holds text where the request was a form, values where it was JSON.

        Raises Misuse for an unknown method or parameter, a missing one, and one of a wrong type.
        """
        if method not in self.methods:
            raise Misuse(404, "Not Found: method not found")
        fields = {field["name"]: field for field in self.methods[method]["fields"]}
        typed = {name: self._argument(fields.get(name), name, value) for name, value in given.items()}
        typed |= self._uploaded(fields, typed, uploads)
        missing = [name for name, field in fields.items() if field["required"] and name not in typed]
        if missing:
            raise Misuse(400, f"Bad Request: parameter {missing[0]} of {method} is required")
        return typed

    def _argument(self, field: Json | None, name: str, value: Any) -> Any:
        if field is None:
            raise Misuse(400, f"Bad Request: there is no parameter {name}")
        typed = _from_text(field["types"], value) if isinstance(value, str) else value
        if complaints := self._value(field, typed, name):
            raise Misuse(400, f"Bad Request: {complaints[0]}")
        return typed

    def _uploaded(self, fields: Json, typed: Json, uploads: Mapping[str, Upload]) -> Json:
        """Files by the parameter they are for: sent under its name, or under another that it names with attach://."""
        referred = {str(value).removeprefix("attach://"): name for name, value in typed.items()}
        found: Json = {}
        for key, upload in uploads.items():
            name = referred.get(key, key)
            if name not in fields or "InputFile" not in fields[name]["types"]:
                raise Misuse(400, f"Bad Request: nothing refers to the file {key}")
            found[name] = upload
        for name, value in typed.items():
            if isinstance(value, str) and value.startswith("attach://") and name in fields and name not in found:
                raise Misuse(400, f"Bad Request: the file of {name} did not come with the request")
        return found

    def complaints(self, kind: str, value: Any, where: str = "") -> list[str]:
        """What is wrong with a value that should be of this type; nothing if it is."""
        where = where or kind
        if kind.startswith(_ARRAY):
            if not isinstance(value, list):
                return [f"{where} must be an array"]
            inner = kind.removeprefix(_ARRAY)
            return [c for at, item in enumerate(value) for c in self.complaints(inner, item, f"{where}[{at}]")]
        if kind in _PRIMITIVES:
            wrong = not isinstance(value, _PRIMITIVES[kind]) or (isinstance(value, bool) and kind != "Boolean")
            return [f"{where} must be of type {kind}"] if wrong else []
        entry = self.types[kind]
        if "subtypes" in entry:
            return self._union(entry["subtypes"], value, where)
        return self._object(entry, kind, value, where)

    def _union(self, subtypes: list[str], value: Any, where: str) -> list[str]:
        each = [self.complaints(subtype, value, where) for subtype in subtypes]
        return min(each, key=len)

    def _object(self, entry: Json, kind: str, value: Any, where: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{where} must be an object of type {kind}"]
        fields = {field["name"]: field for field in entry["fields"]}
        found = [f"{where}: {kind} has no field {name}" for name in value if name not in fields]
        for name, field in fields.items():
            if name in value:
                found += self._value(field, value[name], f"{where}.{name}")
            elif field["required"]:
                found.append(f"{where}: {kind} must have {name}")
        return found

    def _value(self, field: Json, value: Any, where: str) -> list[str]:
        """A field may be of several types."""
        complaints = self._union(field["types"], value, where)
        if not complaints and "values" in field and value not in field["values"]:
            return [f"{where} can't be {value!r}"]
        return complaints

    def returns(self, method: str, result: Any) -> list[str]:
        """What is wrong with an answer of a method."""
        return self._union(self.methods[method]["returns"], result, f"{method}'s result")


def _from_text(types: list[str], text: str) -> Any:
    """A form holds text only: a number, a Boolean and a JSON-serialized object look like what they are."""
    if types == ["String"] or "InputFile" in types:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if "String" in types and not (isinstance(value, int) and "Integer" in types):
        return text
    return value


@cache
def bot_api() -> Spec:
    """Version 10.1."""
    return Spec(json.loads(PATH.read_text("utf-8")))
