"""A folder with a model as Hugging Face lays it out -> what it holds and which library can run it, read without either.

What the libraries would get wrong by themselves is refused here: ExLlamaV2 loads an architecture that it does not know
as if it were Llama, and leaves out scaling of positions that it does not know.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from bot.engines.exllama import positions
from bot.errors import ModelError

Kind = Literal["exl2", "gptq", "exl3", "plain"]
Library = Literal["exllamav2", "exllamav3"]

MOST_HEADER = 100 * 2**20
"""Bytes of a safetensors header; the format's own limit."""
SAMPLE_BYTES, SAMPLES = 2**16, 16
"""How much of each file goes into the digest, spread evenly: a gigabyte would cost a second."""
PLAIN_TYPES = frozenset({"F16", "BF16", "F32"})
GPTQ_BITS = 4
"""ExLlamaV2's kernels for GPTQ know no other."""

V2_ARCHITECTURES = frozenset(
    {
        *("LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "YiForCausalLM", "OrionForCausalLM"),
        *("Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "GemmaForCausalLM", "Gemma2ForCausalLM"),
        *("Starcoder2ForCausalLM", "CohereForCausalLM", "Cohere2ForCausalLM", "DbrxForCausalLM", "Phi3ForCausalLM"),
        *("GPTBigCodeForCausalLM", "GPT2LMHeadModel", "MiniCPMForCausalLM", "InternLM2ForCausalLM"),
        *("IndexForCausalLM", "GraniteForCausalLM", "Glm4ForCausalLM"),
    }
)
"""Those that exllamav2 0.3.2 (architecture.py) reads as what they are, models of text alone."""
CONTEXT_KEYS = ("max_sequence_length", "max_position_embeddings", "max_seq_len", "n_positions")


@dataclass(frozen=True)
class ModelFolder:
    """What a folder holds."""

    path: Path
    config: Mapping[str, Any]
    """config.json."""
    kind: Kind
    size: int
    """Bytes of weights."""
    parameters: int
    """Values in the weights, as stored: of a quantised model, packed words."""

    @property
    def architecture(self) -> str:
        """Its name in transformers."""
        return str(self.config["architectures"][0])

    @property
    def text_config(self) -> Mapping[str, Any]:
        """The language model's part of config.json."""
        inner = self.config.get("text_config")
        return {**self.config, **inner} if isinstance(inner, Mapping) else self.config

    @property
    def context_length(self) -> int:
        """Tokens, as trained. Raises ModelError."""
        values = [self.text_config.get(key) for key in CONTEXT_KEYS]
        found = next((value for value in values if isinstance(value, int) and value > 0), None)
        if found is None:
            raise ModelError(f"{self.path}: config.json does not tell the context length")
        return found

    @property
    def quantisation(self) -> str:
        """For people: `EXL2 4.0 bits`."""
        if self.kind == "plain":
            return str(self.config.get("dtype") or self.config.get("torch_dtype") or "16 or 32 bits")
        bits = _quantisation(self.config).get("bits")
        return f"{self.kind.upper()} {bits} bits" if bits else self.kind.upper()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the small files and samples of the weights."""
        digest = hashlib.sha256()
        small = (self.path / name for name in ("config.json", "tokenizer.json"))
        for file in [*(each for each in small if each.exists()), *weight_files(self.path)]:
            digest.update(file.name.encode() + file.stat().st_size.to_bytes(8, "little"))
            for part in _samples(file):
                digest.update(part)
        return digest.hexdigest()

    def library(self, wanted: Literal["auto", "exllamav2", "exllamav3"] = "auto") -> Library:
        """Which library runs it. Raises ModelError if it is none, or not the one that the configuration names."""
        only: Library | None = {"exl2": "exllamav2", "gptq": "exllamav2", "exl3": "exllamav3"}.get(self.kind)  # type: ignore[assignment]
        if only is not None and wanted not in ("auto", only):
            raise ModelError(f"{self.path}: has {self.kind.upper()} weights, which {wanted} does not read; use {only}")
        chosen: Library = only or ("exllamav2" if wanted == "exllamav2" else "exllamav3")
        if chosen == "exllamav2":
            self._check_for_v2()
        return chosen

    def _check_for_v2(self) -> None:
        if self.architecture not in V2_ARCHITECTURES:
            raise ModelError(
                f"{self.path}: exllamav2 does not know the architecture {self.architecture} and would take it for Llama"
            )
        if self.kind == "gptq" and _quantisation(self.config).get("bits", GPTQ_BITS) != GPTQ_BITS:
            raise ModelError(f"{self.path}: exllamav2 reads GPTQ weights of 4 bits alone")
        rope(self)


def look(path: Path) -> ModelFolder:
    """Read a folder's config.json and the headers of its weights. Raises ModelError, which names what is wrong."""
    if not path.is_dir():
        raise ModelError(f"{path}: is not a folder")
    config = read_json(path / "config.json")
    names = config.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise ModelError(f"{path}: config.json must name one architecture")
    if not (path / "tokenizer.json").is_file():
        raise ModelError(f"{path}: has no tokenizer.json")
    tensors: dict[str, tuple[str, int]] = {}
    for file in weight_files(path):
        tensors.update(_tensors(file))
    if not tensors:
        raise ModelError(f"{path}: has no weights (*.safetensors)")
    size = sum(file.stat().st_size for file in weight_files(path))
    return ModelFolder(path, config, _kind(path, config, tensors), size, sum(count for _, count in tensors.values()))


def weight_files(path: Path) -> list[Path]:
    """The files with weights, in the order of their names."""
    return sorted(path.glob("*.safetensors"))


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object. Raises ModelError."""
    try:
        values = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{file}: is damaged ({error})") from error
    if not isinstance(values, dict):
        raise ModelError(f"{file}: is damaged (no JSON object)")
    return values


def rope(folder: ModelFolder) -> positions.Rope | None:
    """How positions turn, where exllamav2 would read it wrongly. Raises ModelError for what it cannot do."""
    try:
        return positions.read(folder.text_config)
    except ModelError as error:
        raise ModelError(f"{folder.path}: {error}") from error


def _quantisation(config: Mapping[str, Any]) -> Mapping[str, Any]:
    values = config.get("quantization_config")
    return values if isinstance(values, Mapping) else {}


def _kind(path: Path, config: Mapping[str, Any], tensors: Mapping[str, tuple[str, int]]) -> Kind:
    """By the tensors; what config.json says of another method is refused."""
    method = str(_quantisation(config).get("quant_method") or "")
    if method == "fp8" or any(kind.startswith("F8") for kind, _ in tensors.values()):
        raise ModelError(f"{path}: has FP8 weights, which exllamav3 only unpacks to 16 bits; use EXL3 weights instead")
    if method not in ("", "exl2", "gptq", "exl3"):
        raise ModelError(f"{path}: neither exllamav2 nor exllamav3 reads {method} weights")
    endings = {name.rpartition(".")[2] for name in tensors}
    if "trellis" in endings:
        return "exl3"
    if "q_weight" in endings:
        return "exl2"
    if "qweight" in endings:
        return "gptq"
    others = {kind for kind, _ in tensors.values()} - PLAIN_TYPES
    if method or others:
        what = method or ", ".join(sorted(others))
        raise ModelError(f"{path}: neither exllamav2 nor exllamav3 reads these weights ({what})")
    return "plain"


def _tensors(file: Path) -> Iterator[tuple[str, tuple[str, int]]]:
    """Name, type and number of values of each tensor in a safetensors file. Raises ModelError."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= MOST_HEADER:
                raise ValueError("no header")
            header = json.loads(opened.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        if 8 + length + end > file.stat().st_size:
            raise ModelError(f"{file}: is cut off")
        for name, entry in header.items():
            if name != "__metadata__":
                count = 1
                for extent in entry["shape"]:
                    count *= extent
                yield name, (entry["dtype"], count)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ModelError(f"{file}: is no safetensors file, or is damaged") from error


def _samples(file: Path) -> Iterator[bytes]:
    size = file.stat().st_size
    with file.open("rb") as opened:
        for n in range(SAMPLES):
            opened.seek(size * n // SAMPLES, os.SEEK_SET)
            yield opened.read(SAMPLE_BYTES)
