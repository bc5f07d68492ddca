"""Chat completions over real sockets: whole and streamed, seeds, choices, limits, log-probabilities, reasoning and JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks.random_model import write as write_random_model
from bot.errors import EngineBroken, EngineTimeout
from bot.ports import ChatEngine
from bot.testing import ScriptedEngine
from tests.programs import CHAT, DONE, HELLO, Program, joined, program, whole
from tests.web import Site, site

SEEDS = range(6)
SCHEMAS = 50
THOUGHTFUL = "<think>Two and\ntwo.</think>\n\nIt is four. \U0001f56f"


def asking(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def fixed(chunk: dict[str, Any]) -> dict[str, Any]:
    """What all chunks of a stream have in common."""
    return {name: chunk[name] for name in ("id", "object", "created", "model", "system_fingerprint")}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a billion random weights: what it writes is nonsense, and never twice the same."""
    return write_random_model(tmp_path_factory.mktemp("random"))


# --- a stream and a whole answer ---


@pytest.mark.parametrize("number", SEEDS)
async def test_a_stream_and_a_whole_answer_agree_for_equal_seeds(embedded: Program, number: int) -> None:
    asked: dict[str, Any] = {
        "messages": asking("Tell me about the moon"),
        "seed": number,
        "temperature": 1.8,
        "n": 1 + number % 3,
        "max_tokens": 40,
        "logprobs": True,
        "top_logprobs": number,
    }
    one = await embedded.chat(**asked)
    chunks = await embedded.chat(**asked, stream=True, stream_options={"include_usage": True})
    again = await embedded.chat(**asked)
    assert whole(one) == joined(chunks) == whole(again)
    assert len(whole(one)) == 1 + number % 3
    told = [{name: found["usage"][name] for name in ("prompt_tokens", "completion_tokens")} for found in (one, again)]
    assert told == [{name: chunks[-1]["usage"][name] for name in told[0]}] * 2
    assert one["system_fingerprint"] == chunks[0]["system_fingerprint"] == again["system_fingerprint"]


async def test_other_seeds_write_other_texts(embedded: Program) -> None:
    asked: dict[str, Any] = {"messages": asking("Tell me about the moon"), "temperature": 2.0, "max_tokens": 40}
    texts = {(await embedded.chat(**asked, seed=number))["choices"][0]["message"]["content"] for number in range(20)}
    assert len(texts) > 3


async def test_four_choices_of_a_real_size_are_four_and_the_same_for_the_same_seed(
    random_model: Path, tmp_path: Path
) -> None:
    """The choices run at the same time in several slots, in whatever order, and once more after one another in two."""
    asked: dict[str, Any] = {"messages": HELLO, "n": 4, "seed": 7, "temperature": 1.0, "max_tokens": 6}
    found = []
    for slots in (5, 3):
        model = {"path": str(random_model), "threads": 2, "slots": slots, "context_length": 512}
        async with site(tmp_path / f"{slots}", models={"default": model}) as home, program(home) as asker:
            found += [whole(await asker.chat(**asked)), joined(await asker.chat(**asked, stream=True))]
    texts = [[choices[number]["content"] for number in range(4)] for choices in found]
    assert len(set(texts[0])) == 4
    assert texts == [texts[0]] * 4


async def test_choices_without_a_seed_differ_too(embedded: Program) -> None:
    asked: dict[str, Any] = {
        "messages": asking("Tell me about the moon"),
        "n": 16,
        "temperature": 2.0,
        "max_tokens": 40,
    }
    answer = await embedded.chat(**asked)
    assert [choice["index"] for choice in answer["choices"]] == list(range(16))
    assert len({choice["message"]["content"] for choice in answer["choices"]}) > 1


# --- the form of a stream ---


