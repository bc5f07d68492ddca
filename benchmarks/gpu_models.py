"""The models that benchmarks.gpu runs: the project's own, and random weights in the shape of Llama 3 8B, plain and quantised.

The quantised ones are made by the libraries' own converters out of two layers of that shape, which takes minutes, and
those layers are then repeated: the format is real, and so is the time that each layer takes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.report import SCRATCH

DEMO = Path(__file__).parents[1] / "tests" / "assets" / "hearth-demo-chat-hf"
LAYERS, CONVERTED_LAYERS = 32, 2
VOCABULARY = 128256
SHAPE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_hidden_layers": LAYERS,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "bos_token_id": 1277,
    "eos_token_id": 1279,
}
BITS = 4.0
FEW = {"exllamav2": ("-r", "8", "-mr", "2", "-l", "512", "-ml", "512"), "exllamav3": ("-cr", "8", "-cc", "512")}
"""So little text for the calibration: random weights gain nothing from more."""


def plain(layers: int = LAYERS) -> Path:
    """Random float16 weights, written once; 16 GB for all layers."""
    folder = SCRATCH / f"llama-8b-{layers}"
    if _marker(folder).exists():
        return folder
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    _describe(folder, layers)
    source = torch.Generator("cuda").manual_seed(1)

    def weight(rows: int, columns: int) -> torch.Tensor:
        return (torch.randn(rows, columns, generator=source, device="cuda") * 0.02).half().cpu()

    def norm() -> torch.Tensor:
        return torch.ones(hidden, dtype=torch.half)

    hidden, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    values = SHAPE["num_key_value_heads"] * SHAPE["head_dim"]
    for n in range(layers):
        shapes = {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (values, hidden),
            "self_attn.v_proj": (values, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }
        tensors = {f"model.layers.{n}.{name}.weight": weight(*shape) for name, shape in shapes.items()}
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{n}.{name}.weight"] = norm()
        save_file(tensors, folder / f"layer-{n:02}.safetensors")
    ends = {"model.embed_tokens.weight": weight(VOCABULARY, hidden), "lm_head.weight": weight(VOCABULARY, hidden)}
    save_file({**ends, "model.norm.weight": norm()}, folder / "ends.safetensors")
    torch.cuda.empty_cache()  # this process is to load it, too
    _marker(folder).touch()
    return folder


def quantised(library: str) -> Path:
    """The same shape at 4 bits, in the library's own format."""
    folder = SCRATCH / f"llama-8b-{library}"
    if _marker(folder).exists():
        return folder
    few = converted(plain(CONVERTED_LAYERS), SCRATCH / f"llama-8b-{library}-few", library)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _repeat(few, folder)
    _marker(folder).touch()
    return folder


def converted(source: Path, target: Path, library: str, *, bits: float = BITS) -> Path:
    """A model that the library's own converter makes. Raises CalledProcessError, with what it said last."""
    if _marker(target).exists():
        return target
    work = target.with_name(f"{target.name}-work")
    for folder in (target, work):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    common = ("-i", str(source), "-b", str(bits), "-hb", "6", *FEW[library])
    if library == "exllamav2":
        command = ["-m", "exllamav2.conversion.convert_exl2", *common, "-o", str(work), "-nr", "-cf", str(target)]
    else:
        command = ["-m", "exllamav3.conversion.convert_model", *common, "-w", str(work), "-o", str(target)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode or not list(target.glob("*.safetensors")):
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise subprocess.CalledProcessError(done.returncode or 1, library, output=" ".join(last))
    shutil.rmtree(work)
    _marker(target).touch()
    return target


def _marker(folder: Path) -> Path:
    """Is there when the folder is whole. Beside it, because the converters copy all files of a folder."""
    return folder.with_name(f"{folder.name}.done")


def _describe(folder: Path, layers: int) -> None:
    """Everything but the weights; the tokenizer is the project's, whose tokens are the first of the vocabulary."""
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(DEMO / name, folder)
    (folder / "config.json").write_text(json.dumps({**SHAPE, "num_hidden_layers": layers}), "utf-8")


def _repeat(few: Path, folder: Path) -> None:
    """Layer n of the new model is layer n % CONVERTED_LAYERS of the converted one."""
    from safetensors.torch import load_file, save_file

    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(few / name, folder)
    config = json.loads((few / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": LAYERS}), "utf-8")
    tensors: dict[str, Any] = {}
    for file in few.glob("*.safetensors"):
        tensors.update(load_file(file))
    layers = {name: tensor for name, tensor in tensors.items() if name.startswith("model.layers.")}
    save_file({name: tensor for name, tensor in tensors.items() if name not in layers}, folder / "ends.safetensors")
    for n in range(LAYERS):
        prefix = f"model.layers.{n % CONVERTED_LAYERS}."
        own = {name: tensor for name, tensor in layers.items() if name.startswith(prefix)}
        renamed = {f"model.layers.{n}.{name.removeprefix(prefix)}": tensor.clone() for name, tensor in own.items()}
        save_file(renamed, folder / f"layer-{n:02}.safetensors")
