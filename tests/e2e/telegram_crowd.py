"""Twenty people who write to a bot in five chats of Telegram, and what goes wrong between the bot and the platform."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.e2e.answers import labels
from tests.e2e.crowd import PEOPLE, Crowd, Place, Shown
from tests.telegram import Chat, Fault, Topic, User
from tests.telegram.faults import Kind
from tests.telegram.server import Call
from tests.telegram.updates import FIRST_ID

MENTION = "@hearth_bot"
REPEATED = 0.3
"""How likely an update comes again whenever the people are kept busy."""
LOST: tuple[Kind, ...] = ("lost", "garbage")
"""A call is carried out, and its answer does not come."""
FAULTS: tuple[tuple[str, Kind], ...] = (
    *(("sendMessage", kind) for kind in ("429", "500", "502", "drop", *LOST, *LOST)),
    *(("editMessageText", kind) for kind in ("429", "500", "502", "drop", *LOST)),
    *(("sendMessageDraft", kind) for kind in ("429", "502", "lost")),
    *(("getUpdates", kind) for kind in ("429", "500", "drop", *LOST)),
    ("sendChatAction", "502"),
)


@dataclass
class Room(Place):
    """A chat, or a topic of one."""

    chat: Chat
    topic: Topic | None = None

    def __post_init__(self) -> None:
        self.replies = self.chat.type != "private"

    @property
    def key(self) -> tuple[str, str]:
        return str(self.chat.id), str(self.topic.id) if self.topic else ""

    def shown(self, message: str) -> Shown | None:
        found = self.chat.find(int(message))
        if found is None or (self.topic is not None and found.thread != self.topic.id):
            return None
        return Shown(found.text, labels(found), str(found.reply_to or ""))

    def standing(self) -> Iterable[str]:
        return [str(message.id) for message in self.chat.from_bot]


@dataclass
class TelegramCrowd(Crowd[Room]):
    """The people."""

    name = "telegram"

    @property
    def account(self) -> str:
        return str(self.platform.server.token.partition(":")[0])

    def arrive(self) -> list[Room]:
        world = self.platform.server.world
        people: list[User] = [world.user(f"P{number}") for number in range(PEOPLE)]
        group = world.group("Family", *people[2:8])
        friends = world.supergroup("Friends", *people[8:14])
        forum = world.supergroup("Forum", *people[14:], forum=True)
        topics = [forum.open_topic(people[14], name) for name in ("One", "Two")]
        return [
            *(Room([person], world.private(person)) for person in people[:2]),
            Room(people[2:8], group),
            Room(people[8:14], friends),
            *(Room(people[14:], forum, topic) for topic in topics),
        ]

    def note(self, how: str) -> None:
        server = self.platform.server
        self.platform.do(lambda: server.calls.append(Call(how, {}, server.world.scene.now())))

    def say(self, place: Room, user: User, text: str, *, called: bool) -> str:
        words = f"{MENTION} {text}" if called and place.replies else text
        if place.topic is None:
            return str(place.chat.say(user, words).id)
        return str(place.chat.say(user, words, topic=place.topic).id)

    def unheard(self) -> int:
        return len(self.platform.server.queue.pending)

    def disturb(self) -> None:
        server = self.platform.server
        pending = server.queue.pending
        newest = pending[0]["update_id"] - 1 if pending else server.queue.last_id
        if self.rng.random() < REPEATED and newest >= FIRST_ID:  # what is not acknowledged comes again by itself
            server.repeat(self.rng.randint(FIRST_ID, newest))
            self.done["repeated"] += 1

    def fault(self) -> Any:
        return Fault(*self.rng.choice(FAULTS))
