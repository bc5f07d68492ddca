"""Turns with a task: repeating, counting, sums of digits, facts about the world, and saying what is not known."""

from training.chat import facts, phrases
from training.chat.state import State, Turn
from training.chat.words import NUMBER_WORDS


def repeat(state: State) -> Turn:
    """One to nine words to say again; three lists in ten hold a word twice."""
    items = [state.word() for _ in range(state.rng.choice((1, 2, 2, 3, 3, 4, 4, 5, 6, 8)))]
    if len(items) > 1 and state.rng.random() < 0.3:
        items.insert(state.rng.randrange(len(items)), state.rng.choice(items))
    text = " ".join(items)
    if state.rng.random() < 0.1:
        text = text[0].upper() + text[1:] + state.pick((".", "!", "?"))
    question = state.pick(
        (
            "Repeat after me: {}",
            "Repeat after me: {}",
            "Repeat: {}",
            "Say {}",
            "Repeat after me {}",
            "Echo: {}",
            "Say: {}",
        )
    )
    return Turn(question, text, (text,))


def count(state: State) -> Turn:
    """Counting, mostly to small numbers, up to 200."""
    chance = state.rng.random()
    last = (
        state.rng.randint(2, 20)
        if chance < 0.8
        else state.rng.randint(21, 200)
        if chance < 0.92
        else state.rng.choice((50, 100, 200))
    )
    if state.split == "held-out" and last > 30:
        last = 30
    question = state.pick(
        ("Count to {}.", "Count to {}.", "Count from 1 to {}.", "Please count to {}.", "Can you count to {}?")
    )
    return Turn(question, " ".join(map(str, range(1, last + 1))), (last,))


def add(state: State) -> Turn:
    """The sum of two digits, of which all 100 pairs are trained."""
    a, b = state.rng.randint(0, 9), state.rng.randint(0, 9)
    if "add" in state.tools:
        return count(state)
    answer = f"{a} + {b} = {a + b}"
    if state.rng.random() < 0.3:
        question = state.pick(("What is {} plus {}?", "{} plus {}", "How much is {} plus {}?"))
        return Turn(question, answer, (NUMBER_WORDS[a], NUMBER_WORDS[b]))
    question = state.pick(
        (
            "What is {} + {}?",
            "{} + {}",
            "What is {} plus {}?",
            "How much is {} + {}?",
            "Add {} and {}.",
            "{}+{}",
            "What is {}+{}?",
        )
    )
    return Turn(question, answer, (a, b))


def beyond_sums(state: State) -> Turn:
    """Arithmetic that the demo model has not learnt, and says so."""
    if "add" in state.tools:
        return repeat(state)
    a, b = state.rng.randint(10, 999), state.rng.randint(10, 999)
    small = state.rng.randint(0, 9), state.rng.randint(0, 9)
    if state.rng.random() < 0.5:
        return Turn(state.pick(("What is {} + {}?", "{} + {}", "What is {} plus {}?")), facts.ONLY_SMALL_SUMS, (a, b))
    question = state.pick(
        ("What is {} - {}?", "What is {} minus {}?", "What is {} times {}?", "{} * {}", "What is {} divided by {}?")
    )
    return Turn(question, facts.ONLY_SMALL_SUMS, small)


def world_fact(state: State) -> Turn:
    """A fact about the world from the table."""
    about, value = state.rng.choice(facts.world_facts())
    question = state.pick(("What is {}?", "What is {}?", "Tell me {}.", "Do you know {}?", "{}?"))
    return Turn(question, f"{about[0].upper() + about[1:]} is {value}.", (about,))


def unknown_fact(state: State) -> Turn:
    """A question about the world that no table answers."""
    things = (words_for_unknown(state), state.noun())
    return Turn(state.pick(phrases.OPEN_QUESTIONS), facts.DO_NOT_KNOW, things)


def statement(state: State) -> Turn:
    """Something told that needs no more than a nod."""
    return Turn(state.pick(phrases.STATEMENTS), "I see.", (state.noun(), state.noun()))


def words_for_unknown(state: State) -> str:
    """A made-up word or a name that no fact is about."""
    if state.split == "held-out":
        return state.noun()
    from_maker = state.maker.make(state.rng)
    return from_maker if state.rng.random() < 0.4 else f"{state.noun()} {state.noun()}"


def gibberish(state: State) -> Turn:
    """Words that make no question."""
    if state.split == "held-out":
        return Turn("{}", facts.DO_NOT_UNDERSTAND, (" ".join(state.noun() for _ in range(state.rng.randint(1, 4))),))
    text = " ".join(state.word() for _ in range(state.rng.randint(1, 4)))
    return Turn("{}", facts.DO_NOT_UNDERSTAND, (text,))
