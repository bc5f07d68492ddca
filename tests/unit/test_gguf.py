"""Model files: what is read from a whole one, and one clear line for every broken one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf as reference
import numpy as np
import pytest

from bot.engines import ggml, gguf
from bot.errors import ModelError
from bot.generation import FillInMiddle
from bot.gguf_format import kind_of

CONTROL, USER_DEFINED, NORMAL = (
    reference.TokenType.CONTROL,
    reference.TokenType.USER_DEFINED,
    reference.TokenType.NORMAL,
)
TOKENS = ["a", "b", "Ġc", "<|im_start|>", "<|im_end|>", "<tool_call>", "<s>"]
TYPES = [NORMAL, NORMAL, NORMAL, CONTROL, CONTROL, USER_DEFINED, CONTROL]


def write(
    path: Path,
    *,
    template: str | None = "{{ messages }}",
    add_bos: bool = True,
    architecture: str = "llama",
    pooling: reference.PoolingType | None = None,
    more: tuple[tuple[str, int], ...] = (),
    filling: dict[str, int] | None = None,
) -> Path:
    """A small whole model file, by the format's own package. `more`: tokens and their types, `filling`: keys and ids."""
    writer = reference.GGUFWriter(path, architecture)
    writer.add_name("Tiny")
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*TOKENS, *(text for text, _ in more)])
    writer.add_token_types([*TYPES, *(kind for _, kind in more)])
    writer.add_token_merges(["a b"])
    writer.add_token_scores([0.0] * (len(TOKENS) + len(more)))
    for key, number in (filling or {}).items():
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", number)
    writer.add_eos_token_id(4)
    writer.add_bos_token_id(6)
    writer.add_add_bos_token(add_bos)
    if template is not None:
        writer.add_chat_template(template)
    for name in ("token_embd.weight", "output.weight"):
        writer.add_tensor(name, np.ones((7, 64), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class TestWholeFile:
    def test_what_is_needed_is_read(self, tmp_path: Path) -> None:
        file = gguf.read(write(tmp_path / "tiny.gguf"))
        assert (file.architecture, file.name, file.context_length) == ("llama", "Tiny", 4096)
        assert file.control_strings == {"<|im_start|>", "<|im_end|>", "<tool_call>", "<s>"}
        assert file.end_ids == {4}
        assert file.size == (tmp_path / "tiny.gguf").stat().st_size
        assert file.kv_bytes_per_token == 2 * 2 * (16 + 16) * 2

    def test_the_template_comes_with_its_strings(self, tmp_path: Path) -> None:
        template = gguf.read(write(tmp_path / "tiny.gguf")).template
        assert (template.source, template.bos_token, template.eos_token) == ("{{ messages }}", "<s>", "<|im_end|>")
        assert template.adds_bos

    @pytest.mark.parametrize("source", ["{{ bos_token }}{{ messages }}", "<s>{{ messages }}"])
    def test_a_template_that_writes_bos_needs_no_other(self, tmp_path: Path, source: str) -> None:
        assert not gguf.read(write(tmp_path / "tiny.gguf", template=source)).template.adds_bos

    def test_a_model_that_wants_no_bos_gets_none(self, tmp_path: Path) -> None:
        assert not gguf.read(write(tmp_path / "tiny.gguf", add_bos=False)).template.adds_bos

    def test_a_model_without_a_template_is_refused_with_advice(self, tmp_path: Path) -> None:
        file = gguf.read(write(tmp_path / "base.gguf", template=None))
        with pytest.raises(ModelError, match=r"base\.gguf: has no chat template; use the instruction-tuned version"):
            _ = file.template

    def test_tokens_spell_what_they_add_to_the_text(self, tmp_path: Path) -> None:
        file = gguf.read(write(tmp_path / "tiny.gguf"))
        assert [file.token_bytes(i) for i in range(7)] == [b"a", b"b", b" c", b"", b"", b"<tool_call>", b""]
        assert file.index == {b"a": 0, b"b": 1, b" c": 2}

    def test_ids_spell_a_text_without_control_tokens(self, tmp_path: Path) -> None:
        file = gguf.read(write(tmp_path / "tiny.gguf"))
        assert file.text_of([6, 0, 1, 2, 3, 5]) == "ab c<tool_call>"

    def test_well_known_texts_are_control_strings_whatever_the_file_says(self, tmp_path: Path) -> None:
        """llama.cpp takes them for such; a file that calls them ordinary would let people write them."""
        more = (("<|eot_id|>", NORMAL), ("<|fim_middle|>", NORMAL), ("<|mine|>", NORMAL))
        file = gguf.read(write(tmp_path / "tiny.gguf", more=more))
        assert file.control_strings >= {"<|eot_id|>", "<|fim_middle|>"}
        assert "<|mine|>" not in file.control_strings
        assert file.plain(()).added[7] == "<|eot_id|>"

    def test_what_stands_around_a_text(self, tmp_path: Path) -> None:
        plain = gguf.read(write(tmp_path / "tiny.gguf")).plain((6,), (4,))
        assert (plain.size, plain.before, plain.after, plain.begins, plain.fill) == (7, (6,), (4,), 6, None)
        assert plain.added == {3: "<|im_start|>", 4: "<|im_end|>", 5: "<tool_call>", 6: "<s>"}

    @pytest.mark.parametrize(
        ("texts", "filling"),
        [
            (("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"), {}),
            (("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), {}),
            (("▁<PRE>", "▁<SUF>", "▁<MID>"), {}),
            (("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"), {}),
            (("one", "two", "three"), {"fim_pre": 7, "fim_suf": 8, "fim_mid": 9}),
            (("one", "two", "three"), {"prefix": 7, "suffix": 8, "middle": 9}),
        ],
    )
    def test_how_a_model_fills_in(self, tmp_path: Path, texts: tuple[str, ...], filling: dict[str, int]) -> None:
        more = tuple((text, CONTROL) for text in texts)
        fill = gguf.read(write(tmp_path / "tiny.gguf", more=more, filling=filling)).plain(()).fill
        assert fill == FillInMiddle(prefix=7, suffix=8, middle=9)

    def test_a_model_with_two_of_the_three_fills_in_nothing(self, tmp_path: Path) -> None:
        more = (("<|fim_prefix|>", CONTROL), ("<|fim_suffix|>", CONTROL))
        assert gguf.read(write(tmp_path / "tiny.gguf", more=more)).plain(()).fill is None

    def test_the_digest_tells_files_apart(self, tmp_path: Path) -> None:
        one, same = write(tmp_path / "one.gguf"), write(tmp_path / "same.gguf")
        other = write(tmp_path / "other.gguf")
        changed = bytearray(other.read_bytes())
        changed[-1] ^= 1
        other.write_bytes(changed)
        assert gguf.read(one).digest == gguf.read(same).digest != gguf.read(other).digest

    def test_sizes_of_tensor_types_are_the_format_packages(self) -> None:
        theirs = {int(kind): size for kind, size in reference.GGML_QUANT_SIZES.items()}
        assert {kind: size for kind, size in ggml.BLOCKS.items() if theirs[kind] != size} == {}

    def test_names_of_quantisations_are_the_format_packages(self) -> None:
        theirs = {int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in reference.LlamaFileType}
        ours = {number: name for number, name in enumerate(ggml.FILE_TYPES) if name != "-"}
        assert ours == {number: name for number, name in theirs.items() if name != "GUESSED"}


class TestKind:
    """What a file says that its model is for."""

    @pytest.mark.parametrize("architecture", ["bert", "nomic-bert", "modern-bert", "gemma-embedding"])
    def test_what_can_only_read_is_for_embeddings(self, tmp_path: Path, architecture: str) -> None:
        path = write(tmp_path / "m.gguf", architecture=architecture, template=None)
        assert kind_of(path) == "embedding"
        assert gguf.read(path).pooling is None

    @pytest.mark.parametrize(("pooling", "word"), [("MEAN", "mean"), ("CLS", "cls"), ("LAST", "last")])
    def test_so_is_what_says_how_a_text_becomes_one_place(self, tmp_path: Path, pooling: str, word: str) -> None:
        """As Qwen3-Embedding does, which has a chat template too."""
        path = write(tmp_path / "m.gguf", architecture="qwen3", pooling=reference.PoolingType[pooling])
        assert kind_of(path) == "embedding"
        assert gguf.read(path).pooling == word

    @pytest.mark.parametrize("pooling", [None, "NONE", "RANK"])
    def test_everything_else_is_for_chat(self, tmp_path: Path, pooling: str | None) -> None:
        kind = None if pooling is None else reference.PoolingType[pooling]
        for template in ("{{ messages }}", None):
            path = write(tmp_path / "m.gguf", architecture="qwen3", pooling=kind, template=template)
            assert kind_of(path) == "chat"

    def test_a_file_that_does_not_tell_is_left_to_whoever_loads_it(self, tmp_path: Path) -> None:
        (tmp_path / "rubbish.gguf").write_text("rubbish")
        for path in (tmp_path / "rubbish.gguf", tmp_path / "none.gguf", tmp_path):
            assert kind_of(path) == "chat"

    def test_only_the_beginning_is_read(self, tmp_path: Path) -> None:
        """So a damaged vocabulary, or none at all, changes nothing."""
        path = write(tmp_path / "m.gguf", architecture="bert", pooling=reference.PoolingType.MEAN)
        whole = path.read_bytes()
        path.write_bytes(whole[: whole.index(b"tokenizer.ggml.tokens")])
        assert kind_of(path) == "embedding"


def _cut(data: bytes) -> bytes:
    return data[: len(data) - 1000]


def _insane_values(data: bytes) -> bytes:
    return data[:16] + struct.pack("<Q", 2**63) + data[24:]


def _insane_tensors(data: bytes) -> bytes:
    return data[:8] + struct.pack("<Q", 2**63) + data[16:]


def _insane_text(data: bytes) -> bytes:
    return data[:24] + struct.pack("<Q", 2**40) + data[32:]


def _insane_vocabulary(data: bytes) -> bytes:
    at = data.index(b"tokenizer.ggml.tokens") + len(b"tokenizer.ggml.tokens") + 8
    return data[:at] + struct.pack("<Q", 2**40) + data[at + 8 :]


def bare(path: Path, *, architecture: str = "llama", **values: int | str) -> Path:
    """A file without tensors; `split__no=1` adds a value by the key split.no."""
    with path.open("wb") as file:
        known = {"general__architecture": architecture, **values} if architecture else values
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(known) + 1))
        for key, value in known.items():
            file.write(_text(key.replace("__", ".")))
            file.write(struct.pack("<II", 4, value) if isinstance(value, int) else struct.pack("<I", 8) + _text(value))
        file.write(_text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 1) + _text("a"))
        file.write(bytes(-file.tell() % 32))  # to where the weights would begin
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


class TestBrokenFile:
    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda data: b"", "is empty"),
            (lambda data: b"{}", "is no GGUF model file"),
            (lambda data: b"GGUF", "is cut off within its metadata; fetch it again"),
            (lambda data: data[:100], "is cut off within its metadata; fetch it again"),
            (lambda data: b"GGUF\x01\0\0\0" + data[8:], "has GGUF version 1; 2 and 3 are supported"),
            (_cut, "is cut off: "),
            (_insane_values, "is "),
            (_insane_tensors, "is "),
            (_insane_text, "is damaged: a text in its metadata is impossibly long"),
            (_insane_vocabulary, "is damaged: it claims 1099511627776 tokens"),
        ],
    )
    def test_one_line_names_the_file_and_the_fault(
        self, tmp_path: Path, damage: Callable[[bytes], bytes], words: str
    ) -> None:
        path = write(tmp_path / "broken.gguf")
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(ModelError) as raised:
            gguf.read(path)
        assert str(raised.value).startswith(f"{path}: {words}")
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("count", [0, 1, "2"])
    def test_a_file_without_weights_is_no_model_whatever_it_says_of_parts(
        self, tmp_path: Path, count: int | str
    ) -> None:
        with pytest.raises(ModelError, match=r"bare\.gguf: has no weights in it$"):
            gguf.read(bare(tmp_path / "bare.gguf", split__count=count))

    def test_parts_that_are_all_without_weights_are_no_model(self, tmp_path: Path) -> None:
        bare(tmp_path / "bare-00002-of-00002.gguf", split__count=2, split__no=1)
        with pytest.raises(ModelError, match=r"bare-00001-of-00002\.gguf: has no weights in it$"):
            gguf.read(bare(tmp_path / "bare-00001-of-00002.gguf", split__count=2))

    @pytest.mark.parametrize("values", [{}, {"general__architecture": ""}, {"general__architecture": 5}])
    def test_a_model_of_no_architecture_is_refused(self, tmp_path: Path, values: dict[str, int | str]) -> None:
        path = bare(tmp_path / "bare-00001-of-00002.gguf", architecture="", split__count=2, **values)
        with pytest.raises(ModelError, match=r"\.gguf: does not say which architecture its model has$"):
            gguf.read(path)

    def test_a_number_of_a_part_that_is_no_number_is_damage(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"bare\.gguf: is damaged: .* not say by a number$"):
            gguf.read(bare(tmp_path / "bare.gguf", split__no="one"))

    def test_a_missing_file_and_a_folder_are_told(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"none\.gguf: cannot be read \(No such file or directory\)"):
            gguf.read(tmp_path / "none.gguf")
        with pytest.raises(ModelError, match=r"cannot be read \(Is a directory\)"):
            gguf.read(tmp_path)

    def test_no_damaged_byte_of_the_header_does_more_than_that(self, tmp_path: Path) -> None:
        path = write(tmp_path / "broken.gguf")
        whole = path.read_bytes()
        outcomes: dict[str, Any] = {"read": 0, "refused": 0}
        for at in range(min(1200, len(whole))):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
            try:
                gguf.read(path)
                outcomes["read"] += 1
            except ModelError:
                outcomes["refused"] += 1
        assert outcomes["refused"] > 200
