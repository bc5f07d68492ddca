"""Model folders: which library reads them, what is refused, and how much of a GPU they take."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bot.config import GpuConfig, ModelConfig
from bot.engines.exllama import sizing
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import ModelFolder, look, rope
from bot.errors import ModelError
from bot.speech import device

DEMO = Path(__file__).parents[1] / "assets" / "hearth-demo-chat-hf"
GIB = 2**30


def model(
    folder: Path,
    *,
    tensors: dict[str, str] | None = None,
    generation: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """The demo's folder with other weights, which are only named, and other words in its files; None takes a key away."""
    folder.mkdir(exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"):
        shutil.copy(DEMO / name, folder)
    for name, change in (
        ("config.json", config),
        ("generation_config.json", generation),
        ("tokenizer_config.json", settings),
    ):
        values = {**json.loads((folder / name).read_text()), **(change or {})}
        (folder / name).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    header = {
        name: {"dtype": kind, "shape": [2, 2], "data_offsets": [0, 0]}
        for name, kind in (tensors or {"model.embed_tokens.weight": "F16"}).items()
    }
    data = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(data).to_bytes(8, "little") + data)
    return folder


def refused(folder: Path, library: Any = "auto") -> str:
    with pytest.raises(ModelError) as error:
        look(folder).library(library)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_finding_1_what_both_read_is_run_by_v3_unless_the_configuration_says_otherwise() -> None:
    """V2 is not developed any more."""
    folder = look(DEMO)
    assert (folder.kind, folder.architecture, folder.context_length) == ("plain", "LlamaForCausalLM", 2048)
    assert folder.library() == "exllamav3"
    assert folder.library("exllamav2") == "exllamav2"
    assert folder.parameters == 3279104


@pytest.mark.parametrize(
    ("tensor", "method", "kind", "library"),
    [
        ("model.layers.0.mlp.up_proj.q_weight", {"quant_method": "exl2", "bits": 4.0}, "exl2", "exllamav2"),
        ("model.layers.0.mlp.up_proj.q_weight", None, "exl2", "exllamav2"),
        ("model.layers.0.mlp.up_proj.qweight", {"quant_method": "gptq", "bits": 4}, "gptq", "exllamav2"),
        ("model.layers.0.mlp.up_proj.trellis", {"quant_method": "exl3", "bits": 3.5}, "exl3", "exllamav3"),
    ],
)
def test_the_weights_decide(
    tmp_path: Path, tensor: str, method: dict[str, Any] | None, kind: str, library: str
) -> None:
    folder = look(model(tmp_path / "m", tensors={tensor: "I32"}, quantization_config=method))
    assert (folder.kind, folder.library()) == (kind, library)
    other = {"exllamav2": "exllamav3", "exllamav3": "exllamav2"}[library]
    assert f"which {other} does not read" in refused(folder.path, other)


