"""Turns about Hearth itself: what it is, its commands, small talk, and what a demo model cannot do."""

from training.chat import facts, phrases
from training.chat.state import State, Turn


def about_hearth(state: State) -> Turn:
    """What Hearth and its demo model are, and how to set things up."""
    phrasings, answer = state.rng.choice(facts.ABOUT_HEARTH)
    return Turn(state.pick(phrasings), answer)


def small_talk(state: State) -> Turn:
    """Small talk with fixed answers."""
    phrasings, answer = state.rng.choice(facts.SMALL_TALK)
    return Turn(state.pick(phrasings), answer)


def ask_command(state: State) -> Turn:
    """How to do a thing that a command does."""
    command = state.rng.choice(facts.COMMANDS)
    question = state.pick(("How do I {}?", "How do I {}?", "How can I {}?", "I want to {}.", "Can I {}?", "How to {}?"))
    return Turn(question, command.answer, (state.pick(command.asked),))


def explain_command(state: State) -> Turn:
    """What one command does; unknown ones are said to be unknown."""
    question = state.pick(
        ("What does /{} do?", "What does /{} do?", "What is /{}?", "Explain /{}.", "What does the command /{} do?")
    )
    if state.rng.random() < 0.15:
        name = state.noun()
        return Turn(question, f"I do not know the command /{name}.", (name,))
    command = state.rng.choice(facts.COMMANDS)
    return Turn(question, command.meaning, (command.name,))


def spoken_command(state: State) -> Turn:
    """A command's phrase as speech recognition writes it."""
    phrase = state.pick(tuple(facts.SPOKEN_COMMANDS))
    wanted = facts.SPOKEN_COMMANDS[phrase]
    return Turn(phrase, next(command.answer for command in facts.COMMANDS if command.name == wanted))


def impossible(state: State) -> Turn:
    """A request that needs more than a demo model."""
    timely = (
        "What is the weather?",
        "How is the weather today?",
        "What is the weather in {}?",
        "What time is it?",
        "What is the time?",
    )
    if not state.tools and state.rng.random() < 0.35:
        return Turn(state.pick(timely), facts.CANNOT, (state.city(),))
    return Turn(state.pick(phrases.REQUESTS), facts.CANNOT, (state.noun(), state.noun()))
