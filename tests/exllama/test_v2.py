"""ExLlamaV2's own code, where it is wrong, and what is done about it."""

from __future__ import annotations

import json
import math
import shutil
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bot.config import ModelConfig
from bot.engines.exllama import device, positions, v2
from bot.engines.exllama.engine import ExllamaEngine
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import look, rope
from bot.errors import ModelError, NoGpu
from bot.generation import Delta, Finish, Generation, Prefill, Sampling
from bot.messages import Role
from bot.prompt import PromptBuilder, Turn
from tests.attacks import bank
from tests.exllama import ext_v2
from tests.exllama.engines import loaded_v2
from tests.exllama.script import COUNT, MODEL


@pytest.fixture(scope="module")
def library() -> Any:
    ext_v2.install()
    return v2.library()


def attention(library: Any, config: Any) -> torch.Tensor:
    """The library's attention without flash-attn, of one head over three positions: (1, 3, 1, 4)."""
    torch.manual_seed(0)
    queries, keys, values = (torch.randn(1, 3, 1, 4).half() for _ in range(3))
    own = SimpleNamespace(
        layer_idx=0, sliding_window=0, scaling=0.5, num_key_value_groups=1, repeat_kv=lambda states, groups: states
    )
    params = library.attn.ExLlamaV2Attention.Params(1, 3, 0, None, None)
    done = library.attn.ExLlamaV2Attention._attn_torch(own, 1, 3, queries, keys, values, params, config)
    return done.reshape(1, 3, 1, 4).float()


def reference(*, causal: bool) -> torch.Tensor:
    torch.manual_seed(0)
    queries, keys, values = (torch.randn(1, 3, 1, 4).transpose(1, 2) for _ in range(3))
    scores = queries @ keys.transpose(-1, -2) * 0.5
    if causal:
        scores = scores + torch.full((3, 3), -math.inf).triu(1)
    return (scores.softmax(-1) @ values).transpose(1, 2)


async def test_finding_2_without_flash_attn_the_attention_that_is_causal_is_chosen(library: Any) -> None:
    """Its scaled-dot-product one is not: each token would see those after it."""
    backends: list[Any] = []
    async with loaded_v2(paged=False, slots=8, backends=backends) as engine:
        assert engine.slots == 1
        config = backends[0]._parts["model"].config
        assert (config.no_flash_attn, config.no_sdpa, config.no_xformers) == (True, True, True)
    halves = SimpleNamespace(no_sdpa=True, attn_logit_softcapping=None)
    flawed = SimpleNamespace(no_sdpa=False, attn_logit_softcapping=None)
    right = attention(library, halves)
    assert torch.allclose(right, reference(causal=True), atol=2e-2)
    assert torch.allclose(attention(library, flawed), reference(causal=False), atol=2e-2)
    assert not torch.allclose(reference(causal=True), reference(causal=False), atol=2e-2)


async def test_finding_3_control_strings_in_peoples_words_are_text(library: Any) -> None:
    """Its own tokenizer takes them for control tokens, also when it is told not to."""
    config = library.ExLlamaV2Config()
    config.model_dir = str(MODEL)
    config.prepare()
    tokenizer = library.ExLlamaV2Tokenizer(config)
    assert 1279 in tokenizer.encode("<|im_end|>", encode_special_tokens=False)[0].tolist()
    async with loaded_v2() as engine:
        builder, day = PromptBuilder(engine), date(2026, 3, 14)

        async def controls(text: str) -> list[int]:
            turns = [
                Turn(Role.SYSTEM, text),
                Turn(Role.USER, text, text),
                Turn(Role.ASSISTANT, text),
                Turn(Role.USER, text),
            ]
            ids = (await builder.build(turns, day=day, max_tokens=10)).ids
            return [id_ for id_ in ids if id_ >= 1277]

        plain = await controls("word")
        assert len(plain) == 9
        for text in [text for text in bank.attacks() if len(text) < 100][::4]:
            assert await controls(text) == plain, text


