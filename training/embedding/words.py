"""Words, their basic forms and their synonyms, for saying a text otherwise."""

import random
import re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

from training.embedding.wordnet import Place, Synset

_WORD = re.compile(r"[A-Za-z]+")
_ENDINGS = (("ies", "y"), ("es", ""), ("s", ""), ("ied", "y"), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"), ("er", ""), ("ly", ""))  # fmt: skip
_SMALL = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "for",
        "with",
        "from",
        "and",
        "or",
        "but",
        "not",
        "no",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "he",
        "she",
        "they",
        "we",
        "you",
        "i",
        "his",
        "her",
        "their",
        "our",
        "your",
        "my",
        "me",
        "him",
        "them",
        "us",
        "as",
        "if",
        "than",
        "then",
        "so",
        "do",
        "does",
        "did",
        "have",
        "has",
        "had",
        "will",
        "would",
        "can",
        "could",
        "may",
        "might",
        "must",
        "shall",
        "should",
        "there",
        "what",
        "which",
        "who",
        "whom",
        "when",
        "where",
        "why",
        "how",
        "all",
        "some",
        "any",
        "one",
        "very",
        "more",
        "most",
    ]
)


class Words:
    """The single words of all meanings."""

    def __init__(self, synsets: dict[Place, Synset], folder: Path) -> None:
        self._meanings: dict[str, list[tuple[Synset, int]]] = defaultdict(list)
        for synset in synsets.values():
            for word in synset.words:
                if _WORD.fullmatch(word) and word.islower():
                    self._meanings[word].append((synset, 1 + synset.count))
        lines = [line for part in ("noun", "verb", "adj") for line in (folder / f"{part}.exc").read_text().splitlines()]
        self._irregular = {surface: basic for surface, basic, *_ in map(str.split, lines)}
        self._forms: dict[str, list[str]] = defaultdict(list)
        for surface, basic in self._irregular.items():
            self._forms[basic].append(surface)

    @lru_cache(maxsize=100_000)  # noqa: B019 - there is one, for as long as the process lives
    def basic(self, surface: str) -> str | None:
        """The form that the dictionary has, by irregular forms and common endings; None for small and unknown words."""
        word = surface.lower()
        if word in _SMALL:
            return None
        if word in self._irregular and self._irregular[word] in self._meanings:
            return self._irregular[word]
        if word in self._meanings:
            return word
        trials = (word[: -len(ending)] + to for ending, to in _ENDINGS if word.endswith(ending))
        return next((trial for trial in trials if trial in self._meanings), None)

    def another(self, word: str, rng: random.Random) -> str:
        """A synonym or another form of a basic word; the word itself if it has neither."""
        meanings = self._meanings[word]
        [(synset, _)] = rng.choices(meanings, [weight for _, weight in meanings])
        words = [other for other in synset.words if other != word and other.islower()]
        return self.form(rng.choice(words) if words and rng.random() < 0.8 else word, rng)

    def form(self, word: str, rng: random.Random) -> str:
        """The word, or sometimes a form of it as it occurs in sentences."""
        if rng.random() < 0.6 or " " in word or len(word) < 3:
            return word
        if self._forms[word] and rng.random() < 0.5:
            return rng.choice(self._forms[word])
        ending = rng.choice(("s", "ed", "ing"))
        if word.endswith("e") and ending != "s":
            return word[:-1] + ending
        return word[:-1] + "ies" if word.endswith("y") and ending == "s" else word + ending

    def otherwise(self, text: str, rng: random.Random) -> str:
        """The text with half of its words replaced, some left out, and its halves sometimes the other way round."""
        said = []
        for surface in re.findall(r"[A-Za-z]+|[^A-Za-z\s]+", text):
            basic = self.basic(surface)
            if basic is None:
                said += [surface] if rng.random() < 0.7 else []
            elif rng.random() < 0.85:
                said.append(self.another(basic, rng) if rng.random() < 0.6 else surface)
        if len(said) > 6 and rng.random() < 0.3:
            middle = len(said) // 2
            said = [*said[middle:], *said[:middle]]
        return " ".join(said)
