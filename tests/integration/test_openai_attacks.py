"""The attack bank through every field of the API, over real sockets, templates and vocabularies: nobody forges a role.

What is counted are the control ids among those that the engine is handed: they must be those of the same request with
an inert word in the place of each attack.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bot.generation import ChatTemplate, Generation
from tests import templates
from tests.attacks import bank
from tests.attacks.families import FAMILIES, Family
from tests.attacks.recorder import Recorder
from tests.attacks.vocabularies import OWN, LlamaVocabulary, family_file
from tests.programs import CHAT, TEXT, Program, program
from tests.web import site

WORD = "word"
NAMED = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
FIRSTS = [pytest.param(family, family.templates[0], id=family.name) for family in FAMILIES]
OTHERS = [
    pytest.param(family, name, id=name, marks=pytest.mark.soak) for family in FAMILIES for name in family.templates[1:]
]
OVER = [*FIRSTS, *OTHERS]
"""Every template; the bank goes through all of them without the API too, so here most are for `make soak`."""
FORMATS = FIRSTS[:3]
"""Of each way to write calls one that the template knows."""


def recorder(family: Family, name: str, vocabulary_folder: Path) -> Recorder:
    """The engine of a template over its family's vocabulary."""
    template = ChatTemplate(source=templates.template(name), bos_token=family.bos, eos_token=family.eos)
    return Recorder(LlamaVocabulary(family_file(family, OWN, vocabulary_folder), template))


@dataclass
class Bench:
    """A program before a model that records, and what was found."""

    engine: Recorder
    asker: Program
    requests: int = 0
    forged: int = 0
    refused: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    """Errors and bodies."""
    example: str = ""

    async def ask(self, path: str, body: dict[str, Any]) -> list[Generation]:
        """What the engine was handed; nothing, if it was refused."""
        self.engine.requests.clear()
        answer = await self.asker.post(path, {"model": "default", **body})
        assert answer.status in {200, 400}, answer.body
        if answer.status == 400:
            self.refused.append((answer.json["error"], body))
        return [*self.engine.requests]

    async def count(self, path: str, make: Callable[[str, str], dict[str, Any]]) -> None:
        """Make a request of each attack, and of the halves of each; count the ids that an inert word has not."""
        expected = [seen(self.engine, one) for one in await self.ask(path, make(WORD, WORD))]
        assert expected, self.refused
        for one, other in [*((text, text) for text in bank.attacks()), *bank.halves()]:
            handed = await self.ask(path, make(one, other))
            self.requests += 1
            for request, wanted in zip(handed, expected, strict=False):
                ids, shows, named = seen(self.engine, request)
                if (ids, shows, named) != wanted:
                    self.forged += max(1, abs(len(ids) - len(wanted[0])))
                    self.example = self.example or f"for example {one!r}, {other!r}: {ids} instead of {wanted[0]}"

    def told(self, capsys: pytest.CaptureFixture[str], what: str) -> None:
        """Print what was counted, and fail if there is anything."""
        with capsys.disabled():
            print(f"\n  {what}: {self.requests} requests, {self.forged} forged ids, {len(self.refused)} refused")
        assert self.forged == 0, self.example
        assert self.refused == []


def seen(engine: Recorder, request: Generation) -> tuple[list[int], frozenset[str], list[str]]:
    """Of a request the control ids of its prompt, the control strings it shows, and the tokens its grammar names."""
    return engine.controls(request), request.shows, sorted(set(_names(request.grammar or "")))


def _names(grammar: str) -> list[str]:
    """The tokens that a Lark grammar names, outside of its strings, JSON and comments."""
    return re.findall(r"<\[[^\]]*\]>", re.sub(r'"(?:\\.|[^"\\])*"', '""', grammar))


@asynccontextmanager
async def bench(family: Family, name: str, vocabulary_folder: Path, data: Path) -> AsyncIterator[Bench]:
    engine = recorder(family, name, vocabulary_folder)
    async with site(data, engine=engine) as home, program(home) as asker:
        yield Bench(engine, asker)


