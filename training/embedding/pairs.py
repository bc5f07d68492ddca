"""Pairs of texts that mean the same, each drawn anew: what a word means, its synonyms, a sentence said otherwise."""

import math
import random
import re
from bisect import bisect
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import ClassVar

from training.embedding.wordnet import Place, Synset
from training.embedding.words import Words

HELD_OUT = 23
"""Each so manieth meaning is kept for the evaluation: neither its definition nor its examples are trained on."""

Pair = tuple[str, str, object]
"""Two texts, and what they are about: two pairs about the same are no counterexamples to each other."""


def is_held_out(synset: Synset) -> bool:
    """Whether a meaning is kept for the evaluation."""
    return int(synset.place[1]) % HELD_OUT == 0


def pages(root: Path) -> list[list[str]]:
    """The paragraphs of the project's own pages as sentences, each after the headings above it."""
    found = []
    for file in sorted([*root.glob("*.md"), *(root / "docs").glob("*.md")]):
        text = re.sub(r"```.*?```|^ {4}.*$|^\|.*$", "", file.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        heading = ""
        for part in re.split(r"\n\s*\n", text):
            words = re.sub(r"\[([^]]*)\]\([^)]*\)|[*`>]", r"\1", " ".join(part.split()))
            if part.startswith("#"):
                heading = words.strip("# ")
            elif len(words) > 20:
                found.append([heading, *re.split(r"(?<=[.!?:]) (?=[A-Z])", words)])
    return found


class Pairs:
    """Draws pairs. The seed decides all of them."""

    KINDS: ClassVar = {
        "define": 28,
        "synonym": 12,
        "example": 12,
        "otherwise": 28,
        "cropped": 6,
        "above": 4,
        "derived": 5,
        "page": 5,
    }
    """How often each is drawn, of a hundred; a batch is of one kind, so that its counterexamples are hard."""

    def __init__(self, synsets: dict[Place, Synset], folder: Path, root: Path, seed: int) -> None:
        self._rng = random.Random(seed)
        self._synsets = synsets
        self._words = Words(synsets, folder)
        self._all = [synset for synset in synsets.values() if not is_held_out(synset)]
        self._sums = list(accumulate(_weight(synset) for synset in self._all))
        self._pages = pages(root)

    def batch(self, size: int) -> list[Pair]:
        """Pairs of one kind."""
        [kind] = self._rng.choices(list(self.KINDS), list(self.KINDS.values()))
        draw: Callable[[], Pair | None] = getattr(self, f"_{kind}")
        return list(_so_many(draw, size))

    def _some(self) -> Synset:
        return self._all[bisect(self._sums, self._rng.random() * self._sums[-1])]

    def _define(self) -> Pair:
        synset = self._some()
        words = self._rng.sample(synset.words, self._rng.randint(1, min(2, len(synset.words))))
        definition = (
            synset.definition if self._rng.random() < 0.7 else self._words.otherwise(synset.definition, self._rng)
        )
        return ", ".join(words), definition, synset.place

    def _synonym(self) -> Pair | None:
        synset = self._some()
        if len(synset.words) < 2:
            return None
        one, other = self._rng.sample(synset.words, 2)
        return self._words.form(one, self._rng), self._words.form(other, self._rng), synset.place

    def _example(self) -> Pair | None:
        synset = self._some()
        if not synset.examples:
            return None
        return self._rng.choice(synset.examples), f"{self._rng.choice(synset.words)}: {synset.definition}", synset.place

    def _otherwise(self) -> Pair:
        synset = self._some()
        text = self._rng.choice([synset.definition, *synset.examples])
        one = self._words.otherwise(text, self._rng) if self._rng.random() < 0.3 else text
        return one, self._words.otherwise(text, self._rng), text

    def _cropped(self) -> Pair:
        synset = self._some()
        text = self._rng.choice([synset.definition, *synset.examples])
        kept = [word for word in text.split() if self._rng.random() < 0.5]
        return " ".join(kept) or text, text, text

    def _above(self) -> Pair | None:
        return self._neighbour(self._rng.choice(("above", "similar")))

    def _derived(self) -> Pair | None:
        return self._neighbour("derived")

    def _neighbour(self, relation: str) -> Pair | None:
        synset = self._some()
        if not synset.near[relation]:
            return None
        other = self._synsets[self._rng.choice(synset.near[relation])]
        if is_held_out(other):
            return None
        return self._rng.choice(synset.words), self._rng.choice(other.words), other.place

    def _page(self) -> Pair:
        paragraph = self._rng.choice(self._pages)
        number = self._rng.randrange(1, len(paragraph))
        text = paragraph[number]
        if self._rng.random() < 0.5:
            return self._words.otherwise(text, self._rng), text, text
        return paragraph[number - 1] or text, text, paragraph[0]


def _weight(synset: Synset) -> float:
    """What is counted often is drawn often; proper names and compounds that were never counted, seldom."""
    common = any(word.islower() and " " not in word for word in synset.words)
    weight = math.sqrt(synset.count + 1) * (1.0 if common else 0.3)
    return weight if synset.count or common else weight / 2


def _so_many(draw: Callable[[], Pair | None], size: int) -> Iterator[Pair]:
    while size:
        pair = draw()
        if pair is not None:
            size -= 1
            yield pair
