"""What both libraries' generators would do wrong by themselves, over a scripted model."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from bot.engines.exllama import v3
from bot.engines.exllama.engine import ExllamaEngine
from bot.errors import BadRequest, EngineBroken, EngineError, TooLong
from bot.generation import Delta, Finish, Generation, Prefill, Sampling
from tests.exllama.engines import loaded_v2, loaded_v3
from tests.exllama.script import COUNT
from tests.house import DEADLINE

Open = Callable[..., AbstractAsyncContextManager[ExllamaEngine]]
GREEDY = Sampling(temperature=0)
QUESTION = "<|im_start|>user\nCount to 20.<|im_end|>\n<|im_start|>assistant\n"
LONG_ANSWER = " ".join(str(n) for n in range(1, 200))

pytestmark = pytest.mark.parametrize("opened", [loaded_v2, loaded_v3], ids=["v2", "v3"])


async def ids_of(engine: ExllamaEngine, text: str) -> tuple[int, ...]:
    [ids] = await engine.encode([text])
    return tuple(ids)


async def asking(engine: ExllamaEngine, *, filler: int = 0, tokens: int = 200, **more: Any) -> Generation:
    """The question, after so many tokens of other text that no two calls share a page of."""
    head = tuple(1 + (filler + n) % 250 for n in range(filler))
    return Generation(prompt=(*head, *await ids_of(engine, QUESTION)), max_tokens=tokens, sampling=GREEDY, **more)


async def answer(engine: ExllamaEngine, request: Generation) -> tuple[str, Finish]:
    text = ""
    async with asyncio.timeout(DEADLINE):
        async for event in engine.stream(request):
            if isinstance(event, Delta):
                text += event.text
    assert isinstance(event, Finish)
    return text, event


async def first_words(stream: AsyncIterator[Any]) -> None:
    async for event in stream:
        if isinstance(event, Delta) and event.text:
            return


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not true():
            await asyncio.sleep(0.001)


async def test_trap_held_text_comes_out_when_a_stop_token_comes(opened: Open) -> None:
    async with opened(answer="hi the") as engine:
        text, finish = await answer(engine, await asking(engine, stop=("there",)))
        assert (text, finish.reason) == ("hi the", "stop")
        assert finish.usage.completion_tokens == len(await ids_of(engine, "hi the")) + 1


async def test_trap_with_guesses_ahead_a_job_has_all_its_tokens(opened: Open) -> None:
    """exllamav2 ends it as many tokens early as it guesses; the pages for the guesses are there at the very end."""
    async with opened(ngram_draft=True, answer="one two one two one two one two") as engine:
        for tokens in (1, 3, 6, 9):
            text, finish = await answer(engine, await asking(engine, tokens=tokens))
            assert (finish.usage.completion_tokens, finish.reason) == (tokens, "length")
            assert text == "".join("one two one two one two one two"[: len(text)])
        text, finish = await answer(engine, await asking(engine))
        assert text == "one two one two one two one two"
        assert finish.drafted_tokens > finish.accepted_draft_tokens > 0
        [filler] = await engine.encode([" a" * engine.context_length])
        request = Generation(prompt=tuple(filler[: engine.context_length - 2]), max_tokens=9, sampling=GREEDY)
        assert (await answer(engine, request))[1].usage.completion_tokens <= 2


async def test_a_draft_model_guesses_and_the_answer_stays_the_same(opened: Open) -> None:
    from tests.exllama.script import MODEL

    async with opened(draft_model=MODEL) as engine:
        text, finish = await answer(engine, await asking(engine))
        assert text == COUNT
        assert finish.accepted_draft_tokens > 10  # it is the same model


async def test_trap_a_prompt_past_the_models_context_is_refused_before_the_generator_sees_it(opened: Open) -> None:
    """The generators look at the cache's pages alone; past the model's length its positions are not defined."""
    backends: list[Any] = []
    async with opened(backends=backends, context_length=512, slots=4) as engine:
        passes = backends[0].script.passes
        with pytest.raises(TooLong):
            await answer(engine, await asking(engine, filler=600))
        assert backends[0].script.passes == passes


async def test_a_job_that_the_generator_refuses_fails_alone_and_nothing_spins(opened: Open) -> None:
    """Wrapper defect d: one that needs more pages than there are stayed in the list, and the loop went round for ever."""
    backends: list[Any] = []
    async with opened(backends=backends, cache_tokens=512) as engine:
        good = asyncio.create_task(answer(engine, await asking(engine)))
        with pytest.raises(EngineBroken):
            await answer(engine, await asking(engine, filler=700))
        assert (await good)[0] == COUNT
        assert not backends[0].busy
        assert backends[0].generator.num_remaining_jobs() == 0


async def test_trap_jobs_that_do_not_fit_together_wait_for_pages(opened: Open) -> None:
    """All pages of an answer are taken at its start."""
    async with opened(cache_tokens=1024) as engine:
        requests = [await asking(engine, filler=300 + n, tokens=400) for n in range(4)]
        for text, _ in await asyncio.gather(*(answer(engine, request) for request in requests)):
            assert text == COUNT


async def test_trap_new_prompts_hold_the_others_up_by_one_chunk_at_most(opened: Open) -> None:
    """exllamav2 reads a chunk of every new prompt in each step."""
    backends: list[Any] = []
    async with opened(backends=backends, answer=LONG_ANSWER, chunk=256, slots=5) as engine:
        backend = backends[0]
        script, iterate = backend.script, backend.generator.iterate
        reads: list[int] = []

        def counted() -> Any:
            before = script.read
            results = iterate()
            reads.append(script.read - before)
            return results

        stream = engine.stream(await asking(engine, tokens=400))
        await first_words(stream)
        backend.generator.iterate = counted
        requests = [await asking(engine, filler=700 + 17 * n, tokens=2) for n in range(4)]
        jobs = [asyncio.create_task(answer(engine, request)) for request in requests]
        await asyncio.gather(*jobs)
        await stream.aclose()
        assert sum(reads) > 4 * 700
        assert max(reads) <= 256 + 5


async def test_trap_a_cancel_in_prefill_ends_with_the_step_that_is_under_way(opened: Open) -> None:
    backends: list[Any] = []
    async with opened(backends=backends, chunk=256) as engine:
        script = backends[0].script
        go_on, begun = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            go_on.wait(DEADLINE)

        script.before = wait
        stream = engine.stream(await asking(engine, filler=1500))
        waits = asyncio.ensure_future(anext(stream))
        await asyncio.to_thread(begun.wait, DEADLINE)
        passes = script.passes
        waits.cancel()
        await asyncio.wait([waits])
        await stream.aclose()
        script.before = lambda: None
        go_on.set()
        await until(lambda: not backends[0].busy)
        assert script.passes == passes
        assert backends[0].generator.num_remaining_jobs() == 0
        assert (await answer(engine, await asking(engine)))[0] == COUNT


async def test_a_cancel_in_generation_and_while_waiting_frees_the_place(opened: Open) -> None:
    backends: list[Any] = []
    async with opened(backends=backends, slots=1, answer=LONG_ANSWER) as engine:
        running = engine.stream(await asking(engine, tokens=900))
        await first_words(running)
        waiting = engine.stream(await asking(engine, tokens=900, filler=20))
        task = asyncio.ensure_future(anext(waiting))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await waiting.aclose()
        await running.aclose()
        await until(lambda: not backends[0].busy)
        assert (await answer(engine, await asking(engine, tokens=3)))[1].usage.completion_tokens == 3


async def test_an_exception_in_a_step_fails_those_that_run_as_worth_another_try(opened: Open) -> None:
    """Wrapper defect c: later jobs hung for ever."""
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        script = backends[0].script

        def fail() -> None:
            script.before = lambda: None
            raise ArithmeticError("odd")

        script.before = fail
        for result in await asyncio.gather(
            *(answer(engine, request) for request in [await asking(engine), await asking(engine, filler=9)]),
            return_exceptions=True,
        ):
            assert result == (COUNT, result[1]) if isinstance(result, tuple) else isinstance(result, EngineError)
            assert not isinstance(result, EngineBroken)
        assert (await answer(engine, await asking(engine)))[0] == COUNT


async def test_too_little_memory_makes_a_smaller_generator_over_the_same_model(opened: Open) -> None:
    backends: list[Any] = []
    async with opened(backends=backends, slots=4, chunk=512) as engine:
        backend = backends[0]
        model = backend._parts["model"]
        await answer(engine, await asking(engine, filler=300))

        def fail() -> None:
            backend.script.before = lambda: None
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        backend.script.before = fail
        with pytest.raises(EngineError) as failed:
            await answer(engine, await asking(engine))
        assert not isinstance(failed.value, EngineBroken)
        text, finish = await answer(engine, await asking(engine, filler=300))
        assert (text, finish.usage.cached_tokens) == (COUNT, 0)  # the pages are as new
        assert (backend.generator.max_batch_size, backend.generator.max_chunk_size) == (2, 256)
        assert backend._parts["model"] is model
        requests = [await asking(engine, filler=n) for n in range(4)]  # more than the smaller one takes at once
        assert {text for text, _ in await asyncio.gather(*(answer(engine, one) for one in requests))} == {COUNT}


async def test_the_event_loop_lives_while_the_gpu_computes(opened: Open) -> None:
    """Wrapper defect a: exllamav2's, and exllamav3's still, step on the event loop."""
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        go_on, begun = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            go_on.wait(DEADLINE)

        backends[0].script.before = wait
        task = asyncio.create_task(answer(engine, await asking(engine)))
        await asyncio.to_thread(begun.wait, DEADLINE)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not task.done()
        backends[0].script.before = lambda: None
        go_on.set()
        assert (await task)[0] == COUNT
        assert threading.get_ident() not in backends[0].script.threads


async def test_trap_each_job_has_sampler_settings_and_filters_of_its_own(opened: Open) -> None:
    backends: list[Any] = []
    async with opened(backends=backends, slots=2) as engine:
        backend = backends[0]
        made: list[Any] = []
        handle = backend._handle

        def kept(*arguments: Any) -> Any:
            made.append(handle(*arguments))
            return made[-1]

        backend._handle = kept
        sampling = Sampling(temperature=0.5, logprobs=0)
        request = await asking(engine, tokens=2)
        for _ in range(2):
            await answer(
                engine, Generation(prompt=request.prompt, max_tokens=2, sampling=sampling, json_schema={"const": 1})
            )
        one, other = made
        assert one.filters[0] is not other.filters[0]
        settings = "gen_settings" if hasattr(one, "gen_settings") else "sampler"
        assert getattr(one, settings) is not getattr(other, settings)
        assert one.prefix_token is None  # no token healing: a turn's header is a control token
        assert one.banned_strings == []


async def test_an_answer_longer_than_the_pages_that_it_reserves_goes_on(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exllamav3 queues a job again when those are used up; exllamav2 takes all at the start."""
    monkeypatch.setattr(v3, "RESERVED_TOKENS", 64)
    async with opened(answer=LONG_ANSWER) as engine:
        sampling = Sampling(temperature=0, logprobs=0, logit_bias={5: -3.0})
        request = Generation(prompt=await ids_of(engine, QUESTION), max_tokens=500, sampling=sampling)
        text, finish = await answer(engine, request)
        assert text == LONG_ANSWER
        assert finish.usage.completion_tokens == len(await ids_of(engine, LONG_ANSWER)) + 1
        assert finish.usage.cached_tokens == 0