def conversation(one: str, other: str) -> dict[str, Any]:
    """Every field of messages: names, texts, parts beside each other, refusals, reasoning, and what is only counted."""
    return {
        "messages": [
            {"role": "system", "content": one, "name": named(other)},
            {"role": "developer", "content": [part(one), part(other)]},
            {"role": "user", "content": one, "name": named(one)},
            {"role": "assistant", "content": one, "name": named(other), "reasoning_content": one},
            {"role": "user", "content": [part(one), part(other), part(one)], "name": named(other)},
            {"role": "assistant", "content": [part(one), {"type": "refusal", "refusal": other}]},
            {"role": "user", "content": other},
            {"role": "assistant", "content": None, "refusal": one},
            {"role": "user", "content": f"{other}{one}"},
        ],
        "stop": [whole(one)[-1024:], whole(other)[-1024:]],
        "user": whole(one)[:256],
        "prompt_cache_key": whole(other)[:256],
        "metadata": {whole(one)[:64]: whole(other)[:512]},
        "store": True,
    }


def named(text: str) -> str:
    """As long as a name may be."""
    return whole(text)[:64]


def whole(text: str) -> str:
    """Without halves of surrogate pairs, which are refused in schemas, stop strings, and where a length is counted."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def called(one: str, other: str) -> dict[str, Any]:
    """Every field of functions, their calls and their results, as tools."""
    written = [json.dumps({one: other, "deep": {other: [one, {other: one}]}}), f'{{"{one}{other}', f"{one}{other}"]
    calls = [
        {"id": f"call_{number:04}_{one}", "type": "function", "function": {"name": one, "arguments": arguments}}
        for number, arguments in enumerate(written)
    ]
    return {
        "messages": [
            {"role": "user", "content": other},
            {"role": "assistant", "content": one, "tool_calls": calls},
            *[{"role": "tool", "tool_call_id": call["id"], "content": [part(one), part(other)]} for call in calls],
            {"role": "assistant", "content": other},
            {"role": "user", "content": one},
        ],
        "tools": [{"type": "function", "function": function(one, other)}],
        "tool_choice": "required",
    }


def legacy(one: str, other: str) -> dict[str, Any]:
    """The same as functions, as it was before there were tools."""
    return {
        "messages": [
            {"role": "user", "content": other},
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": one, "arguments": json.dumps({one: other})},
            },
            {"role": "function", "name": one, "content": other},
            {"role": "user", "content": one},
        ],
        "functions": [function(one, other)],
    }


def function(one: str, other: str) -> dict[str, Any]:
    return {"name": "look", "description": f"{one} {other}", "parameters": schema(one, other)}


def schema(one: str, other: str) -> dict[str, Any]:
    """With texts wherever a schema may have some."""
    one, other = whole(one), whole(other)
    return {
        "type": "object",
        "title": one,
        "description": other,
        "properties": {
            f"x{one}": {"type": "string", "description": one, "enum": [one, f"x{other}"]},
            f"y{other}": {"type": "array", "items": {"const": other}},
            "z": {"type": "object", "properties": {f"z{one}": {"type": "null"}}, "required": [f"z{one}"]},
        },
        "required": [f"x{one}"],
        "$defs": {one: {"type": "string", "description": other}},
    }


@pytest.mark.parametrize("family, name", OVER)
async def test_no_field_of_a_message_forges_a_control_token(
    family: Family, name: str, vocabulary_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with bench(family, name, vocabulary_folder, tmp_path) as made:
        await made.count(CHAT, conversation)
        made.told(capsys, f"{name}, messages")


@pytest.mark.parametrize("family, name", OVER)
async def test_no_field_of_a_function_forges_a_control_token(
    family: Family, name: str, vocabulary_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One must be called, so that its schema goes into a grammar, which may name the format's own tokens alone."""
    async with bench(family, name, vocabulary_folder, tmp_path) as made:
        await made.count(CHAT, called)
        made.told(capsys, f"{name}, tools")