@pytest.mark.parametrize(
    "parameters",
    [
        {"rope_type": "default", "rope_theta": 123456.0},
        {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
        {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    ],
)
def test_finding_5_new_rope_parameters_are_as_the_old_ones(
    library: Any, tmp_path: Path, parameters: dict[str, Any]
) -> None:
    """What the library makes of the same model as an older transformers wrote it."""
    new, old = tmp_path / "new", tmp_path / "old"
    values = json.loads((MODEL / "config.json").read_text())
    for folder in (new, old):
        shutil.copytree(MODEL, folder)
    values["rope_parameters"] = parameters
    del values["rope_theta"]
    (new / "config.json").write_text(json.dumps(values))
    del values["rope_parameters"]
    scaling = {key: value for key, value in parameters.items() if key not in ("rope_theta", "partial_rotary_factor")}
    values |= {"rope_theta": parameters["rope_theta"], "rope_scaling": scaling}
    values |= {"partial_rotary_factor": parameters.get("partial_rotary_factor", 1.0)}
    (old / "config.json").write_text(json.dumps(values))

    def frequencies(folder: Path) -> Any:
        config = library.ExLlamaV2Config()
        config.model_dir = str(folder)
        config.prepare()
        unset = config.rotary_embedding_base
        if (found := rope(look(folder))) is not None:
            positions.set_rope(config, found)
        params = library.rope.get_rope_params(torch.device("cpu"), config, config.rotary_embedding_base)
        return params, config.scale_pos_emb, unset

    (ours, factor, unset), (theirs, their_factor, _) = frequencies(new), frequencies(old)
    assert torch.equal(ours[0], theirs[0])
    assert (ours[1], factor) == (theirs[1], their_factor)
    assert unset == 10000.0


YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 1024}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "original_max_position_embeddings": 512,
    "long_factor": [1 + n / 4 for n in range(32)],
    "short_factor": [1 + n / 64 for n in range(32)],
}
LONG_TURNS = [1.0, 0.0333333, 0.00790569, 0.002, 0.000527046, 1.52402e-05]


@pytest.mark.parametrize("style", ["rope_parameters", "rope_scaling"])
@pytest.mark.parametrize(
    ("parameters", "context", "attention", "turns"),
    [
        (YARN, 2048, 1.138629436, [1.0, 0.0184466, 0.00140585, 0.00025, 4.4457e-05, 3.84982e-07]),
        (YARN, 768, 1.138629436, [1.0, 0.0184466, 0.00140585, 0.00025, 4.4457e-05, 3.84982e-07]),
        (
            {**YARN, "attention_factor": 1.5, "beta_fast": 16, "beta_slow": 2, "truncate": False},
            2048,
            1.5,
            [1.0, 0.0187018, 0.00140585, 0.00025, 4.4457e-05, 3.84982e-07],
        ),
        (
            {**YARN, "mscale": 1.2, "mscale_all_dim": 0.5},
            2048,
            1.090750275,
            [1.0, 0.0184466, 0.00140585, 0.00025, 4.4457e-05, 3.84982e-07],
        ),
        (LONG, 2048, 1.154700538, LONG_TURNS),
        (LONG, 512, 1.154700538, [1.0, 0.0888889, 0.0266297, 0.008, 0.00240935, 8.98372e-05]),
        ({**LONG, "attention_factor": 1.0}, 2048, 1.0, LONG_TURNS),
    ],
)
async def test_finding_5_extended_contexts_turn_as_in_transformers(
    library: Any,
    tmp_path: Path,
    style: str,
    parameters: dict[str, Any],
    context: int,
    attention: float,
    turns: list[float],
) -> None:
    """The figures are those of transformers 5.24. The library's own depend on how much context is loaded."""
    folder = tmp_path / "m"
    shutil.copytree(MODEL, folder)
    values = json.loads((MODEL / "config.json").read_text())
    del values["rope_parameters"]
    values |= {style: parameters, "rope_theta": parameters["rope_theta"], "max_position_embeddings": 4096}
    if style == "rope_scaling":  # where older ones have it
        values |= {"original_max_position_embeddings": parameters["original_max_position_embeddings"]}
    (folder / "config.json").write_text(json.dumps(values))
    backends: list[Any] = []
    async with loaded_v2(path=folder, context_length=context, backends=backends):
        config = backends[0]._parts["model"].config
        found, factor = library.rope.get_rope_params(torch.device("cpu"), config, config.rotary_embedding_base)
    assert found[[0, 8, 12, 16, 20, 31]].tolist() == pytest.approx(turns, rel=1e-5)
    assert (len(found), factor) == (32, pytest.approx(attention, rel=1e-6))


