"""Names and words of the synthetic dialogues, in two parts that never meet: for training, and held out for evaluation."""

import random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TRAIN_NAMES = _words(
    """
    Aaron Abigail Ada Adam Adele Adrian Agnes Ahmed Aisha Akira Alan Albert Alessandro Alex Alexander Alexandra Alfred
    Alice Alina Amanda Amara Amelia Amir Amy Anastasia Anders Andre Andrea Andrew Angela Anita Anja Ann Anna Anne
    Anthony Antonio Arthur Asha Astrid Audrey Axel Ayumi Barbara Beatrice Ben Benjamin Bernard Bianca Bjorn Bob Boris
    Brandon Brian Bruno Caleb Camila Carl Carla Carlos Carmen Caroline Catherine Cecilia Charles Charlotte Chen Chloe
    Chris Christian Christina Claire Clara Claudia Connor Cora Cristina Daniel Daniela Darius David Deborah Denis
    Derek Diana Diego Dominik Donald Dora Doris Dylan Edgar Edith Eduardo Edward Elena Eli Elias Elijah Elisa Elisabeth
    Ella Ellen Elliot Elsa Emil Emilia Emily Emma Enrico Eric Erik Esther Ethan Eugene Eva Evan Evelyn Fabian Fatima
    Felix Fernando Fiona Florian Frances Francesco Frank Franz Freya Gabriel Gabriela Gavin Georg George Gerda Gina
    Giovanni Gloria Gordon Grace Greta Guido Gustav Hana Hanna Hans Harold Harry Hassan Heidi Helen Helena Henri Henry
    Herbert Hilda Hiroshi Holger Hugo Ian Ibrahim Ida Igor Ilona Imran Ines Ingrid Irene Irina Isaac Isabel Isabella
    Ivan Ivy Jack Jacob Jakob James Jamie Jan Jana Jane Janet Janina Jared Jason Javier Jean Jelena Jennifer Jeremy Jessica
    Jin Joachim Joan Joanna Johan John Jonas Jonathan Jordan Jorge Josef Joseph Joshua Juan Judith Julia Julian Juliet
    Justin Kai Kamal Karen Karin Karl Katharina Kate Katja Keiko Keith Kenji Kerstin Kevin Kim Kira Klaus Kofi Kristina
    Kurt Kyle Lara Larissa Lars Laura Laurence Lea Leila Lena Leo Leon Leonard Levi Lewis Liam Lily Linda Lisa Liv Lorenzo
    Louis Louise Lucas Lucia Lucy Luis Luisa Lukas Luna Lydia Magnus Maja Malik Manuel Mara Marc Marcel Marco Marcus
    Margaret Maria Marina Mario Marion Marlene Marta Martha Martin Mary Mateo Matilda Matthew Matthias Max Maya Mei Mia
    Michael Michelle Miguel Mila Milan Milo Mina Miriam Mohammed Mona Monica Moritz Nadia Naomi Natalia Natalie Nathan
    Nathaniel Neil Nicholas Nico Nicole Niels Nikolai Nina Noah Noel Nora Norbert Olaf Oleg Olga Oliver Olivia Omar
    Oscar Oskar Otto Owen Pablo Patricia Patrick Paul Paula Pauline Pavel Pedro Peter Petra Philip Philipp Pia Pierre
    Priya Rachel Rafael Rahul Raj Ralf Ramona Raphael Raul Ravi Rebecca Regina Renate Ricardo Richard Rita Robert
    Roberto Robin Roger Roland Rolf Roman Ron Rosa Rosalie Roxana Ruben Rudolf Ruth Ryan Sabine Sally Sam Samantha Samir Samuel
    Sandra Santiago Sara Sarah Sasha Scott Sean Sebastian Sergei Sharon Shirin Silvia Simon Simone Sofia Sonja Sophia
    Sophie Stefan Stella Stephanie Stephen Steven Sunita Susan Susanne Sven Sylvia Takeshi Tamara Tania Tanja Tara Teresa
    Theo Theresa Thomas Tilda Tim Timo Tina Tobias Tom Tomas Toni Travis Udo Ulrike Umar Ursula Valentina Valerie Vanessa
    Vera Verena Veronica Victor Viktor Vincent Viola Virginia Vivian Walter Wanda Wei Wendy Werner William Wolfgang Xavier
    Yan Yasmin Yuki Yusuf Yvonne Zara Zoe José Zoë René Jürgen André Chloé Søren Łukasz Núria Björk
    """
)

