"""Measures a demo model file through llama.cpp: exact answers by kind, on known and on held-out names and words.

Every case is a new dialogue. Held-out cases use only names and words that no training dialogue holds.
"""

import json
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

# Without it the threads of OpenMP keep spinning between answers and take a whole core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import xllamacpp
from tokenizers import Tokenizer

from training.chat.dialogues import Dialogue, add_turn, begin, draw_kind, kind_named
from training.chat.facts import DEFAULT_SYSTEM_PROMPT
from training.chat.kinds import KINDS, Kind
from training.chat.state import Split, State
from training.chat.template import END_OF_TEXT, render
from training.chat.tools import Toolbox, tool_turn
from training.chat.words import HELD_OUT_NAMES

_LONGEST_ANSWER = 600
_RECALL_TOKENS = (100, 200, 400, 700, 1000)
_IN_GROUPS = ("greet", "ask name", "ask like", "repeat")
# Every held-out name comes so often in the name test.
_NAME_ROUNDS = 3


class Case(NamedTuple):
    """A dialogue that waits for an answer, and the one that is right."""

    dialogue: Dialogue
    expected: str


class Engine:
    """The model behind llama.cpp, one thread, always the likeliest token."""

    def __init__(self, model: Path, tokenizer: Path) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(model)
        parameters.n_ctx = 2048
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
        self._server = xllamacpp.Server(parameters)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))

    def prompt(self, dialogue: Dialogue) -> list[int]:
        """The dialogue's token ids up to the assistant's turn."""
        ids: list[int] = self._tokenizer.encode(
            END_OF_TEXT + render(dialogue.messages, dialogue.tools, generate=True)
        ).ids
        return ids

    def answer(self, dialogue: Dialogue) -> str:
        """What the model says next."""
        request = {
            "prompt": self.prompt(dialogue),
            "max_tokens": _LONGEST_ANSWER,
            "temperature": 0,
            "cache_prompt": True,
        }
        reply = self._server.handle_completions(request)
        reply = json.loads(reply) if isinstance(reply, str) else reply
        return str(reply["choices"][0]["text"])


def pop_answer(dialogue: Dialogue) -> str:
    """Takes the last answer off, as a template renders it."""
    last = render([dialogue.messages.pop()])
    return last.removeprefix("<|im_start|>assistant\n").removesuffix("<|im_end|>\n")


def kind_case(rng: random.Random, kind: Kind, split: Split, *, group: bool = False) -> Case:
    """A turn of a kind after 0 to 5 others; what is asked for by name was told."""
    dialogue, state = begin(rng, split, group=group)
    if kind.name in ("ask name", "json name") and state.person.name is None:
        add_turn(dialogue, state, kind_named("tell name"))
    for _ in range(rng.choice((0, 1, 2, 3, 5))):
        add_turn(dialogue, state, draw_kind(state))
    add_turn(dialogue, state, kind)
    return Case(dialogue, pop_answer(dialogue))


def tool_case(rng: random.Random, split: Split, *, result: bool) -> Case:
    """A call of a tool, or with `result` the answer from what the tool gave."""
    dialogue, state = begin(rng, split)
    toolbox = Toolbox(state)
    dialogue.tools = toolbox.schemas
    for _ in range(rng.choice((0, 1, 2))):
        add_turn(dialogue, state, draw_kind(state))
    turn = tool_turn(state, toolbox)
    dialogue.messages += turn if result else turn[:2]
    return Case(dialogue, pop_answer(dialogue))


def double_case(rng: random.Random, split: Split) -> Case:
    """A list of words to repeat, one of them twice."""
    dialogue, state = begin(rng, split)
    words = [state.word() for _ in range(rng.randint(2, 5))]
    words.insert(rng.randrange(len(words)), rng.choice(words))
    dialogue.say(f"Repeat after me: {' '.join(words)}", " ".join(words))
    return Case(dialogue, pop_answer(dialogue))


