"""What an answer has to be, for llguidance, which every engine of ours has inside: checked first, because llama-server
drops what it dislikes without a word and lets the model write what it likes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema
import llguidance

from bot.constraint_size import TEXT, Size, Unfit, of_regex, of_schema
from bot.errors import BadRequest
from bot.generation import Generation

_ESCAPED = re.compile(r"\\?.", re.DOTALL)
_AS_HEX = {"/": r"\x2F", "\n": r"\x0A", "\r": r"\x0D"}
"""What would end a regular expression in Lark's text."""
SEPARATORS = {"item_separator": ", ", "key_separator": ": "}
"""Of JSON, as Python writes it. Neither has a character that llguidance, of which xllamacpp has another version, takes for a pattern."""
REMEMBERED = 4096
_GOOD: set[bytes] = set()
"""Digests of schemas that were found good: a program sends the same ones again and again."""


def check(request: Generation, tokenizer: Any = None) -> None:
    """Raises BadRequest for a schema, regular expression or grammar that cannot be kept, and for more than one of them.

    `tokenizer`: the model's llguidance.LLTokenizer; without it the names of special tokens in a grammar are not looked up.
    """
    given = [name for name in ("json_schema", "regex", "grammar") if getattr(request, name) is not None]
    if len(given) > 1:
        raise BadRequest(f"Only one of these can be kept: {', '.join(given)}.", param=given[-1])
    if request.json_schema is not None:
        check_schema(request.json_schema)
    if request.regex is not None:
        if of_regex(request.regex) > TEXT:
            raise BadRequest(f"The regular expression spells more than {TEXT} characters.", param="regex")
        check_grammar(lark_of(request.regex), param="regex", words="This regular expression is not supported")
    if request.grammar is not None:
        check_grammar(request.grammar, tokenizer)


def check_schema(
    schema: Mapping[str, object],
    *,
    param: str = "response_format",
    words: str = "This JSON schema is not supported",
    lenient: bool = False,
) -> Size:
    """Raises BadRequest for a schema that is none, or too large, or that the grammar engine cannot keep.

    Some 7 ms for a new one, so that many are better checked in a thread; what was found good is remembered. `lenient`:
    keywords that cannot be kept are left out. Returns how large it is.
    """
    try:
        size = of_schema(schema)
        text = json.dumps(guided(schema, lenient=lenient))
        digest = hashlib.sha256(text.encode()).digest()
        if digest in _GOOD:
            return size
        jsonschema.Draft202012Validator.check_schema(schema)
        grammar = llguidance.LLMatcher.grammar_from_json_schema(text)
    except Unfit as error:
        raise BadRequest(f"{words}: {error}.", param=param) from error
    except (jsonschema.SchemaError, ValueError, TypeError, RecursionError) as error:
        reason = error.message if isinstance(error, jsonschema.SchemaError) else str(error)
        raise BadRequest(f"This is no JSON schema: {reason}", param=param) from error
    if complaint := llguidance.LLMatcher.validate_grammar(grammar):
        raise BadRequest(f"{words}: {complaint}", param=param)
    if len(_GOOD) >= REMEMBERED:
        _GOOD.clear()
    _GOOD.add(digest)
    return size


def check_together(arguments: Sequence[Mapping[str, object]], answer: Mapping[str, object] | None = None) -> None:
    """Raises BadRequest for schemas that are too large for one grammar: those of functions, and that of an answer."""
    try:
        sum(map(of_schema, arguments), Size() if answer is None else of_schema(answer)).check()
    except Unfit as error:
        words = f"What may be called cannot be kept to, with all functions that are offered: {error}."
        raise BadRequest(words, param="tools") from error


def check_grammar(
    grammar: str, tokenizer: Any = None, *, param: str = "grammar", words: str = "This grammar is not supported"
) -> None:
    """Raises BadRequest for what is no Lark grammar, or names tokens that the model does not have."""
    lark = llguidance.LLMatcher.grammar_from_lark(grammar)
    if complaint := llguidance.LLMatcher.validate_grammar(lark, tokenizer):
        raise BadRequest(f"{words}: {complaint.strip()}", param=param)


def guided(schema: Mapping[str, object], *, lenient: bool = False) -> dict[str, object]:
    """The schema with output on one line: free whitespace lets a weak model write blanks until its tokens are used up.

    A blank follows each comma and colon: models have learnt to write one, and one that may not is led astray.
    """
    how = {**SEPARATORS, "whitespace_flexible": False, **({"lenient": True} if lenient else {})}
    return {**schema, "x-guidance": how}


def lark_of(regex: str) -> str:
    """A regular expression as a grammar."""
    if not regex:
        return 'start: ""'  # two slashes would be a comment
    return f"start: /{_ESCAPED.sub(_in_lark, regex)}/"


def _in_lark(match: re.Match[str]) -> str:
    return _AS_HEX.get(match.group()[-1], match.group())


def source(request: Generation) -> str | None:
    """The request's grammar or regular expression as Lark; None where there is neither."""
    return request.grammar if request.regex is None else lark_of(request.regex)


def param(request: Generation) -> str:
    """What the API calls the request's constraint."""
    return "response_format" if request.json_schema is not None else "regex" if request.regex is not None else "grammar"


def compiled(request: Generation) -> str:
    """The constraint of a request that has one, as llguidance.LLMatcher takes it."""
    if request.json_schema is not None:
        return str(llguidance.LLMatcher.grammar_from_json_schema(json.dumps(guided(request.json_schema))))
    lark = source(request)
    assert lark is not None, "the request is constrained"
    return str(llguidance.LLMatcher.grammar_from_lark(lark))
