"""What must hold on a platform and in the database after a bot was killed again and again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count, groupby
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from bot.messages import Role
from storage.models import answers, conversations, messages, sent_parts
from storage.store import SqlStore
from tests.e2e.crowd import Crowd, Place, Question
from tests.e2e.hunting import Watch
from tests.e2e.script import asked_in, expected, number_of

Id = tuple[str, str]
"""Of a message: its chat, and its number there."""


@dataclass
class Ledger:
    """What the database holds, read by SQL, past the store."""

    states: dict[Id, list[str]] = field(default_factory=dict)
    """Question -> how its answers ended."""
    parts: dict[Id, list[str]] = field(default_factory=dict)
    """Question -> the messages of its answer, in order."""
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Conversation -> how many of the model's messages, on whatever branch."""
    lines: dict[tuple[str, str], list[tuple[Role, str]]] = field(default_factory=dict)
    """Conversation -> what it says, from the root to the head, as the store tells it."""

    @property
    def known(self) -> set[Id]:
        """The platform messages that the bot knows of."""
        return {(chat, part) for (chat, _), parts in self.parts.items() for part in parts}


def ledger(url: str, crowd: Crowd[Any]) -> Ledger:
    """Read all of it."""
    return asyncio.run(_ledger(url, crowd))


async def _ledger(url: str, crowd: Crowd[Any]) -> Ledger:
    found, engine = Ledger(), create_async_engine(url)
    asked = (
        select(conversations.c.chat, messages.c.event_id, answers.c.id, answers.c.state)
        .join_from(answers, messages, messages.c.id == answers.c.question)
        .join(conversations, conversations.c.id == answers.c.conversation)
    )
    sent = select(sent_parts.c.answer, sent_parts.c.message_id).order_by(sent_parts.c.number)
    said = (
        select(conversations.c.chat, conversations.c.thread)
        .join(messages, messages.c.conversation == conversations.c.id)
        .where(messages.c.role == "assistant")
    )
    async with engine.connect() as connection:
        by_answer = dict[int, Id]()
        for chat, event, answer, state in await connection.execute(asked):
            found.states.setdefault((chat, event), []).append(state)
            by_answer[answer] = chat, event
        for answer, message in await connection.execute(sent):
            found.parts.setdefault(by_answer[answer], []).append(message)
        found.answers.update((chat, thread) for chat, thread in await connection.execute(said))
    await engine.dispose()
    store = await SqlStore.open(url, default_retention_days=30)
    assert await store.pending() == 0
    for place in crowd.places:
        conversation = await store.conversation(crowd.key(place))
        found.lines[place.key] = [(m.role, m.text) for m in await store.history(conversation.head)]
    await store.aclose()
    return found


def check_place(place: Place, found: Ledger, watch: Watch) -> Counter[str]:
    """Each question is answered once: in the database and on the platform, with the words that are due there.

    Counts those that nobody had promised to answer, and that are not.
    """
    turns, chat, lost = count(1), place.key[0], Counter[str]()
    spared = list[tuple[Question, str]]()
    for asked in _received(place, found):
        if (chat, asked.event) not in found.states and place.is_lost(asked):
            lost["lost"] += 1
            continue
        [state] = found.states[chat, asked.event]
        if state == "done":
            spared.append((asked, expected(asked.number, asked.words, next(turns))))
        else:
            assert state == "failed"
            assert place.name(asked) in watch.last_tried, "given up before its third attempt"
    line = [turn for asked, text in spared for turn in ((Role.USER, asked.text), (Role.ASSISTANT, text))]
    assert [(role, text.rpartition(": ")[2]) for role, text in found.lines[place.key]] == line
    assert found.answers[place.key] == len(spared)
    for asked, text in spared:
        parts = [place.shown(part or "0") for part in found.parts[chat, asked.event]]
        shown = [part for part in parts if part is not None]
        assert len(shown) == len(parts), f"a part of {asked} is not there, or was not written down"
        assert " ".join(part.text for part in shown) == text
        assert [part.buttons for part in shown] == [[]] * (len(shown) - 1) + [["Retry"]], asked
        assert not place.replies or shown[0].reply_to == asked.event
    return lost


def _received(place: Place, found: Ledger) -> list[Question]:
    """The questions in the order in which they were received."""
    if place.ordered:
        return place.questions
    said = [asked_in(text) for role, text in found.lines[place.key] if role is Role.USER]
    return sorted(place.questions, key=lambda asked: said.index(asked.number) if asked.number in said else -1)


@dataclass
class Written:
    """A message that the bot sent or edited, as it stands among all calls."""

    text: str
    place: tuple[str, str]
    id: Id
    process: int
    """Which of the bot's processes did it."""
    sent: bool
    """Whether it made the message."""
    lost: bool
    """Whether the bot was not told that it happened."""
    once: bool = False
    """Whether it can be said so, by a nonce, that the platform drops a repetition: then nothing doubles."""


@dataclass
class Processes:
    """Which of the bot's processes makes the calls, that are told one after the other."""

    login: str
    """A call that each makes before all others."""
    number: int = 0
    ended: dict[int, str] = field(default_factory=dict)
    """How each ended."""
    _over: bool = False

    def follow(self, call: str) -> None:
        """One more call, or the note of an end."""
        if call in {"killed", "stopped"}:
            if not self._over:
                self.ended[self.number] = call
            self._over = True
        elif call == self.login and self._over:  # what was on its way at the end comes before it
            self.number, self._over = self.number + 1, False


def check_order(every: list[Written], crowd: Crowd[Any], found: Ledger) -> None:
    """In each conversation nothing of an answer comes after something of the next one."""
    numbers = {(p.key[0], asked.event): asked.number for p in crowd.places for asked in p.questions}
    about = {(chat, part): numbers[chat, event] for (chat, event), parts in found.parts.items() for part in parts}
    for place in crowd.places:
        said = [about.get(w.id) or number_of(w.text) for w in every if w.place == place.key]
        known = [number for number, _ in groupby(number for number in said if number is not None)]
        assert len(known) == len(set(known)), f"out of order in {place.key}: {known}"
        assert not place.ordered or known == sorted(known), f"out of order in {place.key}: {known}"


def check_doubles(every: list[Written], processes: Processes, crowd: Crowd[Any], found: Ledger) -> Counter[str]:
    """A message that the bot does not know was in flight when it was killed, or its acknowledgement was lost."""
    latest = {(one.place, one.process): one for one in every}
    sends = {one.id: one for one in reversed(every) if one.sent}
    doubles = Counter[str]()
    for identity in {(place.key[0], message) for place in crowd.places for message in place.standing()} - found.known:
        sent = sends[identity]
        assert not sent.once, f"{sent} is doubled, in spite of its nonce"
        if sent.lost:
            doubles["acknowledgement lost"] += 1
            continue
        assert latest[sent.place, sent.process] is sent, f"{sent} is doubled, and the bot went on"
        assert processes.ended[sent.process] == "killed", f"{sent} is doubled without a kill"
        doubles["in flight at a kill"] += 1
    return doubles


def completed(every: Iterable[Written], found: Ledger) -> int:
    """How many answers one process began and another one completed in the same messages."""
    processes = dict[Id, set[int]]()
    for one in every:
        processes.setdefault(one.id, set()).add(one.process)
    answers_ = ([(chat, part) for part in parts] for (chat, _), parts in found.parts.items())
    return sum(len(set().union(*(processes.get(part, set()) for part in parts))) > 1 for parts in answers_)
