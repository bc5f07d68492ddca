"""What the bodies have in common: strict types, errors that name the parameter, and parameters that are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from bot.errors import BadRequest

MAX_N = 128
"""Choices: the specification's own bound."""
MAX_STOPS = 4
MAX_STOP = 1024
"""Characters of a text that ends the answer: each token is compared with it."""
MAX_BIASES = 10_000
"""Entries of `logit_bias`; OpenAI takes 1024, and a vocabulary's letters of one script are more."""
MAX_MISTAKES = 1000
"""So many are looked at, for the one that is told."""
MAX_LOGPROBS = 20
MAX_USER = 256
PRESENCE = "With llama.cpp it does not reach tokens that the prompt has."
"""bot/engines/request_body.py says why."""

MOST_DEPTH = 64
"""Objects and lists within one another: more than a schema needs, and far less than what Python's stack allows."""

MAX_KEYS = 64
FREE = frozenset({"logit_bias", "metadata", "parameters", "schema"})
"""Objects whose keys are anybody's; how many there are is another's to say."""

Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
User = Annotated[str, Field(strict=True, max_length=MAX_USER)]
Seed = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]
Temperature = Annotated[float, Field(strict=True, ge=0, le=2)]
TopP = Annotated[float, Field(strict=True, ge=0, le=1)]
Penalty = Annotated[float, Field(strict=True, ge=-2, le=2)]
Choices = Annotated[int, Field(strict=True, ge=1, le=MAX_N)]
Stop = Annotated[str, Field(strict=True, max_length=MAX_STOP)]
Bias = Annotated[float, Field(strict=True, ge=-100, le=100)]


def _step(value: Any) -> Any:
    return value


STEP = BeforeValidator(_step)
"""For the items of a list that may have thousands: a step of Python's, between which other threads have their turn."""


def at_most(number: int) -> Any:
    """Marks a list or an object of which no more are looked at: pydantic would have an error for each that is wrong.

    And a text that may hold half of a surrogate pair, which pydantic's own count of characters does not take.
    """

    def check(value: Any) -> Any:
        if isinstance(value, list | dict | str) and len(value) > number:
            raise ValueError(f"at most {number}; these are {len(value)}")
        return value

    return BeforeValidator(check)


Stops = Stop | Annotated[list[Stop], Field(min_length=1, max_length=MAX_STOPS), at_most(MAX_STOPS)]
Biases = Annotated[dict[Text, Bias], Field(max_length=MAX_BIASES), at_most(MAX_BIASES)]


@dataclass(frozen=True, slots=True)
class Refused:
    """Marks a parameter that is known and cannot be honoured. `harmless`: values that ask for nothing."""

    why: str
    harmless: tuple[Any, ...] = ()


def refusal(why: str, *harmless: Any) -> Any:
    """The type of such a parameter."""
    return Annotated[Any, Refused(why, harmless), Field(description=f"Refused: {why}")]


def only_nothing(why: str, schema: Mapping[str, Any], *harmless: Any) -> Any:
    """The type of such a key of an object within a body: null, and values that ask for nothing. `schema`: of all of these."""

    def check(value: Any) -> Any:
        if value is not None and value not in harmless:
            raise ValueError(f"not supported, {why}")
        return value

    return Annotated[Any, BeforeValidator(check), WithJsonSchema({**schema}), Field(description=f"Refused: {why}")]


class Body(BaseModel):
    """A JSON object whose unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, regex_engine="python-re")

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Raises BadRequest with the parameter's name."""
        if (unknown := next((name for name in data if name not in cls.model_fields), None)) is not None:
            raise BadRequest(f"Unrecognized request argument supplied: {unknown}", param=unknown)
        _check_keys(data)
        try:
            body = cls.model_validate(data)
        except ValidationError as error:
            if error.error_count() > MAX_MISTAKES:
                raise BadRequest(f"More than {MAX_MISTAKES} things are wrong with this request.") from error
            raise _bad(error, data) from error
        for name, mark in refused_in(cls).items():
            value = getattr(body, name)
            if value is not None and value not in mark.harmless:
                raise BadRequest(f"{name} is not supported: {mark.why}", param=name)
        return body


def _check_keys(data: Mapping[str, Any]) -> None:
    """Raises BadRequest for an object with more keys than any has that is known: there would be an error for each."""
    pending: list[tuple[str, Any]] = list(data.items())
    while pending:
        name, value = pending.pop()
        if isinstance(value, dict) and name not in FREE:
            if len(value) > MAX_KEYS:
                raise BadRequest(f"Invalid '{name}': an object has {len(value)} keys.", param=name)
            pending += (
                (name, part) if part_name not in FREE else (part_name, part) for part_name, part in value.items()
            )
        elif isinstance(value, list):
            pending += ((name, part) for part in value if isinstance(part, dict | list))


def refused_in(model: type[BaseModel]) -> dict[str, Refused]:
    """The refused parameters of a body, with the reasons."""
    marks = ((name, mark) for name, field in model.model_fields.items() for mark in field.metadata)
    return {name: mark for name, mark in marks if isinstance(mark, Refused)}


def is_shallow(data: Any) -> bool:
    """Whether no more than MOST_DEPTH objects and lists are within one another."""
    level = [data]
    for _ in range(MOST_DEPTH + 1):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False


def path(parts: Sequence[str | int]) -> str:
    """`messages[0].content`, as OpenAI writes it."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _bad(error: ValidationError, data: Mapping[str, Any]) -> BadRequest:
    """The first thing that is wrong; of a value that fits none of several types, the nearest one's complaint."""
    places = [(item, _place(item, data)) for item in error.errors(include_url=False)]
    item, place = max(places, key=lambda found: (len(found[1]) if len(found[1]) > 1 else 1, _near(found[0])))
    name = path(place)
    words = item["msg"].removeprefix("Value error, ")
    match item["type"]:
        case "extra_forbidden":
            return BadRequest(f"Unrecognized request argument supplied: {name}", param=name)
        case "missing":
            return BadRequest(f"Missing required parameter: '{name}'.", param=name)
        case "union_tag_invalid" | "union_tag_not_found":
            key = str(item["ctx"]["discriminator"]).strip("'").removeprefix("_").removesuffix("()")
            expected = item["ctx"].get("expected_tags")
            needed = "it is needed, as a string" if expected is None else f"supported values are {expected}"
            return BadRequest(f"Invalid '{name}.{key}': {needed}.", param=f"{name}.{key}")
        case "string_unicode":
            return BadRequest(
                f"Invalid '{name}': it holds half of a surrogate pair, which is no character.", param=name
            )
        case "value_error" if not place:
            return BadRequest(words, param=words.partition(":")[0])
    return BadRequest(f"Invalid '{name}': {words}" if name else words, param=name or None)


def _near(item: ErrorDetails) -> bool:
    """Whether it is of the right type at least."""
    return not item["type"].endswith("_type")


def _place(item: ErrorDetails, data: Any) -> list[str | int]:
    """Where it is in the body: without the names that pydantic gives to the members of a union."""
    place: list[str | int] = []
    for part in item["loc"]:
        if isinstance(data, list):
            known = isinstance(part, int) and 0 <= part < len(data)
        else:
            known = isinstance(data, dict) and part in data
        if known:
            data = data[part]
        elif item["type"] != "missing" or part is not item["loc"][-1]:
            continue
        place.append(part)
    return place
