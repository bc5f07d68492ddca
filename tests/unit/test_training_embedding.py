"""What the embedded embedding model is trained on and measured by; needs no PyTorch, and no dictionary but a made-up one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from training.embedding.pairs import HELD_OUT, Pairs, is_held_out, pages
from training.embedding.paraphrases import PAIRS
from training.embedding.wordnet import Place, Synset, read
from training.embedding.words import Words

ROOT = Path(__file__).parents[2]
LICENCE = "  1 This is not WordNet.  \n"
NOUNS = """\
00000001 03 n 02 boat 0 small_ship 0 002 @ 00000002 n 0000 + 00000011 v 0101 | what floats; "the boat sank"; "a blue boat"
00000002 03 n 01 vehicle 0 000 | what carries people over some way
00000023 03 n 02 ferry 0 shuttle_boat 0 001 @ 00000001 n 0000 | what goes to and fro; "the ferry was late"
"""
VERBS = """\
00000011 38 v 02 sail 0 go_by_boat 0 000 01 + 01 00 | move over water; "we sailed for days"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = {"noun": NOUNS, "verb": VERBS, "adj": "", "adv": ""}
    for part, text in texts.items():
        (tmp_path / f"data.{part}").write_text(LICENCE + text)
    for part, line in {"noun": "", "verb": "flew fly\n", "adj": ""}.items():
        (tmp_path / f"{part}.exc").write_text(line)
    (tmp_path / "cntlist.rev").write_text("boat%1:03:00:: 1 20\nsail%2:38:00:: 1 7\n")
    return tmp_path


@pytest.fixture
def synsets(folder: Path) -> dict[Place, Synset]:
    return read(folder)


def test_the_dictionary_is_read_as_its_format_says(synsets: dict[Place, Synset]) -> None:
    boat = synsets["noun", "00000001"]
    assert (boat.words, boat.definition) == (["boat", "small ship"], "what floats")
    assert (boat.examples, boat.count) == (["the boat sank", "a blue boat"], 20)
    assert boat.near == {"above": [("noun", "00000002")], "derived": [("verb", "00000011")]}
    assert (synsets["verb", "00000011"].count, synsets["noun", "00000002"].count) == (7, 0)


def test_what_is_measured_is_never_trained_on(synsets: dict[Place, Synset], folder: Path) -> None:
    ferry = synsets["noun", "00000023"]
    assert HELD_OUT == 23
    assert is_held_out(ferry)
    pairs = Pairs(synsets, folder, ROOT, seed=1)
    texts = {text for _ in range(60) for one, other, _ in pairs.batch(20) for text in (one, other)}
    assert len(texts) > 100
    assert not [text for text in texts if ferry.definition in text or "ferry" in text.split()]


def test_the_seed_decides_the_pairs(synsets: dict[Place, Synset], folder: Path) -> None:
    one, same, other = (Pairs(synsets, folder, ROOT, seed) for seed in (1, 1, 2))
    first = [one.batch(8) for _ in range(5)]
    assert first == [same.batch(8) for _ in range(5)] != [other.batch(8) for _ in range(5)]


def test_words_are_found_in_their_forms(synsets: dict[Place, Synset], folder: Path) -> None:
    words = Words(synsets, folder)
    found = {word: words.basic(word) for word in ("boats", "Boat", "sailed", "sailing", "the", "xyzzy")}
    assert found == {"boats": "boat", "Boat": "boat", "sailed": "sail", "sailing": "sail", "the": None, "xyzzy": None}
    assert {words.another("boat", random.Random(seed)) for seed in range(40)} >= {"small ship", "boat"}


def test_the_paraphrases_are_hard_for_who_knows_words_alone() -> None:
    """Otherwise they would measure nothing."""
    assert len(PAIRS) >= 100
    assert len({text for pair in PAIRS for text in pair}) == 2 * len(PAIRS)
    small = {"the", "a", "an", "is", "was", "to", "of", "in", "on", "and", "that", "it", "my", "i", "for", "not", "by"}
    shared = [
        {word.strip(".,?").lower() for word in one.split()}
        & {word.strip(".,?").lower() for word in other.split()} - small
        for one, other in PAIRS
    ]
    assert sum(bool(words) for words in shared) < len(PAIRS) / 4


def test_the_projects_own_pages_are_sentences_under_headings() -> None:
    found = pages(ROOT)
    assert len(found) > 30
    assert all(len(paragraph) >= 2 for paragraph in found)
    assert not [text for paragraph in found for text in paragraph if "```" in text]
