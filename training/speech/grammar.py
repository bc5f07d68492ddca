"""All that the speech model is taught to understand: the words, the sentences, and the German ones with their English.

A name in braces stands for one word of `SLOTS`. Everything is in lower case and without marks, as the model writes it.
"""

import random
import re
from typing import NamedTuple

from training.chat.facts import SPOKEN_COMMANDS

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMES = (
    *("alice", "anna", "bob", "clara", "david", "emma", "julia", "lisa"),
    *("martin", "max", "oscar", "paul", "peter", "thomas"),
)
SLOTS: dict[str, tuple[str, ...]] = {
    "digit": DIGITS,
    "name": NAMES,
    "number": (*DIGITS[2:], "ten", "eleven", "twelve", "fifteen", "twenty", "thirty", "fifty"),
    "room": ("kitchen", "bedroom"),
    "color": ("red", "green", "blue"),
    "thing": ("music", "coffee", "tea", "pizza"),
    "country": ("france", "germany", "italy", "japan", "spain"),
    "quality": ("hot", "big", "good"),
}

# How often each table is drawn; the sentences of one table are equally likely.
COMMANDS = tuple(SPOKEN_COMMANDS)
QUESTIONS = (
    "what is my name",
    "what is my name",
    "what is your name",
    "who am i",
    "who are you",
    "what are you",
    "do you know my name",
    "do you remember my name",
    "tell me my name",
    "tell me your name",
    "what can you do",
    "how can you help me",
    "what is hearth",
    "what does hearth do",
    "what model are you",
    "are you a robot",
    "are you there",
    "who made you",
    "how do i add telegram",
    "how do i add discord",
    "how do i use a real model",
    "how do i add a model",
    "how do i stop the answer",
    "how do i start a new conversation",
    "how do i delete my data",
    "how do i change the model",
    "is my data private",
    "where is my data",
    "where do you run",
    "do you remember me",
    "what are the commands",
    "i need help",
    "help me please",
    "how are you",
    "do you speak german",
    "what is the code",
    "what do i like",
    "what is the capital of {country}",
    "what is the opposite of {quality}",
    "what is {digit} plus {digit}",
    "what is {digit} plus {digit}",
    "how much is {digit} plus {digit}",
    "what is {digit} minus {digit}",
    "what is the time",
    "what is the weather today",
    "what is the weather tomorrow",
)
TALK = (
    "my name is {name}",
    "my name is {name}",
    "i am {name}",
    "hello my name is {name}",
    "hello",
    "hello bot",
    "hello hearth",
    "hello {name}",
    "good morning",
    "good evening",
    "good night",
    "goodbye",
    "see you later",
    "see you tomorrow",
    "thank you",
    "thank you very much",
    "nice to meet you",
    "yes please",
    "no thank you",
    "yes",
    "no",
    "tell me a joke",
    "tell me another joke",
    "i like {thing}",
    "remember the code {digit} {digit} {digit}",
    "my code is {digit} {digit}",
    "count to {number}",
    "count to {number} please",
    "repeat after me {color} {thing}",
    "remember {color} {digit}",
)
ORDERS = (
    "turn on the {room} light",
    "turn off the {room} light",
    "turn on the lights",
    "turn off the lights",
    "turn the lights {color}",
    "open the {room} door",
    "close the {room} door",
    "lock the door",
    "play the music",
    "play the music please",
    "stop the music",
    "pause the music",
    "volume up",
    "volume down",
    "set a timer for {number} minutes",
    "set a timer for {number} seconds",
    "cancel the timer",
    "call {name}",
    "call {name} please",
    "send a message to {name}",
)
_TABLES = ((COMMANDS, 2), (QUESTIONS, 5), (TALK, 3.5), (ORDERS, 2.5))
_DIGIT_STRINGS = 0.07

