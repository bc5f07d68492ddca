"""Twenty people who write to a bot in five chats of Telegram, and what goes wrong between the bot and the platform."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from tests.e2e.hearth import Hearth, wait
from tests.e2e.telegram_script import question
from tests.e2e.telegram_thread import Platform
from tests.telegram import Chat, Fault, Topic, User
from tests.telegram.faults import Kind
from tests.telegram.server import Call
from tests.telegram.updates import FIRST_ID

MENTION = "@hearth_bot"
PEOPLE = 20
BACKLOG = 20
"""So many questions wait or are being answered while kills are aimed: one of each person."""
WORDS = (4, 20)
REPEATED, CHATTER = 0.3, 0.2
"""How likely each is whenever the people are kept busy."""
TROUBLE = 0.6
"""How likely a call goes wrong for each question."""
LOST: tuple[Kind, ...] = ("lost", "garbage")
"""A call is carried out, and its answer does not come."""
FAULTS: tuple[tuple[str, Kind], ...] = (
    *(("sendMessage", kind) for kind in ("429", "500", "502", "drop", *LOST, *LOST)),
    *(("editMessageText", kind) for kind in ("429", "500", "502", "drop", *LOST)),
    *(("sendMessageDraft", kind) for kind in ("429", "502", "lost")),
    *(("getUpdates", kind) for kind in ("429", "500", "drop", *LOST)),
    ("sendChatAction", "502"),
)
PLANNED = 3
"""Faults that wait for their call at a time."""


@dataclass
class Killed(Hearth):
    """A Hearth that says among Telegram's calls when it was ended, and how."""

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


@dataclass
class Place:
    """A conversation: a chat, or a topic of one."""

    chat: Chat
    people: list[User]
    topic: Topic | None = None
    questions: list[Question] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        """Its chat and thread, as Hearth names them."""
        return str(self.chat.id), str(self.topic.id) if self.topic else ""

    def name(self, asked: Question) -> str:
        """A question as the trace names it."""
        return f"{self.chat.id}/{asked.event}"


@dataclass
class Crowd:
    """The people. `keep_busy` is what `hunting` asks for."""

    hearth: Hearth
    telegram: Platform
    rng: random.Random
    places: list[Place] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    """What they did."""
    _numbers: count[int] = field(default_factory=lambda: count(1))
    _next: list[User] = field(default_factory=list)
    """Who has yet to ask before somebody asks again."""

    def __post_init__(self) -> None:
        self.places = self.telegram.do(self._arrive)

    def _arrive(self) -> list[Place]:
        world = self.telegram.server.world
        people = [world.user(f"P{number}") for number in range(PEOPLE)]
        group = world.group("Family", *people[2:8])
        friends = world.supergroup("Friends", *people[8:14])
        forum = world.supergroup("Forum", *people[14:], forum=True)
        topics = [forum.open_topic(people[14], name) for name in ("One", "Two")]
        return [
            *(Place(world.private(person), [person]) for person in people[:2]),
            Place(group, people[2:8]),
            Place(friends, people[8:14]),
            *(Place(forum, people[14:], topic) for topic in topics),
        ]

    def note(self, how: str) -> None:
        """The bot's process has ended."""
        server = self.telegram.server
        self.telegram.do(lambda: server.calls.append(Call(how, {}, server.world.scene.now())))

    def keep_busy(self) -> None:
        """Ask until enough is waiting; some updates are repeated, people talk to each other, and calls go wrong."""
        for _ in range(BACKLOG - self._waiting()):
            self.telegram.do(self._ask)
        self.telegram.do(self._disturb)

    def finish(self) -> None:
        """Nothing goes wrong any more; return when every answer is closed."""
        self.telegram.do(self.telegram.server.faults.planned.clear)

        def idle() -> bool:
            assert self.hearth.running, self.hearth.log[-3000:]
            return self._waiting() == 0

        wait(idle, "the answers")

    def _waiting(self) -> int:
        """Questions that the bot has not received, and those whose answers are not closed."""
        queue = self.telegram.server.queue
        return self.telegram.do(lambda: len(queue.pending)) + self.hearth.waiting()

    def _ask(self) -> None:
        if not self._next:
            everybody = dict.fromkeys(user for place in self.places for user in place.people)
            self._next = self.rng.sample(list(everybody), len(everybody))
        user = self._next.pop()
        place = self.rng.choice([place for place in self.places if user in place.people])
        number, words = next(self._numbers), self.rng.randint(*WORDS)
        said = self._say(place, user, question(number, words), called=True)
        place.questions.append(Question(number, words, str(said)))
        self.done["questions"] += 1
        if self.rng.random() < TROUBLE:
            self._trouble()

    def _say(self, place: Place, user: User, text: str, *, called: bool) -> int:
        words = f"{MENTION} {text}" if called and place.chat.type != "private" else text
        if place.topic is None:
            return place.chat.say(user, words).id
        return place.chat.say(user, words, topic=place.topic).id

    def _disturb(self) -> None:
        server = self.telegram.server
        pending = server.queue.pending
        newest = pending[0]["update_id"] - 1 if pending else server.queue.last_id
        if self.rng.random() < REPEATED and newest >= FIRST_ID:  # what is not acknowledged comes again by itself
            server.repeat(self.rng.randint(FIRST_ID, newest))
            self.done["repeated"] += 1
        if self.rng.random() < CHATTER:
            place = self.rng.choice([place for place in self.places if place.chat.type != "private"])
            self._say(place, self.rng.choice(place.people), "nice weather", called=False)
            self.done["chatter"] += 1

    def _trouble(self) -> None:
        """A call of some kind goes wrong. No more of them than questions: each makes an answer wait for a second or two."""
        planned = [fault for fault in self.telegram.server.faults.planned if not fault.happened]
        method, kind = self.rng.choice(FAULTS)
        self.telegram.server.faults.planned = [*planned, Fault(method, kind)][-PLANNED:]
