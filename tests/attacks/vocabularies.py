"""llama.cpp's own tokenizer over vocabulary-only files, by the library that the xllamacpp wheel brings along.

So the ids in the tests are what the engine would compute, added tokens included; nothing is approximated. A
vocabulary can be extended by another family's control tokens, as a new vocabulary-only file.
"""

from __future__ import annotations

import ctypes
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import xllamacpp.xllamacpp

from bot.engines.plain import fill_of, surroundings
from bot.generation import ChatTemplate, PlainText
from tests import templates
from tests.attacks import bank
from tests.attacks.families import Family

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
"""The types of tokens in GGUF files; all but the first are parsed by llama.cpp in text."""
OWN, PROJECT, EVERY_FAMILY = "own", "the project's", "every family at once"
"""A family's own vocabulary with its control tokens, or the project's with those; or the project's with those of all."""
PROJECT_TOKENIZER = Path(__file__).parent.parent / "assets" / "hearth-demo-chat-hf" / "tokenizer.json"


class _ModelParams(ctypes.Structure):
    """`llama_model_params` of the pinned version's `llama.h`."""

    _fields_ = (
        ("devices", ctypes.c_void_p),
        ("tensor_buft_overrides", ctypes.c_void_p),
        ("n_gpu_layers", ctypes.c_int32),
        ("split_mode", ctypes.c_int),
        ("load_mode", ctypes.c_int),
        ("lazy_mode", ctypes.c_int),
        ("main_gpu", ctypes.c_int32),
        ("tensor_split", ctypes.c_void_p),
        ("progress_callback", ctypes.c_void_p),
        ("progress_callback_user_data", ctypes.c_void_p),
        ("kv_overrides", ctypes.c_void_p),
        ("vocab_only", ctypes.c_bool),
        ("check_tensors", ctypes.c_bool),
        ("use_extra_bufts", ctypes.c_bool),
        ("no_host", ctypes.c_bool),
        ("no_alloc", ctypes.c_bool),
        ("load_mtp", ctypes.c_bool),
    )


_Log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_QUIET = _Log(lambda level, text, data: None)


@cache
def _llama() -> Any:
    library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
    library.llama_model_default_params.restype = _ModelParams
    library.llama_model_load_from_file.argtypes = [ctypes.c_char_p, _ModelParams]
    library.llama_model_load_from_file.restype = ctypes.c_void_p
    library.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
    library.llama_model_get_vocab.restype = ctypes.c_void_p
    library.llama_model_free.argtypes = [ctypes.c_void_p]
    library.llama_tokenize.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_bool, ctypes.c_bool
    ]  # fmt: skip
    library.llama_log_set.argtypes = [_Log, ctypes.c_void_p]
    return library


@dataclass
class LlamaVocabulary:
    """A vocabulary with a template: what `PromptBuilder` takes. `parse=False` gives the ids of text as mere text."""

    path: Path
    template: ChatTemplate
    context_length: int = 1_000_000
    calls: int = 0
    control_strings: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.control_strings = frozenset(
            text for text, kind in zip(*_tokens(self.path), strict=True) if kind in {UNKNOWN, CONTROL, USER_DEFINED}
        )
        self._vocab = _load(self.path)

    @property
    def plain(self) -> PlainText:
        """As the engine finds it out, of the same tokenizer and the same file."""
        before, after = surroundings(self.tokenize("a"), self.tokenize("a", around=True))
        tokens = list(zip(*_tokens(self.path), strict=True))
        added = {i: text for i, (text, kind) in enumerate(tokens) if kind in {CONTROL, USER_DEFINED}}
        return PlainText(size=len(tokens), added=added, before=before, after=after, fill=fill_of(added))

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        self.calls += 1
        return [self.tokenize(text) for text in texts]

    def tokenize(self, text: str, *, parse: bool = True, around: bool = False) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        ids = (ctypes.c_int32 * room)()
        count = _llama().llama_tokenize(self._vocab, data, len(data), ids, room, around, parse)
        assert count >= 0
        return ids[:count]


@cache
def _load(path: Path) -> int:
    """The vocabulary's address; it lives as long as the process."""
    llama = _llama()
    llama.llama_log_set(_QUIET, None)
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(str(path).encode(), params)
    assert model, f"llama.cpp cannot read {path}"
    return int(llama.llama_model_get_vocab(model))


