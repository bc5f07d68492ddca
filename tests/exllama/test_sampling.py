"""Sampling in the OpenAI API's meaning, over logits that are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest

from bot.completions import choices
from bot.completions.chat import seeded
from bot.config import QueueConfig
from bot.engines.exllama.engine import ExllamaEngine
from bot.engines.scheduler import Scheduler
from bot.generation import Delta, Finish, Generation, Sampling
from tests.exllama.engines import loaded_v2, loaded_v3
from tests.exllama.script import Script

Open = Callable[..., AbstractAsyncContextManager[ExllamaEngine]]
SIZE = 1280
TOKENS = 12

both = pytest.mark.parametrize("opened", [loaded_v2, loaded_v3], ids=["v2", "v3"])


async def written(
    engine: ExllamaEngine, prompt: tuple[int, ...], sampling: Sampling, tokens: int = TOKENS
) -> list[Delta]:
    request = Generation(prompt=prompt, max_tokens=tokens, sampling=sampling)
    return [event async for event in engine.stream(request) if isinstance(event, Delta)]


async def ids(engine: ExllamaEngine, prompt: tuple[int, ...], sampling: Sampling) -> list[int]:
    """What was chosen. Log-probabilities are asked for, so that ids that spell no text are told of as well."""
    deltas = await written(engine, prompt, Sampling(**{**vars_of(sampling), "logprobs": 0}))
    return [id_ for delta in deltas for id_ in delta.token_ids]


def vars_of(sampling: Sampling) -> dict[str, Any]:
    return {name: getattr(sampling, name) for name in Sampling.__slots__}


def expected(
    script: Script, prompt: tuple[int, ...], change: Callable[[np.ndarray[Any, Any], list[int]], None]
) -> list[int]:
    """Greedy choices of the script's logits with `change` made to them; it is given the generated ids."""
    history = list(prompt)
    for _ in range(TOKENS):
        logits = script.logits(history, SIZE).astype(np.float64)
        change(logits, history[len(prompt) :])
        history.append(int(logits.argmax()))
    return history[len(prompt) :]


def penalised(logits: np.ndarray[Any, Any], generated: list[int]) -> None:
    for token, count in Counter(generated).items():
        logits[token] -= 1.5 + count * 0.75


def repeated(logits: np.ndarray[Any, Any], recent: list[int]) -> None:
    for token in set(recent):
        logits[token] = logits[token] / 1.8 if logits[token] > 0 else logits[token] * 1.8


@pytest.fixture
def prompt() -> tuple[int, ...]:
    """Ordinary tokens, among them those that the script will choose."""
    return (20, 21, 300, 301, 302, 303, 304, 305, 306, 307, 308, 309, 16)


def never_ending(script: Script) -> None:
    """The script has nothing to say: what comes is its noise, from which the end of the turn is taken."""
    logits = script.logits

    def noise(history: Any, size: int) -> Any:
        values = logits(history, size)
        values[script.end] = values[1277] = -50.0
        values[:256] = -50.0  # single bytes, half a character of which would be left out at the end
        values[300:310] += 3.0  # a few that are likely, so that they come again
        return values

    script.logits = noise  # type: ignore[method-assign]


@both
async def test_penalties_count_generated_tokens_alone(opened: Open, prompt: tuple[int, ...]) -> None:
    """exllamav2 counts the prompt in, so that a long conversation would forbid its own words."""
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        never_ending(backends[0].script)
        sampling = Sampling(temperature=0, presence_penalty=1.5, frequency_penalty=0.75)
        plain = expected(backends[0].script, prompt, lambda logits, generated: None)
        wanted = expected(backends[0].script, prompt, penalised)
        assert plain != wanted
        assert await ids(engine, prompt, sampling) == wanted
        assert await ids(engine, prompt, Sampling(temperature=0)) == plain


@both
async def test_the_repeat_penalty_reaches_back_as_llama_cpps(opened: Open, prompt: tuple[int, ...]) -> None:
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        never_ending(backends[0].script)
        wanted = expected(
            backends[0].script, prompt, lambda logits, generated: repeated(logits, [*prompt, *generated][-64:])
        )
        assert await ids(engine, prompt, Sampling(temperature=0, repeat_penalty=1.8)) == wanted


@both
async def test_biases_ban_and_force(opened: Open, prompt: tuple[int, ...]) -> None:
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        never_ending(backends[0].script)
        plain = await ids(engine, prompt, Sampling(temperature=0))
        banned = await ids(engine, prompt, Sampling(temperature=1, seed=1, logit_bias=dict.fromkeys(plain, -100.0)))
        assert not set(plain) & set(banned)
        assert await ids(engine, prompt, Sampling(temperature=1.5, logit_bias={77: 100.0})) == [77] * TOKENS


@both
async def test_log_probabilities_are_the_models_own(opened: Open, prompt: tuple[int, ...]) -> None:
    """The libraries' own are those of the sampler, after temperature and cuts; biases and masks change none of these."""
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        script = backends[0].script
        never_ending(script)
        sampling = Sampling(
            temperature=0.3, top_p=0.5, top_k=5, seed=3, logprobs=3, logit_bias={77: 9.0}, presence_penalty=1.0
        )
        told = [each for delta in await written(engine, prompt, sampling) for each in delta.logprobs]
        history = list(prompt)
        assert len(told) == TOKENS
        for token, others in told:
            logits = script.logits(history, SIZE).astype(np.float64)
            own = logits - np.log(np.exp(logits).sum())
            assert token.logprob == pytest.approx(own[token.token_id], abs=1e-3)
            assert [other.token_id for other in others] == np.argsort(-own)[:3].tolist()
            assert [other.logprob for other in others] == pytest.approx(np.sort(own)[::-1][:3].tolist(), abs=1e-3)
            history.append(token.token_id)


