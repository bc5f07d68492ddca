"""What is shown while an answer is made: the states of its messages, in memory until the store has them.

How a page that comes back sees no gap and nothing twice: each state has a number, `seq`, that only grows. A page opens
its stream first and then asks for the conversation. `Live.settle` is asked after the line was read: if an answer was
closed meanwhile its states are dropped and the line is read again, so that what is returned has each answer once, in
the line or among the states. The response says up to which `seq` it knows; what comes on the stream with a higher one
is newer, and the rest is known.

A command's result, and the word about a failure, are in no line: they are kept here for a while after their end.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bot.messages import File, MessageRef, Outgoing

KEPT_SECONDS = 900.0
"""How long words that are in no line can be read, and files be fetched."""
KEPT_BYTES = 64 * 2**20
"""Of files, of all people; the oldest go first."""
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.01, 2.0
"""How soon it is asked whether an answer is closed whose end is shown, then twice as late each time."""
LOOK_SECONDS = 5.0
"""The same for one that is still made: it may have been removed."""

Place = tuple[str, str]
"""Person and conversation."""


@dataclass
class Shown:
    """One message."""

    place: Place
    event: str
    number: int
    seq: int
    what: Outgoing
    files: tuple[str, ...] = ()
    gone: bool = False
    html: str | None = None
    """Once it is final and somebody has seen it."""


@dataclass
class Answer:
    """The messages that answer one event."""

    place: Place
    event: str
    account: str
    messages: dict[int, Shown] = field(default_factory=dict)
    looks: int = 0
    due: float = 0.0
    kept_since: float | None = None
    """Its end is in no line: these are words for who is there."""

    @property
    def ended(self) -> bool:
        """Whether the last state of each message is shown."""
        return bool(self.messages) and all(shown.what.final or shown.gone for shown in self.messages.values())


@dataclass(frozen=True)
class Kept:
    """A file of an answer."""

    person: str
    file: File
    until: float


class Live:
    """The answers that are being made, by person and conversation. `clock`: seconds, never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.seq = time.time_ns() // 1000
        """Of the newest state. Later processes count from higher on."""
        self.poked = asyncio.Event()
        """Set when the end of an answer was shown."""
        self._answers: dict[Place, dict[str, Answer]] = {}
        self._files: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0

    def put(self, message: MessageRef, what: Outgoing) -> Shown:
        """A message's new state."""
        place = (message.key.chat, message.key.thread)
        event, _, number = message.message_id.rpartition(":")
        answers = self._answers.setdefault(place, {})
        answer = answers.get(event)
        if answer is None or answer.kept_since is not None:  # what was said of an earlier answer is out of date
            answer = answers[event] = Answer(place, event, message.key.account)
        self.seq += 1
        before = answer.messages.get(int(number))
        files = before.files if before and before.what.files == what.files else self._keep(place[0], what)
        shown = answer.messages[int(number)] = Shown(place, event, int(number), self.seq, what, files)
        self._schedule(answer)
        if answer.ended:
            self.poked.set()
        return shown

    def take_away(self, message: MessageRef) -> Shown | None:
        """Remove a message; None if it was not shown."""
        shown = self.find(message)
        if shown is None or shown.gone:
            return None
        self.seq += 1
        shown.gone, shown.seq, shown.what = True, self.seq, Outgoing(text="")
        return shown

    def find(self, message: MessageRef) -> Shown | None:
        """A message that was shown, or taken away."""
        event, _, number = message.message_id.rpartition(":")
        answer = self._answers.get((message.key.chat, message.key.thread), {}).get(event)
        return answer.messages.get(int(number)) if answer else None

    def of(self, place: Place) -> list[Shown]:
        """What stands in a conversation, oldest first."""
        found = [shown for answer in self.answers(place) for shown in answer.messages.values() if not shown.gone]
        return sorted(found, key=lambda shown: shown.number)

    def answers(self, place: Place) -> list[Answer]:
        """Those of a conversation."""
        return list(self._answers.get(place, {}).values())

    def places(self, person: str) -> list[Place]:
        """Where something is shown to a person."""
        return [place for place in self._answers if place[0] == person]

    def due(self) -> Iterator[Answer]:
        """Those that are to be looked after now."""
        now = self.clock()
        return (answer for of in list(self._answers.values()) for answer in list(of.values()) if answer.due <= now)

    def wait(self) -> float:
        """Seconds until the next is due."""
        dues = [answer.due for of in self._answers.values() for answer in of.values()]
        return max(FIRST_LOOK_SECONDS, min(dues, default=self.clock() + LOOK_SECONDS) - self.clock())

    def later(self, answer: Answer) -> None:
        """Look again."""
        answer.looks += 1
        self._schedule(answer)

    def keep(self, answer: Answer) -> None:
        """It is closed, and in no line."""
        answer.kept_since = self.clock()
        answer.due = self.clock() + KEPT_SECONDS

    def drop(self, answer: Answer) -> None:
        """The store has it."""
        answers = self._answers.get(answer.place, {})
        if answers.get(answer.event) is answer:
            del answers[answer.event]
        if not answers:
            self._answers.pop(answer.place, None)
        self.seq += 1

    def forget(self, person: str, conversation: str | None = None) -> None:
        """Let go of all that is shown to a person, or of one conversation; of the files too."""
        for place in [place for place in self.places(person) if conversation in {None, place[1]}]:
            files = {name for answer in self.answers(place) for m in answer.messages.values() for name in m.files}
            for name in files & set(self._files):
                self._bytes -= len(self._files.pop(name).file.data)
            del self._answers[place]
        self.seq += 1

    def file(self, person: str, name: str) -> File | None:
        """A file of an answer to this person."""
        kept = self._files.get(name)
        return kept.file if kept and kept.person == person and kept.until > self.clock() else None

    def _keep(self, person: str, what: Outgoing) -> tuple[str, ...]:
        names = []
        for file in what.files:
            name = secrets.token_urlsafe(16)
            self._files[name] = Kept(person, file, self.clock() + KEPT_SECONDS)
            self._bytes += len(file.data)
            names.append(name)
        while self._files and (self._bytes > KEPT_BYTES or next(iter(self._files.values())).until <= self.clock()):
            _, old = self._files.popitem(last=False)
            self._bytes -= len(old.file.data)
        return tuple(names)

    def _schedule(self, answer: Answer) -> None:
        if answer.ended:
            rest = min(LONGEST_LOOK_SECONDS, FIRST_LOOK_SECONDS * 2**answer.looks)
            answer.due = self.clock() + rest
        else:
            answer.looks = 0
            answer.due = self.clock() + LOOK_SECONDS
