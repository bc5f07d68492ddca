"""GGUF files: the metadata that Hearth needs, read without loading the model, and a check that the file is whole.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file is untrusted: every count is checked
against the bytes that are left before anything is read by it, so a damaged file costs neither memory nor time.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from bot.errors import ModelError
from bot.generation import ChatTemplate

MAX_VOCABULARY = 4_000_000
"""Sixteen times the largest vocabulary in use (Gemma's 262,144); a larger count is damage."""
MAX_TEXT = 16 * 2**20
"""Longest single string in bytes; the longest chat templates are some 100 kB."""
MAX_DIMENSIONS = 4
"""GGML_MAX_DIMS."""
SAMPLES, SAMPLE_BYTES = 16, 65536
"""How much of the weights goes into the digest: 1 MiB, spread evenly, costs milliseconds where 8 GB cost a minute."""


class TokenType(IntEnum):
    """llama.cpp's llama_token_type."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

# ggml type -> (values per block, bytes per block), from ggml.c type_traits.
BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    30: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 40),
    20: (32, 18),
    39: (32, 17),
    40: (64, 36),
    41: (128, 18),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    29: (256, 56),
    34: (256, 54),
    35: (256, 66),
}

# Texts that llama.cpp takes for the end of a turn even where the file does not name their ids (llama-vocab.cpp).
END_TEXTS = frozenset(
    {
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>"),
        *("<end_of_turn>", "<turn|>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<EOT>", "_<EOT>"),
        *("<｜end▁of▁sentence｜>", "<end_of_utterance>"),  # noqa: RUF001 DeepSeek writes these signs
    }
)


@dataclass(frozen=True)
class ModelFile:
    """What a GGUF file says about its model."""

    path: Path
    size: int
    """Bytes."""
    digest: str
    """Hex, of the size, the metadata and a sample of the weights: tells models apart, is no proof against forgery."""
    metadata: dict[str, Any] = field(repr=False)
    """Every scalar and string; of the arrays only the tokens and their types."""
    tokens: list[bytes] = field(repr=False)
    token_types: list[int] = field(repr=False)

    @property
    def architecture(self) -> str:
        """For example `llama` or `qwen2`; also the prefix of the model's own keys."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def name(self) -> str:
        """The model's own name, or the file's."""
        return str(self.metadata.get("general.name") or self.path.stem)

    @property
    def context_length(self) -> int:
        """In tokens, as trained; 0 if the file does not say."""
        return self._number("context_length")

    def _number(self, key: str) -> int:
        value = self.metadata.get(f"{self.architecture}.{key}", 0)
        return value if isinstance(value, int) else 0

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of KV cache for one token at 16 bits; an upper bound for models that share or compress it."""
        heads = self._number("attention.head_count") or 1
        width = self._number("embedding_length") // heads
        key_width = self._number("attention.key_length") or width
        value_width = self._number("attention.value_length") or width
        kv_heads = self._number("attention.head_count_kv") or heads
        return self._number("block_count") * kv_heads * (key_width + value_width) * 2

    @cached_property
    def control_strings(self) -> frozenset[str]:
        """Every token that the tokenizer finds in text as a whole."""
        special = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)
        pairs = zip(self.tokens, self.token_types, strict=True)
        return frozenset(text.decode("utf-8", "replace") for text, kind in pairs if kind in special and text)

    def _token_id(self, name: str) -> int | None:
        value = self.metadata.get(f"tokenizer.ggml.{name}_token_id")
        return value if isinstance(value, int) and 0 <= value < len(self.tokens) else None

    def _token_text(self, name: str) -> str:
        index = self._token_id(name)
        return "" if index is None else self.tokens[index].decode("utf-8", "replace")

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The ids at which llama.cpp ends a generation."""
        named = {self._token_id(name) for name in ("eos", "eot", "eom")}
        known = {text.encode() for text in END_TEXTS}
        return frozenset(
            {i for i, text in enumerate(self.tokens) if text in known} | {i for i in named if i is not None}
        )

    @property
    def add_bos(self) -> bool:
        """Whether the tokenizer puts bos first; SentencePiece models do unless they say otherwise."""
        default = self.metadata.get("tokenizer.ggml.model") == "llama"
        return bool(self.metadata.get("tokenizer.ggml.add_bos_token", default))

    @property
    def template(self) -> ChatTemplate:
        """The chat template. Raises ModelError if the file has none."""
        source = self.metadata.get("tokenizer.chat_template")
        if not isinstance(source, str) or not source.strip():
            raise ModelError(f"{self.path}: has no chat template; use the instruction-tuned version of this model")
        bos = self._token_text("bos")
        writes_bos = "bos_token" in source or (bos != "" and bos in source)
        return ChatTemplate(
            source=source,
            bos_token=bos,
            eos_token=self._token_text("eos"),
            adds_bos=self.add_bos and bos != "" and not writes_bos,
        )

    def token_bytes(self, index: int) -> bytes:
        """What a token adds to the generated text: nothing for control tokens."""
        kind, text = self.token_types[index], self.tokens[index]
        if kind in (TokenType.CONTROL, TokenType.UNKNOWN):
            return b""
        if kind == TokenType.USER_DEFINED:
            return text
        if self.metadata.get("tokenizer.ggml.model") == "gpt2":
            table = _byte_of_character()
            return b"".join(table.get(char, char.encode()) for char in text.decode("utf-8", "replace"))
        if kind == TokenType.BYTE:
            return bytes([int(text[3:5], 16)])
        return text.replace("▁".encode(), b" ")

    @cached_property
    def index(self) -> dict[bytes, int]:
        """Spelling -> id, for ordinary tokens; made on first use (0.2 s for 150,000 tokens)."""
        ordinary = (TokenType.NORMAL, TokenType.BYTE)
        return {self.token_bytes(i): i for i in range(len(self.tokens)) if self.token_types[i] in ordinary}


@cache
def _byte_of_character() -> dict[str, bytes]:
    """GPT-2's byte-level alphabet: printable bytes stand for themselves, the others for U+0100 and up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): bytes([byte]) for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    table.update({chr(0x100 + n): bytes([byte]) for n, byte in enumerate(others)})
    return table


class _Damaged(Exception):
    """The words say what is wrong with the file."""


class _Reader:
    """A cursor over the mapped file that never reads past its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.size = len(data)
        self.at = 0

    def need(self, count: int) -> None:
        """Raises _Damaged if fewer than `count` bytes are left."""
        if count > self.size - self.at:
            raise _Damaged("is cut off within its metadata; fetch it again")

    def number(self, code: str) -> Any:
        """One little-endian scalar of struct's `code`."""
        layout = struct.Struct("<" + code)
        self.need(layout.size)
        (value,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return value

    def string(self) -> bytes:
        length = self.number("Q")
        if length > MAX_TEXT:
            raise _Damaged("is damaged: a text in its metadata is impossibly long")
        self.need(length)
        self.at += length
        return self.data[self.at - length : self.at]

    def strings(self, count: int) -> list[bytes]:
        """`count` strings; the loop is written out because a vocabulary has 150,000."""
        unpack, data, size, at = struct.Struct("<Q").unpack_from, self.data, self.size - 8, self.at
        self.need(8 * count)
        found = []
        for _ in range(count):
            if at > size:
                raise _Damaged("is cut off within its vocabulary; fetch it again")
            (length,) = unpack(data, at)
            at += 8
            end = at + length
            found.append(data[at:end])
            at = end
        self.at = at
        self.need(0)
        return found

    def value(self, key: str) -> Any:
        """A value of any type; arrays other than the vocabulary are passed over (None)."""
        kind = self.number("I")
        if kind == _STRING:
            return self.string().decode("utf-8", "replace")
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind != _ARRAY:
            raise _Damaged(f"is damaged: its metadata has a value of unknown type {kind}")
        item, count = self.number("I"), self.number("Q")
        if key.startswith("tokenizer.ggml.token") and count > MAX_VOCABULARY:
            raise _Damaged(f"is damaged: it claims {count} tokens")
        if item == _STRING:
            return self._text_array(key, count)
        if item not in _SCALARS:
            raise _Damaged(f"is damaged: its metadata has an array of unknown type {item}")
        width = struct.calcsize("<" + _SCALARS[item])
        self.need(width * count)
        self.at += width * count
        if key == "tokenizer.ggml.token_type":
            return list(struct.unpack_from(f"<{count}{_SCALARS[item]}", self.data, self.at - width * count))
        return None

    def _text_array(self, key: str, count: int) -> list[bytes] | None:
        self.need(8 * count)
        texts = self.strings(count)
        return texts if key == "tokenizer.ggml.tokens" else None


def read(path: Path) -> ModelFile:
    """Read a model file's metadata and check that all its weights are there.

    Raises ModelError in one line that names the file. Touches some MB of the file, not the weights.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size == 0:
                raise _Damaged("is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(path, _Reader(data))
    except _Damaged as error:
        raise ModelError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ModelError(f"{path}: cannot be read ({reason or error})") from error


def _read(path: Path, reader: _Reader) -> ModelFile:
    if reader.data[:4] != b"GGUF":
        raise _Damaged("is no GGUF model file")
    reader.at = 4
    version = reader.number("I")
    if version not in (2, 3):
        raise _Damaged(f"has GGUF version {version}; 2 and 3 are supported")
    tensor_count, value_count = reader.number("Q"), reader.number("Q")
    metadata: dict[str, Any] = {}
    for _ in range(value_count):  # every round reads at least 13 bytes or raises, whatever the count claims
        key = reader.string().decode("utf-8", "replace")
        metadata[key] = reader.value(key)
    tokens, types = metadata.pop("tokenizer.ggml.tokens", None), metadata.pop("tokenizer.ggml.token_type", None)
    if not isinstance(tokens, list) or not tokens:
        raise _Damaged("has no vocabulary; is it a model for chat?")
    if not isinstance(types, list) or len(types) != len(tokens):
        types = [TokenType.NORMAL.value] * len(tokens)
    metadata = {key: value for key, value in metadata.items() if value is not None}
    start = _check_tensors(reader, tensor_count, metadata.get("general.alignment", 32))
    return ModelFile(path, reader.size, _digest(reader.data, start), metadata, tokens, types)


def _check_tensors(reader: _Reader, count: int, alignment: object) -> int:
    """Where the weights begin. Raises _Damaged if the file ends before the last tensor does."""
    if not isinstance(alignment, int) or alignment < 1:
        raise _Damaged("is damaged: its alignment is not a number")
    if count == 0:
        raise _Damaged("has no weights in it")
    end = 0
    for _ in range(count):
        reader.string()
        dimensions = reader.number("I")
        if dimensions > MAX_DIMENSIONS:
            raise _Damaged("is damaged: a tensor has too many dimensions")
        values = 1
        for _ in range(dimensions):
            values *= reader.number("Q")
        kind, offset = reader.number("I"), reader.number("Q")
        block, width = BLOCKS.get(kind, (1, 0))
        end = max(end, offset + values // block * width)
    start = (reader.at + alignment - 1) // alignment * alignment
    if start + end > reader.size:
        raise _Damaged(f"is cut off: {reader.size} bytes of {start + end}; fetch it again")
    return start


def _digest(data: mmap.mmap, start: int) -> str:
    weights = len(data) - start
    digest = hashlib.sha256(len(data).to_bytes(8, "little"))
    digest.update(data[:start])
    for n in range(SAMPLES):
        at = start + weights * n // SAMPLES
        digest.update(data[at : at + SAMPLE_BYTES])
    return digest.hexdigest()