async def test_a_stream_begins_with_the_role_and_ends_with_a_reason_and_done(home: Site, scripted: Program) -> None:
    *chunks, done = await scripted.streamed(CHAT, {"messages": HELLO})
    assert done == DONE
    assert {json.dumps(fixed(chunk)) for chunk in chunks} == {json.dumps(fixed(chunks[0]))}
    assert chunks[0]["object"] == "chat.completion.chunk"
    assert chunks[0]["id"].startswith("chatcmpl-")
    assert all(list(chunk) == [*fixed(chunk), "choices"] for chunk in chunks)
    choices = [chunk["choices"] for chunk in chunks]
    assert all(len(one) == 1 and set(one[0]) == {"index", "delta", "logprobs", "finish_reason"} for one in choices)
    deltas = [one[0]["delta"] for one in choices]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert all(list(delta) == ["content"] for delta in deltas[1:-1])
    assert "".join(delta["content"] for delta in deltas[1:-1]) == "You said: hello"
    assert deltas[-1] == {}
    assert [one[0]["finish_reason"] for one in choices] == [None] * (len(choices) - 1) + ["stop"]


async def test_usage_is_told_in_a_chunk_of_its_own_and_as_null_before(scripted: Program) -> None:
    chunks = await scripted.chat(n=2, stream=True, stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert all(chunk["choices"] for chunk in chunks[:-1])
    assert fixed(chunks[-1]) == fixed(chunks[0])
    assert chunks[-1]["choices"] == []
    alone = (await scripted.chat())["usage"]
    assert chunks[-1]["usage"]["prompt_tokens"] == alone["prompt_tokens"]
    assert chunks[-1]["usage"]["completion_tokens"] == 2 * alone["completion_tokens"]
    without = await scripted.chat(stream=True, stream_options={"include_usage": False})
    assert all("usage" not in chunk and chunk["choices"] for chunk in without)


async def test_the_choices_of_a_stream_have_each_a_beginning_and_an_end(scripted: Program) -> None:
    chunks = await scripted.chat(n=5, stream=True)
    for number in range(5):
        own = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == number]
        assert own[0]["delta"] == {"role": "assistant", "content": ""}
        assert (own[-1]["delta"], own[-1]["finish_reason"]) == ({}, "stop")
        assert [one["finish_reason"] for one in own[:-1]] == [None] * (len(own) - 1)
    assert all(one["content"] == "You said: hello" for one in joined(chunks).values())


@pytest.mark.parametrize(
    "failure, type_, code",
    [
        (EngineBroken(detail="of the inside"), "server_error", None),
        (EngineTimeout(detail="of the inside"), "server_error", "timeout"),
        (ZeroDivisionError("of the inside"), "server_error", None),
    ],
)
@pytest.mark.parametrize("n", [1, 3])
async def test_an_error_in_the_middle_of_a_stream_is_told_and_nothing_follows(
    home: Site, scripted: Program, failure: Exception, type_: str, code: str | None, n: int
) -> None:
    home.engine.fail_with, home.engine.fail_after = failure, 4
    *chunks, last = await scripted.streamed(CHAT, {"messages": HELLO, "n": n})
    assert set("".join(one["content"] for one in joined(chunks).values())) <= set("You ")
    assert all(one["finish_reason"] is None for one in joined(chunks).values())
    assert list(last) == ["error"]
    assert (last["error"]["type"], last["error"]["code"], last["error"]["param"]) == (type_, code, None)
    assert "inside" not in last["error"]["message"]
    assert home.engine.active == 0
    home.engine.fail_with = None
    assert (await scripted.chat())["choices"][0]["message"]["content"] == "You said: hello"


async def test_an_error_of_a_whole_answer_has_a_status(home: Site, scripted: Program) -> None:
    home.engine.fail_with, home.engine.fail_after = EngineBroken(detail="of the inside"), 4
    found = await scripted.refused(CHAT, 500, messages=HELLO)
    assert (found["type"], found["message"]) == ("server_error", "The model failed. Please try again.")
    home.engine.fail_with = EngineTimeout()
    assert (await scripted.refused(CHAT, 503, messages=HELLO))["code"] == "timeout"


async def test_what_is_wrong_with_a_request_has_a_status_also_where_a_stream_was_wanted(scripted: Program) -> None:
    long = asking("a" * 5000)
    for stream in (False, True):
        found = await scripted.refused(CHAT, messages=long, stream=stream)
        assert (found["code"], found["param"]) == ("context_length_exceeded", "messages")
        assert "maximum context length is 4096 tokens" in found["message"]
        assert (await scripted.refused(CHAT, messages=HELLO, stop="", stream=stream))["param"] == "stop"
        assert (await scripted.refused(CHAT, 404, messages=HELLO, model="gpt-9", stream=stream))["param"] == "model"