def test_an_unknown_architecture_is_not_taken_for_llama(tmp_path: Path) -> None:
    """exllamav2 would print a warning and load it as Llama."""
    path = model(tmp_path / "m", architectures=["NewForCausalLM"])
    assert "does not know the architecture NewForCausalLM" in refused(path, "exllamav2")
    assert look(path).library() == "exllamav3"  # it refuses by itself what it does not know


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quantization_config": {"quant_method": "awq"}}, "reads awq weights"),
        ({"tensors": {"model.embed_tokens.weight": "F8_E4M3"}}, "has FP8 weights, which exllamav3 only unpacks"),
        ({"quantization_config": {"quant_method": "fp8"}}, "has FP8 weights, which exllamav3 only unpacks"),
        ({"tensors": {"model.embed_tokens.weight": "U8"}}, "reads these weights (U8)"),
        ({"architectures": ["LlamaForCausalLM", "LlamaModel"]}, "must name one architecture"),
        ({"architectures": None}, "must name one architecture"),
        (
            {"tensors": {"a.qweight": "I32"}, "quantization_config": {"quant_method": "gptq", "bits": 8}},
            "GPTQ weights of 4 bits alone",
        ),
    ],
)
def test_what_neither_reads_is_refused_by_name(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    assert words in refused(model(tmp_path / "m", **change))


def test_what_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    path = model(tmp_path / "m")
    assert "is not a folder" in refused(path / "config.json")
    whole = (DEMO / "model.safetensors").read_bytes()
    for damage, words in ((whole[:500], "damaged"), (whole[: len(whole) // 2], "is cut off"), (b"", "damaged")):
        (path / "model.safetensors").write_bytes(damage)
        assert words in refused(path)
    (path / "model.safetensors").unlink()
    assert "has no weights" in refused(path)
    (path / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refused(path)
    (path / "config.json").write_text("{")
    assert "is damaged" in refused(path)


def test_finding_5_rope_parameters_are_read_or_refused(tmp_path: Path) -> None:
    """exllamav2 reads the base 10,000 out of a config.json that transformers 5 wrote, and no scaling."""
    found = rope(look(DEMO))
    assert found is not None
    assert found.theta == 500000.0
    llama3 = {"rope_type": "llama3", "rope_theta": 1e6, "factor": 8.0}
    path = model(tmp_path / "m", rope_parameters=llama3, rope_theta=None)
    assert look(path).library("exllamav2") == "exllamav2"
    assert rope(look(path)) is not None
    yarn: dict[str, Any] = {
        "rope_type": "yarn",
        "rope_theta": 1e6,
        "factor": 4.0,
        "original_max_position_embeddings": 1024,
    }
    longrope: dict[str, Any] = {"rope_type": "longrope", "rope_theta": 1e6, "original_max_position_embeddings": 1024}
    for whole in (yarn, {**longrope, "long_factor": [2.0], "short_factor": [1.0]}):
        assert look(model(tmp_path / "m", rope_parameters=whole)).library("exllamav2") == "exllamav2"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"rope_type": "dynamic", "rope_theta": 1e6, "factor": 4.0}, "cannot run these rope_parameters 'dynamic'"),
        ({"full_attention": {"rope_type": "default"}}, "cannot run these rope_parameters"),
        ({**yarn, "original_max_position_embeddings": None}, "the yarn of config.json is not whole"),
        ({**yarn, "original_max_position_embeddings": 1}, "the yarn of config.json is not whole"),
        ({**yarn, "attention_factor": 0.5}, "its attention_factor is below 1"),
        (longrope, "the longrope of config.json is not whole"),
        ({**longrope, "long_factor": [2.0], "short_factor": []}, "the longrope of config.json is not whole"),
    ]
    for parameters, words in cases:
        path = model(tmp_path / "m", rope_parameters=parameters)
        assert words in refused(path, "exllamav2")
        assert look(path).library() == "exllamav3"
    path = model(tmp_path / "m", rope_parameters={"rope_type": "default"}, rope_theta=None)
    assert "no rope_theta" in refused(path, "exllamav2")
    path = model(tmp_path / "m", rope_parameters=None, rope_scaling={"type": "dynamic", "factor": 2.0})
    assert "does not know the rope_scaling 'dynamic'" in refused(path, "exllamav2")
    path = model(tmp_path / "m", rope_parameters=None, rope_scaling={"type": "linear", "factor": 2.0})
    assert rope(look(path)) is None
    su = {"type": "su", "long_factor": [2.0], "short_factor": [1.0]}
    path = model(tmp_path / "m", rope_parameters=None, rope_scaling=su, original_max_position_embeddings=512)
    found = rope(look(path))
    assert found is not None
    assert (found.kind, found.trained, found.factor, found.theta) == ("longrope", 512, 4.0, None)


def test_finding_7_and_8_what_the_libraries_need_and_do_not_say_is_declared() -> None:
    """exllamav2 does not declare `tokenizers`; CTranslate2 needs cuBLAS 12, and PyTorch brings 13 (bot.speech.device)."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for extra in ("exllamav2", "exllamav3"):
        names = {re.split(r"[<>=\[]", need)[0] for need in extras[extra]}
        assert names == {extra, "tokenizers", "torch"}
    assert any(need.startswith("nvidia-cublas-cu12") for need in extras["gpu"])
    assert not [need for need in project["dependencies"] if need.startswith(("torch", "exllama"))]


def test_finding_8_cublas_12_is_loaded_out_of_its_package_before_what_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's own is of CUDA 13, which CTranslate2 does not use."""
    folder, tried = tmp_path / "nvidia" / "cublas" / "lib", list[str]()
    folder.mkdir(parents=True)
    for name in device.CUBLAS:
        (folder / name).touch()

    def loads(library: str) -> bool:
        tried.append(library)
        return library.startswith(str(tmp_path))

    monkeypatch.setattr(device, "_loads", loads)
    assert device._load_cublas() == "libcublasLt.so.12"
    monkeypatch.syspath_prepend(tmp_path)
    assert device._load_cublas() == ""
    assert [place for place in tried if place.startswith(str(tmp_path))] == [
        str(folder / name) for name in device.CUBLAS
    ]


def test_the_digest_tells_weights_apart(tmp_path: Path) -> None:
    one = look(model(tmp_path / "a")).digest
    assert look(model(tmp_path / "b")).digest == one
    assert look(model(tmp_path / "c", tensors={"other": "F16"})).digest != one


def ends(folder: Path) -> set[int]:
    return set(Vocabulary(look(folder)).end_ids)


def test_every_end_counts(tmp_path: Path) -> None:
    """exllamav2 takes the first id of a list, from config.json alone."""
    assert ends(model(tmp_path / "m")) == {1279}
    assert ends(model(tmp_path / "m", eos_token_id=[1279, 1277])) == {1277, 1279}
    assert ends(model(tmp_path / "m", generation={"eos_token_id": [1277]})) == {1277, 1279}
    only_there = model(tmp_path / "m", eos_token_id=None, generation={"eos_token_id": None})
    assert ends(only_there) == {1279}  # tokenizer_config.json
    misnamed: dict[str, Any] = {"settings": {"eos_token": "<|endoftext|>"}, "generation": {"eos_token_id": 1277}}
    assert ends(model(tmp_path / "m", eos_token_id=1277, **misnamed)) == {1277, 1279}  # the template writes <|im_end|>
    nothing = model(
        tmp_path / "m",
        eos_token_id=None,
        generation={"eos_token_id": None},
        settings={"eos_token": None, "chat_template": "{{ x }}"},
    )
    with pytest.raises(ModelError, match="which token ends a turn"):
        ends(nothing)


def test_control_strings_are_all_added_tokens_and_text_is_encoded_without_any_bos() -> None:
    vocabulary = Vocabulary(look(DEMO))
    assert vocabulary.control_strings == {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
    assert vocabulary.encode(["<|im_end|>", "a"]) == [[1279], vocabulary.encode(["a"])[0]]
    assert vocabulary.decode([1278, *vocabulary.encode(["é"])[0], 1279]) == "é"
    assert (vocabulary.bytes_of(1279), vocabulary.size) == (b"<|im_end|>", 1280)


@pytest.mark.parametrize("where", ["chat_template.jinja", "chat_template.json", "named"])
def test_the_template_is_found_where_transformers_looks(tmp_path: Path, where: str) -> None:
    path = model(tmp_path / "m", settings={"chat_template": [{"name": "default", "template": "T {{ eos_token }}"}]})
    if where == "chat_template.jinja":
        (path / where).write_text("J {{ eos_token }}")
    elif where == "chat_template.json":
        (path / where).write_text(json.dumps({"chat_template": "S {{ eos_token }}"}))
    template = Vocabulary(look(path)).template
    assert template.source[0] == {"chat_template.jinja": "J", "chat_template.json": "S", "named": "T"}[where]
    assert (template.bos_token, template.eos_token) == ("<|endoftext|>", "<|im_end|>")


def test_a_model_without_a_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no chat template"):
        Vocabulary(look(model(tmp_path / "m", settings={"chat_template": None})))


def a_plan(**changes: Any) -> sizing.Plan:
    """An 8B model of 4 bits on a card of 24 GB, unless it is changed."""
    values: dict[str, Any] = {
        "trained": 131072,
        "wanted_context": None,
        "wanted_cache": None,
        "slots": 8,
        "per_token": 2 * 32 * 8 * 128 * 2,
        "weights": 5 * GIB,
        "free": 23 * GIB,
        "reserve": 2 * GIB,
    }
    return sizing.plan(**{**values, **changes})


def test_the_cache_takes_what_is_left_and_leaves_the_reserve() -> None:
    plan = a_plan()
    assert plan.cache_tokens % 256 == 0
    taken = plan.cache_tokens * 2 * 32 * 8 * 128 * 2 + 5 * GIB + 2 * GIB
    assert 21.5 * GIB < taken < 23 * GIB
    assert plan.context_length == min(131072, plan.cache_tokens)
    assert a_plan(wanted_context=8192).cache_tokens == 8 * 8192
    assert a_plan(wanted_context=8192, slots=1) == sizing.Plan(8192, 8192)
    assert a_plan(wanted_context=8192, wanted_cache=20000) == sizing.Plan(8192, 20224)
    assert a_plan(wanted_context=4096, wanted_cache=10**6).cache_tokens == 1000192  # whoever names it knows better
    assert a_plan(wanted_context=10**6, reserve=10 * GIB).cache_tokens < plan.cache_tokens


@pytest.mark.parametrize("changes", [{"weights": 22 * GIB}, {"reserve": 17 * GIB}])
def test_what_does_not_fit_is_told_with_its_figures(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"does not fit: the weights take .* GB .*24\.7 GB are free"):
        a_plan(**changes)


def test_a_token_costs_what_its_keys_and_values_take() -> None:
    config = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}
    assert sizing.bytes_per_token(config, 16) == 2 * 32 * 8 * 128 * 2
    assert sizing.bytes_per_token(config, 4) == 2 * 32 * 8 * 128 * 4.5 / 8 + 4 * 8 * 128
    assert sizing.bytes_per_token({**config, "head_dim": 64}, 16) == 2 * 32 * 8 * 64 * 2
    latent = {**config, "kv_lora_rank": 512, "qk_rope_head_dim": 64}
    assert sizing.bytes_per_token(latent, 16) == 32 * (512 + 64) * 2
    with pytest.raises(ModelError, match="shape of the attention"):
        sizing.bytes_per_token({}, 16)


def test_long_chunks_of_a_prompt_leave_the_cache_less() -> None:
    """What is computed for them is as long as they are, and the library refuses to load where it finds no room."""
    config = {"hidden_size": 4096, "intermediate_size": 14336}
    assert sizing.chunk_bytes(config, 256) == sizing.chunk_bytes(config, 512) == sizing.chunk_bytes({}, 512) == 0
    more = sizing.chunk_bytes(config, 8192)
    assert more == 15 * sizing.chunk_bytes(config, 1024) == (8192 - 512) * (12 * 14336 + 16 * 4096)
    experts = {**config, "intermediate_size": 6144, "moe_intermediate_size": 3584, "num_experts_per_tok": 4}
    assert sizing.chunk_bytes(experts, 8192) == more
    assert sizing.chunk_bytes({"n_embd": 64}, 513) == 12 * 256 + 16 * 64
    with pytest.raises(ModelError, match="does not tell the shape"):
        sizing.chunk_bytes({}, 1024)
    plan, per_token = a_plan(), 2 * 32 * 8 * 128 * 2
    less = a_plan(work=sizing.WORK_BYTES + more)
    assert abs(plan.cache_tokens - less.cache_tokens - more / per_token) < 256
    with pytest.raises(ModelError, match=r"the work 2\.6 GB"):
        a_plan(work=sizing.WORK_BYTES + more, weights=20 * GIB)


def test_a_draft_model_shares_the_memory_and_bounds_the_context(tmp_path: Path) -> None:
    small = look(model(tmp_path / "m", max_position_embeddings=1024))
    config = ModelConfig(path=DEMO, gpu=GpuConfig(draft_model=small.path))
    folders: tuple[ModelFolder, ...] = (look(DEMO), small)
    plan = sizing.plan_for(folders, config, free=20 * GIB, slots=2, chunk=512)
    assert plan == sizing.Plan(1024, 2048)
    with pytest.raises(ModelError, match=str(DEMO)):
        sizing.plan_for(folders, config, free=GIB, slots=2, chunk=512)
