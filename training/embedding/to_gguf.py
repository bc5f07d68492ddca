"""Writes the trained model as one GGUF file, as llama.cpp has BERT, with the gguf package alone."""

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

NAME = "Hearth demo embedding"
LICENCE = "MIT"
SOURCES = "WordNet 3.0, Copyright 2006 by Princeton University; the pages of the Hearth project"
CONTEXT, FEED_FORWARD, HEADS = 2048, 512, 4
NORM_EPSILON = 1e-12
_FILE_TYPES = {
    "f32": (0, gguf.GGMLQuantizationType.F32),
    "f16": (1, gguf.GGMLQuantizationType.F16),
    "q8_0": (7, gguf.GGMLQuantizationType.Q8_0),
}
_LAYER = {
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "out": "attn_output",
    "attended": "attn_output_norm",
    "up": "ffn_up",
    "down": "ffn_down",
    "fed": "layer_output_norm",
}

Weights = NDArray[np.float32]


def write_gguf(folder: Path, out: Path, file_type: str = "q8_0") -> None:
    """Turns a folder with model.safetensors and tokenizer.json into a GGUF file of type f32, f16 or q8_0."""
    weights = {name: tensor.astype(np.float32) for name, tensor in load_file(folder / "model.safetensors").items()}
    number, quantization = _FILE_TYPES[file_type]
    _, hidden = weights["tokens.weight"].shape
    writer = gguf.GGUFWriter(out, "bert")
    _add_general(writer, sum(tensor.size for tensor in weights.values()), number)
    _add_shape(writer, hidden, 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers.")))
    _add_tokenizer(writer, Tokenizer.from_file(str(folder / "tokenizer.json")))
    _add(writer, "token_types.weight", np.zeros((2, hidden), np.float32), gguf.GGMLQuantizationType.F32)
    _add(writer, "position_embd.weight", np.zeros((CONTEXT, hidden), np.float32), quantization)
    for name, tensor in weights.items():
        _add(writer, _renamed(name), tensor, quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_general(writer: gguf.GGUFWriter, parameters: int, file_type: int) -> None:
    writer.add_name(NAME)
    writer.add_description(
        f"A demo of {parameters / 1e6:.1f} million parameters, trained from nothing by the Hearth project. It places English texts "
        "in a space by their words and those words' meanings, as a dictionary has them."
    )
    writer.add_license(LICENCE)
    writer.add_string("general.sources", SOURCES)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_shape(writer: gguf.GGUFWriter, hidden: int, layers: int) -> None:
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(NORM_EPSILON)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    """As llama.cpp has WordPiece: a word's first piece is marked, and not the others."""
    vocabulary = {number: text for text, number in tokenizer.get_vocab().items()}
    tokens, types = [], []
    for number in range(len(vocabulary)):
        text = vocabulary[number]
        special = text.startswith("[") and text.endswith("]") and len(text) > 2
        tokens.append(text if special else text[2:] if text.startswith("##") and len(text) > 2 else f"▁{text}")
        kind = gguf.TokenType.UNKNOWN if text == "[UNK]" else gguf.TokenType.CONTROL
        types.append(kind if special else gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_type_count(2)
    numbers = tokenizer.get_vocab()
    for add, text in (
        (writer.add_pad_token_id, "[PAD]"),
        (writer.add_unk_token_id, "[UNK]"),
        (writer.add_bos_token_id, "[CLS]"),
        (writer.add_sep_token_id, "[SEP]"),
        (writer.add_eos_token_id, "[SEP]"),
        (writer.add_mask_token_id, "[MASK]"),
    ):
        add(numbers[text])


def _renamed(name: str) -> str:
    if name == "tokens.weight":
        return "token_embd.weight"
    if name.startswith("norm."):
        return f"token_embd_norm.{name.removeprefix('norm.')}"
    _, layer, part, kind = name.split(".")
    return f"blk.{layer}.{_LAYER[part]}.{kind}"


def _add(writer: gguf.GGUFWriter, name: str, values: Weights, quantization: gguf.GGMLQuantizationType) -> None:
    values = np.ascontiguousarray(values)
    if values.ndim == 1 or quantization == gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, values)
    elif quantization == gguf.GGMLQuantizationType.F16:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        writer.add_tensor(name, gguf.quants.quantize(values, quantization), raw_dtype=quantization)