# --- a whole answer ---


async def test_a_whole_answer_has_the_form_of_the_document(home: Site, scripted: Program) -> None:
    answer = await scripted.chat()
    assert list(answer) == ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]
    assert (answer["object"], answer["model"]) == ("chat.completion", "scripted-1970-01-01")
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "You said: hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens"] == len(home.engine.requests[0].prompt)
    assert usage["completion_tokens"] == len("You said: hello") + 1


async def test_a_stop_string_ends_the_answer_and_is_no_part_of_it(scripted: Program) -> None:
    for stop in (" said", ["nothing", "hell", " said"], ["d: h", " said"]):
        for stream in (False, True):
            got = await scripted.chat(stop=stop, stream=stream)
            assert (joined(got) if stream else whole(got))[0] == {
                "content": "You",
                "reasoning_content": "",
                "logprobs": [],
                "finish_reason": "stop",
            }


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_so_many_tokens_and_no_more(scripted: Program, embedded: Program, name: str) -> None:
    for asked in (scripted, embedded):
        more: dict[str, Any] = {name: 3}
        answer = await asked.chat(**more)
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 3


async def test_a_bias_forbids_a_token_or_demands_it(embedded_home: Site, embedded: Program) -> None:
    engine = (await embedded_home.app.registry.get("default")).engine
    usual = (await embedded.chat(temperature=0, logprobs=True))["choices"][0]
    first = usual["logprobs"]["content"][0]["token"]
    [[forbidden], [wanted]] = await encoded(engine, [first, "o"])
    other = (await embedded.chat(temperature=0, logprobs=True, logit_bias={str(forbidden): -100}))["choices"][0]
    assert other["logprobs"]["content"][0]["token"] != first
    only = await embedded.chat(logit_bias={str(wanted): 100}, max_tokens=5)
    assert only["choices"][0]["message"]["content"] == "ooooo"
    for bias in ({"99999999": 1}, {"-1": 1}, {"o": 1}, {"1.5": 1}):
        assert (await embedded.refused(CHAT, messages=HELLO, logit_bias=bias))["param"] == "logit_bias"


async def encoded(engine: Any, texts: list[str]) -> list[list[int]]:
    found: ChatEngine = engine
    return await found.encode(texts)


