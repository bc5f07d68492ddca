"""Which format a model has: its chat template is made to write a call, and what comes out tells."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from bot.errors import ModelError
from bot.generation import ChatTemplate
from bot.prompt.template import TemplateRefused, TemplateRenderer
from bot.tools.formats.base import ToolFormat
from bot.tools.formats.family import Family
from bot.tools.formats.generic import Generic
from bot.tools.formats.hermes import OPEN, Hermes
from bot.tools.formats.llama3 import Llama3
from bot.tools.formats.mistral import ARGS, CALLS, Mistral, NamedMistral

_NAME, _KEY, _VALUE = "find_probe_by", "probe_key", "probe_value"
_OBJECT = rf'\{{"name":\s*"{_NAME}",\s*"arguments":\s*\{{"{_KEY}":\s*"{_VALUE}"\}}'
_FORMS: tuple[tuple[type[Family], str], ...] = (
    (Hermes, rf"<tool_call>\s*{_OBJECT}\s*\}}\s*</tool_call>"),
    (NamedMistral, rf"\[TOOL_CALLS\]\s*{_NAME}(\[CALL_ID\]\w+)?\[ARGS\]\s*\{{\"{_KEY}\""),
    (Mistral, rf"\[TOOL_CALLS\]\s*\[\s*{_OBJECT}"),
    (Llama3, rf'(<\|end_header_id\|>\s*|<\|python_tag\|>)\{{"name":\s*"{_NAME}",\s*"parameters":\s*\{{"{_KEY}"'),
)
_DAY = date(2000, 1, 1)
_QUESTION = {"role": "user", "content": "Find it."}
_TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "Finds.",
        "parameters": {"type": "object", "properties": {_KEY: {"type": "string"}}, "required": [_KEY]},
    },
}


def format_for(template: ChatTemplate, ids: Mapping[str, int]) -> ToolFormat:
    """The format of a model. `ids`: each of its control strings that is one token -> the token's id."""
    probe = _Probe(template)
    for family, form in _FORMS:
        if any(re.search(form, written) for written in probe.calls()):
            return family(template, ids, in_template=probe.tells())
    if not probe.calls():  # the template knows nothing of calls, but the model may have been shown some
        if OPEN in ids:
            return Hermes(template, ids, in_template=False)
        if CALLS in ids:
            return (NamedMistral if ARGS in ids else Mistral)(template, ids, in_template=False)
    return Generic(template, ids, in_template=False)


class _Probe:
    """A template, tried out with a call."""

    def __init__(self, template: ChatTemplate) -> None:
        try:
            self._renderer: TemplateRenderer | None = TemplateRenderer(template)
        except ModelError:
            self._renderer = None

    def calls(self) -> list[str]:
        """What it writes of a call, in the forms in which it takes a conversation."""
        forms = itertools.product((False, True), (False, True))
        return [text for system, parts in forms if _VALUE in (text := self._written(system=system, parts=parts))]

    def tells(self) -> bool:
        """Whether it tells of functions."""
        return _NAME in self._render([_QUESTION], generate=True)

    def _written(self, *, system: bool, parts: bool) -> str:
        call = {"id": "probe1234", "type": "function", "function": {"name": _NAME, "arguments": {_KEY: _VALUE}}}
        messages: list[dict[str, Any]] = [
            *([{"role": "system", "content": "Be brief."}] if system else []),
            _QUESTION,
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "found", "name": _NAME, "tool_call_id": "probe1234"},
        ]
        if parts:
            messages = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in messages]
        return self._render(messages, generate=False)

    def _render(self, messages: list[dict[str, Any]], *, generate: bool) -> str:
        if self._renderer is None:
            return ""
        try:
            return self._renderer.render(messages, [_TOOL], _DAY, generate=generate)
        except TemplateRefused:
            return ""