@both
async def test_log_probabilities_with_guesses_ahead_belong_to_their_tokens(opened: Open) -> None:
    backends: list[Any] = []
    async with opened(
        backends=backends, ngram_draft=True, answer="one two three one two four one two three one two five one two four"
    ) as engine:
        script = backends[0].script
        prompt = tuple((await engine.encode(["<|im_start|>assistant\n"]))[0])
        deltas = await written(engine, prompt, Sampling(temperature=0, logprobs=0), tokens=60)
        told = [each for delta in deltas for each in delta.logprobs]
        assert [token.token_id for token, _ in told] == script.answer[:-1]
        history = list(prompt)
        for token, _ in told:
            logits = script.logits(history, SIZE).astype(np.float64)
            assert token.logprob == pytest.approx(logits[token.token_id] - np.log(np.exp(logits).sum()), abs=1e-3)
            history.append(token.token_id)


@both
async def test_nothing_asked_for_changes_nothing(opened: Open, prompt: tuple[int, ...]) -> None:
    """Both libraries' defaults do: exllamav2's temperature is .8, its top-k 50, its top-p .8, its penalty 1.025."""
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        script = backends[0].script
        flat = np.zeros(SIZE, dtype=np.float32)
        script.logits = lambda history, size: flat.copy()
        chosen: set[int] = set()
        for seed in range(12):
            chosen |= set(await ids(engine, prompt, Sampling(seed=seed)))
        assert len(chosen) > 90  # of 144, out of 1,280: a top-k of 50 would leave 50 at most


@both
@pytest.mark.parametrize(
    ("sampling", "left"),
    [
        (Sampling(top_k=3), {0, 1, 2}),
        (Sampling(min_p=0.3), {0, 1, 2}),
        (Sampling(top_p=0.1), {0}),
        (Sampling(top_p=0.0), {0}),
        (Sampling(top_p=0.5), {0, 1}),
        (Sampling(top_p=0.76), {0, 1, 2}),
        (Sampling(top_p=0.96, top_k=3), {0, 1, 2}),
        (Sampling(top_p=0.58, top_k=3), {0, 1}),
        (Sampling(top_p=0.7, temperature=2), {0, 1, 2}),
        (Sampling(top_p=0.999, min_p=0.5), {0, 1}),
        (Sampling(temperature=0), {0}),
        (Sampling(temperature=0.02, min_p=0.9), {0}),
    ],
)
async def test_the_cuts_leave_what_they_say(
    opened: Open, prompt: tuple[int, ...], sampling: Sampling, left: set[int]
) -> None:
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        best = np.full(SIZE, -20.0, dtype=np.float32)
        best[:4] = np.log([0.45, 0.3, 0.2, 0.05])
        backends[0].script.logits = lambda history, size: best.copy()
        found: set[int] = set()
        for seed in range(8):
            found |= set(await ids(engine, prompt, Sampling(**{**vars_of(sampling), "seed": seed})))
        assert found == left


@both
async def test_a_seed_gives_the_same_again_beside_others(opened: Open, prompt: tuple[int, ...]) -> None:
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        never_ending(backends[0].script)
        one = await ids(engine, prompt, Sampling(seed=5))
        assert await ids(engine, prompt, Sampling(seed=6)) != one
        assert await ids(engine, prompt, Sampling(seed=5)) == one


@both
async def test_n_choices_are_those_of_their_seeds_and_run_beside_each_other(
    opened: Open, prompt: tuple[int, ...]
) -> None:
    backends: list[Any] = []
    async with opened(backends=backends) as engine:
        never_ending(backends[0].script)
        first = Generation(prompt=prompt, max_tokens=TOKENS, sampling=Sampling(seed=5, logprobs=0))
        scheduler = Scheduler(engine, QueueConfig(), slots=engine.slots)
        found: dict[int, list[int]] = {number: [] for number in range(4)}
        async for number, event in choices.run(scheduler, seeded(first, 4), user="key", most=8):
            if isinstance(event, Delta):
                found[number] += event.token_ids
        assert list(found.values()) == [await ids(engine, prompt, Sampling(seed=5 + number)) for number in range(4)]
        assert len({tuple(choice) for choice in found.values()}) == 4


@both
async def test_guesses_ahead_change_nothing_that_is_drawn(opened: Open, prompt: tuple[int, ...]) -> None:
    """With cuts, which are made for each token that comes, whether it was guessed or not."""
    found, accepted = [], 0
    likely = np.zeros(SIZE, dtype=np.float32)
    likely[300:303] = 5.0
    for ngram in (False, True):
        backends: list[Any] = []
        async with opened(ngram_draft=ngram, backends=backends) as engine:
            script = backends[0].script
            never_ending(script)
            script.logits = lambda history, size, noise=script.logits: noise(history, size) + likely
            sampling = Sampling(temperature=0.7, top_p=0.9, seed=5, logprobs=0)
            request = Generation(prompt=prompt, max_tokens=200, sampling=sampling)
            events = [event async for event in engine.stream(request)]
            found.append([id_ for event in events if isinstance(event, Delta) for id_ in event.token_ids])
            assert isinstance(events[-1], Finish)
            accepted = events[-1].accepted_draft_tokens
    assert found[0] == found[1]
    assert (len(found[0]), len(set(found[0])) > 2, accepted > 0) == (200, True, True)
