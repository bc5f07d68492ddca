"""WordNet 3.0's files -> synsets, with how often each was counted in texts. The format is that of wndb(5WN)."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_PARTS = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}
_LETTERS = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
_EXAMPLE = re.compile(r'"([^"]+)"')
_NEAR = {"@": "above", "&": "similar", "+": "derived"}
"""Pointers that are followed: to what is more general, to an adjective's neighbours, to the same root in another part of speech."""

Place = tuple[str, str]
"""Part of speech and offset: what names a synset."""


@dataclass
class Synset:
    """A meaning: the words for it, what it is, and sentences with it."""

    place: Place
    words: list[str]
    definition: str
    examples: list[str]
    count: int = 0
    """How often its words were counted with this meaning."""
    near: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    """By `above`, `similar` and `derived`."""


def read(folder: Path) -> dict[Place, Synset]:
    """All synsets of a folder with data.noun, data.verb and so on."""
    counts = dict(_counts(folder / "cntlist.rev"))
    found = {}
    for part, number in _PARTS.items():
        for line in (folder / f"data.{part}").read_text("utf-8").splitlines():
            if not line.startswith("  "):  # the licence
                synset = _synset(line, part, number, counts)
                found[synset.place] = synset
    return found


def _counts(file: Path) -> Iterator[tuple[str, int]]:
    """The beginning of a sense's key (word, kind, file, number) and its count."""
    for line in file.read_text("utf-8").splitlines():
        key, _, count = line.split(" ")
        yield ":".join(key.split(":")[:3]), int(count)


def _synset(line: str, part: str, number: int, counts: dict[str, int]) -> Synset:
    data, _, gloss = line.partition(" | ")
    offset, lexical_file, kind, word_count, *rest = data.split(" ")
    size = 2 * int(word_count, 16)
    number = 5 if kind == "s" else number
    pairs = list(zip(rest[:size:2], rest[1:size:2], strict=True))
    total = sum(counts.get(f"{word.lower()}%{number}:{lexical_file}:{int(i, 16):02}", 0) for word, i in pairs)
    words = [re.sub(r"\((?:a|p|ip)\)$", "", word).replace("_", " ") for word, _ in pairs]
    definition = _EXAMPLE.split(gloss)[0].strip(" ;:")
    synset = Synset((part, offset), words, definition, _EXAMPLE.findall(gloss), total)
    pointers = rest[size + 1 : size + 1 + 4 * int(rest[size])]
    for symbol, target, letter in zip(pointers[::4], pointers[1::4], pointers[2::4], strict=True):
        if symbol in _NEAR:
            synset.near[_NEAR[symbol]].append((_LETTERS[letter], target))
    return synset
