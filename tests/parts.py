"""A model in several files: the embedded one, cut by the format's own package."""

from __future__ import annotations

from pathlib import Path

import gguf

from bot.config import EMBEDDED_CHAT_MODEL


def in_parts(folder: Path, name: str = "demo", *, tensors: int = 20, empty_first: bool = False) -> list[Path]:
    """Write `name`-00001-of-0000N.gguf and so on, of so many tensors each; `empty_first`: the first has none."""
    reader = gguf.GGUFReader(EMBEDDED_CHAT_MODEL)
    writer = gguf.GGUFWriter(folder / f"{name}.gguf", "llama", split_max_tensors=tensors, small_first_shard=empty_first)
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != gguf.Keys.General.ARCHITECTURE:
            kind = field.types[0]
            items = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, sub_type=items)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob(f"{name}-*.gguf"))
