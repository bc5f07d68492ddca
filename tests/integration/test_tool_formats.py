"""Real chat templates: which format is found in each, and that a call which the template writes is read as one."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from bot.api import Function
from bot.generation import ChatTemplate
from bot.messages import Role
from bot.prompt.guard import Guard
from bot.prompt.layout import Layout
from bot.prompt.template import TemplateRenderer
from bot.prompt.wording import Window
from bot.tools.formats import Arguments, CallBegun, CallEnded, format_for
from bot.turns import ToolCall, Turn
from tests.templates import template, template_names

FORMATS = {
    "hermes": {
        *("Bielik-11B-v3.0-Instruct", "MiMo-VL", "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "Reka-Edge"),
        *("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "Qwen-QwQ-32B", "Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B"),
        *("ibm-granite-granite-4.0", "ibm-granite-granite-4.1"),
    },
    "llama3": {
        *("meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-3B-Instruct", "meta-llama-Llama-3.3-70B-Instruct"),
    },
    "mistral": {
        *("Mistral-Small-3.2-24B-Instruct-2506", "mistralai-Ministral-3-14B-Reasoning-2512"),
        *("mistralai-Mistral-Nemo-Instruct-2407", "unsloth-mistral-Devstral-Small-2507"),
    },
}
FOLDED = {
    *("HuggingFaceTB-SmolLM3-3B", "Kimi-K2-Instruct", "Kimi-K2-Thinking", "LFM2-8B-A1B", "LFM2.5-Instruct"),
    *("google-gemma-2-2b-it", "ibm-granite-granite-3.3-2B-Instruct", "llama-cpp-rwkv-world"),
    "microsoft-Phi-3.5-mini-instruct",
}
"""They write no calls, or (Kimi's) only with changes to values, which the sandbox refuses: calls are text there."""
UNUSABLE = {"fireworks-ai-llama-3-firefunction-v2", "google-translategemma-4b-it"}
"""They take no user's message as it is."""
KNOWN = sorted(name for names in FORMATS.values() for name in names)
FIND = Function(
    name="find_it",
    description="Finds.",
    parameters={"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
)
ARGUMENTS: dict[str, Any] = {"what": 'a "key" </tool_call> [TOOL_CALLS] {'}


def source(name: str) -> ChatTemplate:
    return ChatTemplate(source=template(name), bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("name", template_names())
def test_the_format_of_a_template(name: str) -> None:
    form = format_for(source(name), {})
    expected = next((kind for kind, names in FORMATS.items() if name in names), "json")
    assert form.name == expected
    _, tools = form.prepare([Turn(Role.USER, "Find it.")], [FIND])
    assert (tools is None) is (expected == "json")
    assert (form.told([FIND]) == "") is (expected != "json")


@pytest.mark.parametrize("name", KNOWN)
def test_a_call_that_the_template_writes_is_read(name: str) -> None:
    form = format_for(source(name), {})
    _, tools = form.prepare([], [FIND])
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "find_it", "arguments": ARGUMENTS}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Find it."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "found", "name": "find_it", "tool_call_id": "abcdefghi"},
    ]
    text = TemplateRenderer(source(name)).render(messages, tools, date(2026, 1, 1), generate=False)
    answer = text[text.rindex("Find it.") + len("Find it.") :]
    if form.name == "llama3":  # there the answer is the call, after the header
        answer = answer.rpartition('<|end_header_id|>\n\n{"name"')[2].join(['{"name"', ""])
    parser = form.parser([FIND])
    events = [*parser.feed(answer), *parser.end()]
    calls = [event for event in events if isinstance(event, CallBegun | Arguments | CallEnded)]
    assert calls[0] == CallBegun(0, "find_it")
    assert calls[-1] == CallEnded(0)
    assert json.loads("".join(event.text for event in calls if isinstance(event, Arguments))) == ARGUMENTS


@pytest.mark.parametrize("name", sorted({*template_names()} - UNUSABLE))
def test_a_history_with_calls_is_in_the_prompt(name: str) -> None:
    """With ids as OpenAI's look, several calls at once, and something said beside one."""
    ids = [f"call_{number:024d}" for number in range(3)]
    calls = [ToolCall(name="find_it", arguments={"what": f"thing{number}"}, id=ids[number]) for number in range(3)]
    results = [Turn(Role.TOOL, f"found{number}", "find_it", tool_call_id=ids[number]) for number in range(3)]
    turns = [
        *(Turn(Role.USER, "Find both."), Turn(Role.ASSISTANT, "", tool_calls=tuple(calls[:2])), *results[:2]),
        *(Turn(Role.ASSISTANT, "Once more.", tool_calls=(calls[2],)), results[2]),
        *(Turn(Role.ASSISTANT, "There."), Turn(Role.USER, "Thanks.")),
    ]
    template_ = source(name)
    form = format_for(template_, {})
    layout = Layout(template_, Guard([], template_))
    offered = [(turns, None)] if form.told([FIND]) else [(turns, None), form.prepare(turns, [FIND])]
    for told, tools in offered:
        window = Window(turns=told, spliced=frozenset(), tools=tools, day=date(2026, 1, 1), size=0)
        text = layout.render(window).text
        wanted = ["Find both.", "thing0", "found0", "thing1", "found1", "thing2", "found2", "There.", "Thanks."]
        assert [word for word in wanted if word not in text] == []
        assert [text.index(word) for word in ("found0", "thing2", "found2")] == sorted(
            text.index(word) for word in ("found0", "thing2", "found2")
        )
        assert ("Result of find_it:" in text) is (name in FOLDED)
