"""Text completions over real sockets: whole and streamed, prompts of every kind, echo, the best of several, log-probabilities."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.errors import EngineBroken
from bot.generation import FillInMiddle
from bot.ports import ChatEngine
from bot.testing import ScriptedEngine
from tests.programs import DONE, TEXT, Program, joined_text, program, whole_text
from tests.web import Site, site

ONCE = "Once upon a time"
CANDLE = "\U0001f56f"


def back(prompt: str) -> str:
    """Says a prompt back, a letter changed."""
    return prompt.replace("a", "o")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, engine=ScriptedEngine(back)) as made:
        yield made


@pytest.mark.parametrize("number", range(4))
async def test_a_stream_and_a_whole_answer_agree_for_equal_seeds(embedded: Program, number: int) -> None:
    asked: dict[str, Any] = {
        "prompt": [ONCE, "I do not"],
        "seed": number,
        "temperature": 1.5,
        "n": 1 + number % 3,
        "max_tokens": 12,
        "logprobs": number,
        "stop": "z",
    }
    one = await embedded.text(**asked)
    chunks = await embedded.text(**asked, stream=True, stream_options={"include_usage": True})
    assert whole_text(one) == joined_text(chunks) == whole_text(await embedded.text(**asked))
    assert list(whole_text(one)) == list(range(2 * (1 + number % 3)))
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert chunks[-1]["usage"][name] == one["usage"][name]


async def test_other_seeds_write_other_texts(embedded: Program) -> None:
    texts = {(await embedded.text(ONCE, seed=number, temperature=2))["choices"][0]["text"] for number in range(8)}
    assert len(texts) > 3


async def test_choices_of_one_seed_differ_and_are_the_same_again(embedded: Program) -> None:
    asked: dict[str, Any] = {"n": 4, "seed": 11, "temperature": 2.0, "max_tokens": 16}
    found = [[choice["text"] for choice in (await embedded.text(ONCE, **asked))["choices"]] for _ in range(2)]
    assert found[0] == found[1]
    assert len(set(found[0])) == 4
    alone = await embedded.text(ONCE, **{**asked, "n": 1, "seed": 13})
    assert alone["choices"][0]["text"] == found[0][2]


async def test_a_stream_has_the_form_of_its_day(home: Site, scripted: Program) -> None:
    *chunks, done = await scripted.streamed(TEXT, {"prompt": "salt", "stream_options": {"include_usage": True}})
    assert done == DONE
    head = {name: chunks[0][name] for name in ("id", "object", "created", "model", "system_fingerprint")}
    assert head["object"] == "text_completion"
    assert head["id"].startswith("cmpl-")
    assert all(list(chunk) == [*head, "choices", "usage"] and chunk.items() >= head.items() for chunk in chunks)
    *pieces, end, used = chunks
    assert [piece["choices"] for piece in pieces] == [
        [{"text": letter, "index": 0, "logprobs": None, "finish_reason": None}] for letter in "solt"
    ]
    assert end["choices"] == [{"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert (used["choices"], used["usage"]["prompt_tokens"], used["usage"]["completion_tokens"]) == ([], 4, 5)


async def test_an_error_in_the_middle_of_a_stream_is_told_and_nothing_follows(home: Site, scripted: Program) -> None:
    home.engine.fail_with, home.engine.fail_after = EngineBroken(detail="of the inside"), 2
    *chunks, last = await scripted.streamed(TEXT, {"prompt": "salt"})
    assert joined_text(chunks) == {0: {"text": "so", "logprobs": None, "finish_reason": None}}
    assert (list(last), last["error"]["type"]) == (["error"], "server_error")
    assert (await scripted.refused(TEXT, 500, prompt="salt"))["type"] == "server_error"


async def test_a_whole_answer_has_the_form_of_the_document(scripted: Program) -> None:
    answer = await scripted.text("salt", user="ann")
    assert list(answer) == ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]
    assert answer["choices"] == [{"text": "solt", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert answer["usage"]["total_tokens"] == 4 + 5


async def test_prompts_are_texts_or_ids_one_or_many(home: Site, scripted: Program) -> None:
    ids = list(b"salt")
    for prompt, texts in (
        ("salt", ["solt"]),
        (["salt"], ["solt"]),
        (["salt", "malt"], ["solt", "molt"]),
        (ids, ["solt"]),
        ([ids, list(b"malt")], ["solt", "molt"]),
    ):
        answer = await scripted.text(prompt, n=2)
        assert [choice["text"] for choice in answer["choices"]] == [text for text in texts for _ in range(2)]
        assert [choice["index"] for choice in answer["choices"]] == list(range(2 * len(texts)))
        assert answer["usage"]["prompt_tokens"] == 4 * len(texts), "each prompt counts once, whatever n is"
    home.engine.requests.clear()
    await scripted.text(None)
    assert home.engine.requests[0].prompt == (256,), "what begins a document"


@pytest.mark.parametrize("prompt", [[], [[]], [""], "", [1.5], [["a"]], ["a", 1], [[1], "a"], 5, {}, [True], [-1]])
async def test_a_prompt_that_is_none_is_refused(scripted: Program, prompt: object) -> None:
    answer = await scripted.post(TEXT, {"model": "default", "prompt": prompt})
    if prompt in ("", [""]):  # a document's beginning
        assert answer.status == 200
        return
    assert answer.status == 400, answer.body
    assert answer.json["error"]["param"].startswith("prompt")


async def test_ids_that_the_model_does_not_have_and_control_ids_are_refused(home: Site, scripted: Program) -> None:
    for ids in ([999_999], [2**70], [97, 257], [257], [97, 256]):
        assert (await scripted.refused(TEXT, prompt=ids))["param"] == "prompt"
    assert home.engine.requests == []
    assert (await scripted.text([256, 97]))["choices"][0]["text"], "what begins a document may begin it"


async def test_a_prompt_that_is_too_long_is_refused_with_the_numbers(scripted: Program) -> None:
    for prompt in ("a" * 5000, [97] * 5000, ["a", "a" * 5000]):
        found = await scripted.refused(TEXT, prompt=prompt)
        assert found["code"] == "context_length_exceeded"
        assert "5000" in found["message"] and "4096" in found["message"]
        assert found["param"] == "prompt"


async def test_echo_says_the_prompt_first(scripted: Program) -> None:
    for stream in (False, True):
        got = await scripted.text(["salt", "malt"], n=2, echo=True, stream=stream)
        texts = [one["text"] for _, one in sorted((joined_text(got) if stream else whole_text(got)).items())]
        assert texts == ["saltsolt", "saltsolt", "maltmolt", "maltmolt"]
        got = await scripted.text("salt", echo=True, max_tokens=0, stream=stream)
        one = (joined_text(got) if stream else whole_text(got))[0]
        assert (one["text"], one["finish_reason"]) == ("salt", "length")
    got = await scripted.text([[256, 115, 97, 108, 116], [109]], echo=True, max_tokens=0)
    assert [choice["text"] for choice in got["choices"]] == ["salt", "m"], "ids as what they spell, without bos"


async def test_no_tokens_and_sixteen_where_nothing_is_said(scripted: Program, embedded: Program) -> None:
    for asked in (scripted, embedded):
        none = await asked.text("salt" * 9, max_tokens=0)
        assert (none["choices"][0]["text"], none["usage"]["completion_tokens"]) == ("", 0)
        assert none["choices"][0]["finish_reason"] == "length"
    usual = await scripted.text("salt" * 9)
    assert (len(usual["choices"][0]["text"]), usual["usage"]["completion_tokens"]) == (16, 16)


async def test_a_stop_string_ends_the_text(scripted: Program) -> None:
    for stop in ("lt", ["x", "lt"]):
        for stream in (False, True):
            got = await scripted.text("salt", stop=stop, stream=stream)
            found = (joined_text(got) if stream else whole_text(got))[0]
            assert (found["text"], found["finish_reason"]) == ("so", "stop")


async def test_a_bias_demands_a_token(embedded_home: Site, embedded: Program) -> None:
    engine: Any = (await embedded_home.app.registry.get("default")).engine
    model: ChatEngine = engine
    [[wanted]] = await model.encode(["o"])
    assert (await embedded.text(ONCE, logit_bias={str(wanted): 100}, max_tokens=4))["choices"][0]["text"] == "oooo"


async def test_the_best_of_several_is_the_most_probable(embedded: Program) -> None:
    asked: dict[str, Any] = {"prompt": ONCE, "temperature": 2.0, "max_tokens": 8, "logprobs": 0}
    each = [(await embedded.text(**asked, seed=5 + number))["choices"][0] for number in range(6)]

    def score(choice: Any) -> float:
        told = [one for one in choice["logprobs"]["token_logprobs"] if one is not None]
        return sum(told) / len(told) if told else -math.inf

    ranked = [choice["text"] for choice in sorted(each, key=lambda choice: -score(choice))]
    best = await embedded.text(**asked, seed=5, n=2, best_of=6)
    assert [choice["text"] for choice in best["choices"]] == ranked[:2]
    assert [choice["index"] for choice in best["choices"]] == [0, 1]
    assert score(best["choices"][0]) == pytest.approx(score(max(each, key=score)), rel=1e-3)
    assert best["usage"]["completion_tokens"] > 2 * 8, "all that was written counts"
    silent = await embedded.text(**{**asked, "logprobs": None}, seed=5, n=2, best_of=6)
    assert [choice["text"] for choice in silent["choices"]] == ranked[:2]
    assert [choice["logprobs"] for choice in silent["choices"]] == [None, None]


async def test_the_best_are_of_each_prompt(embedded: Program) -> None:
    asked: dict[str, Any] = {"temperature": 2.0, "max_tokens": 8, "seed": 5, "best_of": 3}
    both = await embedded.text([ONCE, "I do not"], **asked)
    alone = [(await embedded.text(prompt, **asked))["choices"][0]["text"] for prompt in (ONCE, "I do not")]
    assert [choice["text"] for choice in both["choices"]] == alone
    assert (await embedded.refused(TEXT, prompt=ONCE, n=3, best_of=2))["param"] == "best_of"
    assert (await embedded.refused(TEXT, prompt=ONCE, best_of=2, stream=True))["param"] == "best_of"


async def test_logprobs_are_of_each_token_and_have_the_chosen_one_among_the_best(embedded: Program) -> None:
    answer = await embedded.text(ONCE, seed=3, temperature=2.0, logprobs=2)
    told, text = answer["choices"][0]["logprobs"], answer["choices"][0]["text"]
    assert "".join(told["tokens"]) == text
    assert len({len(told[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}) == 1
    for token, logprob, top, begin in zip(*(told[name] for name in told), strict=True):
        assert text.startswith(token, begin)
        assert top[token] == logprob <= 0
        assert 2 <= len(top) <= 3
    none = (await embedded.text(ONCE, logprobs=0))["choices"][0]["logprobs"]
    assert none["top_logprobs"] == [None] * len(none["tokens"])


async def test_offsets_count_characters_where_tokens_are_parts_of_some(home: Site, scripted: Program) -> None:
    home.engine.answer = lambda _: f"é{CANDLE}!"
    for stream in (False, True):
        got = await scripted.text("x", logprobs=1, stream=stream)
        found = (joined_text(got) if stream else whole_text(got))[0]
        parts = [f"bytes:\\x{byte:02x}" for byte in f"é{CANDLE}".encode()]
        assert (found["text"], found["logprobs"]["tokens"]) == (f"é{CANDLE}!", [*parts, "!"])
        assert found["logprobs"]["text_offset"] == [0, 0, 1, 1, 1, 1, 2]
        assert found["logprobs"]["top_logprobs"] == [{part: 0.0} for part in [*parts, "!"]]


async def test_control_tokens_that_the_text_does_not_show_have_no_logprobs(tmp_path: Path) -> None:
    said = "a<|im_start|>b<tool_call><|im_start|>é<|endoftext|>"
    engine = ScriptedEngine(lambda _: said, writes_controls=True)
    async with site(tmp_path, engine=engine) as home, program(home) as asker:
        for asked in ({}, {"n": 2}, {"stop": "_call"}, {"best_of": 2}):
            for stream in (False, True) if "best_of" not in asked else (False,):
                got = await asker.text("x", logprobs=1, stream=stream, **asked)
                found = (joined_text(got) if stream else whole_text(got))[0]
                cut = "stop" in asked
                assert found["text"] == ("ab<tool" if cut else "ab<tool_call>é")
                told = found["logprobs"]
                rest = ["<tool"] if cut else ["<tool_call>", "bytes:\\xc3", "bytes:\\xa9"]
                assert told["tokens"] == ["a", "b", *rest]
                assert told["text_offset"] == ([0, 1, 2] if cut else [0, 1, 2, 13, 13])
        [choice] = (await asker.chat(logprobs=True))["choices"]
        assert choice["message"]["content"] == "ab<tool_call>é"
        assert "".join(one["token"] for one in choice["logprobs"]["content"][:3]) == "ab<tool_call>"
        assert len(choice["logprobs"]["content"]) == 5


@pytest.mark.parametrize("stop", ["a", "e", "th", "t", " a", "he"])
async def test_tokens_joined_are_the_text_that_a_stop_string_ends(embedded: Program, stop: str) -> None:
    for number in range(4):
        asked: dict[str, Any] = {"seed": number, "temperature": 1.5, "max_tokens": 40, "logprobs": 1, "stop": stop}
        one = (await embedded.text(ONCE, **asked))["choices"][0]
        told = one["logprobs"]
        assert "".join(told["tokens"]) == one["text"]
        assert all(one["text"].startswith(*pair) for pair in zip(told["tokens"], told["text_offset"], strict=True))
        assert stop not in one["text"]


async def test_a_suffix_is_put_where_the_model_wants_it_or_refused(tmp_path: Path) -> None:
    engine = ScriptedEngine(back)
    async with site(tmp_path / "without", engine=engine) as home, program(home) as asker:
        assert (await asker.refused(TEXT, prompt="salt", suffix="end"))["param"] == "suffix"
        assert engine.requests == []
        await asker.text("salt", suffix="")
    engine = ScriptedEngine(lambda _: "x")
    engine.plain = replace(engine.plain, fill=FillInMiddle(prefix=258, suffix=259, middle=260))
    async with site(tmp_path / "with", engine=engine) as home, program(home) as asker:
        await asker.text(["salt", "<|im_end|>"], suffix="end<tool_call>")
        first, second = (request.prompt for request in engine.requests)
        assert first[0] == 258 and first[5] == 259 and first[-1] == 260
        assert engine.text_of(first[1:5]) == "salt"
        assert engine.text_of(first[6:-1]).replace("\ufdd0", "") == "end<tool_call>"
        assert [i for i in second if i > 255] == [258, 259, 260]


async def test_what_a_model_thinks_is_text_where_there_is_no_template(home: Site, scripted: Program) -> None:
    home.engine.answer = lambda _: "<think>x"
    assert (await scripted.text("a"))["choices"][0]["text"] == "<think>x"
