"""The calls that only a GPU makes, as the libraries' own functions take them: what the scripted models stand in for."""

from __future__ import annotations

import dataclasses
import inspect
import os
import site
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bot.config import GpuConfig, ModelConfig
from bot.engines.exllama import build, device, sizing, v2, v3
from bot.engines.exllama.progress import Progress
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import look
from bot.errors import ModelError, NoGpu
from tests.exllama import ext_v2, ext_v3
from tests.exllama.script import MODEL

GIB = 2**30
CARDS = 2


class Checked:
    """An object whose methods are called as those of `kind` may be; the calls are kept."""

    def __init__(self, kind: Any, *methods: str) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        for name in methods:
            setattr(self, name, self._of(name, inspect.signature(getattr(kind, name))))

    def _of(self, name: str, signature: inspect.Signature) -> Any:
        def call(*arguments: Any, **keywords: Any) -> None:
            bound = signature.bind(self, *arguments, **keywords)
            self.calls.append((name, dict(bound.arguments)))

        return call


def cuda(capability: tuple[int, int] = (8, 9), free: int = 23 * GIB, second: tuple[int, int] | None = None) -> Any:
    """What is asked of torch.cuda, on a machine with two cards."""
    capabilities = (capability, second or capability)
    return SimpleNamespace(
        is_available=lambda: False,
        device_count=lambda: CARDS,
        get_device_capability=lambda number: capabilities[number],
        get_arch_list=lambda: ["sm_75", "sm_80", "sm_86", "sm_90a", "compute_90"],
        get_device_name=lambda number: f"Card {number}",
        mem_get_info=lambda number: (free, 24 * GIB),
        set_per_process_memory_fraction=lambda fraction, number: None,
    )


def a_torch(**changes: Any) -> Any:
    return SimpleNamespace(cuda=cuda(**changes), tensor=torch.tensor, long=torch.long)


def backend(kind: Any, module: Any, **gpu: Any) -> Any:
    made = kind(look(MODEL), ModelConfig(path=MODEL, slots=4, gpu=GpuConfig(**gpu)), Vocabulary(look(MODEL)))
    made._module, made._torch, made._cards = module, a_torch(), CARDS
    return made


@pytest.fixture(scope="module")
def exllamav2() -> Any:
    ext_v2.install()
    return v2.library()


@pytest.fixture(scope="module")
def exllamav3() -> Any:
    ext_v3.install()
    return v3.library()


def test_v2_fills_one_card_after_the_other_and_leaves_the_reserve(exllamav2: Any) -> None:
    made = backend(v2.V2, exllamav2, reserve_mib=1024)
    model = Checked(exllamav2.ExLlamaV2, "load_autosplit", "load")
    model.config = SimpleNamespace(num_key_value_heads=4, num_hidden_layers=1, head_dim=64)  # type: ignore[attr-defined]
    cache = made._filled(model, 1024, "m")
    [(name, arguments)] = model.calls
    assert name == "load_autosplit"
    assert arguments["cache"] is cache
    assert arguments["reserve_vram"] == [GIB, v2.OTHERS_RESERVE]
    assert isinstance(arguments["callback"], Progress)
    assert arguments["last_id_only"]  # logits of a whole chunk would take more than is left for the work
    assert (cache.max_seq_len, cache.batch_size, cache.key_states) == (1024, 1, [None])


def test_v2_splits_as_it_is_told(exllamav2: Any) -> None:
    made = backend(v2.V2, exllamav2, split=(20.0, 22.0), cache_bits=4)
    model = Checked(exllamav2.ExLlamaV2, "load_autosplit", "load")
    model.config = SimpleNamespace(num_key_value_heads=4, num_hidden_layers=1, head_dim=64)  # type: ignore[attr-defined]
    model.cache_map, model.get_cache_devices = {}, lambda: ["cpu"]  # type: ignore[attr-defined]
    cache = made._filled(model, 1024, "m")
    assert model.calls[0][0] == "load"
    assert model.calls[0][1]["gpu_split"] == [20.0, 22.0]
    assert type(cache).__name__ == "ExLlamaV2Cache_Q4"


