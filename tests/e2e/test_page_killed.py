"""SIGKILL while twenty pages chat over HTTP: what a page was told is received is answered once, and nobody sees it twice."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.web import wire
from storage.models import answers, conversations, messages, sent_parts
from storage.store import SqlStore
from tests.e2e.control import undisturbed
from tests.e2e.hearth import Hearth, serving
from tests.e2e.hunting import PATIENT, PHASES, Watch, hunt
from tests.e2e.page_client import Node
from tests.e2e.page_crowd import LOOSE, TOKENS, Crowd, Talk
from tests.e2e.server import Options
from tests.ports import free_port

CI_GOAL, SOAK_GOAL = 2, 20
"""Kills that hit each phase."""
LEASE_SECONDS = 1.5
"""As in `tests/e2e/test_kill.py`."""
SECTION = """
[web]
port = {port}
token = "{owner}"
[web.people]
{people}
"""


@PATIENT
def test_kills_while_twenty_pages_chat(tmp_path: Path) -> None:
    """Two kills or more in each phase: what was received is answered once, whole, in order, and each page shows that."""
    kill_and_check(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", CI_GOAL)


@pytest.mark.soak
def test_many_kills_while_twenty_pages_chat(tmp_path: Path) -> None:
    """Twenty kills or more in each phase."""
    kill_and_check(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", SOAK_GOAL)


@pytest.mark.soak
def test_many_kills_while_twenty_pages_chat_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """The same where the next process must wait for the dead one's leases."""
    kill_and_check(tmp_path, postgres_url, SOAK_GOAL, lease=LEASE_SECONDS)


def kill_and_check(folder: Path, url: str, goal: int, *, lease: float = 60.0) -> None:
    """Kill, start a last time, and compare what the pages show and what is stored with an undisturbed run."""
    seed = int(os.environ.get("HEARTH_TEST_SEED", random.randrange(2**32)))
    print(f"\nseed {seed}: HEARTH_TEST_SEED={seed} repeats what each page does and the aims of the kills")
    crowd = Crowd(free_port(), seed, random.Random(seed))
    people = "\n".join(f'{person} = "{token}"' for person, token in TOKENS.items() if person != "owner")
    sections = SECTION.format(port=crowd.port, owner=TOKENS["owner"], people=people)
    hearth = Hearth(folder / "killed", Options(page=True, lease=lease), url, sections=sections)
    with serving(hearth), crowd.chatting():
        hits, watch = hunt(hearth, crowd, goal)
        watch.start()
        crowd.finish()
        hearth.finish()
        watch.read()
        assert hearth.stop() == 0
    found = asyncio.run(ledger(url, crowd))
    expected = undisturbed_words(folder / "control", crowd, found)
    for talk in crowd.talks:
        check_talk(talk, found, expected, watch)
        check_pages(talk, found)
    check_shown(crowd, found, expected)
    doubles = check_doubles(crowd, found, cut_short(hearth))
    print(f"{hits['kills']} kills, which hit: " + ", ".join(f"{phase} {hits[phase]}" for phase in PHASES))
    print(f"the pages: {dict(crowd.done)}; conversations: {len(crowd.talks)}; stopped answers: {found.stopped}")
    print(f"doubled platform messages: {doubles}; given up after three killed attempts: {len(found.given_up)}")
    assert min(hits[phase] for phase in PHASES) >= goal


@dataclass
class Asked:
    """A question as it is stored, with all its answers."""

    id: int
    person: str
    event: str
    text: str
    states: list[str] = field(default_factory=list)
    """How its answers ended."""
    answers: list[Any] = field(default_factory=list)
    """The model's messages, oldest first: id, text, state."""


@dataclass
class Ledger:
    """What the database holds."""

    asked: dict[str, list[Asked]] = field(default_factory=dict)
    """Conversation -> its questions, in the order of receiving."""
    lines: dict[str, list[Node]] = field(default_factory=dict)
    """Conversation -> its line, as the page is told of it."""
    sent: set[str] = field(default_factory=set)
    """The platform messages that it knows: `event:number`."""

    @property
    def given_up(self) -> set[str]:
        """Questions that were closed as failed, as the trace names them."""
        every = (asked for of in self.asked.values() for asked in of)
        return {f"{asked.person}/{asked.event}" for asked in every if "failed" in asked.states}

    @property
    def stopped(self) -> int:
        """Answers that were."""
        return sum(asked.states.count("stopped") for of in self.asked.values() for asked in of)


async def ledger(url: str, crowd: Crowd) -> Ledger:
    """Read by SQL, past the store, but for the lines: not what it tells is asked here, but what is there."""
    found = Ledger()
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        said = (
            select(messages.c.id, messages.c.parent, messages.c.role, messages.c.event_id, messages.c.text)
            .add_columns(messages.c.state, conversations.c.thread, conversations.c.chat)
            .join_from(messages, conversations, conversations.c.id == messages.c.conversation)
            .order_by(messages.c.id)
        )
        asked = dict[int, Asked]()
        for row in await connection.execute(said):
            if row.role == "user":
                asked[row.id] = Asked(row.id, row.chat, row.event_id, row.text)
                found.asked.setdefault(row.thread, []).append(asked[row.id])
            else:
                asked[row.parent].answers.append(row)
        for row in await connection.execute(select(answers.c.question, answers.c.state).order_by(answers.c.id)):
            asked[row.question].states.append(row.state)
        found.sent.update((await connection.execute(select(sent_parts.c.message_id))).scalars())
        places = (await connection.execute(select(conversations.c.id, conversations.c.thread))).all()
    await engine.dispose()
    store = await SqlStore.open(url, default_retention_days=30)
    for place in places:
        found.lines[place.thread] = [wire.node(node, "") for node in await store.line(place.id, limit=1000)]
    assert await store.pending() == 0
    await store.aclose()
    return found


