"""What every MessageEngine promises, on a stand-in server and on llama.cpp's own with the demo model."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from bot.errors import BadRequest, EngineError, TooLong
from bot.generation import ChatMessage, Delta, Finish, Generation, Prefill, Sampling
from bot.ports import MessageEngine
from bot.testing import ScriptedEngine
from tests.model_server import ModelServer, llama_server, remote, serving

GREEDY = Sampling(temperature=0)
SYSTEM = ChatMessage("system", "You are Hearth.")
QUESTION = (SYSTEM, ChatMessage("user", "Count to 20."))
COUNT = " ".join(str(n) for n in range(1, 21))
ASKED = Generation(messages=QUESTION, max_tokens=200, sampling=GREEDY)


@asynccontextmanager
async def stand_in() -> AsyncIterator[MessageEngine]:
    server = ModelServer(ScriptedEngine(lambda prompt: COUNT, context_length=2048), counts="vllm", key="k")
    async with serving(server), remote(server.url, api_key="k") as engine:
        yield engine


@asynccontextmanager
async def llamacpp() -> AsyncIterator[MessageEngine]:
    async with llama_server(key="k") as url, remote(url, api_key="k") as engine:
        yield engine


Make = Callable[[], AbstractAsyncContextManager[MessageEngine]]


@pytest.fixture(params=[stand_in, llamacpp], ids=lambda make: make.__name__)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[MessageEngine]:
    make: Make = request.param
    async with make() as engine:
        yield engine


async def run(engine: MessageEngine, request: Generation) -> tuple[str, Finish]:
    """The text and the end of one generation."""
    text = ""
    async for event in engine.stream(request):
        if isinstance(event, Delta):
            text += event.text
    assert isinstance(event, Finish)
    return text, event


class TestMessageEngine:
    async def test_the_answer_comes_in_pieces_between_the_reading_and_the_end(self, engine: MessageEngine) -> None:
        events = [event async for event in engine.stream(ASKED)]
        first_delta = next(n for n, event in enumerate(events) if isinstance(event, Delta))
        reading = [event for event in events[:first_delta] if isinstance(event, Prefill)]
        assert len(reading) == first_delta >= 1
        assert reading[-1].processed == reading[-1].total > 0
        assert all(isinstance(event, Delta) for event in events[first_delta:-1])
        assert len(events) > 10
        assert "".join(event.text for event in events if isinstance(event, Delta)).startswith("1 2 3 4 5")
        finish = events[-1]
        assert isinstance(finish, Finish)
        assert finish.reason == "stop"
        assert finish.usage.prompt_tokens > 20
        assert finish.usage.completion_tokens > 30

    async def test_there_are_no_token_ids_and_no_log_probabilities(self, engine: MessageEngine) -> None:
        deltas = [event async for event in engine.stream(ASKED) if isinstance(event, Delta)]
        assert {(delta.token_ids, delta.logprobs) for delta in deltas} == {((), ())}

    async def test_a_prompt_is_counted_as_the_server_reads_it(self, engine: MessageEngine) -> None:
        """Exactly where it could be too much, and else never much too low."""
        _, finish = await run(engine, ASKED)
        exact = await engine.size(QUESTION, enough=0)
        assert (exact.tokens, exact.exact) == (finish.usage.prompt_tokens, True)
        assert (await engine.size(QUESTION, enough=2000)).tokens >= exact.tokens // 2

    async def test_the_next_turn_finds_the_last_one_in_the_cache(self, engine: MessageEngine) -> None:
        text, first = await run(engine, ASKED)
        more = (*QUESTION, ChatMessage("assistant", text), ChatMessage("user", "Thank you."))
        _, second = await run(engine, dataclasses.replace(ASKED, messages=more, max_tokens=5))
        assert first.usage.cached_tokens == 0
        assert second.usage.prompt_tokens > second.usage.cached_tokens > first.usage.prompt_tokens

    async def test_a_seed_gives_the_same_text_again(self, engine: MessageEngine) -> None:
        request = dataclasses.replace(ASKED, max_tokens=20, sampling=Sampling(temperature=2.0, seed=7))
        assert (await run(engine, request))[0] == (await run(engine, request))[0]

    async def test_a_stop_string_ends_the_text_before_it(self, engine: MessageEngine) -> None:
        text, finish = await run(engine, dataclasses.replace(ASKED, stop=("7 8",)))
        assert text == "1 2 3 4 5 6 "
        assert finish.reason == "stop"

    async def test_max_tokens_is_kept(self, engine: MessageEngine) -> None:
        _, finish = await run(engine, dataclasses.replace(ASKED, max_tokens=4))
        assert (finish.reason, finish.usage.completion_tokens) == ("length", 4)

    async def test_no_tokens_asked_for_is_an_empty_answer(self, engine: MessageEngine) -> None:
        text, finish = await run(engine, dataclasses.replace(ASKED, max_tokens=0))
        assert (text, finish.reason) == ("", "length")

    async def test_a_question_that_fills_the_context_is_too_long(self, engine: MessageEngine) -> None:
        messages = (SYSTEM, ChatMessage("user", "a b c d " * 1000))
        assert (await engine.size(messages, enough=1000)).tokens > engine.context_length
        with pytest.raises(TooLong):
            await run(engine, dataclasses.replace(ASKED, messages=messages))

    @pytest.mark.parametrize(
        ("change", "param"),
        [
            ({"messages": ()}, "messages"),
            ({"messages": (SYSTEM,)}, "messages"),
            ({"prompt": (1, 2)}, "prompt"),
            ({"stop": ("",)}, "stop"),
            ({"sampling": Sampling(logprobs=1)}, "logprobs"),
            ({"sampling": Sampling(repeat_penalty=1.1)}, "repeat_penalty"),
            ({"json_schema": {"type": "nonsense"}}, "response_format"),
            ({"json_schema": {"$ref": "#/nowhere"}}, "response_format"),
            ({"regex": "a+"}, "regex"),
            ({"grammar": 'start: "a"'}, "grammar"),
        ],
    )
    async def test_an_invalid_request_is_refused_by_name_and_fails_alone(
        self, engine: MessageEngine, change: dict[str, Any], param: str
    ) -> None:
        other = asyncio.create_task(run(engine, ASKED))
        with pytest.raises(BadRequest) as refused:
            await run(engine, dataclasses.replace(ASKED, **change))
        assert refused.value.param == param
        assert (await other)[0].startswith("1 2 3")

    async def test_a_schema_is_kept(self, engine: MessageEngine) -> None:
        schema = {
            "type": "object",
            "properties": {"kind": {"enum": ["é😀"]}, "sure": {"type": "boolean"}},
            "required": ["kind", "sure"],
            "additionalProperties": False,
        }
        text, _ = await run(engine, dataclasses.replace(ASKED, json_schema=schema))
        assert json.loads(text)["kind"] == "é😀"
        assert set(json.loads(text)) == {"kind", "sure"}

    @pytest.mark.parametrize("how", ["aclose", "cancel"])
    async def test_an_answer_can_be_stopped_and_the_engine_goes_on(self, engine: MessageEngine, how: str) -> None:
        begun = asyncio.Event()

        async def take() -> None:
            stream = engine.stream(ASKED)
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
        assert (await run(engine, ASKED))[0].startswith("1 2 3")

    async def test_streams_run_side_by_side(self, engine: MessageEngine) -> None:
        results = await asyncio.gather(*(run(engine, ASKED) for _ in range(6)))
        assert len({text for text, _ in results}) == 1

    async def test_a_closed_engine_says_so(self, engine: MessageEngine) -> None:
        await engine.aclose()
        with pytest.raises(EngineError):
            await run(engine, ASKED)
        await engine.aclose()