@pytest.mark.parametrize("split", [(), (20.0, 22.0)])
def test_v3_is_loaded_with_what_its_loader_takes(exllamav3: Any, split: tuple[float, ...]) -> None:
    made = backend(v3.V3, exllamav3, split=split, reserve_mib=1536)
    model = Checked(exllamav3.Model, "load_gen")
    model.load = model.load_gen  # type: ignore[attr-defined]  # it passes everything on
    made._fill(model, "m")
    arguments = model.calls[0][1]
    assert arguments["reserve_per_device"] == (None if split else [1.5, v3.OTHERS_RESERVE])
    assert arguments["use_per_device"] == (list(split) or None)
    assert (arguments["max_chunk_size"], arguments["max_batch_size"]) == (512, 4)


def test_a_load_that_fails_leaves_pytorch_no_bound_on_its_memory(exllamav3: Any) -> None:
    """exllamav3 sets one for the time of a load, and forgets it when that fails."""
    made, freed = backend(v3.V3, exllamav3), list[tuple[float, int]]()
    made._torch.cuda.set_per_process_memory_fraction = lambda fraction, number: freed.append((fraction, number))

    def fail(**_: Any) -> None:
        raise RuntimeError("Insufficient VRAM in split for model and cache")

    with pytest.raises(RuntimeError):
        made._fill(SimpleNamespace(load=fail), "m")
    assert freed == [(1.0, 0), (1.0, 1)]


def test_without_flash_attn_the_scores_are_counted_and_a_sliding_window_bounds_the_context(exllamav2: Any) -> None:
    """All scores of a chunk are in memory at once, and of a window too much is cut off a chunk's first tokens."""

    def config(window: int, *, slides: bool) -> Any:
        lm = SimpleNamespace(swa=False, alternating_swa=slides)
        return SimpleNamespace(sliding_window=window, arch=SimpleNamespace(lm=lm))

    made = backend(v2.V2, exllamav2)
    configs = [config(0, slides=False), config(4096, slides=True)]
    assert made._most_context(configs) == v2.MOST_CONTEXT
    made._paged = False
    assert made._most_context(configs) == 4096
    assert made._most_context([config(4096, slides=False), config(0, slides=True)]) == v2.MOST_CONTEXT
    assert v2.unpaged_work(look(MODEL)) == 2 * 4 * 256 * 2 + 256 * 2 + 2 * 4 * 64 * 2


def test_v3_is_warmed_up_before_its_generator_has_the_cache(exllamav3: Any) -> None:
    made = backend(v3.V3, exllamav3)
    model = Checked(exllamav3.Model, "warmup")
    made._parts = {"model": model, "cache": object()}
    made._start = lambda: model.calls.append(("start", {}))
    made._warm_up()
    assert [name for name, _ in model.calls] == ["warmup", "start"]
    assert model.calls[0][1]["cache"] is made._parts["cache"]


def test_adapters_are_loaded_by_the_libraries_own_functions(exllamav2: Any, exllamav3: Any) -> None:
    for function in (exllamav2.ExLlamaV2Lora.from_directory, exllamav3.model.lora.LoRA.from_directory):
        assert inspect.signature(function).bind(object(), "/folder")


def test_the_plan_counts_the_memory_of_all_cards(exllamav2: Any) -> None:
    made = backend(v2.V2, exllamav2)
    assert (device.free_bytes(made._torch, 2), device.free_bytes(made._torch, 1)) == (46 * GIB, 23 * GIB)
    assert made._plan(most_context=1024) == sizing.Plan(1024, 4096)
    own = sizing.bytes_per_token(look(MODEL).config, 16)
    room = 46 * GIB - sizing.CARD_BYTES - 2 * GIB - sizing.WORK_BYTES - round(look(MODEL).size * sizing.WEIGHTS_FACTOR)
    made._folder = dataclasses.replace(look(MODEL), config={**look(MODEL).config, "max_position_embeddings": 2**40})
    assert made._plan().cache_tokens == room // own // 256 * 256
    made._chunk = 4096
    assert made._plan().cache_tokens == (room - sizing.chunk_bytes(look(MODEL).config, 4096)) // own // 256 * 256
    made._chunk = 512
    assert made._plan(work_per_token=own).cache_tokens == room // (2 * own) // 256 * 256
    made._folder = look(MODEL)
    made._torch = a_torch(free=GIB)
    with pytest.raises(ModelError, match="does not fit"):
        made._plan()