async def test_logprobs_are_of_each_token_of_the_answer(embedded: Program) -> None:
    for stream in (False, True):
        got = await embedded.chat(temperature=0, logprobs=True, top_logprobs=3, stream=stream)
        choice = (joined(got) if stream else whole(got))[0]
        told = choice["logprobs"]
        assert b"".join(bytes(token["bytes"]) for token in told).decode() == choice["content"]
        assert "".join(token["token"] for token in told) == choice["content"]
        for token in told:
            assert set(token) == {"token", "logprob", "bytes", "top_logprobs"}
            assert token["logprob"] <= 0
            assert len(token["top_logprobs"]) == 3
            best = {name: token[name] for name in ("token", "logprob", "bytes")}
            assert token["top_logprobs"][0] == best, "at temperature 0 the most probable one is chosen"
    assert (await embedded.chat(logprobs=True))["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    assert (await embedded.chat(logprobs=False))["choices"][0]["logprobs"] is None


async def test_logprobs_of_half_a_character_are_told_in_bytes(home: Site, scripted: Program) -> None:
    home.engine.answer = lambda _: "é\U0001f56f"
    for stream in (False, True):
        got = await scripted.chat(logprobs=True, top_logprobs=1, stream=stream)
        told = (joined(got) if stream else whole(got))[0]["logprobs"]
        assert [token["bytes"] for token in told] == [[byte] for byte in "é\U0001f56f".encode()]
        assert all(token["top_logprobs"][0]["bytes"] == token["bytes"] for token in told)


# --- reasoning ---


async def test_reasoning_is_told_apart(home: Site, scripted: Program) -> None:
    home.engine.answer = lambda _: THOUGHTFUL
    one, chunks = await scripted.chat(), await scripted.chat(stream=True, stream_options={"include_usage": True})
    assert whole(one) == joined(chunks)
    assert one["choices"][0]["message"] == {
        "role": "assistant",
        "content": "It is four. \U0001f56f",
        "refusal": None,
        "reasoning_content": "Two and\ntwo.",
    }
    for usage in (one["usage"], chunks[-1]["usage"]):
        thought = usage["completion_tokens_details"]["reasoning_tokens"]
        assert thought == len("<think>Two and\ntwo.</think>\n\n")
        assert usage["completion_tokens"] - thought == len("It is four. \U0001f56f".encode()) + 1
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert not any("content" in delta and "reasoning_content" in delta for delta in deltas)


async def test_logprobs_are_those_of_the_answer_without_its_reasoning(home: Site, scripted: Program) -> None:
    home.engine.answer = lambda _: THOUGHTFUL
    for stream in (False, True):
        got = await scripted.chat(logprobs=True, stream=stream)
        choice = (joined(got) if stream else whole(got))[0]
        assert bytes(byte for token in choice["logprobs"] for byte in token["bytes"]).decode() == choice["content"]


async def test_an_answer_that_ends_while_the_model_thinks_has_no_text(home: Site, scripted: Program) -> None:
    home.engine.answer = lambda _: THOUGHTFUL
    for stream in (False, True):
        got = await scripted.chat(max_tokens=10, logprobs=True, stream=stream)
        found = (joined(got) if stream else whole(got))[0]
        assert found == {"content": "", "reasoning_content": "Two", "logprobs": [], "finish_reason": "length"}


async def test_reasoning_that_a_template_opens_is_told_apart_too(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda _: "So.</think>\n\nYes.")
    source = engine.template.source.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    engine.template = replace(engine.template, source=source)
    async with site(tmp_path, engine=engine) as home, program(home) as asker:
        message = (await asker.chat())["choices"][0]["message"]
        assert (message["content"], message["reasoning_content"]) == ("Yes.", "So.")


async def test_json_comes_after_the_reasoning_that_a_template_opens(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda _: 'So {"sum": "four"}.</think>\n\n{"sum": 4}')
    source = engine.template.source.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    engine.template = replace(engine.template, source=source)
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    async with site(tmp_path, engine=engine) as home, program(home) as asker:
        message = (await asker.chat(response_format=form))["choices"][0]["message"]
        assert (message["content"], message["reasoning_content"]) == ('{"sum": 4}', 'So {"sum": "four"}.')
        engine.answer = lambda _: "Hm."  # it is made to end its reasoning, and to answer
        message = (await asker.chat(response_format=form, max_tokens=60))["choices"][0]["message"]
        assert message["reasoning_content"].startswith("Hm.")


async def test_a_model_s_earlier_reasoning_is_taken_and_not_told_again(home: Site, scripted: Program) -> None:
    said = {"role": "assistant", "content": "Four.", "reasoning_content": "a secret thought"}
    await scripted.chat([*asking("2 + 2?"), said, *asking("Sure?")])
    prompt = home.engine.decode(home.engine.requests[0].prompt)
    assert "assistant\nFour." in prompt
    assert "secret" not in prompt


# --- JSON ---

WORDS = st.text(alphabet="abcdefghijklmnop_", min_size=1, max_size=8)
BOUND = st.integers(-1000, 1000)


def _ranges(low: int, more: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": low + abs(more)}


LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(_ranges, BOUND, BOUND),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.integers(0, 12).map(lambda most: {"type": "string", "maxLength": most}),
    st.integers(1, 6).map(lambda count: {"type": "string", "pattern": f"^[a-z]{{{count}}}$"}),
    st.just({"type": "string", "format": "date"}),
    st.lists(WORDS | BOUND | st.booleans() | st.none(), min_size=1, max_size=4).map(lambda values: {"enum": values}),
    st.lists(WORDS, min_size=1, max_size=3).map(lambda values: {"const": values}),
    st.just({"$ref": "#/$defs/town"}),
)


def _objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def made(properties: dict[str, dict[str, Any]], optional: bool) -> dict[str, Any]:
        required = list(properties)[1:] if optional else list(properties)
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    return st.builds(made, st.dictionaries(WORDS, inner, max_size=4), st.booleans())


def _larger(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    arrays = st.builds(
        lambda items, least, more: {"type": "array", "items": items, "minItems": least, "maxItems": least + more},
        inner,
        st.integers(0, 2),
        st.integers(0, 2),
    )
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    return st.one_of(_objects(inner), arrays, unions)


GENERATED = _objects(st.recursive(LEAVES, _larger, max_leaves=6))
TOWN = {"type": "object", "properties": {"name": {"enum": ["Ys", "Ur"]}}, "required": ["name"]}


def generated(number: int) -> list[dict[str, Any]]:
    """So many different schemas, the same each time."""
    found: dict[str, dict[str, Any]] = {}

    @seed(1)
    @settings(max_examples=5 * number, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(GENERATED)
    def collect(schema: dict[str, Any]) -> None:
        found[json.dumps(schema)] = {**schema, "$defs": {"town": {**TOWN, "additionalProperties": False}}}

    collect()
    assert len(found) >= number
    return list(found.values())[:number]


async def test_answers_keep_to_fifty_generated_schemas(embedded: Program) -> None:
    for schema in generated(SCHEMAS):
        form = {"type": "json_schema", "json_schema": {"name": "made", "schema": schema, "strict": True}}
        asked: dict[str, Any] = {"messages": asking("Tell me."), "response_format": form, "temperature": 1.5}
        one = whole(await embedded.chat(**asked, seed=3))[0]
        assert one["finish_reason"] == "stop", (schema, one["content"])
        jsonschema.validate(json.loads(one["content"]), schema, cls=jsonschema.Draft202012Validator)
        assert joined(await embedded.chat(**asked, seed=3, stream=True))[0] == one


async def test_an_answer_is_a_json_object_where_no_more_is_said(embedded: Program) -> None:
    for number in SEEDS:
        answer = await embedded.chat(response_format={"type": "json_object"}, seed=number, max_tokens=400)
        choice = answer["choices"][0]
        assert choice["finish_reason"] == "length" or isinstance(json.loads(choice["message"]["content"]), dict)
        assert choice["message"]["content"].startswith("{")


async def test_the_model_is_told_what_is_said_of_the_json(home: Site, scripted: Program) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "made", "description": "Two towns.", "schema": TOWN}}
    await scripted.chat(response_format=form)
    assert "system\nThe answer is JSON: Two towns." in home.engine.decode(home.engine.requests[0].prompt)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"type": 5},
        {"type": "object", "properties": ["town"]},
        {"type": "object", "required": "town"},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "https://example.org/schema.json"},
        {"enum": []},
        {"type": "string", "pattern": "(?=a)b"},
        {"type": "string", "pattern": "["},
        {"type": "string", "format": "of nothing known"},
        {"not": {"type": "string"}},
        {"type": "array", "uniqueItems": True},
        {"if": {"type": "string"}, "then": {"maxLength": 1}},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
    ],
)
async def test_a_schema_that_cannot_be_kept_is_refused(home: Site, scripted: Program, schema: object) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "made", "schema": schema}}
    for stream in (False, True):
        found = await scripted.refused(CHAT, messages=HELLO, response_format=form, stream=stream)
        assert found["param"] == "response_format"
    assert home.engine.requests == []


@pytest.mark.parametrize(
    "form, param",
    [
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "made"}}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}, "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": True}}, "response_format.json_schema.schema"),
        ({"type": "xml"}, "response_format.type"),
        ({}, "response_format.type"),
        ("json_object", "response_format"),
        ({"type": "json_object", "schema": {}}, "response_format.schema"),
    ],
)
async def test_a_response_format_that_is_none_is_refused_by_its_place(
    scripted: Program, form: object, param: str
) -> None:
    assert (await scripted.refused(CHAT, messages=HELLO, response_format=form))["param"] == param
