"""What must hold on Telegram and in the database after a bot was killed again and again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from bot.messages import ConversationKey, Role
from storage.models import answers, conversations, messages, sent_parts
from storage.store import SqlStore
from tests.e2e.hunting import Watch
from tests.e2e.telegram_crowd import LOST, Crowd, Place, Question
from tests.e2e.telegram_script import expected, number_of
from tests.telegram import Chat, Message
from tests.telegram.server import Call

HARMLESS = ("message is not modified", "terminated by other getUpdates request")
"""An edit by a next process to what a message is already; and the killed process's request that waits for updates."""
WRITES = frozenset({"sendMessage", "editMessageText"})
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


def ledger(url: str, crowd: Crowd) -> Ledger:
    """Read all of it."""
    return asyncio.run(_ledger(url, crowd))


async def _ledger(url: str, crowd: Crowd) -> Ledger:
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
    account = crowd.telegram.server.token.partition(":")[0]
    for place in crowd.places:
        conversation = await store.conversation(ConversationKey("telegram", account, *place.key))
        found.lines[place.key] = [(m.role, m.text) for m in await store.history(conversation.head)]
    await store.aclose()
    return found


def check_place(place: Place, found: Ledger, watch: Watch) -> None:
    """Each question is answered once: in the database and on the platform, with the words that are due there."""
    turns, chat = count(1), place.key[0]
    spared = list[tuple[Question, str]]()
    for asked in place.questions:
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
        parts = [place.chat.find(int(part or 0)) for part in found.parts[chat, asked.event]]
        shown = [part for part in parts if part is not None]
        assert len(shown) == len(parts), f"a part of {asked} is not there, or was not written down"
        assert " ".join(part.text for part in shown) == text
        assert [[b["text"] for b in part.buttons] for part in shown] == [[]] * (len(shown) - 1) + [["Retry"]], asked
        assert place.topic is None or {part.thread for part in shown} == {place.topic.id}
        assert place.chat.type == "private" or shown[0].reply_to == int(asked.event)


@dataclass
class Written:
    """A message that the bot sent or edited, as it stands among all calls."""

    call: Call
    place: tuple[str, str]
    id: Id
    process: int
    """Which of the bot's processes did it."""


def written(calls: list[Call]) -> Iterator[Written]:
    """Every send and edit that took effect, in order."""
    process, threads = 0, dict[Id, str]()
    for call in calls:
        if call.method == "getMe":
            process += 1
        if call.method not in WRITES or not call.ok:
            continue
        chat, message = str(call.result["chat"]["id"]), str(call.result["message_id"])
        if call.method == "sendMessage":
            threads[chat, message] = str(call.given.get("message_thread_id", ""))
        yield Written(call, (chat, threads[chat, message]), (chat, message), process)


def check_order(every: list[Written], crowd: Crowd, found: Ledger) -> None:
    """In each conversation nothing of an answer comes after something of the next one."""
    numbers = {(p.key[0], asked.event): asked.number for p in crowd.places for asked in p.questions}
    about = {(chat, part): numbers[chat, event] for (chat, event), parts in found.parts.items() for part in parts}
    for place in crowd.places:
        said = [about.get(w.id) or number_of(w.call.result["text"]) for w in every if w.place == place.key]
        known = [number for number in said if number is not None]
        assert known == sorted(known), f"out of order in {place.key}: {known}"


def check_doubles(calls: list[Call], every: list[Written], crowd: Crowd, found: Ledger) -> Counter[str]:
    """A message that the bot does not know was in flight when it was killed, or its acknowledgement was lost."""
    ended, process = dict[int, str](), 0
    for call in calls:
        process += call.method == "getMe"
        if call.method in {"killed", "stopped"}:
            ended[process] = call.method
    latest = {(one.place, one.process): one for one in every}
    sends = {one.id: one for one in every if one.call.method == "sendMessage"}
    doubles = Counter[str]()
    for identity in {(str(chat.id), str(m.id)) for chat, m in _standing(crowd)} - found.known:
        sent = sends[identity]
        if sent.call.fault in LOST:
            doubles["acknowledgement lost"] += 1
            continue
        assert latest[sent.place, sent.process] is sent, f"{sent.call} is doubled, and the bot went on"
        assert ended[sent.process] == "killed", f"{sent.call} is doubled without a kill"
        doubles["in flight at a kill"] += 1
    return doubles


def _standing(crowd: Crowd) -> Iterator[tuple[Chat, Message]]:
    for chat in {place.key[0]: place.chat for place in crowd.places}.values():
        for message in chat.from_bot:
            yield chat, message


def completed(every: list[Written], found: Ledger) -> int:
    """How many answers one process began and another one completed in the same messages."""
    processes = dict[Id, set[int]]()
    for one in every:
        processes.setdefault(one.id, set()).add(one.process)
    answers_ = ([(chat, part) for part in parts] for (chat, _), parts in found.parts.items())
    return sum(len(set().union(*(processes.get(part, set()) for part in parts))) > 1 for parts in answers_)


def check_calls(calls: list[Call]) -> Counter[str]:
    """Nothing was refused but what had to be. Returns what went wrong on the way, by kind."""
    refused = [call for call in calls if call.error and not call.fault]
    assert [c for c in refused if not any(words in c.error.description for words in HARMLESS if c.error)] == []
    return Counter(call.fault for call in calls if call.fault)
