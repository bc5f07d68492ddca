"""What upstream would make of a conversation: the template rendered as transformers does, nothing guarded.

Written apart from `bot.prompt`, so that the two can disagree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any

from jinja2 import Template
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

FOLDED = {"google-gemma-2-2b-it", "mistralai-Mistral-Nemo-Instruct-2407"}
"""Templates whose system text goes into the first user's message: Gemma 2 refuses it, Nemo moves it to the last turn."""
WANTS_A_LIST = {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use"}
"""Templates that fail when no tools are none and not an empty list."""


@cache
def _compiled(source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, indent=None, **rest: json.dumps(
        value, ensure_ascii=False, indent=indent, **{k: v for k, v in rest.items() if k in {"separators", "sort_keys"}}
    )

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment.globals["raise_exception"] = refuse
    return environment.from_string(re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", source))


def render(
    source: str, messages: Sequence[dict[str, Any]], *, bos: str, eos: str, day: date, tools: list[Any] | None = None
) -> str:
    """The prompt as one text."""
    return _compiled(source).render(
        messages=messages,
        tools=tools,
        documents=None,
        add_generation_prompt=True,
        bos_token=bos,
        eos_token=eos,
        strftime_now=day.strftime,
    )


def folded(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The system message and the first user's as one."""
    system, user, *rest = messages
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *rest]
