"""GGUF files: the metadata that Hearth needs, read without loading the model, and a check that the file is whole."""

from __future__ import annotations

import hashlib
import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from bot.engines import spelling
from bot.engines.ggml import BLOCKS, END_TEXTS, FILE_TYPES, FILL_TEXTS
from bot.engines.plain import fill_of
from bot.errors import ModelError
from bot.generation import ChatTemplate, PlainText
from bot.gguf_format import Damaged, Pooling, Reader, counts, mapped, pooling, values

DIGEST_DIGITS = 12
"""Of an engine's name."""
MAX_DIMENSIONS = 4
"""GGML_MAX_DIMS."""
SAMPLES, SAMPLE_BYTES = 16, 65536
"""How much of the weights goes into the digest: 1 MiB, spread evenly, costs milliseconds where 8 GB cost a minute."""
PART = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
"""How the files of a model in several parts are called; llama.cpp finds the others by it (llama_split_path)."""


class TokenType(IntEnum):
    """llama.cpp's llama_token_type."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class ModelFile:
    """What a GGUF file says about its model."""

    path: Path
    """The first file, where the model is in several parts."""
    size: int
    """Bytes, of all parts."""
    parameters: int
    """How many numbers the weights are."""
    digest: str
    """Hex, of the size, the metadata and a sample of the weights: tells models apart, is no proof against forgery."""
    metadata: dict[str, Any] = field(repr=False)
    """Every scalar and string; of the arrays only the tokens and their types."""
    tokens: list[bytes] = field(repr=False)
    token_types: list[int] = field(repr=False)
    parts: tuple[Path, ...] = ()
    """The files after the first."""

    def called(self, alias: str) -> str:
        """The alias and what tells the weights: an engine's name."""
        return f"{alias}@{self.digest[:DIGEST_DIGITS]}"

    @property
    def architecture(self) -> str:
        """For example `llama` or `qwen2`; also the prefix of the model's own keys."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def name(self) -> str:
        """The model's own name, or the file's."""
        return str(self.metadata.get("general.name") or self.path.stem)

    @property
    def quantisation(self) -> str:
        """For example `Q4_K_M`; empty if the file does not say."""
        kind = self.metadata.get("general.file_type")
        name = FILE_TYPES[kind] if isinstance(kind, int) and 0 <= kind < len(FILE_TYPES) else "-"
        return "" if name == "-" else name

    def text(self, key: str) -> str:
        """A text of the metadata; empty if there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

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

    @property
    def dimensions(self) -> int:
        """Of what it computes of a token."""
        return self._number("embedding_length_out") or self._number("embedding_length")

    @property
    def pooling(self) -> Pooling | None:
        """How the places of a text's tokens become one, if the file says so."""
        return pooling(self.metadata.get(f"{self.architecture}.pooling_type"))

    @cached_property
    def added(self) -> dict[int, str]:
        """Every token that the tokenizer finds in text as a whole, by its id.

        llama.cpp takes those with a well-known text for such tokens whatever the file says of them.
        """
        known = {text.encode() for text in END_TEXTS.union(*FILL_TEXTS.values())}
        special = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)
        pairs = enumerate(zip(self.tokens, self.token_types, strict=True))
        found = ((i, text) for i, (text, kind) in pairs if text and (kind in special or text in known))
        return {i: text.decode("utf-8", "replace") for i, text in found}

    @cached_property
    def control_strings(self) -> frozenset[str]:
        """The texts of `added`."""
        return frozenset(self.added.values())

    def plain(self, before: tuple[int, ...], after: tuple[int, ...] = ()) -> PlainText:
        """What the model wants around a text: `before` and `after` are what its tokenizer puts there."""
        unknown = TokenType.UNKNOWN
        bos = self._token_id("bos")
        keys = {part: (f"fim_{part[:3]}", part) for part in FILL_TEXTS}  # as files call them now, and did before
        named = {part: i for part, names in keys.items() for name in names if (i := self._token_id(name)) is not None}
        return PlainText(
            size=len(self.tokens),
            added={i: text for i, text in self.added.items() if self.token_types[i] != unknown},
            before=before,
            after=after,
            begins=self._token_id("eos") if bos is None else bos,
            fill=fill_of(self.added, named),
        )

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

    def text_of(self, ids: Sequence[int]) -> str:
        """What ids spell, without control tokens; U+FFFD for bytes that are no character."""
        text = b"".join(self.token_bytes(i) for i in ids).decode("utf-8", "replace")
        spaced = self.metadata.get("tokenizer.ggml.add_space_prefix", True)
        if self.metadata.get("tokenizer.ggml.model") == "llama" and spaced:  # the tokenizer put it there
            return text.removeprefix(" ")
        return text

    def token_bytes(self, index: int) -> bytes:
        """What a token adds to the generated text: nothing for control tokens."""
        kind, text = self.token_types[index], self.tokens[index]
        if kind in (TokenType.CONTROL, TokenType.UNKNOWN):
            return b""
        if kind == TokenType.USER_DEFINED:
            return text
        if self.metadata.get("tokenizer.ggml.model") == "gpt2":
            return spelling.byte_level(text.decode("utf-8", "replace"))
        if kind == TokenType.BYTE:
            return spelling.byte_token(text.decode())
        return text.replace("▁".encode(), b" ")

    def named_bytes(self, index: int) -> bytes:
        """The same, but a control token's name."""
        return self.token_bytes(index) or self.tokens[index]

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """The tokens that leave no text: name -> id."""
        special = (TokenType.CONTROL, TokenType.UNKNOWN)
        return {self.tokens[i].decode("utf-8", "replace"): i for i, k in enumerate(self.token_types) if k in special}

    @cached_property
    def index(self) -> dict[bytes, int]:
        """Spelling -> id, for ordinary tokens; made on first use (0.2 s for 150,000 tokens)."""
        ordinary = (TokenType.NORMAL, TokenType.BYTE)
        return {self.token_bytes(i): i for i in range(len(self.tokens)) if self.token_types[i] in ordinary}