@cache
def _tokens(path: Path) -> tuple[list[str], list[int]]:
    entries = gguf_entries(path)
    texts = [text.decode("utf-8", "replace") for text in _strings(entries["tokenizer.ggml.tokens"])]
    kinds = entries["tokenizer.ggml.token_type"].data
    return texts, list(struct.unpack(f"<{len(kinds) // 4}i", kinds))


def family_file(family: Family, kind: str, folder: Path) -> Path:
    """A vocabulary-only file of one of these kinds; made when it is first asked for."""
    path = folder / (f"{kind}.gguf" if kind == EVERY_FAMILY else f"{family.name}, {kind}.gguf")
    if not path.exists() and kind == OWN:
        extended(templates.vocabulary_file(family.vocabulary), family.controls, path)
    elif not path.exists():
        controls = bank.control_strings() if kind == EVERY_FAMILY else family.controls
        from_tokenizer_json(PROJECT_TOKENIZER, path, controls)
    return path


def extended(source: Path, extra: Iterable[str], target: Path, *, kind: int = CONTROL) -> Path:
    """A copy of a vocabulary-only file with these tokens behind the last, if it has not got them."""
    entries = gguf_entries(source)
    added = [text.encode() for text in sorted(set(extra) - set(_tokens(source)[0]))]
    more = {
        "tokenizer.ggml.tokens": b"".join(struct.pack("<Q", len(text)) + text for text in added),
        "tokenizer.ggml.token_type": struct.pack("<i", kind) * len(added),
        "tokenizer.ggml.scores": struct.pack("<f", 0) * len(added),
    }
    with target.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries)))
        for name, entry in entries.items():
            file.write(struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", entry.kind))
            data = entry.data + more.get(name, b"")
            if entry.kind == _ARRAY:
                file.write(struct.pack("<IQ", entry.item_kind, entry.count + (len(added) if name in more else 0)))
            elif name.endswith(".vocab_size"):
                data = struct.pack("<I", len(_tokens(source)[0]) + len(added))
            file.write(data)
    return target


@dataclass(frozen=True)
class _Entry:
    """One entry of a GGUF file's metadata; for an array, `data` is its items."""

    kind: int
    data: bytes
    item_kind: int = -1
    count: int = 1


_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def gguf_entries(path: Path) -> dict[str, _Entry]:
    """The metadata of a GGUF file, values as bytes: far quicker for arrays of 262,144 strings than the gguf package."""
    data = path.read_bytes()
    count, position = struct.unpack_from("<Q", data, 16)[0], 24
    entries = {}
    for _ in range(count):
        end = _end(data, position, _STRING, 1)
        name, kind = data[position + 8 : end].decode(), struct.unpack_from("<I", data, end)[0]
        begin, item_kind, items = end + 4, kind, 1
        if kind == _ARRAY:
            item_kind, items = struct.unpack_from("<IQ", data, begin)
            begin += 12
        position = _end(data, begin, item_kind, items)
        entries[name] = _Entry(kind, data[begin:position], item_kind, items)
    return entries


def _end(data: bytes, position: int, kind: int, count: int) -> int:
    if kind != _STRING:
        return position + _SIZES[kind] * count
    for _ in range(count):
        position += 8 + int.from_bytes(data[position : position + 8], "little")
    return position


def _strings(entry: _Entry) -> Iterator[bytes]:
    position = 0
    while position < len(entry.data):
        begin, position = position + 8, _end(entry.data, position, _STRING, 1)
        yield entry.data[begin:position]


def from_tokenizer_json(source: Path, target: Path, extra: Iterable[str] = ()) -> Path:
    """The vocabulary-only file of a byte-level BPE tokenizer.json, extended by these control tokens."""
    data = json.loads(source.read_text(encoding="utf-8"))
    tokens = {index: text for text, index in data["model"]["vocab"].items()}
    kinds = dict.fromkeys(tokens, 1)
    for added in data["added_tokens"]:
        tokens[added["id"]], kinds[added["id"]] = added["content"], CONTROL
    for text in sorted(set(extra) - set(tokens.values())):
        kinds[len(tokens)] = CONTROL
        tokens[len(tokens)] = text
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([tokens[i] for i in range(len(tokens))])
    writer.add_token_types([kinds[i] for i in range(len(tokens))])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]])
    for add in (writer.add_context_length, writer.add_embedding_length, writer.add_block_count):
        add(64)
    writer.add_feed_forward_length(64)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    _write(writer)
    return target


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
