"""SIGKILL at any instant, then a start: nothing is lost, nothing is answered twice, and the order holds."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from storage.models import answers, conversations, messages, sent_parts
from tests.e2e.control import stored, undisturbed
from tests.e2e.hearth import Hearth, serving
from tests.e2e.hunting import PATIENT, PHASES, People, Watch, hunt
from tests.e2e.server import Options

CI_GOAL, SOAK_GOAL = 2, 20
"""Kills that hit each phase."""
LEASE_SECONDS = 1.5
"""On PostgreSQL another process could be alive, so that what a dead one had begun is taken up only after its lease."""
SLOW = Options()


@PATIENT
def test_kills_on_sqlite(tmp_path: Path) -> None:
    """Two kills or more in each phase: every question is answered once, whole, in order."""
    kill_and_check(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", CI_GOAL)


@PATIENT
def test_kills_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """The same on PostgreSQL, where the next process must wait for the dead one's leases."""
    kill_and_check(tmp_path, postgres_url, CI_GOAL, Options(lease=LEASE_SECONDS))


@PATIENT
def test_kills_on_a_platform_that_drops_repeats(tmp_path: Path) -> None:
    """Where a message with a known nonce is not sent again (Discord), nothing at all is doubled."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}"
    assert kill_and_check(tmp_path, url, CI_GOAL, Options(drops_repeats=True)) == 0


@pytest.mark.soak
def test_many_kills_on_a_platform_that_drops_repeats(tmp_path: Path) -> None:
    """Twenty kills or more in each phase."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}"
    assert kill_and_check(tmp_path, url, SOAK_GOAL, Options(drops_repeats=True)) == 0


@pytest.mark.soak
def test_many_kills_on_sqlite(tmp_path: Path) -> None:
    """Twenty kills or more in each phase."""
    kill_and_check(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", SOAK_GOAL)


@pytest.mark.soak
def test_many_kills_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """Twenty kills or more in each phase."""
    kill_and_check(tmp_path, postgres_url, SOAK_GOAL, Options(lease=LEASE_SECONDS))


def kill_and_check(folder: Path, url: str, goal: int, options: Options = SLOW) -> int:
    """Kill, start a last time, and compare what is on the platform and in the database with an undisturbed run.

    Returns how many platform messages are doubled.
    """
    seed = int(os.environ.get("HEARTH_TEST_SEED", random.randrange(2**32)))
    print(f"\nseed {seed}: HEARTH_TEST_SEED={seed} repeats the order of the questions and of the kills")
    with serving(Hearth(folder / "killed", options, url)) as hearth:
        people = People(hearth, random.Random(seed))
        hits, watch = hunt(hearth, people, goal)
        watch.start()
        hearth.finish()
        watch.read()
        assert hearth.stop() == 0
    expected = undisturbed(folder / "control", people.questions)
    doubles = check(hearth, url, people, expected, watch)
    told = sum(map(len, people.questions.values()))
    print(f"{hits['kills']} kills, which hit: " + ", ".join(f"{phase} {hits[phase]}" for phase in PHASES))
    print(f"{told} questions, {people.redelivered} redelivered; doubled platform messages: {doubles}", end="; ")
    print(f"tried a fourth time after three killed attempts: {len(watch.last_tried)}")
    assert min(hits[phase] for phase in PHASES) >= goal
    return doubles


def check(hearth: Hearth, url: str, people: People, expected: dict[str, str], watch: Watch) -> int:
    """Every promise about the killed run. Returns how many platform messages are doubled."""
    platform = hearth.platform()
    assert [line for line in platform if line["call"] == "refused"] == []
    found = asyncio.run(ledger(url))
    assert found.given_up <= watch.last_tried, "given up before its third attempt"
    recorded = {message: line for message, line in shown(platform).items() if message in found.messages}
    spared = {q for chat in people.questions for q in names(people, chat) if q not in found.given_up}
    for chat, told in stored(url, people.questions).items():
        asked = [(q, t) for q, t in zip(names(people, chat), texts(people, chat), strict=True) if q in spared]
        assert told[0::2] == [text for _, text in asked]
        if len(asked) == len(people.questions[chat]):
            assert told[1::2] == [expected[question] for question, _ in asked]
        assert found.answers[chat] == len(asked), f"answers in {chat}"
        for (question, _), answer in zip(asked, told[1::2], strict=True):
            parts = [m for m in recorded.values() if m["question"] == question]
            assert "".join("".join(m["text"] for m in parts).split()) == "".join(answer.split()), question
            assert all(m["final"] for m in parts), question
    check_order(platform, people)
    return check_doubles(platform, recorded)


def names(people: People, chat: str) -> list[str]:
    """The questions of a chat as the platform names them."""
    return [f"{chat}/{event}" for event, _ in people.questions[chat]]


def texts(people: People, chat: str) -> list[str]:
    """The questions of a chat."""
    return [text for _, text in people.questions[chat]]


def shown(platform: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Message id -> its last state, of every message that is to be seen on the platform."""
    visible = dict[str, dict[str, Any]]()
    for line in platform:
        match line["call"]:
            case "send":
                visible[line["message"]] = dict(line)
            case "edit":
                visible[line["message"]].update(text=line["text"], final=line["final"])
            case "delete":
                del visible[line["message"]]
    return visible


@dataclass
class Ledger:
    """What the database holds beside the conversations."""

    messages: set[str]
    """The platform messages that it knows."""
    given_up: set[str]
    """Questions that were closed as failed."""
    answers: Counter[str]
    """Chat -> how many of the model's messages, on whatever branch."""


async def ledger(url: str) -> Ledger:
    """Read by SQL, past the store: not what it tells is asked here, but what is there."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        failed = (
            select(conversations.c.chat, messages.c.event_id)
            .join_from(answers, messages, messages.c.id == answers.c.question)
            .join(conversations, conversations.c.id == answers.c.conversation)
            .where(answers.c.state == "failed")
        )
        said = select(conversations.c.chat).join(messages, messages.c.conversation == conversations.c.id)
        found = Ledger(
            set((await connection.execute(select(sent_parts.c.message_id))).scalars()),
            {f"{chat}/{event}" for chat, event in await connection.execute(failed)},
            Counter((await connection.execute(said.where(messages.c.role == "assistant"))).scalars()),
        )
    await engine.dispose()
    return found


def check_order(platform: list[dict[str, Any]], people: People) -> None:
    """On the platform nothing of an answer comes after something of the next one."""
    place = {name: n for chat in people.questions for n, name in enumerate(names(people, chat))}
    question = {line["message"]: line["question"] for line in platform if line["call"] == "send"}
    for chat in people.questions:
        said = [place[question[line["message"]]] for line in platform if line.get("chat") == chat]
        assert said == sorted(said), chat


def check_doubles(platform: list[dict[str, Any]], recorded: dict[str, dict[str, Any]]) -> int:
    """A message that the bot does not know was in flight when it was killed, and was the only one of its chat."""
    doubles = [m for m in shown(platform) if m not in recorded]
    for message in doubles:
        at = next(n for n, line in enumerate(platform) if line.get("message") == message)
        later = (line for line in platform[at + 1 :] if line["call"] == "kill" or line["chat"] == platform[at]["chat"])
        assert next(later)["call"] == "kill", f"{platform[at]} was doubled without a kill"
    return len(doubles)
