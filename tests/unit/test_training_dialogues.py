"""The generator of the demo model's training dialogues keeps its promises (no training is run, nothing of PyTorch is needed)."""

import json
import random
import re

import jinja2
import pytest

from bot.commands import TABLE
from bot.config import DEFAULT_SYSTEM_PROMPT
from training.chat import exercises, facts, words
from training.chat.dialogues import Dialogue, dialogue, texts
from training.chat.state import State
from training.chat.template import CHAT_TEMPLATE, render
from training.chat.tools import Toolbox, tool_turn


@pytest.fixture(scope="module")
def training_dialogues() -> list[Dialogue]:
    rng = random.Random(4)
    return [dialogue(rng) for _ in range(3000)]


def test_no_training_dialogue_holds_a_held_out_name_or_word(training_dialogues: list[Dialogue]) -> None:
    everything = texts(training_dialogues) + [json.dumps(d.tools, ensure_ascii=False) for d in training_dialogues]
    said = {word.lower() for text in everything for word in re.findall(r"[^\W_]+", text)}
    held_out = {w.lower() for w in words.HELD_OUT_NAMES + words.HELD_OUT_WORDS + words.HELD_OUT_CITIES}
    assert said & held_out == set()


def test_names_and_words_are_many_and_the_two_parts_do_not_meet() -> None:
    known = {w.lower() for w in words.TRAIN_NAMES + words.TRAIN_WORDS + words.CITIES}
    assert len(set(words.TRAIN_NAMES)) >= 400
    assert len(set(words.HELD_OUT_NAMES)) >= 60
    assert [name for name in sorted(known) if words.is_held_out(name)] == []


def test_made_up_words_and_names_are_never_held_out() -> None:
    rng, maker = random.Random(1), words.NameMaker()
    made = [words.pronounceable(rng) for _ in range(5000)] + [maker.make(rng) for _ in range(5000)]
    assert [word for word in made if words.is_held_out(word)] == []


def test_all_hundred_sums_of_two_digits_are_drawn_and_right() -> None:
    state = State(random.Random(2))
    sums = {exercises.add(state).answer for _ in range(4000)}
    assert sums == {f"{a} + {b} = {a + b}" for a in range(10) for b in range(10)}


def test_the_same_seed_makes_the_same_dialogues() -> None:
    first, second = random.Random(7), random.Random(7)
    assert [dialogue(first) for _ in range(50)] == [dialogue(second) for _ in range(50)]


def test_every_command_that_the_model_names_is_a_command_of_hearth() -> None:
    assert {command.name for command in facts.COMMANDS} <= set(TABLE)
    assert set(facts.SPOKEN_COMMANDS.values()) <= {command.name for command in facts.COMMANDS}


def test_the_model_is_trained_on_the_system_prompt_that_hearth_sends() -> None:
    assert facts.DEFAULT_SYSTEM_PROMPT == DEFAULT_SYSTEM_PROMPT


def test_a_name_is_recalled_only_after_it_was_told(training_dialogues: list[Dialogue]) -> None:
    checked = 0
    for one in training_dialogues:
        said = ""
        for message in one.messages:
            if message["role"] == "assistant" and (match := re.fullmatch(r"Your name is (.+)\.", message["content"])):
                assert match[1] in said
                checked += 1
            said += message["content"] + "\n"
    assert checked > 500


def test_dialogues_reach_a_thousand_words_and_have_groups_and_tools(training_dialogues: list[Dialogue]) -> None:
    lengths = [sum(len(text.split()) for text in texts([one])) for one in training_dialogues]
    assert max(lengths) > 500
    assert 0.05 < sum(bool(one.tools) for one in training_dialogues) / 3000 < 0.15
    default = sum(one.messages[0]["content"].startswith(facts.DEFAULT_SYSTEM_PROMPT) for one in training_dialogues)
    assert 0.35 < default / 3000 < 0.45


def test_a_tool_is_called_with_the_value_from_the_question_and_its_result_is_told() -> None:
    state = State(random.Random(3))
    question, call, result, answer = tool_turn(state, Toolbox(state))
    (function,) = [c["function"] for c in call["tool_calls"]]
    assert all(str(value) in question["content"] for value in function["arguments"].values())
    assert answer["content"] == f"The answer is {result['content']}."


def test_the_template_in_the_files_renders_what_training_saw(training_dialogues: list[Dialogue]) -> None:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    template = environment.from_string(CHAT_TEMPLATE)
    for one in training_dialogues[:400]:
        assert template.render(messages=one.messages, tools=one.tools) == render(one.messages, one.tools)
        opened = template.render(messages=one.messages, add_generation_prompt=True)
        assert opened == render(one.messages, generate=True)


def test_the_template_writes_a_system_turn_and_an_open_answer() -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi!"}]
    assert render(messages, generate=True) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_template_takes_a_developer_for_the_system() -> None:
    template = jinja2.Environment().from_string(CHAT_TEMPLATE)
    messages = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hi!"}]
    assert template.render(messages=messages) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n"
    )
