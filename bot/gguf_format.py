"""The GGUF format: a cursor over a file's metadata, and what kind of model the file says that it holds.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file is untrusted: every count is checked
against the bytes that are left before anything is read by it, so a damaged file costs neither memory nor time.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from bot.errors import ModelError

Kind = Literal["chat", "embedding"]
Pooling = Literal["mean", "cls", "last"]
"""How the places of a text's tokens become one."""

MAX_VOCABULARY = 4_000_000
"""Sixteen times the largest vocabulary in use (Gemma's 262,144); a larger count is damage."""
MAX_TEXT = 16 * 2**20
"""Longest single string in bytes; the longest chat templates are some 100 kB."""
ENCODERS = frozenset(
    {
        *("bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "modern-bert"),
        *("eurobert", "gemma-embedding", "gemma-embedding2", "llama-embed", "t5encoder"),
    }
)
"""llama.cpp's architectures that read a text as a whole and write none (LLM_ARCH_NAMES)."""
_POOLINGS: dict[object, Pooling] = {1: "mean", 2: "cls", 3: "last"}
"""Of llama.h's llama_pooling_type; the others are none, and the score of a reranker."""

T = TypeVar("T")

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


class Damaged(Exception):
    """The words say what is wrong with the file."""


class Reader:
    """A cursor over the mapped file that never reads past its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.size = len(data)
        self.at = 0

    def need(self, count: int) -> None:
        """Raises Damaged if fewer than `count` bytes are left."""
        if count > self.size - self.at:
            raise Damaged("is cut off within its metadata; fetch it again")

    def number(self, code: str) -> Any:
        """One little-endian scalar of struct's `code`."""
        layout = struct.Struct("<" + code)
        self.need(layout.size)
        (value,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return value

    def string(self) -> bytes:
        """The bytes of a text."""
        length = self.number("Q")
        if length > MAX_TEXT:
            raise Damaged("is damaged: a text in its metadata is impossibly long")
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
                raise Damaged("is cut off within its vocabulary; fetch it again")
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
            raise Damaged(f"is damaged: its metadata has a value of unknown type {kind}")
        item, count = self.number("I"), self.number("Q")
        if key.startswith("tokenizer.ggml.token") and count > MAX_VOCABULARY:
            raise Damaged(f"is damaged: it claims {count} tokens")
        if item == _STRING:
            return self._text_array(key, count)
        if item not in _SCALARS:
            raise Damaged(f"is damaged: its metadata has an array of unknown type {item}")
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


def mapped(path: Path, parse: Callable[[Reader], T]) -> T:
    """What `parse` makes of a file. Raises ModelError in one line that names it."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size == 0:
                raise Damaged("is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return parse(Reader(data))
    except Damaged as error:
        raise ModelError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise ModelError(f"{path}: cannot be read ({reason or error})") from error


def counts(reader: Reader) -> tuple[int, int]:
    """How many tensors and how many values of metadata a file has; the cursor is at the first value then."""
    if reader.data[:4] != b"GGUF":
        raise Damaged("is no GGUF model file")
    reader.at = 4
    version = reader.number("I")
    if version not in (2, 3):
        raise Damaged(f"has GGUF version {version}; 2 and 3 are supported")
    return reader.number("Q"), reader.number("Q")


def values(reader: Reader, count: int) -> Iterator[tuple[str, Any]]:
    """The metadata, in the file's order."""
    for _ in range(count):  # every round reads at least 13 bytes or raises, whatever the count claims
        key = reader.string().decode("utf-8", "replace")
        yield key, reader.value(key)


def pooling(number: object) -> Pooling | None:
    """What a file's `ARCHITECTURE.pooling_type` means."""
    return _POOLINGS.get(number)


def kind_of(path: Path) -> Kind:
    """What a model is for, by the beginning of its file: of a model that says how its tokens' places become one, and of
    one that can only read, it is embeddings; of all others, and where the file does not tell, it is chat.

    So Qwen3-Embedding is for embeddings although it has a chat template. Takes less than a millisecond: of the
    vocabulary, which comes after these values, nothing is read.
    """
    try:
        return mapped(path, _kind)
    except ModelError:
        return "chat"  # whoever loads it tells what is wrong with it


def _kind(reader: Reader) -> Kind:
    architecture = ""
    _, count = counts(reader)
    for key, value in values(reader, count):
        if key == "general.architecture":
            architecture = str(value)
        if key == f"{architecture}.pooling_type" and pooling(value):
            return "embedding"
        if key.startswith("tokenizer."):
            break
    return "embedding" if architecture in ENCODERS else "chat"