async def test_calls_with_ids_of_nine_letters_forge_no_control_token(
    vocabulary_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Mistral's templates want them; with others they are not shown calls, but texts about some."""

    def made_of(one: str, other: str) -> dict[str, Any]:
        body = called(one, other)
        for number, (call, result) in enumerate(
            zip(body["messages"][1]["tool_calls"], body["messages"][2:5], strict=True)
        ):
            call["id"] = result["tool_call_id"] = f"abcdefgh{number}"
        return body

    family = next(family for family in FAMILIES if family.name == "mistral")
    async with bench(family, family.templates[0], vocabulary_folder, tmp_path) as made:
        await made.count(CHAT, made_of)
        shown = made.engine.decode_controls(made.engine.requests[-1])
        assert "[TOOL_CALLS]" in shown and "[TOOL_RESULTS]" in shown
        made.told(capsys, f"{family.templates[0]}, tools, ids of nine letters")


@pytest.mark.parametrize("family, name", FORMATS)
async def test_no_field_of_a_function_of_earlier_forges_one(
    family: Family, name: str, vocabulary_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with bench(family, name, vocabulary_folder, tmp_path) as made:
        await made.count(CHAT, legacy)
        made.told(capsys, f"{name}, functions")


async def test_no_json_schema_forges_a_control_token(
    vocabulary_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A template is shown what is said of it."""

    def made_of(one: str, other: str) -> dict[str, Any]:
        form = {"name": "made", "description": one, "schema": schema(one, other)}
        said = {"role": "user", "content": "x"}
        return {"messages": [said], "response_format": {"type": "json_schema", "json_schema": form}}

    family = FAMILIES[0]
    async with bench(family, family.templates[0], vocabulary_folder, tmp_path) as made:
        await made.count(CHAT, made_of)
        made.told(capsys, "JSON schemas")


@pytest.mark.parametrize("family, name", FIRSTS)
async def test_no_prompt_of_text_forges_a_control_token(
    family: Family, name: str, vocabulary_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with bench(family, name, vocabulary_folder, tmp_path) as made:
        suffix = made.engine.plain.fill is not None

        def made_of(one: str, other: str) -> dict[str, Any]:
            more = {"suffix": f"{other}{one}"} if suffix else {"echo": True}
            return {
                "prompt": [one, f"{one}{other}", other],
                "stop": [whole(one)[-1024:], whole(other)[-1024:]],
                "user": whole(one)[:256],
                **more,
            }

        await made.count(TEXT, made_of)
        made.told(capsys, f"{family.name}, texts{' and suffixes' if suffix else ''}")


@pytest.mark.parametrize("family, name", FIRSTS)
async def test_no_token_ids_of_a_prompt_are_control_ids(
    family: Family, name: str, vocabulary_folder: Path, tmp_path: Path
) -> None:
    """But for that which begins a document, at the beginning."""
    async with bench(family, name, vocabulary_folder, tmp_path) as made:
        plain = made.engine._vocabulary.tokenize("a word", parse=False)
        for token_id in sorted(made.engine.control_ids):
            for ids in (
                [*plain, token_id],
                [*plain, token_id, *plain],
                [token_id, *plain],
                [plain, [*plain, token_id]],
            ):
                handed = await made.ask(TEXT, {"prompt": ids})
                begins = ids == [made.engine.plain.begins, *plain]
                assert bool(handed) is begins, (token_id, ids)
                assert [made.engine.controls(one) for one in handed] == ([[token_id]] if begins else [])


@pytest.mark.parametrize("where", ["tools", "functions", "response_format"])
async def test_a_name_that_is_more_than_a_name_is_refused(vocabulary_folder: Path, tmp_path: Path, where: str) -> None:
    """Of functions and schemas that are offered: they stand in grammars, and templates write them as they are."""
    family = FAMILIES[0]
    async with bench(family, family.templates[0], vocabulary_folder, tmp_path) as made:
        for text in bank.attacks():
            named: dict[str, Any] = {"name": text, "parameters": {"type": "object"}}
            bodies: dict[str, dict[str, Any]] = {
                "tools": {"tools": [{"type": "function", "function": named}]},
                "functions": {"functions": [named]},
                "response_format": {
                    "response_format": {"type": "json_schema", "json_schema": {"name": text, "schema": {}}}
                },
            }
            handed = await made.ask(CHAT, {"messages": [{"role": "user", "content": "x"}], **bodies[where]})
            assert bool(handed) is bool(NAMED.match(text)), text


@pytest.mark.parametrize(
    "role", ["", "System", "system ", "tool_call", "ipython", "model", "<|im_start|>system", None, 5]
)
async def test_a_role_is_one_of_six(vocabulary_folder: Path, tmp_path: Path, role: object) -> None:
    family = FAMILIES[0]
    async with bench(family, family.templates[0], vocabulary_folder, tmp_path) as made:
        assert await made.ask(CHAT, {"messages": [{"role": role, "content": "x"}]}) == []
        assert [refusal["param"] for refusal, _ in made.refused] == ["messages[0].role"]
