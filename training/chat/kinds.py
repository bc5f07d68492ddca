"""The table of the kinds of turns, each with how often it is drawn, and the making of one turn's two texts."""

from collections.abc import Callable
from typing import NamedTuple

from training.chat import exercises, hearth_turns, json_turns, personal
from training.chat.state import State, Turn, vary


class Kind(NamedTuple):
    """A kind of turn. `recalls` marks kinds that say a told fact again: they are kept out of the filler of long dialogues."""

    name: str
    make: Callable[[State], Turn]
    weight: float
    recalls: bool = False
    private_only: bool = False


KINDS = (
    Kind("greet", personal.greet, 1.2, recalls=True),
    Kind("bot name", personal.bot_name, 1.2),
    Kind("who are you", personal.who_are_you, 1.4),
    Kind("tell name", personal.tell_name, 2.2, recalls=True, private_only=True),
    Kind("ask name", personal.ask_name, 2.8, recalls=True),
    Kind("repeat", exercises.repeat, 4),
    Kind("add", exercises.add, 2.5),
    Kind("beyond sums", exercises.beyond_sums, 0.5),
    Kind("world fact", exercises.world_fact, 1.4),
    Kind("unknown fact", exercises.unknown_fact, 1.3),
    Kind("statement", exercises.statement, 0.5),
    Kind("tell code", personal.tell_code, 1, recalls=True),
    Kind("ask code", personal.ask_code, 1.2, recalls=True),
    Kind("tell like", personal.tell_like, 1, recalls=True),
    Kind("ask like", personal.ask_like, 1.2, recalls=True),
    Kind("count", exercises.count, 0.7),
    Kind("thanks", personal.thanks, 0.4),
    Kind("goodbye", personal.goodbye, 0.5, recalls=True),
    Kind("json name", json_turns.json_name, 1.6, recalls=True),
    Kind("json code", json_turns.json_code, 0.7, recalls=True),
    Kind("json object", json_turns.json_object, 1),
    Kind("json list", json_turns.json_list, 0.8),
    Kind("json add", json_turns.json_add, 1),
    Kind("json fact", json_turns.json_fact, 0.7),
    Kind("gibberish", exercises.gibberish, 0.5),
    Kind("about hearth", hearth_turns.about_hearth, 1.4),
    Kind("small talk", hearth_turns.small_talk, 1.2),
    Kind("ask command", hearth_turns.ask_command, 1.3),
    Kind("explain command", hearth_turns.explain_command, 0.9),
    Kind("spoken command", hearth_turns.spoken_command, 0.5),
    Kind("impossible", hearth_turns.impossible, 1.2),
    Kind("german", personal.german, 0.9, recalls=True),
)


def question_and_answer(state: State, kind: Kind) -> tuple[str, str]:
    """One turn of a kind as the two texts; in a group the question carries its author's name."""
    turn = kind.make(state)
    # In a group people address the bot more often.
    lead_chance = 0.2 if state.is_group else 0.06
    question = vary(state.rng, turn.template, lead_chance=lead_chance).format(*turn.values)
    if state.is_group:
        question = f"{state.person.name}: {question}"
    return question, turn.answer
