"""The embedded model with further control tokens, as models have them that call functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from bot.config import EMBEDDED_CHAT_MODEL

SPECIAL, ADDED = 3, 4
"""llama.cpp's CONTROL, which leaves no text, and USER_DEFINED, which does."""


def with_controls(path: Path, controls: Mapping[str, int]) -> Path:
    """Write the model with these tokens, name -> kind, in the place of its last ordinary ones."""
    reader = gguf.GGUFReader(EMBEDDED_CHAT_MODEL)
    changed = _vocabulary(reader, controls)
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != gguf.Keys.General.ARCHITECTURE:
            kind = field.types[0]
            items = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, changed.get(field.name, field.contents()), kind, sub_type=items)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary(reader: Any, controls: Mapping[str, int]) -> dict[str, list[Any]]:
    tokens, kinds = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
    changed = {name: list(reader.fields[name].contents()) for name in (tokens, kinds)}
    ordinary = [i for i, kind in enumerate(changed[kinds]) if kind == 1]
    for id_, (name, kind) in zip(ordinary[-len(controls) :], controls.items(), strict=True):
        changed[tokens][id_], changed[kinds][id_] = name, kind
    return changed
