"""Twenty people who write to a bot in several conversations of a platform, and what goes wrong between the two."""

from __future__ import annotations

import os
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, TypeVar

from bot.messages import ConversationKey
from tests.e2e.hearth import Hearth, wait
from tests.e2e.platform_thread import Platform
from tests.e2e.script import question

PEOPLE = 20
BACKLOG = 20
"""So many questions wait or are being answered while kills are aimed: one of each person."""
WORDS = (4, 20)
CHATTER = 0.2
"""How likely people say something to each other whenever they are kept busy."""
PER_CHARACTER = 0.003
"""Seconds that the scripted model takes."""
SETTLED_SECONDS = 600.0
"""After which it is no more expected that every answer will be closed: a hundred can wait in one conversation."""
PLANNED = 3
"""Faults that wait for their call at a time."""


def seeded() -> random.Random:
    """What the people and the kills are chosen by."""
    seed = int(os.environ.get("HEARTH_TEST_SEED", random.randrange(2**32)))
    print(f"\nseed {seed}: HEARTH_TEST_SEED={seed} repeats what is asked and the aims of the kills")
    return random.Random(seed)


@dataclass
class Killed(Hearth):
    """A Hearth that says among the platform's calls when it was ended, and how."""

    tell: Callable[[str], None] = print

    def kill(self) -> None:
        super().kill()
        self.tell("killed")

    def stop(self) -> int:
        code = super().stop()
        self.tell("stopped")
        return code


@dataclass(frozen=True)
class Question:
    """Something that somebody asked."""

    number: int
    words: int
    event: str
    """The message's id."""

    @property
    def text(self) -> str:
        """Without the mention."""
        return question(self.number, self.words)


@dataclass(frozen=True)
class Shown:
    """A message of the bot as it stands on the platform."""

    text: str
    buttons: list[str]
    """Their labels."""
    reply_to: str
    """The id of the message that it replies to, or nothing."""


@dataclass
class Place(ABC):
    """A conversation."""

    people: list[Any]
    """Users of the platform."""
    questions: list[Question] = field(default_factory=list, kw_only=True)

    replies = True
    """Whether an answer replies to its question."""
    ordered = True
    """Whether questions are received in the order in which they are asked."""

    @property
    @abstractmethod
    def key(self) -> tuple[str, str]:
        """Its chat and thread, as Hearth names them."""

    @abstractmethod
    def shown(self, message: str) -> Shown | None:
        """A message of the bot by its id, if it stands here."""

    @abstractmethod
    def standing(self) -> Iterable[str]:
        """The ids of all messages of the bot in its chat, or its thread."""

    def is_lost(self, asked: Question) -> bool:
        """Whether nobody promised to answer a question that the bot does not know."""
        return False

    def name(self, asked: Question) -> str:
        """A question as the trace names it."""
        return f"{self.key[0]}/{asked.event}"


P = TypeVar("P", bound=Place)


@dataclass
class Crowd(ABC, Generic[P]):
    """The people. `keep_busy` is what `hunting` asks for."""

    hearth: Killed
    platform: Platform[Any]
    rng: random.Random
    places: list[P] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    """What they did."""
    trouble: float = 0.6
    """How likely a call goes wrong for each question."""
    _numbers: count[int] = field(default_factory=lambda: count(1))
    _next: list[Any] = field(default_factory=list)
    """Who has yet to ask before somebody asks again."""

    name = ""
    """Of the platform."""

    def __post_init__(self) -> None:
        self.places = self.platform.do(self.arrive)

    @property
    @abstractmethod
    def account(self) -> str:
        """The bot's."""

    @abstractmethod
    def arrive(self) -> list[P]:
        """Make the people and the places."""

    @abstractmethod
    def note(self, how: str) -> None:
        """The bot's process has ended: say so among the calls."""

    @abstractmethod
    def say(self, place: P, user: Any, text: str, *, called: bool) -> str:
        """Write, to the bot if it is called, and return the message's id."""

    @abstractmethod
    def unheard(self) -> int:
        """Questions that the bot has not received."""

    @abstractmethod
    def disturb(self) -> None:
        """What else happens whenever the people are kept busy."""

    @abstractmethod
    def fault(self) -> Any:
        """Something that goes wrong with a call."""

    def key(self, place: P) -> ConversationKey:
        """A place as the database names it."""
        return ConversationKey(self.name, self.account, *place.key)

    def keep_busy(self) -> None:
        """Ask until enough is waiting; people talk to each other, and calls go wrong."""
        for _ in range(BACKLOG - self.waiting()):
            self.platform.do(self.ask)
        self.platform.do(self._chat)
        self.platform.do(self.disturb)

    def finish(self) -> None:
        """Nothing goes wrong any more; settle."""
        self.platform.do(self.platform.server.faults.planned.clear)
        self.settle()

    def settle(self) -> None:
        """Return when every answer is closed."""

        def idle() -> bool:
            assert self.hearth.running, self.hearth.log[-3000:]
            return self.waiting() == 0

        wait(idle, "the answers", SETTLED_SECONDS)

    def waiting(self) -> int:
        """Questions that the bot has not received, and those whose answers are not closed."""
        return self.platform.do(self.unheard) + self.hearth.waiting()

    def open_places(self) -> list[P]:
        """Where something can be asked now."""
        return self.places

    def ask(self) -> None:
        """Somebody asks something. To be done in the platform's thread."""
        if not self._next:
            everybody = dict.fromkeys(user for place in self.places for user in place.people)
            self._next = self.rng.sample(list(everybody), len(everybody))
        user = self._next.pop()
        places = [place for place in self.open_places() if user in place.people]
        if not places:
            return
        self.ask_at(self.rng.choice(places), user)

    def ask_at(self, place: P, user: Any) -> None:
        """Somebody asks something there."""
        number, words = next(self._numbers), self.rng.randint(*WORDS)
        event = self.say(place, user, question(number, words), called=True)
        place.questions.append(Question(number, words, event))
        self.done["questions"] += 1
        if self.rng.random() < self.trouble:
            self._trouble()

    def _chat(self) -> None:
        if self.rng.random() < CHATTER:
            place = self.rng.choice([place for place in self.places if len(place.people) > 1 and place.replies])
            self.say(place, self.rng.choice(place.people), "nice weather", called=False)
            self.done["chatter"] += 1

    def _trouble(self) -> None:
        """A call of some kind goes wrong. No more of them than questions: each makes an answer wait for a second or two."""
        faults = self.platform.server.faults
        planned = [fault for fault in faults.planned if not fault.happened]
        faults.planned = [*planned, self.fault()][-PLANNED:]
