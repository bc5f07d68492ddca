"""Writes the trained model as one GGUF file, with the gguf package alone."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

NAME = "Hearth demo chat"
LICENCE = "MIT"

# The values of llama.cpp's general.file_type.
_FILE_TYPES = {
    "f32": (0, gguf.GGMLQuantizationType.F32),
    "f16": (1, gguf.GGMLQuantizationType.F16),
    "q8_0": (7, gguf.GGMLQuantizationType.Q8_0),
    "q4_0": (2, gguf.GGMLQuantizationType.Q4_0),
}
_WHOLE_MODEL = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}

Weights = NDArray[np.float32]


def write_gguf(folder: Path, out: Path, file_type: str = "q8_0") -> None:
    """Turns a Hugging Face folder of the demo model into a GGUF file of type f32, f16, q8_0 or q4_0."""
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    count = sum(tensor.size for tensor in weights.values())
    number, quantization = _FILE_TYPES[file_type]
    writer = gguf.GGUFWriter(out, "llama")
    _add_general(writer, count, number)
    _add_shape(writer, config)
    _add_tokenizer(writer, folder, config)
    for name, tensor in weights.items():
        new_name, values = _converted(name, tensor.astype(np.float32), config)
        _add_tensor(writer, new_name, values, quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_general(writer: gguf.GGUFWriter, parameters: int, file_type: int) -> None:
    writer.add_name(NAME)
    writer.add_description(
        f"A demo of {parameters / 1e6:.1f} million parameters, trained from nothing by the Hearth project on synthetic dialogues. "
        "It shows that the whole way works and answers small talk; it knows next to nothing."
    )
    writer.add_license(LICENCE)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_shape(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_vocab_size(config["vocab_size"])


def _add_tokenizer(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = {index: text for text, index in tokenizer["model"]["vocab"].items()}
    control = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    tokens = [control.get(i) or vocabulary[i] for i in range(config["vocab_size"])]
    types = [gguf.TokenType.CONTROL if i in control else gguf.TokenType.NORMAL for i in range(len(tokens))]
    merges = tokenizer["model"]["merges"]
    # llama.cpp's name for the byte-level pre-tokenizer with the regular expression that ByteLevel uses.
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(True)
    writer.add_chat_template(json.loads((folder / "tokenizer_config.json").read_text())["chat_template"])


def _converted(name: str, values: Weights, config: dict[str, Any]) -> tuple[str, Weights]:
    if name in _WHOLE_MODEL:
        return _WHOLE_MODEL[name], values
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    heads = {"self_attn.q_proj": "num_attention_heads", "self_attn.k_proj": "num_key_value_heads"}.get(part)
    if heads:
        values = _interleaved(values, config[heads])
    return f"blk.{layer}.{_LAYER[part]}.weight", values


def _interleaved(values: Weights, heads: int) -> Weights:
    """Reorders the rows of a head from two halves to pairs: llama.cpp turns neighbours by RoPE, transformers turns halves."""
    rows, columns = values.shape
    return values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _add_tensor(writer: gguf.GGUFWriter, name: str, values: Weights, quantization: gguf.GGMLQuantizationType) -> None:
    values = np.ascontiguousarray(values)
    if values.ndim == 1 or quantization == gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, values)
    elif quantization == gguf.GGMLQuantizationType.F16:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        writer.add_tensor(name, gguf.quants.quantize(values, quantization), raw_dtype=quantization)
