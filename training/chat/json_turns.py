"""Turns that want JSON: what was told, values from the question, sums and facts."""

import json

from training.chat import facts
from training.chat.state import State, Turn


def json_name(state: State) -> Turn:
    """The person's name as JSON; null while it is not known."""
    question = state.pick(
        (
            "Answer in JSON: what is my name?",
            "What is my name? Answer in JSON.",
            "Give me my name as JSON.",
            "My name as JSON, please.",
            "Tell me my name in JSON.",
        )
    )
    return Turn(question, json.dumps({"name": state.person.name}, ensure_ascii=False))


def json_code(state: State) -> Turn:
    """The code as JSON; null while there is none."""
    question = state.pick(
        ("Answer in JSON: what is the code?", "What is the code? Answer in JSON.", "Give me the code as JSON.")
    )
    return Turn(question, json.dumps({"code": state.code}))


def json_object(state: State) -> Turn:
    """An object made of values from the question."""
    name, age, city = state.name(), state.rng.randint(1, 99), state.city()
    if state.rng.random() < 0.3:
        answer = json.dumps({"name": name, "age": age, "city": city}, ensure_ascii=False)
        question = state.pick(("Give me JSON with name {}, age {} and city {}.", "JSON: name {}, age {}, city {}"))
        return Turn(question, answer, (name, age, city))
    answer = json.dumps({"name": name, "age": age}, ensure_ascii=False)
    question = state.pick(
        (
            "Give me JSON with name {} and age {}.",
            "JSON: name {}, age {}",
            "Make a JSON object with name {} and age {}.",
        )
    )
    return Turn(question, answer, (name, age))


def json_list(state: State) -> Turn:
    """A list of two to four words from the question."""
    items = [state.noun() for _ in range(state.rng.randint(2, 4))]
    listed = ", ".join(items[:-1]) + f" and {items[-1]}"
    question = state.pick(("Give me a JSON list of {}.", "Make a JSON list of {}.", "JSON list: {}"))
    return Turn(question, json.dumps(items), (listed,))


def json_add(state: State) -> Turn:
    """The sum of two digits as JSON."""
    if "add" in state.tools:
        return json_fact(state)
    a, b = state.rng.randint(0, 9), state.rng.randint(0, 9)
    question = state.pick(
        ("What is {} + {}? Answer in JSON.", "Answer in JSON: what is {} + {}?", "Give me {} + {} as JSON.")
    )
    return Turn(question, json.dumps({"result": a + b}), (a, b))


def json_fact(state: State) -> Turn:
    """A fact about the world as JSON."""
    about, value = state.rng.choice(facts.world_facts())
    question = state.pick(("What is {}? Answer in JSON.", "Answer in JSON: what is {}?"))
    return Turn(question, json.dumps({"answer": value}), (about,))
