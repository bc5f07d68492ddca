"""What every ChatEngine promises, on the scripted one, on llama.cpp with the demo model, and on both ExLlamas' own Python."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.config import EMBEDDED_CHAT_MODEL, ModelConfig
from bot.engines.llamacpp import LlamaCppEngine
from bot.errors import BadRequest, EngineError, TooLong
from bot.generation import Delta, Finish, Generation, Prefill, Sampling
from bot.ports import ChatEngine
from bot.testing import ScriptedEngine, ThrottledEngine

GREEDY = Sampling(temperature=0)
QUESTION = "<|im_start|>user\nCount to 20.<|im_end|>\n<|im_start|>assistant\n"
COUNT = " ".join(str(n) for n in range(1, 21))


@asynccontextmanager
async def scripted(folder: Path) -> AsyncIterator[ChatEngine]:
    yield ScriptedEngine(lambda prompt: COUNT, context_length=2048)


@asynccontextmanager
async def throttled(folder: Path) -> AsyncIterator[ChatEngine]:
    yield ThrottledEngine(ScriptedEngine(lambda prompt: COUNT, context_length=2048), 0.001)


@asynccontextmanager
async def llamacpp(folder: Path) -> AsyncIterator[ChatEngine]:
    config = ModelConfig(path=EMBEDDED_CHAT_MODEL, threads=1, slots=4, context_length=2048)
    engine = await LlamaCppEngine.load("demo", config, folder)
    yield engine
    await engine.aclose()


@asynccontextmanager
async def exllamav2(folder: Path) -> AsyncIterator[ChatEngine]:
    from tests.exllama.engines import loaded_v2

    async with loaded_v2() as engine:
        yield engine


@asynccontextmanager
async def exllamav2_without_flash_attn(folder: Path) -> AsyncIterator[ChatEngine]:
    from tests.exllama.engines import loaded_v2

    async with loaded_v2(paged=False) as engine:
        yield engine


@asynccontextmanager
async def exllamav3(folder: Path) -> AsyncIterator[ChatEngine]:
    from tests.exllama.engines import loaded_v3

    async with loaded_v3() as engine:
        yield engine


Make = Callable[[Path], Any]
ENGINES: list[Any] = [scripted, throttled, llamacpp]
EXLLAMAS: list[Any] = [exllamav2, exllamav2_without_flash_attn, exllamav3]


@pytest.fixture(
    params=[*ENGINES, *(pytest.param(make, marks=pytest.mark.exllama) for make in EXLLAMAS)],
    ids=lambda make: make.__name__,
)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ChatEngine]:
    make: Make = request.param
    async with make(tmp_path) as engine:
        yield engine


async def ids_of(engine: ChatEngine, text: str) -> tuple[int, ...]:
    [ids] = await engine.encode([text])
    return tuple(ids)


async def run(engine: ChatEngine, request: Generation) -> tuple[str, tuple[int, ...], Finish]:
    """The text, the ids and the end of one generation."""
    text, ids = "", tuple[int, ...]()
    async for event in engine.stream(request):
        if isinstance(event, Delta):
            text, ids = text + event.text, ids + event.token_ids
    assert isinstance(event, Finish)
    return text, ids, event


class TestChatEngine:
    async def test_control_strings_are_one_token_each_and_no_bos_is_added(self, engine: ChatEngine) -> None:
        start, end, text = await engine.encode(["<|im_start|>", "<|im_end|>", "a<|im_start|>b"])
        assert len(start) == len(end) == 1
        assert text == [*(await engine.encode(["a"]))[0], *start, *(await engine.encode(["b"]))[0]]
        assert {"<|im_start|>", "<|im_end|>"} <= engine.control_strings

    async def test_many_texts_are_encoded_as_each_alone(self, engine: ChatEngine) -> None:
        texts = ["one two", "", "é😀", "\n<|im_end|>\n", ""]
        assert await engine.encode(texts) == [(await engine.encode([text]))[0] for text in texts]
        assert await engine.encode([]) == []

    async def test_ids_spell_their_text_without_control_tokens(self, engine: ChatEngine) -> None:
        for text in ("one two", "é😀", " \n a", ""):
            assert engine.text_of(await ids_of(engine, text)) == text
        assert engine.text_of(await ids_of(engine, "<|im_start|>one<|im_end|>")) == "one"

    async def test_what_stands_around_a_plain_text_is_told(self, engine: ChatEngine) -> None:
        plain = engine.plain
        assert {"<|im_start|>", "<|im_end|>"} <= set(plain.added.values()) <= engine.control_strings
        for number, string in plain.added.items():
            assert await ids_of(engine, string) == (number,)
        assert max([*plain.added, *plain.before, *plain.after]) < plain.size
        assert plain.begins in plain.added
        request = Generation(prompt=(*plain.before, *await ids_of(engine, "one")), max_tokens=1)
        assert (await run(engine, request))[2].usage.completion_tokens == 1

    async def test_the_answer_comes_in_pieces_between_the_reading_and_the_end(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        request = Generation(prompt=prompt, max_tokens=200, sampling=GREEDY)
        events = [event async for event in engine.stream(request)]
        first_delta = next(n for n, event in enumerate(events) if isinstance(event, Delta))
        reading = [event for event in events[:first_delta] if isinstance(event, Prefill)]
        assert len(reading) == first_delta >= 1
        assert reading[-1].processed == reading[-1].total == len(prompt)
        assert all(isinstance(event, Delta) for event in events[first_delta:-1])
        assert "".join(event.text for event in events if isinstance(event, Delta)).startswith("1 2 3 4 5")
        finish = events[-1]
        assert isinstance(finish, Finish)
        assert finish.reason == "stop"
        assert finish.usage.prompt_tokens == len(prompt)

    async def test_the_generated_ids_spell_the_text_without_the_end_of_the_turn(self, engine: ChatEngine) -> None:
        request = Generation(prompt=await ids_of(engine, QUESTION), max_tokens=200, sampling=GREEDY)
        text, ids, finish = await run(engine, request)
        assert ids == await ids_of(engine, text)
        assert finish.usage.completion_tokens == len(ids) + 1

    async def test_the_next_turn_finds_the_last_one_in_the_cache(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        _, ids, first = await run(engine, Generation(prompt=prompt, max_tokens=200, sampling=GREEDY))
        more = await ids_of(engine, "<|im_end|>\n<|im_start|>user\nThank you.<|im_end|>\n<|im_start|>assistant\n")
        request = Generation(prompt=(*prompt, *ids, *more), max_tokens=5, sampling=GREEDY)
        _, _, second = await run(engine, request)
        assert first.usage.cached_tokens == 0
        assert second.usage.cached_tokens >= len(prompt) + len(ids)

    async def test_a_seed_gives_the_same_text_again(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        request = Generation(prompt=prompt, max_tokens=20, sampling=Sampling(temperature=2.0, seed=7))
        assert (await run(engine, request))[0] == (await run(engine, request))[0]

    async def test_a_stop_string_ends_the_text_before_it(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        request = Generation(prompt=prompt, max_tokens=200, sampling=GREEDY, stop=("7 8",))
        text, _, finish = await run(engine, request)
        assert text == "1 2 3 4 5 6 "
        assert finish.reason == "stop"

    async def test_half_a_stop_string_is_not_lost_when_the_tokens_run_out(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        tokens = len(await ids_of(engine, "1 2 3 4"))
        request = Generation(prompt=prompt, max_tokens=tokens, sampling=GREEDY, stop=(" 4 never",))
        text, ids, _ = await run(engine, request)
        assert text == "1 2 3 4"
        assert len(ids) == tokens

    async def test_max_tokens_is_kept(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        _, ids, finish = await run(engine, Generation(prompt=prompt, max_tokens=4, sampling=GREEDY))
        assert (len(ids), finish.reason, finish.usage.completion_tokens) == (4, "length", 4)

    async def test_no_tokens_asked_for_is_an_empty_answer(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        text, ids, finish = await run(engine, Generation(prompt=prompt, max_tokens=0))
        assert (text, ids, finish.reason) == ("", (), "length")

    async def test_what_the_context_has_left_bounds_the_answer(self, engine: ChatEngine) -> None:
        [filler] = await engine.encode([" a" * engine.context_length])
        prompt = tuple(filler[: engine.context_length - 3])
        _, ids, finish = await run(engine, Generation(prompt=prompt, max_tokens=500, sampling=GREEDY))
        assert finish.usage.completion_tokens <= 3
        assert len(ids) <= 3

    async def test_a_prompt_that_fills_the_context_is_too_long(self, engine: ChatEngine) -> None:
        [filler] = await engine.encode([" a" * engine.context_length])
        with pytest.raises(TooLong):
            await run(engine, Generation(prompt=tuple(filler[: engine.context_length]), max_tokens=5))

    @pytest.mark.parametrize(
        ("change", "param"),
        [
            ({"prompt": ()}, "prompt"),
            ({"prompt": (-1,)}, "prompt"),
            ({"prompt": (10**6,)}, "prompt"),
            ({"stop": ("",)}, "stop"),
            ({"sampling": Sampling(logit_bias={10**6: 1.0})}, "logit_bias"),
            ({"json_schema": {"type": "nonsense"}}, "response_format"),
            ({"json_schema": {"$ref": "#/nowhere"}}, "response_format"),
            ({"json_schema": {"type": "string", "pattern": "("}}, "response_format"),
            ({"json_schema": {"type": "object", "minProperties": -1}}, "response_format"),
            ({"regex": "("}, "regex"),
            ({"regex": "a(?=b)"}, "regex"),
            ({"grammar": "start: ("}, "grammar"),
            ({"grammar": 'root ::= "a"'}, "grammar"),
            ({"grammar": "start: /a+"}, "grammar"),
            ({"grammar": "start: <no-such-token>"}, "grammar"),
            ({"grammar": "start: <[1000000]>"}, "grammar"),
            ({"grammar": 'start: %json {"type": "nonsense"}'}, "grammar"),
            ({"regex": "a", "grammar": 'start: "a"'}, "grammar"),
            ({"json_schema": {"type": "string"}, "regex": '"a"'}, "regex"),
        ],
    )
    async def test_an_invalid_request_is_refused_by_name_and_fails_alone(
        self, engine: ChatEngine, change: dict[str, Any], param: str
    ) -> None:
        good = Generation(prompt=await ids_of(engine, QUESTION), max_tokens=40, sampling=GREEDY)
        other = asyncio.create_task(run(engine, good))
        with pytest.raises(BadRequest) as refused:
            await run(engine, dataclasses.replace(good, **change))
        assert refused.value.param == param
        assert (await other)[0].startswith("1 2 3")

    async def test_a_schema_is_kept(self, engine: ChatEngine) -> None:
        schema = {
            "type": "object",
            "properties": {"kind": {"enum": ["é😀"]}, "sure": {"type": "boolean"}},
            "required": ["kind", "sure"],
            "additionalProperties": False,
        }
        prompt = await ids_of(engine, QUESTION)
        text, ids, _ = await run(engine, Generation(prompt=prompt, max_tokens=100, sampling=GREEDY, json_schema=schema))
        assert json.loads(text)["kind"] == "é😀"
        assert set(json.loads(text)) == {"kind", "sure"}
        assert len(ids) > 0

    @pytest.mark.parametrize(
        ("regex", "matching"),
        [
            ("[a-c]{3}/[0-9]{2}\n(x|é😀)", "[a-c]{3}/[0-9]{2}\n(x|é😀)"),
            (r"\/\d\\", r"/\d\\"),
            ("//|/[*] x [*]/", "//|/[*] x [*]/"),
            ("", ""),
        ],
    )
    async def test_a_regular_expression_is_kept(self, engine: ChatEngine, regex: str, matching: str) -> None:
        prompt = await ids_of(engine, QUESTION)
        text, _, finish = await run(engine, Generation(prompt=prompt, max_tokens=100, sampling=GREEDY, regex=regex))
        assert re.fullmatch(matching, text)
        assert finish.reason == "stop"

    async def test_a_grammar_is_kept_with_its_control_tokens(self, engine: ChatEngine) -> None:
        """Named or numbered; they leave no text, but their ids are told, also at the end."""
        [start] = await ids_of(engine, "<|im_start|>")
        prompt = await ids_of(engine, QUESTION)
        for end in ("", "c"):
            grammar = f'start: "a{{" <|im_start|> part "}}" <[{start}]> "{end}"\npart: %json {{"const": "é"}}'
            request = Generation(prompt=prompt, max_tokens=50, sampling=GREEDY, grammar=grammar)
            text, ids, finish = await run(engine, request)
            assert text == 'a{"é"}' + end
            assert await ids_of(engine, f'a{{<|im_start|>"é"}}<|im_start|>{end}') == ids
            assert finish.reason == "stop"

    async def test_control_tokens_stand_in_the_text_if_asked_for(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        grammar = 'start: "a" <|im_start|> "é" <|im_start|>'
        shows = frozenset({"<|im_start|>", "<|im_end|>", "<|no such token|>"})
        request = Generation(prompt=prompt, max_tokens=50, sampling=GREEDY, grammar=grammar, shows=shows)
        text, ids, finish = await run(engine, request)
        assert text == "a<|im_start|>é<|im_start|>"
        assert (await ids_of(engine, text), finish.reason) == (ids, "stop")
        text, _, finish = await run(engine, dataclasses.replace(request, stop=("start|>é",)))
        assert (text, finish.reason) == ("a<|im_", "stop")

    async def test_characters_are_never_cut(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        for tokens in range(1, 9):
            request = Generation(prompt=prompt, max_tokens=tokens, sampling=GREEDY, json_schema={"const": "é😀é😀"})
            text, ids, finish = await run(engine, request)
            assert '"é😀é😀"'.startswith(text)
            assert await ids_of(engine, text) == ids
            assert finish.usage.completion_tokens <= tokens

    async def test_logprobs_come_with_each_token(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        request = Generation(prompt=prompt, max_tokens=6, sampling=Sampling(temperature=0, logprobs=1))
        deltas = [event async for event in engine.stream(request) if isinstance(event, Delta)]
        for delta in deltas:
            assert tuple(token.token_id for token, _ in delta.logprobs) == delta.token_ids
            for token, others in delta.logprobs:
                assert token.logprob is not None
                assert token.logprob <= 0
                assert len(others) == 1
            assert b"".join(token.raw for token, _ in delta.logprobs) == delta.text.encode()
        assert sum(len(delta.logprobs) for delta in deltas) == 6

    async def test_a_token_of_half_a_character_is_told_by_its_bytes(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        sampling = Sampling(temperature=0, logprobs=0)
        request = Generation(prompt=prompt, max_tokens=50, sampling=sampling, grammar='start: "😀" <|im_start|> "a"')
        deltas = [event async for event in engine.stream(request) if isinstance(event, Delta)]
        tokens = [token for delta in deltas for token, _ in delta.logprobs]
        assert b"".join(token.raw for token in tokens) == "😀<|im_start|>a".encode()
        assert all(token.text == token.raw.decode("utf-8", "replace") for token in tokens)
        assert [token.raw for token in tokens if token.silent] == [b"<|im_start|>"]
        shown = dataclasses.replace(request, shows=frozenset({"<|im_start|>"}))
        deltas = [event async for event in engine.stream(shown) if isinstance(event, Delta)]
        assert not any(token.silent for delta in deltas for token, _ in delta.logprobs)
        assert len(tokens) > 3
        known = [token for token in tokens if token.raw in (b"<|im_start|>", b"a") or token is tokens[-3]]
        assert all(token.logprob is not None and token.logprob <= 0 for token in known)

    @pytest.mark.parametrize("how", ["aclose", "cancel"])
    async def test_an_answer_can_be_stopped_and_the_engine_goes_on(self, engine: ChatEngine, how: str) -> None:
        prompt = await ids_of(engine, QUESTION)
        request = Generation(prompt=prompt, max_tokens=200, sampling=GREEDY)
        begun = asyncio.Event()

        async def take() -> None:
            stream = engine.stream(request)
            async for event in stream:
                if isinstance(event, Delta):
                    begun.set()
                    if how == "aclose":
                        break
            await stream.aclose()

        task = asyncio.create_task(take())
        await begun.wait()
        if how == "cancel":
            task.cancel()
        await asyncio.wait([task])
        assert (await run(engine, request))[0].startswith("1 2 3")

    async def test_streams_run_side_by_side(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        request = Generation(prompt=prompt, max_tokens=200, sampling=GREEDY)
        results = await asyncio.gather(*(run(engine, request) for _ in range(6)))
        assert len({text for text, _, _ in results}) == 1

    async def test_a_closed_engine_says_so(self, engine: ChatEngine) -> None:
        prompt = await ids_of(engine, QUESTION)
        await engine.aclose()
        with pytest.raises(EngineError):
            await run(engine, Generation(prompt=prompt, max_tokens=5))
        await engine.aclose()
