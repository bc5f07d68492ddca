"""llama.cpp itself says whether a model loads, in a process of its own."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest

from bot.config import EMBEDDED_CHAT_MODEL
from bot.engines import gguf, trial
from bot.errors import ModelError
from tests.parts import in_parts

DEMO = EMBEDDED_CHAT_MODEL.read_bytes()


def newer() -> bytes:
    """The demo, of an architecture that came after the llama.cpp that is here."""
    key = b"general.architecture" + struct.pack("<IQ", 8, 5)
    assert DEMO.count(key + b"llama") == 1
    return DEMO.replace(key + b"llama", key + b"llama"[:4] + b"z")


def crashing() -> bytes:
    """The demo with a shape at which llama.cpp gives up its process."""
    layers = b"llama.block_count" + struct.pack("<I", 4)
    assert DEMO.count(layers + struct.pack("<I", 4)) == 1
    return DEMO.replace(layers + struct.pack("<I", 4), layers + struct.pack("<I", 0))


def test_a_model_that_loads_is_accepted_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    trial.open_once(EMBEDDED_CHAT_MODEL)
    assert set(tmp_path.iterdir()) == before


def test_a_model_in_parts_is_opened_as_a_whole(tmp_path: Path) -> None:
    first, second = in_parts(tmp_path)
    trial.open_once(first)
    second.unlink()
    with pytest.raises(ModelError, match=r"demo-00002-of-00002\.gguf: cannot be read"):
        trial.open_once(first)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (newer(), r"unknown model architecture: 'llamz'"),
        (crashing(), r"it crashes: SIGABRT, .*GGML_ASSERT.* failed"),
    ],
    ids=["newer", "crashing"],
)
def test_what_llama_cpp_cannot_load_is_refused_in_its_words(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(content)
    assert gguf.read(path).template  # it looks like a model
    with pytest.raises(ModelError, match=rf"^{path}: llama\.cpp cannot load this model \({reason}\)$"):
        trial.open_once(path)


def test_what_is_no_model_is_told_before_llama_cpp_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_text("rubbish")
    with pytest.raises(ModelError, match=r"mine\.gguf: is no GGUF model file$"):
        trial.open_once(path)
