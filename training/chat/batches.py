"""Batches of token ids with a weight for each: dialogues, and drills of copied random strings."""

import random
from collections.abc import Iterator
from functools import lru_cache

import torch
from tokenizers import Tokenizer

from training.chat.dialogues import dialogue
from training.chat.template import CONTROL_TOKENS, END_OF_TEXT, TURN_END, TURN_START, segments
from training.chat.tokenizer import token_id

Row = tuple[list[int], list[float]]

# What others say is learnt a little, from one token in eight, so that words become familiar; the assistant's words are the task.
_OTHERS_SHARE, _OTHERS_WEIGHT = 0.125, 0.16
_LONGEST_ROW = 1500
_POOL = 512


class Batches:
    """An endless, seeded source of batches of about `tokens` tokens."""

    def __init__(self, tokenizer: Tokenizer, tokens: int, seed: int) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._rng = random.Random(seed)
        self._pool: list[list[Row]] = []
        self._end_of_text, self._start, self._end = (
            token_id(tokenizer, token) for token in (END_OF_TEXT, TURN_START, TURN_END)
        )
        self._ordinary = tokenizer.get_vocab_size() - len(CONTROL_TOKENS)
        self._encode = lru_cache(maxsize=20_000)(lambda text: tokenizer.encode(text).ids)
        self._space = self._encode(" ")[0]

    def dialogues(self) -> list[Row]:
        """Rows of dialogues of like length."""
        if not self._pool:
            self._pool = list(self._by_length())
            self._rng.shuffle(self._pool)
        return self._pool.pop()

    def drills(self) -> list[Row]:
        """Rows of random strings that come twice or more, so that the copy circuit stays general."""
        drill = self._rng.choice((self._drill_plain, self._drill_words, self._drill_far))
        rows: list[Row] = []
        while not rows or (len(rows) + 1) * max(len(ids) for ids, _ in rows) < self._tokens:
            rows.append(drill())
        return rows

    def _by_length(self) -> Iterator[list[Row]]:
        current: list[Row] = []
        for row in sorted((self._dialogue_row() for _ in range(_POOL)), key=lambda row: len(row[0])):
            if current and (len(current) + 1) * len(row[0]) > self._tokens:
                yield current
                current = []
            current.append(row)
        yield current

    def _dialogue_row(self) -> Row:
        """One dialogue; half of them begin with <|endoftext|>, so that prompts with and without it work."""
        ids, weights = ([self._end_of_text], [0.0]) if self._rng.random() < 0.5 else ([], [])
        made = dialogue(self._rng)
        newline = self._encode("\n")
        for role, content in segments(made.messages, made.tools):
            head = [self._start, *self._encode(role + "\n")]
            body = [*self._encode(content), self._end]
            ids += head + body + newline
            weights += self._light(len(head))
            weights += [1.0] * len(body) if role == "assistant" else self._light(len(body))
            weights += self._light(len(newline))
        return ids[:_LONGEST_ROW], weights[:_LONGEST_ROW]

    def _light(self, count: int) -> list[float]:
        return [_OTHERS_WEIGHT if self._rng.random() < _OTHERS_SHARE else 0.0 for _ in range(count)]

    def _random_ids(self, count: int) -> list[int]:
        return [self._rng.randrange(self._ordinary) for _ in range(count)]

    def _drill_plain(self) -> Row:
        """A string, something else, the string again, a little more, and the string a third time."""
        text = self._random_ids(self._rng.choice((6, 12, 24, 40)))
        between = self._random_ids(self._rng.randint(0, 6))
        copy_weights = [0.0] + [1.0] * (len(text) - 1)
        ids = text + between + text + between[:2] + text
        weights = [0.0] * (len(text) + len(between)) + copy_weights + [0.0] * len(between[:2]) + copy_weights
        return ids, weights

    def _drill_words(self) -> Row:
        """A list of words with spaces between, some of them twice, and the list again."""
        rng = self._rng
        words = [self._random_ids(rng.choice((1, 1, 2, 3))) for _ in range(rng.randint(2, 7))]
        listed = [rng.choice(words) if rng.random() < 0.3 else word for word in words]
        text = [token for word in listed for token in (*word, self._space)]
        cue = self._random_ids(2)
        ids = cue + text + self._random_ids(3) + cue + text
        weights = [0.0] * (len(cue) + len(text) + 3 + len(cue)) + [1.0] * len(text)
        return ids, weights

    def _drill_far(self) -> Row:
        """A cue and a string, up to 900 tokens of something else, then the cue and the string again."""
        cue, text = self._random_ids(2), self._random_ids(self._rng.randint(2, 6))
        between = self._random_ids(self._rng.choice((50, 100, 200, 400, 900)))
        ids = cue + text + between + cue + text
        return ids, [0.0] * (len(ids) - len(text)) + [1.0] * len(text)


def to_tensors(rows: list[Row], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and weights as two tensors of shape (rows, longest row), padded on the right with weight 0."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), longest), padding)
    weights = torch.zeros(len(rows), longest)
    for i, (row_ids, row_weights) in enumerate(rows):
        ids[i, : len(row_ids)] = torch.tensor(row_ids)
        weights[i, : len(row_weights)] = torch.tensor(row_weights)
    return ids, weights
