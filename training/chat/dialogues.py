"""Whole synthetic dialogues: a system prompt, short talks, long ones with facts told far back, groups, and talks with tools.

The same code with the split "held-out" makes the evaluation's cases: names and words that no training dialogue holds.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from training.chat.facts import DEFAULT_SYSTEM_PROMPT
from training.chat.kinds import KINDS, Kind, question_and_answer
from training.chat.state import Person, Split, State
from training.chat.template import Message
from training.chat.tools import Toolbox, tool_turn

PLAIN_SYSTEM_PROMPTS = (
    "You are a helpful bot.",
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are a friendly pirate.",
    "You are a patient teacher. Explain simply.",
    "Be kind and brief.",
)


@dataclass
class Dialogue:
    """The messages of a dialogue, and the schemas of the tools it may use."""

    messages: list[Message] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)

    def say(self, question: str, answer: str) -> None:
        """Adds one turn."""
        self.messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def kind_named(name: str) -> Kind:
    """The kind of turn with this name; StopIteration if there is none."""
    return next(kind for kind in KINDS if kind.name == name)


def system_prompt(state: State) -> str:
    """Hearth's own prompt in two of five dialogues, else none, a plain one, or one that names the bot; may tell facts."""
    chance, lines = state.rng.random(), []
    if chance < 0.40:
        lines.append(DEFAULT_SYSTEM_PROMPT)
    elif chance < 0.55:
        return ""
    elif chance < 0.65:
        lines.append(state.pick(PLAIN_SYSTEM_PROMPTS))
    else:
        state.bot = state.name()
        lines.append(
            state.pick(
                (
                    "You are {}, a helpful bot.",
                    "You are {}.",
                    "Your name is {}. You are a helpful bot.",
                    "You are {}, a helpful assistant. Answer briefly and truthfully.",
                    "You are a helpful assistant called {}.",
                )
            ).format(state.bot)
        )
    if chance > 0.2 and not state.is_group:
        lines += _told_by_system(state)
    return " ".join(lines)


def _told_by_system(state: State) -> list[str]:
    lines = []
    if state.rng.random() < 0.12:
        state.person.name = state.name()
        lines.append(state.pick(("The name of the user is {}.", "The user is called {}.")).format(state.person.name))
    if state.rng.random() < 0.08:
        state.person.like = state.noun()
        lines.append(f"The user likes {state.person.like}.")
    if state.rng.random() < 0.08:
        state.code = state.word()
        lines.append(f"The code is {state.code}.")
    return lines


def draw_kind(state: State, *, filler: bool = False) -> Kind:
    """A kind of turn by weight; `filler` leaves out those that tell or recall facts."""
    kinds = [k for k in KINDS if not (filler and k.recalls) and not (state.is_group and k.private_only)]
    return state.rng.choices(kinds, [k.weight for k in kinds])[0]


def add_turn(dialogue: Dialogue, state: State, kind: Kind) -> None:
    """Adds a turn of a kind; in a group somebody is drawn to ask, sometimes after talk that is not for the bot."""
    before: list[str] = []
    if state.is_group:
        state.person = state.rng.choice(state.people)
        before = [chatter(state) for _ in range(state.rng.choice((0, 0, 0, 0, 1, 2)))]
    question, answer = question_and_answer(state, kind)
    if state.rng.random() < 0.5:
        dialogue.messages += [{"role": "user", "content": line} for line in before]
    else:
        question = "\n".join([*before, question])
    dialogue.say(question, answer)


def chatter(state: State) -> str:
    """A line that somebody in a group says to the others, which the bot only overhears."""
    line = state.pick(
        ("The {} is here.", "did you see the {}?", "lol", "good morning all", "I bought a {} today", "nice {}!", "ok")
    )
    return f"{state.rng.choice(state.people).name}: {line.format(state.noun())}"


def begin(rng: random.Random, split: Split, *, group: bool = False) -> tuple[Dialogue, State]:
    """An empty dialogue with its system prompt."""
    state = State(rng, split)
    if group:
        state.people = [Person(state.display_name()) for _ in range(rng.randint(2, 4))]
        state.person = state.people[0]
    dialogue = Dialogue()
    if prompt := system_prompt(state):
        dialogue.messages.append({"role": "system", "content": prompt})
    return dialogue, state


def talk(dialogue: Dialogue, state: State, turns: int) -> None:
    """Adds turns of any kind."""
    for _ in range(turns):
        add_turn(dialogue, state, draw_kind(state))


def talk_with_far_recall(dialogue: Dialogue, state: State, fillers: int) -> None:
    """Tells facts first, talks of other things, then asks for every fact, told or not."""
    told = [name for name in ("tell name", "tell like", "tell code") if state.rng.random() < 0.7]
    if state.is_group:
        told = [name for name in told if name != "tell name"]
    state.rng.shuffle(told)
    for name in told:
        add_turn(dialogue, state, kind_named(name))
        for _ in range(state.rng.choice((0, 0, 0, 1, 2))):
            add_turn(dialogue, state, draw_kind(state, filler=True))
    for _ in range(fillers):
        add_turn(dialogue, state, draw_kind(state, filler=True))
    asked = ["ask name", state.rng.choice(("ask name", "json name")), "ask like", "ask code"]
    state.rng.shuffle(asked)
    for name in asked:
        add_turn(dialogue, state, kind_named(name))
        if state.rng.random() < 0.2:
            add_turn(dialogue, state, draw_kind(state, filler=True))


def talk_with_tools(dialogue: Dialogue, state: State, turns: int) -> None:
    """Lists tools; about half of the turns need one, the others are answered as ever."""
    toolbox = Toolbox(state)
    dialogue.tools = toolbox.schemas
    for _ in range(turns):
        if state.rng.random() < 0.55:
            if state.is_group:
                state.person = state.rng.choice(state.people)
            dialogue.messages += tool_turn(state, toolbox)
        else:
            add_turn(dialogue, state, draw_kind(state))


def dialogue(rng: random.Random, split: Split = "train") -> Dialogue:
    """One dialogue: 13 % in groups, 11 % with tools, 23 % with facts recalled from far back (up to about 1,000 tokens)."""
    made, state = begin(rng, split, group=rng.random() < 0.13)
    chance = rng.random()
    if chance < 0.11:
        talk_with_tools(made, state, rng.choice((1, 1, 2, 3, 4)))
    elif chance < 0.34:
        talk_with_far_recall(made, state, rng.choice((2, 4, 8, 12, 16, 20, 26, 32)))
    else:
        talk(made, state, rng.choice((1, 2, 3, 4, 4, 5, 6, 8)))
    return made


def texts(dialogues: Sequence[Dialogue]) -> list[str]:
    """Every content of the dialogues, in order."""
    return [message["content"] for one in dialogues for message in one.messages]