HELD_OUT_NAMES = _words(
    """
    Alistair Anselm Araminta Barnaby Beatrix Benedikt Bogdan Callum Cassandra Clementine Cornelius Damaris Dashiell
    Desmond Dmitri Dorothea Eamon Ekaterina Esmeralda Ezekiel Fergus Florence Gideon Gwendolyn Hadassah Hamish Hortensia
    Ignatius Imogen Isolde Jasper Joaquin Katsumi Kelechi Lavinia Leopold Lysander Maximilian Mehmet Mirabel Nasrin
    Nikhil Octavia Olumide Ottilie Penelope Philippa Quentin Ragnar Reginald Rosalind Rupert Saoirse Seraphina Sigrid
    Tatiana Thaddeus Tomoko Ulysses Vaughan Vladimir Wilhelmina Winston Ximena Yolanda Zachary Zelda Zuleika
    """
)

TRAIN_WORDS = _words(
    """
    apple river stone cloud green red blue yellow tree house dog cat bird fish moon star sun rain snow fire water table
    chair book pen car train boat road hill lamp door window music song dance bread milk sugar coffee tea lemon orange
    garden forest ocean island bridge castle king queen paper glass silver gold iron happy quick kitchen light summer
    winter pizza cheese banana chess tennis football guitar piano horse mouse rabbit tiger elephant lion bear wolf
    butter honey salt pepper rice soup salad cake chocolate cherry grape melon onion potato tomato carrot flower grass
    leaf root seed sand beach wave wind storm thunder shadow morning evening night dream story letter word number circle
    square corner mountain valley desert city village street market school train station engine wheel bicycle plane
    ship rocket planet space robot computer phone camera clock mirror bottle cup plate spoon knife fork basket ladder
    hammer needle button shirt jacket shoe hat glove ring crown sword shield arrow drum trumpet violin poem picture
    brown black white pink purple small large soft loud sweet sour cold warm brave calm gentle clever bright round
    """
)

HELD_OUT_WORDS = _words(
    """
    zebra quartz volcano umbrella wizard penguin harvest lantern mushroom pyramid walnut velvet thistle saffron ribbon
    puzzle otter nectar marble lizard kettle jungle ivory hazel goblin falcon ember dragon copper blanket anchor
    yogurt waffle turnip spinach raven pumpkin parrot oyster mustard magnet lobster igloo helmet giraffe
    feather emerald dolphin cactus beetle avocado turquoise crimson compass canyon meadow glacier squirrel
    """
)

CITIES = _words(
    """
    Paris London Berlin Madrid Rome Vienna Prague Warsaw Lisbon Dublin Oslo Stockholm Helsinki Athens Cairo Tokyo Kyoto
    Beijing Delhi Mumbai Sydney Toronto Boston Chicago Denver Seattle Lima Bogota Santiago Nairobi Lagos Accra Hamburg
    Munich Cologne Zurich Geneva Milan Naples Turin Lyon Porto Seville Krakow Budapest Riga Ankara Tehran Seoul
    """
)
HELD_OUT_CITIES = ("Antwerp", "Bergen", "Cardiff", "Dresden", "Edinburgh", "Glasgow", "Houston", "Izmir")

NUMBER_WORDS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
)

_HELD_OUT = frozenset(w.lower() for w in HELD_OUT_NAMES + HELD_OUT_WORDS + HELD_OUT_CITIES)
_VOWELS = ("a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ea", "ee", "ia", "io", "ou", "y")
_STARTS = _words("b c d f g h j k l m n p r s t v w y z br ch cl cr dr fr gr kr ph pr qu sh sl st th tr")
_ENDS = ("", "", "", "", "n", "r", "l", "s", "t", "m", "d", "k", "x", "nd", "rt", "th", "ck", "ng", "lla", "nne")


def is_held_out(word: str) -> bool:
    """Whether a word, in any case, is reserved for evaluation."""
    return word.lower() in _HELD_OUT


def pronounceable(rng: random.Random) -> str:
    """A made-up lower-case word of 3 to 10 letters that is not held out."""
    while True:
        syllables = rng.choice((1, 2, 2, 2, 3, 3))
        word = "".join(rng.choice(_STARTS) + rng.choice(_VOWELS) for _ in range(syllables)) + rng.choice(_ENDS)
        if 3 <= len(word) <= 10 and not is_held_out(word):
            return word


class NameMaker:
    """Makes new names that look like the training names, by a chain over two letters learnt from those alone."""

    def __init__(self) -> None:
        self._next: dict[str, list[str]] = {}
        for name in TRAIN_NAMES:
            letters = f"^^{name.lower()}$"
            for i in range(len(letters) - 2):
                self._next.setdefault(letters[i : i + 2], []).append(letters[i + 2])

    def make(self, rng: random.Random) -> str:
        """A capitalised name of 3 to 11 letters that is not held out."""
        while True:
            letters = "^^"
            while not letters.endswith("$") and len(letters) < 16:
                letters += rng.choice(self._next[letters[-2:]])
            name = letters[2:-1]
            if letters.endswith("$") and 3 <= len(name) <= 11 and not is_held_out(name):
                return name.capitalize()