def far_case(engine: Engine, rng: random.Random, tokens: int) -> Case:
    """A held-out name told once, then other things until the prompt has about so many tokens, then asked."""
    dialogue, state = _with_default_prompt(rng)
    add_turn(dialogue, state, kind_named("tell name"))
    while len(engine.prompt(dialogue)) < tokens - 40:
        add_turn(dialogue, state, draw_kind(state, filler=True))
    dialogue.say("What is my name?", f"Your name is {state.person.name}.")
    return Case(dialogue, pop_answer(dialogue))


def name_case(rng: random.Random, name: str, *, told: bool = True) -> Case:
    """Under the default prompt: a name told, up to three other turns, and the question; or asked without being told."""
    dialogue, state = _with_default_prompt(rng)
    for _ in range(rng.choice((0, 0, 1))):
        add_turn(dialogue, state, draw_kind(state, filler=True))
    if told:
        dialogue.say(f"My name is {name}.", f"Nice to meet you, {name}!")
    for _ in range(rng.choice((0, 0, 1, 3))):
        add_turn(dialogue, state, draw_kind(state, filler=True))
    question = rng.choice(("What is my name?",) * 3 + ("what is my name", "whats my name", "What's my name?"))
    dialogue.say(question, f"Your name is {name}." if told else "I do not know your name yet.")
    return Case(dialogue, pop_answer(dialogue))


def _with_default_prompt(rng: random.Random) -> tuple[Dialogue, State]:
    return Dialogue([{"role": "system", "content": DEFAULT_SYSTEM_PROMPT}]), State(rng, "held-out")


class Score(NamedTuple):
    """How many of the cases were right, and the first wrong ones."""

    right: int
    of: int
    wrong: list[str]


def score(engine: Engine, cases: Iterator[Case]) -> Score:
    """Runs the cases."""
    right, of, wrong = 0, 0, []
    for case in cases:
        said = engine.answer(case.dialogue).strip()
        of += 1
        if said == case.expected:
            right += 1
        else:
            wrong.append(f"{case.dialogue.messages[-1]['content']!r} -> {said!r}, not {case.expected!r}")
    return Score(right, of, wrong[:4])


def _kinds(split: Split) -> Iterator[tuple[str, Callable[[random.Random], Case]]]:
    for kind in KINDS:
        yield kind.name, partial(kind_case, kind=kind, split=split)
    for name in _IN_GROUPS:
        yield f"{name} (group)", partial(kind_case, kind=kind_named(name), split=split, group=True)
    yield "repeat, a word twice", partial(double_case, split=split)
    yield "tool call", partial(tool_case, split=split, result=False)
    yield "tool answer", partial(tool_case, split=split, result=True)


def evaluate(engine: Engine, count: int, *, show_wrong: bool = True) -> dict[str, dict[str, float]]:
    """Prints and returns the share of exact answers by kind for both splits, for far recall and for the name test."""
    table: dict[str, dict[str, float]] = {}

    def note(group: str, name: str, result: Score) -> None:
        table.setdefault(group, {})[name] = round(result.right / result.of, 4)
        print(f"{group:9} {name:24} {result.right}/{result.of}", flush=True)
        for line in result.wrong if show_wrong else ():
            print("    wrong:", line)

    splits: tuple[Split, Split] = ("train", "held-out")
    for split in splits:
        results = []
        for name, make in _kinds(split):
            rng = random.Random(f"{name}{split}9")
            results.append(score(engine, (make(rng) for _ in range(count))))
            note(split, name, results[-1])
        note(split, "ALL", Score(sum(r.right for r in results), sum(r.of for r in results), []))
    rng = random.Random(77)
    for tokens in _RECALL_TOKENS:
        note("recall", f"{tokens} tokens", score(engine, (far_case(engine, rng, tokens) for _ in range(count))))
    names = HELD_OUT_NAMES * _NAME_ROUNDS
    note("names", "told", score(engine, (name_case(rng, name) for name in names)))
    note("names", "not told", score(engine, (name_case(rng, "", told=False) for _ in range(count))))
    return table
