"""Which of espeak-ng's voices are for training, and which are held out for evaluation."""

import random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_ENGLISH = ("en-us", "en-us", "en-us", "en", "en", "en", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-us-nyc", "en-029")
_VARIANTS = _words(
    """
    Alex Alicia Andrea Annie Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael Nguyen adam anika announcer
    antonio aunty belinda benjamin boris caleb david ed edward2 f1 f2 f3 grandma grandpa gustave iven iven2 iven3 john
    kaukovalta klatt klatt2 klatt3 klatt4 m1 m2 m3 m4 marcelo max michel miguel norbert pablo paul pedro quincy rob robert
    sandro shelby steph steph3 travis victor zac
    """
)
_PLAIN_ENGLISH = ("en-us", "en-us", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-us-nyc", "en-029")
_PLAIN_SHARE = 0.15

# No training recording is spoken by any of these: twelve variants, two accents, and the plain voices `en` (espeak-ng's own
# default) and `de`.
HELD_OUT_VARIANTS = ("Andy", "Gene2", "Mike", "edward", "f4", "f5", "linda", "m5", "m6", "m7", "m8", "steph2")
HELD_OUT_ACCENTS = ("en-gb-scotland", "en-gb-x-gbclan")
HELD_OUT_PLAIN = {"en": "en", "de": "de"}


def training_voice(rng: random.Random, language: str) -> str:
    """A voice to train with, by the name that espeak-ng knows it by."""
    if language == "en" and rng.random() < _PLAIN_SHARE:
        return rng.choice(_PLAIN_ENGLISH)
    return f"{rng.choice(_ENGLISH) if language == 'en' else 'de'}+{rng.choice(_VARIANTS)}"


def held_out_voice(rng: random.Random, language: str) -> str:
    """A voice that no training recording has."""
    if language == "de":
        return rng.choice((HELD_OUT_PLAIN["de"], *(f"de+{variant}" for variant in HELD_OUT_VARIANTS)))
    variants = [f"{accent}+{variant}" for accent in ("en-us", "en") for variant in HELD_OUT_VARIANTS]
    return rng.choice((HELD_OUT_PLAIN["en"], *variants, *HELD_OUT_ACCENTS, *HELD_OUT_ACCENTS))