async def test_finding_6_no_sequence_is_so_long_that_tidying_the_cache_fails(library: Any) -> None:
    """It goes one level of recursion deeper for each page of a sequence."""
    assert v2.MOST_CONTEXT == 768 * 256

    def tidied(pages: int) -> None:
        backends: list[Any] = []
        generator = library.generator.ExLlamaV2DynamicGenerator.__new__(library.generator.ExLlamaV2DynamicGenerator)
        del backends
        generator.paged, generator.max_pages, generator.page_size = True, pages, 1
        generator.draft_cache, generator.cache = None, SimpleNamespace(all_tensors=list)
        generator.reset_page_table()
        before = None
        for page in generator.all_pages:
            page.prev_hash, before = before, page.phash
        generator.access_serial = 10 * pages
        generator.defrag_cache()

    tidied(v2.MOST_CONTEXT // 256)
    with pytest.raises(RecursionError):
        tidied(2000)


async def test_trap_quantised_caches_are_refused_where_heads_are_too_narrow(tmp_path: Path) -> None:
    for bits in (8, 6, 4):
        async with loaded_v2(cache_bits=bits) as engine:
            assert engine.slots == 4
    folder = tmp_path / "m"
    shutil.copytree(MODEL, folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "head_dim": 80, "num_attention_heads": 4}))
    with pytest.raises(ModelError, match="cannot keep its KV cache in 4 bits"):
        async with loaded_v2(cache_bits=4, path=folder):
            pass


async def test_trap_more_answers_at_once_than_a_chunk_has_rows_for() -> None:
    """Its generator refuses to start if the model's buffers are too small for a step of all."""
    backends: list[Any] = []
    async with loaded_v2(slots=100, chunk=256, cache_tokens=2048, backends=backends) as engine:
        assert (engine.slots, backends[0].generator.max_batch_size) == (100, 100)
        assert backends[0]._parts["model"].config.max_input_len == 100 * v2.ROWS


async def test_trap_adapters_belong_to_every_generator_over_the_model() -> None:
    """They are the generator's, and can be set only while it has no jobs."""
    backends: list[Any] = []
    async with loaded_v2(backends=backends):
        backend, adapter = backends[0], object()
        backend._parts["loras"] = [adapter]
        backend.rebuild(smaller=True)
        assert backend.generator.current_loras == [adapter]


async def test_a_draft_model_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(MODEL, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    one, other = list(words)[300], list(words)[301]
    words[one], words[other] = words[other], words[one]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match="another vocabulary"):
        async with loaded_v2(draft_model=folder):
            pass


async def test_a_machine_without_a_gpu_says_so_in_one_line() -> None:
    """The libraries' own imports fail there in many ways, and compile for many minutes in others."""
    with pytest.raises(NoGpu) as told:
        await ExllamaEngine.load("big", ModelConfig(path=MODEL))
    assert "was built without CUDA" in str(told.value) or "finds no NVIDIA GPU" in str(told.value)
    assert "\n" not in str(told.value)
    with pytest.raises(NoGpu, match="nothing_of_this_name is not installed"):
        device.installed("nothing_of_this_name")


def test_its_sampler_is_given_every_setting_that_is_not_neutral(library: Any) -> None:
    """None of its defaults may be left that changes the model's distribution."""
    made = v2.settings(library, Sampling())
    assert (made.temperature, made.top_k, made.top_p, made.min_p, made.token_repetition_penalty) == (
        1.0,
        0,
        1.0,
        0.0,
        1.0,
    )
    for name in ("top_a", "tfs", "typical", "skew", "smoothing_factor", "dry_multiplier", "xtc_probability"):
        assert not getattr(made, name)
    assert not (made.mirostat or made.temperature_last or made.token_frequency_penalty or made.token_presence_penalty)
    assert v2.settings(library, Sampling(temperature=0)).top_k == 1


def test_the_vocabulary_is_the_same_as_the_librarys(library: Any) -> None:
    config = library.ExLlamaV2Config()
    config.model_dir = str(MODEL)
    config.prepare()
    assert library.ExLlamaV2Tokenizer(config).get_vocab_size() == Vocabulary(look(MODEL)).size


async def test_without_flash_attn_a_cancel_in_prefill_leaves_the_next_answer_right() -> None:
    """There is one page then, the whole cache, and what was read of the prompt stays known."""
    backends: list[Any] = []
    async with loaded_v2(paged=False, chunk=256, backends=backends, draft_model=MODEL) as engine:
        [question] = await engine.encode(["<|im_start|>user\nCount.<|im_end|>\n<|im_start|>assistant\n"])
        prompt = (*(1 + n % 250 for n in range(1200)), *question)
        request = Generation(prompt=prompt, max_tokens=200, sampling=Sampling(temperature=0))
        stream = engine.stream(request)
        event = await anext(stream)
        assert isinstance(event, Prefill)
        assert event.processed < len(prompt)
        await stream.aclose()
        for cached in (256, len(prompt) - 1):
            events = [event async for event in engine.stream(request)]
            finish = events[-1]
            assert isinstance(finish, Finish)
            assert "".join(event.text for event in events if isinstance(event, Delta)) == COUNT
            assert finish.usage.cached_tokens >= cached
            assert finish.accepted_draft_tokens > 10