def undisturbed_words(folder: Path, crowd: Crowd, found: Ledger) -> dict[str, str]:
    """What each question is answered without a kill, by event: in its line, or alone where it begins one."""
    numbers = count(1)
    questions: dict[str, list[tuple[str, str]]] = {}
    places: dict[str, str] = {}
    for talk in crowd.talks:
        for asked in found.asked.get(talk.id, []):
            if set(asked.states) == {"failed"}:  # given up, and no part of the history
                continue
            chat = asked.text if talk.kind == LOOSE else talk.id
            if chat not in questions or talk.kind != LOOSE:
                questions.setdefault(chat, []).append((str(next(numbers)), asked.text))
            places[asked.event] = f"{chat}/{questions[chat][-1][0]}"
    said = undisturbed(folder, questions)
    return {event: said[place] for event, place in places.items()}


def check_talk(talk: Talk, found: Ledger, expected: dict[str, str], watch: Watch) -> None:
    """Each question is stored once and answered as often as that was asked for, in the order of asking."""
    stored = found.asked.get(talk.id, [])
    told = dict(pair for asked in talk.questions.values() for pair in asked)
    assert [asked.event for asked in stored if asked.event not in told] == [], "stored, but nobody said it"
    for page, every in talk.questions.items():
        mine = [(asked.event, asked.text) for asked in stored if asked.event in dict(every)]
        assert mine == every, f"page {page} in {talk.id}"
    for asked in stored:
        assert len(asked.states) == talk.tries[asked.event], asked
        failed = f"{asked.person}/{asked.event}" in found.given_up
        assert not failed or f"{asked.person}/{asked.event}" in watch.last_tried, "given up before its third attempt"
        check_answers(asked, expected.get(asked.event, ""), stops=talk.kind == LOOSE)
    if talk.kind != LOOSE:
        line, kept = found.lines[talk.id], [asked for asked in stored if asked.answers]
        assert [node.get("event") for node in line[0::2]] == [asked.event for asked in kept]
        assert [node["id"] for node in line[1::2]] == [asked.answers[-1].id for asked in kept]


def check_answers(asked: Asked, expected: str, *, stops: bool) -> None:
    """The words are those of the undisturbed answer, each time: all of them, or the first ones where it was stopped."""
    assert set(asked.states) <= {"done", "failed", *(["stopped"] if stops else [])}, asked
    finals = [answer.text for answer in asked.answers if answer.state == "final"]
    assert len(finals) == asked.states.count("done")
    assert all(text == expected for text in finals), (asked, expected)
    partial = [answer.text for answer in asked.answers if answer.state == "stopped"]
    assert len(partial) <= asked.states.count("stopped")
    assert all(expected.startswith(text.strip()) for text in partial), (asked, expected)
    assert len(finals) + len(partial) == len(asked.answers)


def check_pages(talk: Talk, found: Ledger) -> None:
    """Every page that had the conversation open showed at the end what is stored."""
    assert len(talk.shown) >= len(talk.questions)
    for shown in talk.shown:
        assert [{**node, "html": ""} for node in shown] == found.lines[talk.id]


def check_shown(crowd: Crowd, found: Ledger, expected: dict[str, str]) -> None:
    """On the way, too, nobody saw other words than those of the answer, and what was final is what is stored."""
    kept: dict[str, Sequence[str]] = {
        asked.event: [answer.text.strip() for answer in asked.answers] for of in found.asked.values() for asked in of
    }
    failed = {name.partition("/")[2] for name in found.given_up}
    for event, texts in crowd.seen.said.items():
        if event in expected and event not in failed:
            assert [text for text in texts if not is_part(text, expected[event])] == [], expected[event]
    for (event, _), (_, text) in crowd.seen.final.items():
        assert event in failed or text in [*kept[event], "Stopped."], (event, text)


def is_part(text: str, whole: str) -> bool:
    """Whether this was shown of an answer on its way."""
    return whole.startswith(text.strip()) or text == "Stopped."


def cut_short(hearth: Hearth) -> Counter[str]:
    """Question -> how many processes ended while they answered it."""
    cut, working, last = Counter[str](), set[str](), 0
    for mark in hearth.marks():
        if mark["pid"] != last:
            cut.update(working)
            working.clear()
            last = mark["pid"]
        if mark["phase"] == "claimed":
            working.add(mark["question"].partition("/")[2])
        elif mark["phase"] == "closed":
            working.discard(mark["question"].partition("/")[2])
    return cut


def check_doubles(crowd: Crowd, found: Ledger, cut: Counter[str]) -> int:
    """A message that was shown and that the store does not know was in flight at a kill: one for each answer at most."""
    doubles = 0
    for event, numbers in crowd.seen.numbers.items():
        strange = sum(f"{event}:{number}" not in found.sent for number in numbers)
        if event not in crowd.actions:
            assert strange <= cut[event], f"{event} was doubled without a kill"
            doubles += strange
    return doubles
