"""Twenty people who write to a bot on Discord, and what goes wrong between the bot and the platform."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.discord.adapter import HEARD
from storage.models import notes
from tests.discord_fake import Channel, DiscordServer, Fault, Interaction, User
from tests.discord_fake.errors import Refused
from tests.discord_fake.faults import Kind
from tests.discord_fake.server import Call
from tests.e2e.answers import labels
from tests.e2e.crowd import PEOPLE, PER_CHARACTER, Crowd, Killed, Place, Question, Shown, seeded
from tests.e2e.platform_thread import platform
from tests.e2e.server import Options
from tests.e2e.trace import Tail
from tests.e2e.ways_in import as_sections

REPEATED, BROKEN = 0.2, 0.05
"""How likely the gateway tells something again, and how likely its connection breaks, whenever the people are kept busy."""
AWAY = 3
"""So many at most write while no process runs."""
LOST: tuple[Kind, ...] = ("lost", "garbage")
"""A call is carried out, and its answer does not come."""
FAULTS: tuple[tuple[str, Kind], ...] = (
    *(("create_message", kind) for kind in ("429", "cloudflare", "500", "502", "503", "drop", *LOST, *LOST)),
    *(("update_message", kind) for kind in ("429", "cloudflare", "500", "502", "503", "drop", *LOST)),
    *(("list_messages", kind) for kind in ("429", "500", "503", "garbage")),
    *(("execute_webhook", kind) for kind in ("429", "502", *LOST)),
    *(("create_interaction_response", kind) for kind in ("429", "503", *LOST)),
    ("get_guild_member", "503"),
    ("trigger_typing_indicator", "502"),
)
CLOUDFLARE_SECONDS = 1.0
PACE = 0.02
"""Seconds for each call of a channel."""


@dataclass
class Room(Place):
    """A channel, a thread, or a DM."""

    channel: Channel

    def __post_init__(self) -> None:
        self.replies = self.channel.guild is not None

    @property
    def key(self) -> tuple[str, str]:
        parent = self.channel.parent
        return (str(self.channel.id), "") if parent is None else (str(parent.id), str(self.channel.id))

    def shown(self, message: str) -> Shown | None:
        try:
            found = self.channel.find(int(message))
        except Refused:
            return None
        return Shown("\n".join(found.texts), labels(found), str(found.reply_to or ""))

    def standing(self) -> Iterable[str]:
        return [str(message.id) for message in self.channel.from_bot]


@dataclass
class PrivateRoom(Room):
    """A private chat. Of one that the bot does not know it hears by its own ears only: nobody tells of it later."""

    first: list[Question] = field(default_factory=list)
    """What was asked before the bot was known to know it."""
    process: int = 0
    """The one that was asked last of these."""
    known: bool = False

    def is_lost(self, asked: Question) -> bool:
        return asked in self.first


@dataclass
class CommandRoom(Room):
    """A channel in which people only use the command that asks. Who waits too long for a sign is told so by Discord."""

    used: dict[str, Interaction] = field(default_factory=dict)
    """By their ids."""

    def __post_init__(self) -> None:
        self.replies = self.ordered = False

    def is_lost(self, asked: Question) -> bool:
        """No sign came: nobody had heard it."""
        return not self.used[asked.event].answered


@dataclass
class DiscordCrowd(Crowd[Room]):
    """The people.

    They begin when it is written down how far the bot has heard, for what was said before is not for it. Those who talk to it in
    private are the first.
    """

    url: str = field(kw_only=True)
    """Of the database."""
    _seen: set[str] = field(default_factory=set)
    """Questions that the bot has received, as the trace names them."""
    _marked: bool = False
    _finished: bool = False

    name = "discord"

    def __post_init__(self) -> None:
        self._trace = Tail(self.hearth.folder / "trace.jsonl")
        super().__post_init__()

    @property
    def account(self) -> str:
        return str(self.platform.server.world.bot.id)

    def arrive(self) -> list[Room]:
        """Two private chats, five channels (one of them a thread, one a forum's post), and a channel for commands."""
        world = self.platform.server.world
        people: list[User] = [world.user(f"P{number}") for number in range(PEOPLE)]
        guild = world.guild("Friends", *people)
        one, two, three = (guild.text(name) for name in ("one", "two", "three"))
        thread = one.thread(people[2], "A thread")
        post = guild.forum("forum").post(people[14], "A post", "nice weather")
        return [
            *(PrivateRoom([person], world.dm(person)) for person in people[:2]),
            Room(people[2:8], one),
            Room(people[2:8], thread),
            Room(people[6:12], two),
            Room(people[10:16], three),
            Room(people[14:], post),
            CommandRoom(people[12:], guild.text("commands")),
        ]

    def note(self, how: str) -> None:
        """While no process is there people go on writing."""
        server, goes_on = self.platform.server, self.have_begun() and not self._finished
        away = self.rng.randint(0, AWAY) if goes_on else 0

        def act() -> None:
            server.calls.append(Call(how, {}, None, {}, server.world.scene.now()))
            for _ in range(away):
                self.ask()
            self.done["while it was away"] += away

        self.platform.do(act)

    def keep_busy(self) -> None:
        if self.have_begun():
            super().keep_busy()
        else:
            self.begin()

    def begin(self) -> None:
        """Say a first word in private, if the bot can remember it."""
        if self._is_marked():
            self.platform.do(self._begin)

    def _begin(self) -> None:
        """Say a first word in private, again to each process until one has received it."""
        for place in self._private():
            if not place.known and place.process != self.hearth.pid and self.platform.server.ws.online:
                self.ask_at(place, place.people[0])
                place.first, place.process = [*place.questions], self.hearth.pid

    def _private(self) -> list[PrivateRoom]:
        return [place for place in self.places if isinstance(place, PrivateRoom)]

    def finish(self) -> None:
        """Also nobody writes any more."""
        self._finished = True
        super().finish()

    def have_begun(self) -> bool:
        """Whether the bot knows everybody who talks to it in private."""
        self._read()
        return all(place.known for place in self._private())

    def _is_marked(self) -> bool:
        self._marked = self._marked or asyncio.run(_mark(self.url)) > 0
        return self._marked

    def open_places(self) -> list[Room]:
        """A command needs somebody who hears it."""
        server = self.platform.server
        there = bool(server.ws.online and server.world.scene.commands)
        return [place for place in self.places if there or not isinstance(place, CommandRoom)]

    def say(self, place: Room, user: User, text: str, *, called: bool) -> str:
        if isinstance(place, CommandRoom):
            used = place.channel.command(user, "ask", text=text)
            place.used[str(used.id)] = used
            return str(used.id)
        mention = [self.platform.server.world.bot] if called and place.replies else []
        return str(place.channel.say(user, text, mention=mention).id)

    def unheard(self) -> int:
        """Commands, and first words in private, do not wait to be heard."""
        self._read()
        asked = [(place, one) for place in self.places if place.ordered for one in place.questions]
        return len({place.name(one) for place, one in asked if not place.is_lost(one)} - self._seen)

    def _read(self) -> None:
        self._seen.update(mark["question"] for mark in self._trace.read())
        for place in self._private():
            place.known = place.known or any(place.name(asked) in self._seen for asked in place.first)

    def disturb(self) -> None:
        ws = self.platform.server.ws
        for session in ws.online:
            if self.rng.random() < REPEATED and session.log[-1]["t"] == "MESSAGE_CREATE":
                ws.repeat()
                self.done["repeated"] += 1
        if self.rng.random() < BROKEN:
            ws.drop()
            self.done["broken connections"] += 1

    def fault(self) -> Any:
        operation, kind = self.rng.choice(FAULTS)
        return Fault(operation, kind, seconds=CLOUDFLARE_SECONDS)


@contextmanager
def crowded(folder: Path, url: str, *, lease: float = 60.0) -> Iterator[DiscordCrowd]:
    """The people, and a bot that is not started yet; `lease` in seconds."""
    with platform(DiscordServer()) as discord:
        options = Options(per_token=PER_CHARACTER, lease=lease, discord=True)
        sections = as_sections(discord.server, pace=PACE) + '[models.default]\npath = "discord.script"\n'
        yield DiscordCrowd(Killed(folder / "hearth", options, url, sections=sections), discord, seeded(), url=url)


async def _mark(url: str) -> int:
    """How far the bot has heard, as it is written down; 0 if it is not."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            found = await connection.scalar(select(notes.c.value).where(notes.c.name == HEARD))
    except DBAPIError:  # there are no tables yet
        return 0
    finally:
        await engine.dispose()
    return int(found or 0)