def test_a_card_that_is_too_old_is_told() -> None:
    assert device.cards(a_torch(capability=(6, 1)), "exllamav2") == 2
    with pytest.raises(NoGpu, match=r"exllamav3 needs compute capability 8\.0; Card 0 has 7\.5$"):
        device.cards(a_torch(capability=(7, 5)), "exllamav3")


def test_an_old_card_beside_a_new_one_is_left_alone(
    exllamav2: Any, exllamav3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The new one does as well without it."""
    mixed = a_torch(capability=(8, 6), second=(7, 5))
    assert device.cards(mixed, "exllamav3") == 1
    assert "exllamav3 needs compute capability 8.0; Card 1 has 7.5" in capsys.readouterr().out
    with pytest.raises(NoGpu, match=r"Card 0 has 7\.5, and comes first \(CUDA_VISIBLE_DEVICES chooses others\)"):
        device.cards(a_torch(capability=(7, 5), second=(8, 6)), "exllamav3")

    made = backend(v3.V3, exllamav3, reserve_mib=1024)
    made._torch, made._cards, freed = mixed, 1, list[int]()
    mixed.cuda.set_per_process_memory_fraction = lambda fraction, number: freed.append(number)
    model = Checked(exllamav3.Model, "load_gen")
    model.load = model.load_gen  # type: ignore[attr-defined]
    made._fill(model, "m")
    assert model.calls[0][1]["reserve_per_device"] == [1.0, v3.UNUSED]
    assert freed == [0, 1]

    made = backend(v2.V2, exllamav2, reserve_mib=1024)
    made._torch, made._cards = mixed, 1
    model = Checked(exllamav2.ExLlamaV2, "load_autosplit")
    model.config = SimpleNamespace(num_key_value_heads=4, num_hidden_layers=1, head_dim=64)  # type: ignore[attr-defined]
    made._filled(model, 1024, "m")
    assert model.calls[0][1]["reserve_vram"] == [GIB, v2.WHOLE_CARD]
    assert made._plan(most_context=1024) == sizing.Plan(1024, 4096)
    made._folder = dataclasses.replace(look(MODEL), config={**look(MODEL).config, "max_position_embeddings": 2**40})
    own = sizing.bytes_per_token(look(MODEL).config, 16)
    assert made._plan().cache_tokens * own < 23 * GIB


def test_nothing_is_compiled_for_a_card_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would compile for every one that it sees, and its kernels cannot be compiled for that one."""
    environ: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", environ)
    for torch_, named in (
        (a_torch(capability=(8, 6)), None),
        (a_torch(capability=(7, 5)), None),
        (a_torch(capability=(8, 6), second=(7, 5)), "8.6+PTX"),
        (a_torch(capability=(12, 0), second=(7, 5)), "9.0+PTX"),  # newer than this PyTorch, as the library does it
    ):
        environ.clear()
        device.name_architectures(torch_, "exllamav3")
        assert environ.get("TORCH_CUDA_ARCH_LIST") == named
    environ["TORCH_CUDA_ARCH_LIST"] = "8.0"
    device.name_architectures(a_torch(capability=(8, 6), second=(7, 5)), "exllamav3")
    assert environ["TORCH_CUDA_ARCH_LIST"] == "8.0"


def test_a_split_says_which_cards_are_used(exllamav2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free on others is not counted for its cache."""
    both, mixed = a_torch(), a_torch(capability=(8, 6), second=(7, 5))
    assert [device.cards(both, "exllamav3", split) for split in ((), (20.0,), (20.0, 0.0), (20.0, 1.0))] == [2, 1, 1, 2]
    with pytest.raises(ModelError, match=r"gpu\.split names 3 GPUs, and 2 can be used$"):
        device.cards(both, "exllamav3", (9.0, 9.0, 9.0))
    with pytest.raises(ModelError, match=r"names 2 GPUs, and 1 can be used \(exllamav3 needs .* Card 1 has 7\.5\)"):
        device.cards(mixed, "exllamav3", (9.0, 9.0))
    made = backend(v2.V2, exllamav2, split=(20.0,))
    monkeypatch.setattr(device, "torch_with_gpu", a_torch)
    monkeypatch.setattr(device, "is_built", lambda extension: True)
    made._import = made._open = made._start = made._warm_up = lambda: None
    made.load()
    assert made._cards == 1


def test_flash_attn_is_not_used_on_a_card_that_it_does_not_run_on(
    exllamav2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exllamav2 warns, and would fail at the first step."""
    monkeypatch.setattr(exllamav2.attn, "has_flash_attn_with_paged", True)
    for capability, slots in (((8, 6), 4), ((7, 5), 1)):
        made = backend(v2.V2, exllamav2)
        made._torch = a_torch(capability=capability)
        config = SimpleNamespace(no_flash_attn=False, head_dim=64)
        made._choose_attention([config])
        assert (made.slots, config.no_flash_attn) == (slots, slots == 1)


def test_the_loading_is_told_by_quarters(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("big")
    for done in range(101):
        progress(done, 100)
    told = capsys.readouterr().out
    assert [f"percent={percent}" in told for percent in (25, 50, 75, 100)] == [True] * 4
    assert told.count("loading") == 4


def test_the_toolkit_is_where_nvcc_really_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch takes the folder above the link for it."""
    for name in ("cuda/bin", "cuda/include", "usr/bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "cuda/bin/nvcc").touch(mode=0o755)
    (tmp_path / "usr/bin/nvcc").symlink_to(tmp_path / "cuda/bin/nvcc")
    monkeypatch.setenv("PATH", str(tmp_path / "usr/bin"))
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("CUDA_HOME", "")
    device.find_toolkit()
    assert os.environ["CUDA_HOME"] == ""
    (tmp_path / "cuda/include/cuda.h").touch()
    device.find_toolkit()
    assert os.environ["CUDA_HOME"] == str(tmp_path / "cuda")
    monkeypatch.setenv("CUDA_HOME", "/opt/own")
    device.find_toolkit()
    assert os.environ["CUDA_HOME"] == "/opt/own"


def test_ninja_is_found_beside_our_own_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts Hearth by its path, as a service does, has not that folder on theirs; PyTorch would open no extension."""
    scripts, other = tmp_path / "venv" / "bin", tmp_path / "bin"
    for folder in (scripts, other):
        folder.mkdir(parents=True)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(scripts))
    monkeypatch.setenv("PATH", str(other))
    device.find_ninja()
    assert os.environ["PATH"] == str(other)
    (scripts / "ninja").touch(mode=0o755)
    device.find_ninja()
    assert os.environ["PATH"] == f"{other}{os.pathsep}{scripts}"
    (other / "ninja").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(other))
    device.find_ninja()
    assert os.environ["PATH"] == str(other)
    assert build._environment()["PATH"] == str(other)


def test_what_pip_put_beside_pytorch_stands_in_for_what_a_toolkit_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partial CUDA 13.0 has no headers of cuSPARSE, cuBLAS and cuSOLVER."""
    folder = tmp_path / "nvidia" / "cu13"
    (folder / "include").mkdir(parents=True)
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path)])
    monkeypatch.setenv("CPATH", "/own")
    monkeypatch.delenv("LIBRARY_PATH", raising=False)
    assert build._environment()["CPATH"] == f"/own{os.pathsep}{folder / 'include'}"
    assert "LIBRARY_PATH" not in build._environment()
    (folder / "lib").mkdir()
    assert build._environment()["LIBRARY_PATH"] == str(folder / "lib")


def test_a_first_start_compiles_before_it_imports(exllamav2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `hearth engine build` does, which knows where pip put what a toolkit lacks."""
    made, done = backend(v2.V2, exllamav2), list[str]()
    monkeypatch.setattr(device, "torch_with_gpu", a_torch)
    monkeypatch.setattr(device, "is_built", lambda extension: False)
    monkeypatch.setattr(build, "build", done.append)
    monkeypatch.setattr(device, "name_architectures", lambda torch, library: done.append(f"for {library}"))
    made._import = lambda: done.append("import")
    made._open = made._start = made._warm_up = lambda: None
    made.load()
    assert done == ["exllamav2", "for exllamav2", "import"]


def test_an_extension_that_is_not_compiled_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    assert not device.is_built("nothing_of_this_name_ext")
    [folder] = tmp_path.glob("nothing_of_this_name_ext")
    (folder / "nothing_of_this_name_ext.so").touch()
    assert device.is_built("nothing_of_this_name_ext")