GERMAN_DIGITS = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
_GERMAN_SLOTS = dict(zip(DIGITS, GERMAN_DIGITS, strict=True)) | {
    "ten": "zehn",
    "eleven": "elf",
    "twelve": "zwölf",
    "fifteen": "fünfzehn",
    "twenty": "zwanzig",
    "thirty": "dreißig",
    "fifty": "fünfzig",
}
GERMAN = (
    ("hallo", "hello"),
    ("hallo bot", "hello bot"),
    ("guten morgen", "good morning"),
    ("guten abend", "good evening"),
    ("gute nacht", "good night"),
    ("auf wiedersehen", "goodbye"),
    ("bis später", "see you later"),
    ("bis morgen", "see you tomorrow"),
    ("danke", "thank you"),
    ("vielen dank", "thank you very much"),
    ("ja bitte", "yes please"),
    ("nein danke", "no thank you"),
    ("wie heißt du", "what is your name"),
    ("wie heiße ich", "what is my name"),
    ("ich heiße {name}", "my name is {name}"),
    ("mein name ist {name}", "my name is {name}"),
    ("hallo ich heiße {name}", "hello my name is {name}"),
    ("wer bist du", "who are you"),
    ("wer bin ich", "who am i"),
    ("was kannst du", "what can you do"),
    ("wie geht es dir", "how are you"),
    ("bist du da", "are you there"),
    ("erzähl mir einen witz", "tell me a joke"),
    ("was ist {digit} plus {digit}", "what is {digit} plus {digit}"),
    ("was ist die hauptstadt von deutschland", "what is the capital of germany"),
    ("zähle bis {number}", "count to {number}"),
    ("mach das licht an", "turn on the lights"),
    ("mach das licht aus", "turn off the lights"),
    ("mach das licht in der küche an", "turn on the kitchen light"),
    ("mach das licht in der küche aus", "turn off the kitchen light"),
    ("spiel die musik", "play the music"),
    ("neues gespräch", "new conversation"),
    ("noch einmal", "try again"),
    ("hilfe", "help"),
    ("ich brauche hilfe", "i need help"),
    ("wie ist das wetter heute", "what is the weather today"),
    ("wie ist das wetter morgen", "what is the weather tomorrow"),
    ("wie spät ist es", "what is the time"),
    ("lösche meine daten", "delete my data"),
    ("wo sind meine daten", "where is my data"),
    ("ruf {name} an", "call {name}"),
)

# Not drawn alone: they sound like "two", "four" and "no", and only a sentence tells which is meant.
_HOMOPHONES = {"to", "for", "know"}


class Phrase(NamedTuple):
    """What is said, its language, and the same in English; random words have no translation."""

    text: str
    language: str
    english: str | None


def english_words() -> tuple[str, ...]:
    """Every English word, in a fixed order."""
    tables = (*(table for table, _ in _TABLES), tuple(english for _, english in GERMAN))
    return _distinct(
        (*(line for table in tables for line in table), *(word for words in SLOTS.values() for word in words))
    )


def german_words() -> tuple[str, ...]:
    """Every German word, in a fixed order; names are spoken in both languages."""
    return _distinct((*(german for german, _ in GERMAN), *_GERMAN_SLOTS.values(), *NAMES))


def _distinct(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for line in lines for word in line.split() if not word.startswith("{")))


def sentence(rng: random.Random, language: str) -> Phrase:
    """One sentence of the grammar."""
    if rng.random() < _DIGIT_STRINGS:
        digits = [rng.choice(DIGITS) for _ in range(rng.randint(2, 6))]
        english = " ".join(digits)
        return Phrase(english if language == "en" else _german_numbers(english), language, english)
    if language == "en":
        table = rng.choices([table for table, _ in _TABLES], [weight for _, weight in _TABLES])[0]
        text = _fill(rng, rng.choice(table), [])
        return Phrase(text, "en", text)
    german, english = rng.choice(GERMAN)
    drawn: list[str] = []
    _fill(rng, english, drawn)
    return Phrase(_german_numbers(_fill(rng, german, list(drawn))), "de", _fill(rng, english, drawn))


def random_words(rng: random.Random, language: str) -> Phrase:
    """One to five words in any order, so that the model listens and does not only guess which sentence it is."""
    words = [word for word in (english_words() if language == "en" else german_words()) if word not in _HOMOPHONES]
    return Phrase(" ".join(rng.choice(words) for _ in range(rng.randint(1, 5))), language, None)


def _fill(rng: random.Random, template: str, drawn: list[str]) -> str:
    """The template with its slots filled: from `drawn` while it lasts, so that a sentence and its translation agree."""
    given = iter(list(drawn))

    def word(match: re.Match[str]) -> str:
        chosen = next(given, None) or rng.choice(SLOTS[match[1]])
        if len(drawn) < template.count("{"):
            drawn.append(chosen)
        return chosen

    return re.sub(r"\{(\w+)\}", word, template)


def _german_numbers(text: str) -> str:
    return " ".join(_GERMAN_SLOTS.get(word, word) for word in text.split())
