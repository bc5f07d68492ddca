"""Control tokens in a model folder's vocabulary: which stand in the text, what each token spells, and grammars with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.engines.exllama.grammar import Grammars
from bot.engines.exllama.vocabulary import Vocabulary
from bot.engines.exllama.weights import look
from bot.engines.exllama.writing import Writer
from bot.errors import BadRequest
from bot.generation import Generation

DEMO = Path(__file__).parents[1] / "assets" / "hearth-demo-chat-hf"
CONTROLS = {"[TOOL_CALLS]": True, "<tool_call>": False, "<think>": True}
"""Name -> special. Their ids follow the demo model's 1280."""
CALLS, OPEN, THINK = 1280, 1281, 1282


@pytest.fixture
def byte_level(tmp_path: Path) -> Vocabulary:
    """The demo model's, with further control tokens."""
    return changed(tmp_path, {})


@pytest.fixture
def sentence_piece(tmp_path: Path) -> Vocabulary:
    """As Mistral's and Llama 2's: spaces are a sign, and bytes have tokens of their own."""
    words = ["</s>", "▁hi", "a", "▁", "<0xC3>", "<0xA9>", "<0x0A>", "[TOOL_CALLS]"]
    settings = {
        "model": {"type": "BPE", "vocab": {word: id_ for id_, word in enumerate(words)}, "merges": []}
        | {"byte_fallback": True, "unk_token": None},
        "pre_tokenizer": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "added_tokens": [added(0, "</s>", special=True), added(7, "[TOOL_CALLS]", special=True)],
    }
    return changed(tmp_path, settings, eos="</s>")


def added(id_: int, content: str, *, special: bool) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id_, "content": content, "special": special, **plain}


def changed(folder: Path, settings: dict[str, Any], *, eos: str = "<|im_end|>") -> Vocabulary:
    path = folder / "model"
    shutil.copytree(DEMO, path)
    file = path / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["added_tokens"] += [
        added(1280 + n, name, special=kind) for n, (name, kind) in enumerate(CONTROLS.items())
    ]
    file.write_text(json.dumps(tokenizer | settings))
    if settings:
        for name, values in (
            ("config.json", {}),
            ("generation_config.json", {}),
            ("tokenizer_config.json", {"eos_token": eos}),
        ):
            old = json.loads((path / name).read_text())
            (path / name).write_text(json.dumps({**old, "eos_token_id": None, **values}))
    return Vocabulary(look(path))


def text_of(vocabulary: Vocabulary, ids: list[int], names: Collection[str] = ()) -> str:
    writer = Writer(vocabulary.showing(names), ())
    deltas = [*(writer.feed([id_]) for id_ in ids), writer.finish()]
    assert [id_ for delta in deltas for id_ in delta.token_ids] == ids
    return "".join(delta.text for delta in deltas)


def test_special_tokens_stand_in_the_text_if_asked_for_and_the_others_always(byte_level: Vocabulary) -> None:
    [begin, accent] = byte_level.encode(["hi ", "é"])
    ids = [*begin, CALLS, OPEN, *accent, THINK]
    assert text_of(byte_level, ids) == "hi <tool_call>é"
    assert text_of(byte_level, ids, {"[TOOL_CALLS]"}) == "hi [TOOL_CALLS]<tool_call>é"
    assert text_of(byte_level, ids, {"[TOOL_CALLS]", "<think>", "none"}) == "hi [TOOL_CALLS]<tool_call>é<think>"
    assert byte_level.showing({"none"}) is byte_level


def test_the_end_of_a_turn_never_stands_in_the_text(byte_level: Vocabulary) -> None:
    assert byte_level.showing({"<|im_end|>"}).decode([1279]) == ""


def test_the_same_where_spaces_are_a_sign(sentence_piece: Vocabulary) -> None:
    assert sentence_piece.encode(["a[TOOL_CALLS]"]) == [[2, 7]]
    assert text_of(sentence_piece, [2, 7, 1, 4, 5], {"[TOOL_CALLS]"}) == "a[TOOL_CALLS] hié"
    assert text_of(sentence_piece, [2, 7, 7, 1]) == "a hi"  # the space is kept although what is before it is not seen


def test_what_each_token_spells(byte_level: Vocabulary, tmp_path: Path) -> None:
    for text in ("hi there", "é😀", "\n\t x", "<tool_call>"):
        [ids] = byte_level.encode([text])
        assert b"".join(byte_level.bytes_of(id_) for id_ in ids) == text.encode()
    assert [byte_level.bytes_of(id_) for id_ in (CALLS, 1279, 10**6)] == [b"[TOOL_CALLS]", b"<|im_end|>", b""]


def test_what_each_token_spells_where_spaces_are_a_sign(sentence_piece: Vocabulary) -> None:
    spelled = [sentence_piece.bytes_of(id_) for id_ in range(8)]
    assert spelled == [b"</s>", b" hi", b"a", b" ", b"\xc3", b"\xa9", b"\n", b"[TOOL_CALLS]"]


def follow(vocabulary: Vocabulary, grammar: str) -> list[int]:
    """The first allowed token again and again, to the end."""
    matcher = Grammars(vocabulary).matcher(Generation(prompt=(1,), max_tokens=1, grammar=grammar))
    ids: list[int] = []
    while not ids or ids[-1] not in vocabulary.end_ids:
        ids.append(int(np.nonzero(matcher.allowed(vocabulary.size))[0][0]))
        matcher.accept(ids[-1])
        assert not matcher.failed
    return ids[:-1]


def test_grammars_name_special_tokens_and_number_all(byte_level: Vocabulary) -> None:
    [a] = byte_level.encode(["a"])
    assert follow(byte_level, f'start: "a" <think> <[{CALLS}]> <[{OPEN}]>') == [*a, THINK, CALLS, OPEN]
    assert follow(byte_level, f'start: TEXT <[{OPEN}]> "a"\nTEXT: ""') == [OPEN, *a]
    with pytest.raises(BadRequest, match="unknown special token"):
        follow(byte_level, "start: <tool_calls>")
