"""Models in several files: read by their first, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.config import EMBEDDED_CHAT_MODEL, ModelConfig
from bot.engines import gguf
from bot.engines.llamacpp import LlamaCppEngine
from bot.errors import ModelError
from tests.parts import in_parts


@pytest.mark.parametrize(("empty_first", "count"), [(False, 2), (True, 3)])
def test_the_first_part_tells_of_the_whole_model(tmp_path: Path, empty_first: bool, count: int) -> None:
    whole, parts = gguf.read(EMBEDDED_CHAT_MODEL), in_parts(tmp_path, empty_first=empty_first)
    assert len(parts) == count
    file = gguf.read(parts[0])
    assert file.size == sum(part.stat().st_size for part in parts)
    assert file.parameters == whole.parameters == 3_279_104
    assert (file.quantisation, file.template) == ("Q8_0", whole.template)


async def test_the_engine_loads_all_parts(tmp_path: Path) -> None:
    first, *_ = in_parts(tmp_path)
    engine = await LlamaCppEngine.load("parts", ModelConfig(path=first, threads=1), tmp_path)
    try:
        assert await engine.encode(["Hello."])
    finally:
        await engine.aclose()


def test_a_change_in_any_part_changes_the_digest(tmp_path: Path) -> None:
    first, second = in_parts(tmp_path, tensors=37)
    before = gguf.read(first).digest
    changed = bytearray(second.read_bytes())
    changed[-1] ^= 1
    second.write_bytes(changed)
    assert gguf.read(first).digest != before


def test_a_part_that_is_missing_or_cut_off_is_named(tmp_path: Path) -> None:
    first, second = in_parts(tmp_path)
    second.write_bytes(second.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"demo-00002-of-00002\.gguf: is cut off: "):
        gguf.read(first)
    second.unlink()
    with pytest.raises(ModelError, match=r"demo-00002-of-00002\.gguf: cannot be read \(No such file or directory\)"):
        gguf.read(first)


def test_another_part_than_the_first_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"demo-00002-of-00002\.gguf: is part 2 of a model; name its first part"):
        gguf.read(in_parts(tmp_path)[1])


def test_a_part_of_another_place_is_refused(tmp_path: Path) -> None:
    first, second, third = in_parts(tmp_path, empty_first=True)
    second.write_bytes(third.read_bytes())
    with pytest.raises(ModelError, match=r"demo-00002-of-00003\.gguf: is not part 2 of the model"):
        gguf.read(first)


def test_a_first_part_under_another_name_is_told_how_it_must_be_called(tmp_path: Path) -> None:
    """llama.cpp finds the other parts by the name of the first."""
    renamed = in_parts(tmp_path)[0].rename(tmp_path / "demo.gguf")
    with pytest.raises(ModelError, match=r"demo\.gguf: is the first of 2 parts .* NAME-00001-of-00002\.gguf"):
        gguf.read(renamed)