async def test_new_prompts_that_come_together_begin_within_a_few_steps(opened: Open) -> None:
    """exllamav3 pauses four steps after each chunk of a new prompt: eight would begin 35 steps apart."""
    backends: list[Any] = []
    async with opened(backends=backends, answer=LONG_ANSWER, slots=9) as engine:
        stream = engine.stream(await asking(engine, tokens=400))
        await first_words(stream)
        generator, steps = backends[0].generator, [0]
        iterate = generator.iterate

        def counted() -> Any:
            steps[0] += any(not job.is_prefill_done() for job in [*generator.pending_jobs, *generator.active_jobs])
            return iterate()

        generator.iterate = counted
        requests = [await asking(engine, filler=20 + n, tokens=2) for n in range(8)]
        await asyncio.gather(*(answer(engine, request) for request in requests))
        await stream.aclose()
        assert steps[0] <= 10


async def test_pages_that_others_took_meanwhile_are_read_again_without_a_word(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exllamav3, when it queues a job again: it would tell of reading after the text has begun."""
    monkeypatch.setattr(v3, "RESERVED_TOKENS", 64)
    backends: list[Any] = []
    async with opened(backends=backends, answer=LONG_ANSWER) as engine:
        generator = backends[0].generator
        iterate, again = generator.iterate, [0]

        def forgetful() -> Any:
            for job in generator.pending_jobs:
                if getattr(job, "is_requeued", False):
                    again[0] += 1
                    generator.pagetable.reset_page_table()
            return iterate()

        generator.iterate = forgetful
        request = Generation(prompt=await ids_of(engine, QUESTION), max_tokens=500, sampling=GREEDY)
        events = [event async for event in engine.stream(request)]
        first = next(n for n, event in enumerate(events) if isinstance(event, Delta))
        assert not [event for event in events[first:] if isinstance(event, Prefill)]
        assert "".join(event.text for event in events if isinstance(event, Delta)) == LONG_ANSWER
        assert (again[0] > 0) is (opened is loaded_v3)


async def test_a_stop_string_ends_the_work_too(opened: Open) -> None:
    backends: list[Any] = []
    async with opened(backends=backends, answer=LONG_ANSWER) as engine:
        text, finish = await answer(engine, await asking(engine, stop=("5 6",)))
        assert (text, finish.reason) == ("1 2 3 4 ", "stop")
        assert backends[0].generator.num_remaining_jobs() == 0


async def test_a_grammar_that_breaks_fails_its_own_answer_alone(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as engine:
        good = asyncio.create_task(answer(engine, await asking(engine)))
        matcher = engine._grammars.matcher

        def breaking(request: Generation) -> Any:
            made = matcher(request)
            made.failed = "broken"
            return made

        monkeypatch.setattr(engine._grammars, "matcher", breaking)
        with pytest.raises(EngineError, match="broken"):
            await answer(engine, await asking(engine, json_schema={"const": 1}))
        monkeypatch.undo()
        assert (await good)[0] == COUNT
        assert (await answer(engine, await asking(engine, json_schema={"const": 17})))[0] == "17"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_a_bias_does_not_forbid_all_that_a_schema_allows(opened: Open, temperature: float) -> None:
    """Nothing would be left to choose from, and the libraries' samplers would choose an id that there is not."""
    async with opened() as engine:
        bias = dict.fromkeys(range(1, 1277), -100.0)
        sampling = Sampling(temperature=temperature, logit_bias=bias, top_p=0.9, seed=1)
        request = await asking(engine, json_schema={"const": 17})
        request = dataclasses.replace(request, sampling=sampling)
        assert (await answer(engine, request))[0] == "17"


async def test_a_schema_with_guesses_ahead_is_kept(opened: Open) -> None:
    async with opened(ngram_draft=True) as engine:
        schema = {"type": "array", "items": {"const": "ab ab ab"}, "minItems": 3, "maxItems": 3}
        text, _ = await answer(engine, await asking(engine, json_schema=schema))
        assert text == '["ab ab ab", "ab ab ab", "ab ab ab"]'


async def test_every_end_token_ends_the_answer_and_is_no_part_of_it(opened: Open) -> None:
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        script = backends[0].script
        script.answer = [*script.answer[:5], 1278]  # no end token: it goes on
        text, finish = await answer(engine, await asking(engine))
        assert (text, finish.reason, finish.usage.completion_tokens) == ("1 2 3", "stop", 7)


async def test_prefill_is_told_as_it_goes(opened: Open) -> None:
    async with opened(chunk=256) as engine:
        request = await asking(engine, filler=900)
        told = [event async for event in engine.stream(request) if isinstance(event, Prefill)]
        assert [event.processed for event in told] == sorted({event.processed for event in told})
        assert len(told) >= 4
        assert (told[-1].processed, told[-1].total) == (len(request.prompt), len(request.prompt))
        _, finish = await answer(engine, request)
        assert finish.usage.cached_tokens >= 768


async def test_an_unloaded_model_leaves_nothing_behind_however_often(opened: Open) -> None:
    for _ in range(3):
        backends: list[Any] = []
        async with opened(backends=backends) as engine:
            await answer(engine, await asking(engine))
            backend = backends[0]
            left = [weakref.ref(one) for one in (backend.generator, backend._parts["cache"], backend._parts["model"])]
            stream = engine.stream(await asking(engine))
            await anext(stream)
        with pytest.raises(EngineError):
            async for _ in stream:
                pass
        backend.models.clear()
        gc.collect()
        assert [reference() for reference in left] == [None] * 3
        assert backend._parts == {}
    with pytest.raises(EngineBroken):
        await answer(engine, await asking(engine))


async def test_a_request_that_names_what_is_not_there_is_refused_by_name(opened: Open) -> None:
    async with opened() as engine:
        with pytest.raises(BadRequest) as refused:
            await answer(engine, Generation(prompt=(engine._size,), max_tokens=1))
        assert refused.value.param == "prompt"
