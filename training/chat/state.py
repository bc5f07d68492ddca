"""What is known so far in a synthetic dialogue, and how its names, words and wordings are drawn."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from training.chat import words

Split = Literal["train", "held-out"]


class Turn(NamedTuple):
    """A question's template, the values that fill it, and its answer."""

    template: str
    answer: str
    values: tuple[object, ...] = ()


@dataclass
class Person:
    """Somebody who talks in the dialogue; what the assistant was told about them."""

    name: str | None = None
    like: str | None = None


@dataclass
class State:
    """One dialogue in the making: the source of chance, who speaks, and the facts told so far.

    The train split draws names and words that are known or made up; the held-out split draws only from the reserved lists.
    """

    rng: random.Random
    split: Split = "train"
    bot: str = "Hearth"
    person: Person = field(default_factory=Person)
    people: list[Person] = field(default_factory=list)
    code: str | None = None
    tools: frozenset[str] = frozenset()
    maker: words.NameMaker = field(default_factory=words.NameMaker)

    @property
    def is_group(self) -> bool:
        """Whether several people talk, each message prefixed with its author's name."""
        return bool(self.people)

    def pick(self, options: Sequence[str]) -> str:
        """One of the options."""
        return self.rng.choice(options)

    def name(self) -> str:
        """A first name: real, a chain of a real one's letters, or made up."""
        if self.split == "held-out":
            return self.rng.choice(words.HELD_OUT_NAMES)
        chance = self.rng.random()
        if chance < 0.4:
            return self.rng.choice(words.TRAIN_NAMES)
        name = self.maker.make(self.rng) if chance < 0.7 else words.pronounceable(self.rng).capitalize()
        if chance > 0.96:
            return f"{name}-{self.maker.make(self.rng)}"
        return name

    def told_name(self) -> str:
        """A name as people type it about themselves: sometimes in lower case, as speech recognition writes it."""
        name = self.name()
        return name.lower() if self.rng.random() < 0.12 else name

    def display_name(self) -> str:
        """A name as chat platforms show it before a group message; now and then with a second name or a number."""
        name, chance = self.name(), self.rng.random()
        if chance < 0.08:
            return f"{name} {self.name()}"
        if chance < 0.14:
            return f"{name.lower()}{self.rng.randint(1, 99)}"
        return name

    def word(self) -> str:
        """A word to repeat or to remember: a common one, a made-up one or a number."""
        if self.split == "held-out":
            return self.rng.choice(words.HELD_OUT_WORDS)
        chance = self.rng.random()
        if chance < 0.45:
            return self.rng.choice(words.TRAIN_WORDS)
        return words.pronounceable(self.rng) if chance < 0.88 else str(self.rng.randint(0, 999))

    def noun(self) -> str:
        """A word that is never a number."""
        if self.split == "held-out":
            return self.rng.choice(words.HELD_OUT_WORDS)
        return self.rng.choice(words.TRAIN_WORDS) if self.rng.random() < 0.6 else words.pronounceable(self.rng)

    def city(self) -> str:
        """A city's name; in training sometimes a made-up one, so that new cities are copied too."""
        if self.split == "held-out":
            return self.rng.choice(words.HELD_OUT_CITIES)
        return self.rng.choice(words.CITIES) if self.rng.random() < 0.6 else words.pronounceable(self.rng).capitalize()


def vary(rng: random.Random, template: str, *, lead_chance: float = 0.06) -> str:
    """A question as people really type it: other case, no final mark, contractions, a word before it.

    Works on the template, before values are filled in, so that a name keeps the case it was told in.
    """
    for start, short in (("What is ", ("What's ", "Whats ")), ("Who is ", ("Who's ", "Whos "))):
        if template.startswith(start) and rng.random() < 0.2:
            template = rng.choice(short) + template[len(start) :]
    if rng.random() < lead_chance:
        lead = rng.choice(("Please, ", "Hi, ", "OK, ", "And ", "Hearth, ", "Hey, ", "So, ", "@Hearth "))
        template = lead + template[0].lower() + template[1:]
    if rng.random() < 0.3:
        template = template.lower()
    if rng.random() < 0.35:
        template = template.rstrip("?.!")
    return template
