"""Write a GGUF of a real model's shape with random weights, so that speed and stopping can be measured offline.

`python benchmarks/random_model.py FOLDER` prints the path of the file (300 MB), written once per folder. The shape is
Qwen2 0.5B's; the vocabulary is synthetic byte-level BPE of the same size with ChatML's control tokens.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

LAYERS, HIDDEN, HEADS, KV_HEADS, FEED_FORWARD = 24, 896, 14, 2, 4864
VOCABULARY, CONTEXT = 151_936, 32_768
CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
NAME = "random-qwen2-0.5b-q4_0-v2.gguf"
BLOCK, BLOCK_BYTES = 32, 18
"""Q4_0: 32 values in a float16 scale and 16 bytes."""
SHARPNESS = 4.0
"""The deviation of the logits; a trained model's, whose best of 150,000 tokens stands out. At 1 all are alike."""
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _alphabet() -> list[str]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    signs = {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + n) for n, byte in enumerate(others)}
    return [signs[byte] for byte in range(256)]


def _vocabulary() -> tuple[list[str], list[str]]:
    """Bytes, then words of two to four letters with a space before them, each made by one merge of two known tokens."""
    tokens, merges = _alphabet(), []
    known = set(tokens)
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    stems = ["Ġ", *letters]
    while len(tokens) < VOCABULARY - len(CONTROLS):
        longer = []
        for stem in stems:
            for letter in letters:
                word = stem + letter
                if word not in known and len(tokens) < VOCABULARY - len(CONTROLS):
                    known.add(word)
                    tokens.append(word)
                    merges.append(f"{stem} {letter}")
                    longer.append(word)
        stems = longer
    return [*tokens, *CONTROLS], merges


def _matrix(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Random Q4_0 blocks whose values have a deviation of 1/sqrt(columns), so that activations keep their size."""
    blocks = np.empty((rows, columns // BLOCK, BLOCK_BYTES), dtype=np.uint8)
    scale = np.float16(1 / (np.sqrt(columns) * 4.6))  # uniform -8..7 has a deviation of 4.6
    blocks[:, :, :2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
    blocks[:, :, 2:] = rng.integers(0, 256, (rows, columns // BLOCK, BLOCK_BYTES - 2), dtype=np.uint8)
    return blocks.reshape(rows, -1)


def _tensors(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Names and data: float32 vectors, and Q4_0 matrices as bytes."""
    yield "token_embd.weight", _matrix(rng, VOCABULARY, HIDDEN)
    yield "output_norm.weight", np.full(HIDDEN, SHARPNESS, dtype=np.float32)
    kv = HIDDEN // HEADS * KV_HEADS
    for n in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{n}.{name}.weight", np.ones(HIDDEN, dtype=np.float32)
        for name, rows in (("attn_q", HIDDEN), ("attn_k", kv), ("attn_v", kv)):
            yield f"blk.{n}.{name}.weight", _matrix(rng, rows, HIDDEN)
            yield f"blk.{n}.{name}.bias", np.zeros(rows, dtype=np.float32)
        yield f"blk.{n}.attn_output.weight", _matrix(rng, HIDDEN, HIDDEN)
        yield f"blk.{n}.ffn_gate.weight", _matrix(rng, FEED_FORWARD, HIDDEN)
        yield f"blk.{n}.ffn_up.weight", _matrix(rng, FEED_FORWARD, HIDDEN)
        yield f"blk.{n}.ffn_down.weight", _matrix(rng, HIDDEN, FEED_FORWARD)


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("random weights in the shape of Qwen2 0.5B")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    tokens, merges = _vocabulary()
    types = [gguf.TokenType.NORMAL] * (len(tokens) - len(CONTROLS)) + [gguf.TokenType.CONTROL] * len(CONTROLS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def write(folder: Path) -> Path:
    """The model's file in `folder`, written if it is not there."""
    target = folder / NAME
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(f".{os.getpid()}.part")  # renamed when whole: another process may look for it
    writer = gguf.GGUFWriter(part, "qwen2")
    _describe(writer)
    for name, data in _tensors(np.random.default_rng(1)):
        kind = gguf.GGMLQuantizationType.Q4_0 if data.dtype == np.uint8 else None
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(target)
    return target


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
