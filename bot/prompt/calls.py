"""How a chat template takes calls of functions and their results, where it does not take them as the API has them.

Mistral's demand ids of nine letters and digits, others arguments as text, no content beside a call, or one call in a
message. Which of these a template wants is found out once; its messages are then put so, and nothing else about them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import string
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.prompt.shape import TemplateMessage

ID_LENGTH = 9
"""Of a call's id in Mistral's templates."""
_LETTERS = string.digits + string.ascii_letters
_NAME, _KEY, _VALUES = "q1z", "q2z", ("q3z", "q4z")
_RESULTS, _RESULT_NAME = ("q5z", "q6z"), "q11z"
_IDS = ("call_q7zTrialTrialTrialTrial", "call_q8zTrialTrialTrialTrial")
"""As OpenAI's look, and nobody else's."""
TRIAL_TOOLS: Sequence[dict[str, Any]] = (
    {
        "type": "function",
        "function": {
            "name": _NAME,
            "description": "q9z",
            "parameters": {"type": "object", "properties": {_KEY: {"type": "string"}}, "required": [_KEY]},
        },
    },
)


@dataclass(frozen=True, slots=True)
class CallForm:
    """What of its own a template wants of calls."""

    short_ids: bool = False
    """Ids are nine letters and digits."""
    text_arguments: bool = False
    """Arguments are JSON text, and no object."""
    no_content: bool = False
    """What only calls has None for its content, and not an empty text."""
    one_by_one: bool = False
    """A message has one call, and its result comes next."""
    said_before: bool = False
    """What is said beside a call is a message of its own before it."""


Write = Callable[[CallForm, Sequence[TemplateMessage]], str]
"""What a template makes of messages in a form; empty if it refuses them."""


def find_form(write: Write, *, names: bool) -> CallForm | None:
    """The form in which a template writes calls and results; None if it does so in none.

    `names`: a name that is written is that of a call, for no tools are told of.
    """
    wishes = itertools.product((False, True), repeat=3)
    plain = (CallForm(*wished) for wished in sorted(wishes, key=sum))  # the fewest of them first
    form = next((form for form in plain if _is_written(write, form, _trial(1), names)), None)
    if form is None:
        return None
    for trial, wish in ((_trial(2), {"one_by_one": True}), (_trial(1, said="q10z"), {"said_before": True})):
        wished = replace(form, **wish)
        if not _is_written(write, form, trial, names) and _is_written(write, wished, trial, names):
            form = wished
    return form


def in_form(messages: Sequence[TemplateMessage], form: CallForm) -> list[TemplateMessage]:
    """The messages as the template wants them."""
    made = list(messages)
    if form.short_ids:
        made = _with_short_ids(made)
    if form.said_before:
        made = [one for message in made for one in _said_before(message)]
    if form.one_by_one:
        made = _one_by_one(made)
    return [_in_form(message, form) if "tool_calls" in message else message for message in made]


def _in_form(message: TemplateMessage, form: CallForm) -> TemplateMessage:
    calls = [_with_text(call) for call in message["tool_calls"]] if form.text_arguments else message["tool_calls"]
    content = None if form.no_content and not message["content"] else message["content"]
    return {**message, "content": content, "tool_calls": calls}


def _with_text(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}}


def _said_before(message: TemplateMessage) -> list[TemplateMessage]:
    if "tool_calls" not in message or not message["content"]:
        return [message]
    said = {key: value for key, value in message.items() if key != "tool_calls"}
    return [said, {**message, "content": ""}]


def _one_by_one(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    made: list[TemplateMessage] = []
    at = 0
    while at < len(messages):
        message = messages[at]
        at += 1
        if len(message.get("tool_calls", ())) < 2:
            made.append(message)
            continue
        results = list(itertools.takewhile(lambda one: one["role"] == "tool", messages[at:]))
        at += len(results)
        for number, call in enumerate(message["tool_calls"]):
            made.append({**message, "content": "" if number else message["content"], "tool_calls": [call]})
            made += [one for one in results if one.get("tool_call_id") == call["id"]]
            results = [one for one in results if one.get("tool_call_id") != call["id"]]
        made += results
    return made


# --- ids ---


def _with_short_ids(messages: Sequence[TemplateMessage]) -> list[TemplateMessage]:
    """Equal ids stay equal, distinct ones distinct. A call without one gets one, and the next result without one has it."""
    ids = _ShortIds()
    unanswered: list[str] = []
    made: list[TemplateMessage] = []
    for message in messages:
        if "tool_calls" in message:
            calls = []
            for call in message["tool_calls"]:
                calls.append({**call, "id": ids.of(call["id"]) if call["id"] else ids.another()})
                if not call["id"]:
                    unanswered.append(calls[-1]["id"])
            made.append({**message, "tool_calls": calls})
        elif message["role"] == "tool":
            given = message.get("tool_call_id")
            short = ids.of(given) if given else unanswered.pop() if unanswered else ids.another()
            made.append({**message, "tool_call_id": short})
        else:
            made.append(message)
    return made


class _ShortIds:
    """Those of one conversation, each made of what it stands for: so the next prompt begins with the same ones."""

    def __init__(self) -> None:
        self._known: dict[Hashable, str] = {}
        self._taken: set[str] = set()

    def of(self, given: str) -> str:
        """The id itself if it is short already, else one in its place."""
        return self._of(given, given if _is_short(given) else _hashed(given))

    def another(self) -> str:
        """For what has none."""
        number = len(self._known)
        return self._of(number, _hashed(str(number)))

    def _of(self, key: Hashable, wanted: str) -> str:
        if key in self._known:
            return self._known[key]
        while wanted in self._taken:
            wanted = _hashed(wanted)
        self._known[key] = wanted
        self._taken.add(wanted)
        return wanted


def _is_short(given: str) -> bool:
    return len(given) == ID_LENGTH and given.isascii() and given.isalnum()


def _hashed(text: str) -> str:
    number = int.from_bytes(hashlib.blake2b(text.encode()).digest())
    letters = []
    for _ in range(ID_LENGTH):
        number, letter = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[letter])
    return "".join(letters)


# --- trials ---


def _trial(calls: int, *, said: str = "") -> list[TemplateMessage]:
    """A question, so many calls at once, and what came of them."""
    made = [
        {"id": id_, "type": "function", "function": {"name": _NAME, "arguments": {_KEY: value}}}
        for id_, value in zip(_IDS[:calls], _VALUES, strict=False)
    ]
    results = [
        {"role": "tool", "content": content, "name": _RESULT_NAME, "tool_call_id": id_}
        for id_, content in zip(_IDS[:calls], _RESULTS, strict=False)
    ]
    return [{"role": "user", "content": "q0z"}, {"role": "assistant", "content": said, "tool_calls": made}, *results]


def _is_written(write: Write, form: CallForm, trial: Sequence[TemplateMessage], names: bool) -> bool:
    """Whether each call is written, by its arguments or at least its name, and each result."""
    text = write(form, trial).casefold()
    calls = [call for message in trial for call in message.get("tool_calls", ())]
    written = [value for call in calls if (value := call["function"]["arguments"][_KEY]) in text]
    named = names and not written and text.count(_NAME) >= len(calls)
    results = [message["content"] for message in trial if message["role"] == "tool"]
    return (named or len(written) == len(calls)) and all(result in text for result in results)
