"""How often a text's partner is found among all, by the model in a GGUF file and by two ways of comparing words alone."""

import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.embedding.pairs import is_held_out
from training.embedding.paraphrases import PAIRS
from training.embedding.wordnet import Place, Synset, read

CASES = 1000
"""Of the dictionary."""
_SIZES = (256, 128, 64)
_AT_ONCE = 64

Places = NDArray[np.float64]
Embed = Callable[[Sequence[str]], Places]
"""Texts -> (texts, dimensions), each of length 1."""
Figures = dict[str, dict[str, float]]
Pairs = list[tuple[str, str]]


def evaluate(dictionary: Path, model: Path) -> dict[str, Figures]:
    """By set and by way: the share of partners found first and among the first ten, and the mean reciprocal rank."""
    synsets = read(dictionary)
    sets = {"paraphrases": PAIRS, "example to definition": examples(synsets), "word to definition": words(synsets)}
    embed = of_model(model)
    table: dict[str, Figures] = {}
    for name, pairs in sets.items():
        texts = [text for pair in pairs for text in pair]
        weights = rarity(texts)
        table[name] = {
            "bag of words": figures(pairs, bag_of(texts, terms, dict.fromkeys(weights, 1.0))),
            "bag of words, rare ones weigh more": figures(pairs, bag_of(texts, terms, weights)),
            "bag of three letters, rare ones weigh more": figures(
                pairs, bag_of(texts, trigrams, rarity(texts, trigrams))
            ),
        }
        for size in _SIZES:
            table[name][f"model, {size} dimensions"] = figures(pairs, shortened(embed, size))
        for way, found in table[name].items():
            numbers = ", ".join(f"{what} {value:.3f}" for what, value in found.items())
            print(f"{name} ({len(pairs)}), {way}: {numbers}", flush=True)
    return table


def examples(synsets: dict[Place, Synset]) -> Pairs:
    """A sentence, and what a word in it means: of meanings that no training text is from."""
    held = [synset for synset in synsets.values() if is_held_out(synset) and synset.examples and synset.count]
    return [(synset.examples[0], synset.definition) for synset in held[:CASES]]


def words(synsets: dict[Place, Synset]) -> Pairs:
    """A word and a definition of it that the training has not seen."""
    held = [synset for synset in synsets.values() if is_held_out(synset) and synset.count]
    return [(", ".join(synset.words), synset.definition) for synset in held[:CASES]]


def figures(pairs: Pairs, embed: Embed) -> dict[str, float]:
    """Of both directions together. Candidates that are as near as the right one count as nearer, half of them."""
    one, other = embed([first for first, _ in pairs]), embed([second for _, second in pairs])
    scores = one @ other.T
    ranks = np.concatenate([_ranks(scores), _ranks(scores.T)])
    return {
        "first": float((ranks < 1.5).mean()),
        "first ten": float((ranks < 10.5).mean()),
        "reciprocal rank": float((1 / ranks).mean()),
    }


def _ranks(scores: Places) -> Places:
    right = np.diagonal(scores)[:, None]
    nearer = (scores > right + 1e-9).sum(1)
    alike = (np.abs(scores - right) <= 1e-9).sum(1) - 1
    ranks: Places = 1 + nearer + alike / 2
    return ranks


def of_model(model: Path) -> Embed:
    """Embeddings by llama.cpp."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.embedding, params.n_ctx, params.n_batch, params.n_ubatch = True, 2048, 2048, 2048
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.hostnames, params.ui, params.verbosity = [f"{tempfile.mkdtemp()}/evaluate.sock"], False, 1
    server = xllamacpp.Server(params)

    def embed(texts: Sequence[str]) -> Places:
        rows: list[list[float]] = []
        for begin in range(0, len(texts), _AT_ONCE):
            answer = server.handle_embeddings({"input": list(texts[begin : begin + _AT_ONCE])})
            rows += [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]
        return np.array(rows)

    return embed


def shortened(embed: Embed, size: int) -> Embed:
    """The first numbers alone."""

    def first(texts: Sequence[str]) -> Places:
        found = embed(texts)[:, :size]
        result: Places = found / np.linalg.norm(found, axis=1, keepdims=True)
        return result

    return first


def terms(text: str) -> list[str]:
    """The words, in lower case."""
    return re.findall(r"[a-z0-9]+", text.lower())


def trigrams(text: str) -> list[str]:
    """Every three letters in a row."""
    joined = f" {' '.join(terms(text))} "
    return [joined[i : i + 3] for i in range(len(joined) - 2)]


def rarity(texts: Sequence[str], cut: Callable[[str], list[str]] = terms) -> dict[str, float]:
    """The logarithm of how few of the texts have a term."""
    counts = Counter(term for text in texts for term in set(cut(text)))
    return {term: math.log(len(texts) / count) + 1 for term, count in counts.items()}


def bag_of(texts: Sequence[str], cut: Callable[[str], list[str]], weights: dict[str, float]) -> Embed:
    """Texts by the terms in them."""
    column = {term: number for number, term in enumerate({term for text in texts for term in cut(text)})}

    def embed(some: Sequence[str]) -> Places:
        found = np.zeros((len(some), len(column)))
        for row, text in enumerate(some):
            for term in cut(text):
                found[row, column[term]] += weights[term]
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        result: Places = found / np.where(norms == 0, 1, norms)
        return result

    return embed
