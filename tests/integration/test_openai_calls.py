"""Calls of functions over real sockets: cut off by max_tokens wherever that is, and refused by the name they came under."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.config import EMBEDDED_CHAT_MODEL
from bot.generation import ChatTemplate
from bot.testing import ScriptedEngine
from tests.programs import CHAT, HELLO, Program, program
from tests.unit.test_prompt_calls import NINE
from tests.web import Site, site

WEATHER = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"town": {"enum": ["Oslo"]}}, "required": ["town"]},
}
TOOL = {"type": "function", "function": WEATHER}
NAMED = {"type": "function", "function": {"name": "weather"}}
ARGUMENTS = '{"town": "Oslo"}'
CALL = f'<tool_call>\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n</tool_call>'


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


async def told(asking: Program, *, stream: bool, **asked: Any) -> tuple[str, list[tuple[str, str]], str]:
    """The text, the calls' names and arguments, and the reason of the end."""
    got = await asking.chat(**asked, stream=stream)
    if not stream:
        [choice] = got["choices"]
        message = choice["message"]
        one = [message["function_call"]] if "function_call" in message else []
        calls = one or [call["function"] for call in message.get("tool_calls", [])]
        return message["content"] or "", [(c["name"], c["arguments"]) for c in calls], choice["finish_reason"]
    text, names, arguments, reason = "", [], "", ""
    for [choice] in (chunk["choices"] for chunk in got):
        delta, reason = choice["delta"], choice["finish_reason"] or reason
        text += delta.get("content") or ""
        for part in [delta.get("function_call"), *(call["function"] for call in delta.get("tool_calls", []))]:
            names += [part["name"]] if part and "name" in part else []
            arguments += part["arguments"] if part else ""
    return text, [(name, arguments) for name in names], reason


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
async def test_a_forced_call_that_is_cut_off_leaves_no_markup(tmp_path: Path, choice: object) -> None:
    model = {"path": str(EMBEDDED_CHAT_MODEL), "threads": 1}
    async with site(tmp_path, models={"default": model}) as home, program(home) as asking:
        asked: dict[str, Any] = {"tools": [TOOL], "tool_choice": choice, "seed": 1, "parallel_tool_calls": False}
        seen = set()
        for most in (1, 5, 10, 15, 20, 25, 30, 35, 200):
            one = await told(asking, stream=False, max_tokens=most, **asked)
            assert one == await told(asking, stream=True, max_tokens=most, **asked)
            text, calls, reason = one
            assert text == ""
            assert reason == ("tool_calls" if most == 200 else "length") or calls == [("weather", ARGUMENTS)]
            assert all(name == "weather" and ARGUMENTS.startswith(written) for name, written in calls)
            seen |= set(calls) or {("", "")}
        assert {("", ""), ("weather", ARGUMENTS)} <= seen
        assert len(seen) > 2, "some of them were cut off within the arguments"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_the_model_chose_is_told_as_soon_as_its_name_is_known(
    home: Site, scripted: Program, *, stream: bool
) -> None:
    home.engine.answer = lambda _: f"I look. {CALL}"
    before = len("I look. ")
    named = CALL.index('weather"') + len('weather"')
    for most in range(before, before + len(CALL), 3):
        text, calls, reason = await told(scripted, stream=stream, max_tokens=most, tools=[TOOL])
        assert reason == "length"
        if most >= before + named:
            written = CALL[CALL.index(ARGUMENTS) : most - before][: len(ARGUMENTS)]
            assert (text, calls) == ("I look.", [("weather", written)])
        else:
            assert (text, calls) == (f"I look. {CALL}"[:most], []), "whose call it would be is not known"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_one_function_call_that_is_cut_off_ended_by_its_length(
    home: Site, scripted: Program, *, stream: bool
) -> None:
    home.engine.answer = lambda _: CALL
    cut = CALL.index(ARGUMENTS) + 5
    found = await told(scripted, stream=stream, max_tokens=cut, functions=[WEATHER])
    assert found == ("", [("weather", ARGUMENTS[:5])], "length")
    found = await told(scripted, stream=stream, functions=[WEATHER])
    assert found == ("", [("weather", ARGUMENTS)], "function_call")


@pytest.mark.parametrize("schema", [{"type": "array"}, {"type": "object", "properties": 5}, {"type": "object", "properties": {"a": {"type": "money"}}}])  # fmt: skip
async def test_a_bad_schema_is_refused_by_the_name_it_came_under(home: Site, scripted: Program, schema: object) -> None:
    bad = {"name": "weather", "parameters": schema}
    bodies: dict[str, dict[str, Any]] = {
        "tools": {"tools": [{"type": "function", "function": bad}]},
        "functions": {"functions": [bad]},
    }
    for name, body in bodies.items():
        for stream in (False, True):
            assert (await scripted.refused(CHAT, messages=HELLO, stream=stream, **body))["param"] == name
    unknown = await scripted.refused(CHAT, messages=HELLO, functions=[WEATHER], function_call={"name": "cook"})
    assert unknown["param"] == "function_call"
    assert home.engine.requests == []


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_program_goes_on_with_the_calls_that_it_was_told_under_a_template_that_wants_other_ids(
    tmp_path: Path, *, legacy: bool
) -> None:
    """Ids are as OpenAI's look in all that the program sees, and of nine letters in the prompt alone."""
    engine = ScriptedEngine(lambda prompt: "Rain." if "[RESULT" in prompt else f"[TOOL_CALLS]weather[ARGS]{ARGUMENTS}")
    engine.template = ChatTemplate(source=NINE, eos_token="<|im_end|>")
    offered: dict[str, Any] = {"functions": [WEATHER]} if legacy else {"tools": [TOOL]}
    async with site(tmp_path, engine=engine) as home, program(home) as asking:
        first = (await asking.chat(HELLO, **offered))["choices"][0]["message"]
        if legacy:
            assert first["function_call"] == {"name": "weather", "arguments": ARGUMENTS}
            result = {"role": "function", "name": "weather", "content": "wet"}
        else:
            [call] = first["tool_calls"]
            assert re.fullmatch(r"call_\w{24}", call["id"])
            result = {"role": "tool", "tool_call_id": call["id"], "content": "wet"}
        said = {name: value for name, value in first.items() if value is not None}
        answer = await asking.chat([*HELLO, said, result], **offered)
    assert answer["choices"][0]["message"]["content"] == "Rain."
    prompt = engine.decode(engine.requests[-1].prompt)
    found = re.search(r"\[ASKED hello]\[TOOL_CALLS]\[(\{.*})]\[RESULT (\w{9}) wet]$", prompt)
    assert found is not None, prompt
    assert json.loads(found[1]) == {"name": "weather", "arguments": {"town": "Oslo"}, "id": found[2]}
