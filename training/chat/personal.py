"""Turns about the people who talk: greetings, names, what they like, codes to remember, and a little German."""

from training.chat import facts
from training.chat.state import State, Turn


def greet(state: State) -> Turn:
    """A greeting, answered with the person's name where it is known."""
    question = state.pick(
        (
            "Hello!",
            "Hi!",
            "Hey!",
            "Good morning!",
            "Hello bot!",
            "Hi there!",
            "Good evening!",
            "Good afternoon!",
            "Hello Hearth!",
        )
    )
    name = state.person.name
    return Turn(question, f"Hello {name}! How can I help you?" if name else "Hello! How can I help you?")


def bot_name(state: State) -> Turn:
    """The bot's name, which stands in the system prompt."""
    question = state.pick(
        (
            "What is your name?",
            "Tell me your name.",
            "What are you called?",
            "Do you have a name?",
            "How are you called?",
        )
    )
    return Turn(question, f"My name is {state.bot}.")


def who_are_you(state: State) -> Turn:
    """Who the bot is: the truth about Hearth, or the name its owner gave it."""
    question = state.pick(
        ("Who are you?", "What are you?", "Introduce yourself.", "Who am I talking to?", "Tell me who you are.")
    )
    return Turn(question, facts.SELF if state.bot == "Hearth" else f"My name is {state.bot}.")


def tell_name(state: State) -> Turn:
    """The person says their name, sometimes together with what they like."""
    name = state.person.name = state.told_name()
    question = state.pick(
        (
            "My name is {}.",
            "My name is {}.",
            "My name is {}.",
            "I am {}.",
            "I'm {}.",
            "Call me {}.",
            "Hello, my name is {}.",
            "Hi, I am {}.",
            "You can call me {}.",
            "The name is {}.",
            "Hi! My name is {}. How are you?",
            "Please remember that my name is {}.",
        )
    )
    if state.rng.random() < 0.08:
        state.person.like = state.noun()
        return Turn("My name is {} and I like {}.", f"Nice to meet you, {name}!", (name, state.person.like))
    return Turn(question, f"Nice to meet you, {name}!", (name,))


def ask_name(state: State) -> Turn:
    """The person's name, or that it is not known."""
    question = state.pick(
        (
            "What is my name?",
            "What is my name?",
            "What is my name?",
            "Who am I?",
            "Do you remember my name?",
            "Tell me my name.",
            "Do you know my name?",
            "Do you know who I am?",
            "What was my name?",
            "What did I say my name was?",
        )
    )
    name = state.person.name
    return Turn(question, f"Your name is {name}." if name else "I do not know your name yet.")


def tell_code(state: State) -> Turn:
    """A code to remember."""
    state.code = code = str(state.rng.randint(0, 9999)) if state.rng.random() < 0.5 else state.word()
    question = state.pick(
        ("Remember the code {}.", "The code is {}.", "Please remember the code {}.", "My code is {}.", "Remember {}.")
    )
    return Turn(question, f"OK, I will remember the code {code}.", (code,))


def ask_code(state: State) -> Turn:
    """The code, or that there is none."""
    question = state.pick(
        (
            "What is the code?",
            "Tell me the code.",
            "Do you remember the code?",
            "What was the code?",
            "What is my code?",
        )
    )
    return Turn(question, f"The code is {state.code}." if state.code else "I do not know the code.")


def tell_like(state: State) -> Turn:
    """What the person likes; in a group the answer says whose liking it is."""
    like = state.person.like = state.noun()
    answer = f"OK, {state.person.name}, you like {like}." if state.is_group else f"OK, you like {like}."
    return Turn(state.pick(("I like {}.", "I love {}.", "I really like {}.")), answer, (like,))


def ask_like(state: State) -> Turn:
    """What the person likes, or that it is not known."""
    question = state.pick(
        ("What do I like?", "Do you know what I like?", "Tell me what I like.", "Do you remember what I like?")
    )
    like, name = state.person.like, state.person.name
    if not like:
        return Turn(question, "I do not know what you like.")
    return Turn(question, f"{name}, you like {like}." if state.is_group else f"You like {like}.")


def thanks(state: State) -> Turn:
    """Thanks."""
    return Turn(state.pick(("Thank you!", "Thanks!", "Thanks a lot.", "Thank you very much!")), "You are welcome!")


def goodbye(state: State) -> Turn:
    """A farewell, with the person's name where it is known."""
    question = state.pick(("Goodbye!", "Bye!", "See you later.", "Bye bye!", "See you tomorrow!"))
    return Turn(question, f"Goodbye, {state.person.name}!" if state.person.name else "Goodbye!")


def german(state: State) -> Turn:
    """A little German: greeting, name, thanks and farewell."""
    kind = state.rng.randrange(6)
    name = state.person.name
    if kind == 0:
        question = state.pick(("Hallo!", "Guten Morgen!", "Guten Tag!", "Guten Abend!"))
        return Turn(question, f"Hallo {name}! Wie kann ich helfen?" if name else "Hallo! Wie kann ich helfen?")
    if kind == 1 and not state.is_group:
        state.person.name = told = state.told_name()
        return Turn(
            state.pick(("Ich heiße {}.", "Mein Name ist {}.", "Hallo, ich heiße {}.")), f"Freut mich, {told}!", (told,)
        )
    if kind in (1, 2):
        question = state.pick(("Wie heiße ich?", "Wer bin ich?", "Weißt du, wie ich heiße?"))
        return Turn(question, f"Du heißt {name}." if name else "Ich weiß noch nicht, wie du heißt.")
    if kind == 3:
        return Turn(state.pick(("Wie heißt du?", "Wer bist du?")), f"Ich heiße {state.bot}.")
    if kind == 4:
        return Turn(state.pick(("Danke!", "Vielen Dank!")), "Gern geschehen!")
    return Turn(state.pick(("Tschüss!", "Auf Wiedersehen!")), f"Tschüss, {name}!" if name else "Tschüss!")