def read(path: Path) -> ModelFile:
    """Read a model file's metadata and check that all its weights are there; of a model in parts, name the first.

    Raises ModelError in one line that names the file. Touches some MB of the file, not the weights.
    """
    first = mapped(path, lambda reader: _read(path, reader))
    paths = _parts(first)
    if not paths:
        return first
    others = [mapped(part, partial(_read_part, number)) for number, part in enumerate(paths, start=1)]
    digest = hashlib.sha256(first.digest.encode())
    for part in others:
        digest.update(part.digest.encode())
    size, parameters = sum(part.size for part in others), sum(part.parameters for part in others)
    if not first.parameters + parameters:
        raise ModelError(f"{path}: has no weights in it")
    return replace(
        first,
        size=first.size + size,
        parameters=first.parameters + parameters,
        digest=digest.hexdigest(),
        parts=tuple(paths),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    size: int
    parameters: int
    digest: str


def _parts(first: ModelFile) -> list[Path]:
    """The files beside the first in which the rest of its model lies."""
    count = _split_count(first.metadata)
    if count < 2:
        return []
    called = PART.fullmatch(first.path.name)
    if called is None or (int(called["number"]), int(called["count"])) != (1, count):
        raise ModelError(
            f"{first.path}: is the first of {count} parts and must be called as such: NAME-00001-of-{count:05d}.gguf"
        )
    return [first.path.with_name(f"{called['name']}-{n:05d}-of-{count:05d}.gguf") for n in range(2, count + 1)]


def _read(path: Path, reader: Reader) -> ModelFile:
    tensor_count, value_count = counts(reader)
    metadata = dict(values(reader, value_count))
    number = metadata.get("split.no", 0)
    if not isinstance(number, int):
        raise Damaged("is damaged: which part of a model it is, it does not say by a number")
    if number:
        raise Damaged(f"is part {number + 1} of a model; name its first part, ...-00001-of-....gguf")
    tokens, types = metadata.pop("tokenizer.ggml.tokens", None), metadata.pop("tokenizer.ggml.token_type", None)
    if not isinstance(tokens, list) or not tokens:
        raise Damaged("has no vocabulary; is it a model for chat?")
    if not isinstance(types, list) or len(types) != len(tokens):
        types = [TokenType.NORMAL.value] * len(tokens)
    metadata = {key: value for key, value in metadata.items() if value is not None}
    if tensor_count == 0 and _split_count(metadata) < 2:
        raise Damaged("has no weights in it")
    start, parameters = _check_tensors(reader, tensor_count, metadata.get("general.alignment", 32))
    file = ModelFile(path, reader.size, parameters, _digest(reader.data, start), metadata, tokens, types)
    if not file.text("general.architecture"):
        raise Damaged("does not say which architecture its model has")
    return file


def _split_count(metadata: dict[str, Any]) -> int:
    """In how many files the model lies; 0 or 1 where it is one."""
    count = metadata.get("split.count", 0)
    return count if isinstance(count, int) else 0


def _read_part(number: int, reader: Reader) -> _Part:
    tensor_count, value_count = counts(reader)
    metadata = dict(values(reader, value_count))
    if metadata.get("split.no") != number:
        raise Damaged(f"is not part {number + 1} of the model that its name says; fetch it again")
    start, parameters = _check_tensors(reader, tensor_count, metadata.get("general.alignment", 32))
    return _Part(reader.size, parameters, _digest(reader.data, start))


def _check_tensors(reader: Reader, count: int, alignment: object) -> tuple[int, int]:
    """Where the weights begin, and how many numbers they are. Raises Damaged if the file ends before they do."""
    if not isinstance(alignment, int) or alignment < 1:
        raise Damaged("is damaged: its alignment is not a number")
    end = parameters = 0
    for _ in range(count):
        reader.string()
        dimensions = reader.number("I")
        if dimensions > MAX_DIMENSIONS:
            raise Damaged("is damaged: a tensor has too many dimensions")
        values = 1
        for _ in range(dimensions):
            values *= reader.number("Q")
        kind, offset = reader.number("I"), reader.number("Q")
        block, width = BLOCKS.get(kind, (1, 0))
        end = max(end, offset + values // block * width)
        parameters += values
    start = (reader.at + alignment - 1) // alignment * alignment
    if start + end > reader.size:
        raise Damaged(f"is cut off: {reader.size} bytes of {start + end}; fetch it again")
    return start, parameters


def _digest(data: mmap.mmap, start: int) -> str:
    weights = len(data) - start
    digest = hashlib.sha256(len(data).to_bytes(8, "little"))
    digest.update(data[:start])
    for n in range(SAMPLES):
        at = start + weights * n // SAMPLES
        digest.update(data[at : at + SAMPLE_BYTES])
    return digest.hexdigest()
