"""The chat template: ChatML, with tools in the Hermes form, as Jinja for the files and as plain Python for training.

With tools the system turn lists their schemas between <tools> and </tools>, one JSON object a line, the model calls one by
<tool_call> JSON </tool_call>, and the result comes back as a turn of the role `tool`.
"""

import json
from collections.abc import Sequence
from typing import Any

TURN_START, TURN_END, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
CONTROL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END)

Message = dict[str, Any]

_TOOLS_HEAD = "You can call these functions:\n<tools>\n"
_TOOLS_TAIL = '</tools>\nTo call a function, answer only with:\n<tool_call>\n{"name": NAME, "arguments": {ARGUMENTS}}\n</tool_call>'

CHAT_TEMPLATE = (
    "{%- set ns = namespace(rest=messages, system='') -%}\n"
    "{%- if messages and messages[0]['role'] in ['system', 'developer'] -%}\n"
    "{%- set ns.system = messages[0]['content'] -%}{%- set ns.rest = messages[1:] -%}\n"
    "{%- endif -%}\n"
    "{%- if tools is defined and tools -%}\n"
    "{{- '<|im_start|>system\\n' -}}\n"
    "{%- if ns.system -%}{{- ns.system + '\\n\\n' -}}{%- endif -%}\n"
    "{{- " + json.dumps(_TOOLS_HEAD) + " -}}\n"
    "{%- for tool in tools -%}{{- tool | tojson -}}{{- '\\n' -}}{%- endfor -%}\n"
    "{{- " + json.dumps(_TOOLS_TAIL) + " -}}{{- '<|im_end|>\\n' -}}\n"
    "{%- elif ns.system -%}\n"
    "{{- '<|im_start|>system\\n' + ns.system + '<|im_end|>\\n' -}}\n"
    "{%- endif -%}\n"
    "{%- for message in ns.rest -%}\n"
    "{{- '<|im_start|>' + ('system' if message['role'] == 'developer' else message['role']) + '\\n' -}}\n"
    "{%- if message['content'] -%}{{- message['content'] -}}{%- endif -%}\n"
    "{%- if message['tool_calls'] is defined and message['tool_calls'] -%}\n"
    "{%- for call in message['tool_calls'] -%}\n"
    "{%- if message['content'] or not loop.first -%}{{- '\\n' -}}{%- endif -%}\n"
    "{%- set function = call['function'] -%}\n"
    "{{- '<tool_call>\\n{\"name\": \"' + function['name'] + '\", \"arguments\": ' -}}\n"
    "{%- if function['arguments'] is string -%}{{- function['arguments'] -}}"
    "{%- else -%}{{- function['arguments'] | tojson -}}{%- endif -%}\n"
    "{{- '}\\n</tool_call>' -}}\n"
    "{%- endfor -%}\n"
    "{%- endif -%}\n"
    "{{- '<|im_end|>\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt is defined and add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def tool_call_text(name: str, arguments: dict[str, object]) -> str:
    """A call of a tool as the model writes it."""
    return f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(arguments, ensure_ascii=False)}}}\n</tool_call>'


def _content(message: Message) -> str:
    calls = [tool_call_text(c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls") or []]
    return "\n".join([message["content"]] * bool(message["content"]) + calls)


def segments(messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> list[tuple[str, str]]:
    """The dialogue as (role, content) turns, the tools written into the system turn."""
    turns = [(message["role"], _content(message)) for message in messages]
    if tools:
        system = turns.pop(0)[1] + "\n\n" if turns and turns[0][0] == "system" else ""
        listed = "".join(json.dumps(tool, ensure_ascii=False) + "\n" for tool in tools)
        turns.insert(0, ("system", system + _TOOLS_HEAD + listed + _TOOLS_TAIL))
    return turns


def render(messages: Sequence[Message], tools: Sequence[dict[str, Any]] = (), *, generate: bool = False) -> str:
    """The dialogue as one text, equal to what CHAT_TEMPLATE makes; `generate` opens the assistant's turn at the end."""
    text = "".join(f"{TURN_START}{role}\n{content}{TURN_END}\n" for role, content in segments(messages, tools))
    return text + f"{TURN_START}assistant\n" if generate else text
