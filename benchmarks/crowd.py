"""Twenty chats at once, beside a bare echo bot on the same stand-in for a platform: what such benchmarks have in common.

Three bots, each a process of its own: Hearth; the platform's own library with a handler that says a text back; and a Hearth
whose chats have 10,000 messages each behind them. The stand-in of the tests runs in the measuring process, holds every
call against the documentation, and tells what a chat shows and since when. The bots are measured in turns.

Hearth is whole: everything is stored, every commit synced to the checkout's disk, and only the pace of calls is raised
(`benchmarks.bots`). Its model is a ScriptedEngine, which says the question back at once, one character at a time, as the
rival does ("hello 17"): a window of 1,024 tokens that the warm-up fills, prompts read in one step, no cache, 32 slots.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import psutil

from benchmarks.filled import Talk
from benchmarks.past import Past
from benchmarks.report import Aim, Row, Table, milliseconds, percentile
from bot.messages import ConversationKey
from bot.testing import ScriptedEngine

CHATS = 20
PAIRS = 5
EACH = 10
"""Messages of each chat in a round of all chats."""
IN_TURN = 40
"""Messages of the one chat in a round."""
WARM_UP = 16
"""Messages of each chat before anything is measured: they fill the window and cut it."""
PAST = 10_000
"""Messages that each chat of the third bot has behind it."""
CUT_EVERY = 7
SETTLE = 0.02
"""Seconds of rest between an answer and the next question, and between rounds: the afterwork of one is not the other's time."""
LOOK = 0.001
DEADLINE = 120.0
ANSWER_TOKENS, SECONDS_PER_TOKEN = 300, 0.02
PLACES = 4
"""Chats of each kind where long answers are written at the same time, at the default pace."""
SPEED, FIRST_TEXT, FLAT = Aim(0.5, at_least=True), Aim(1.5), Aim(1.2)
REFUSED = Aim(0)


class Said(Protocol):
    """A message as a stand-in keeps it."""

    by_bot: bool
    versions: list[tuple[float, Any]]
    """(when, what it was then), the first and every edit."""


@dataclass
class Bot(ABC):
    """A bot at work, its platform, and those who talk to it."""

    server: Any
    """The stand-in."""
    process: psutil.Process
    people: list[tuple[Any, Any]]
    """Persons, and the chat of each."""
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def now(self) -> float:
        """The platform's clock."""
        return float(self.server.world.scene.now())

    def say(self, person: Any, chat: Any) -> float:
        """Write something new; returns when the bot was told."""
        chat.say(person, f"hello {next(self._numbers)}")
        return self.now()

    @abstractmethod
    def unacknowledged(self) -> bool:
        """Whether the platform has not heard yet that all was received."""

    @abstractmethod
    def answered(self, message: Said) -> float | None:
        """When an answer was whole; None as long as it is not."""

    @abstractmethod
    def shown(self, chat: Any, message: Said, since: float) -> float:
        """When the first text of an answer to a question of `since` was there to be read."""

    async def settled(self) -> None:
        """Everything was received, and the afterwork is done."""
        await until(lambda: not self.unacknowledged(), "the last acknowledgement")
        await asyncio.sleep(SETTLE)

    def processor(self) -> float:
        """Seconds of CPU so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class Round:
    """All chats at once: messages per second."""

    answered: float
    stored: float
    """Until their acknowledgement; Hearth's is sent when they are committed. Without meaning where there is none."""
    processor: float
    """Seconds of the bot's CPU per message."""


async def until(condition: Callable[[], object], what: str) -> None:
    """Return when it holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"waited {DEADLINE:.0f} s for {what}"
        await asyncio.sleep(LOOK)


async def all_chats(bot: Bot, each: int, *, at_once: bool) -> Round:
    """Every chat has so many questions: all at once, or the next when the last is answered."""
    processor = bot.processor()
    to_come = [each] * len(bot.people)
    waited = [0] * len(bot.people)
    seen = [len(chat.everything) for _, chat in bot.people]
    began, stored, ended = bot.now(), 0.0, 0.0
    end = time.monotonic() + DEADLINE
    while any(to_come) or any(waited):
        assert time.monotonic() < end, f"not answered within {DEADLINE:.0f} s: {waited} and {to_come}"
        for n, (person, chat) in enumerate(bot.people):
            for message in chat.everything[seen[n] :]:
                if message.by_bot:
                    at = bot.answered(message)
                    if at is None:
                        break
                    waited[n] -= 1
                    ended = max(ended, at)
                seen[n] += 1
            while to_come[n] and (at_once or not waited[n]):
                bot.say(person, chat)
                to_come[n] -= 1
                waited[n] += 1
        stored = stored or (0.0 if any(to_come) or bot.unacknowledged() else bot.now())
        await asyncio.sleep(LOOK)
    await bot.settled()
    total = each * len(bot.people)
    took = (stored or bot.now()) - began
    return Round(total / (ended - began), total / took, (bot.processor() - processor) / total)


async def in_turn(bot: Bot, number: int) -> list[float]:
    """One chat, one question after the other: seconds from the bot being told to the first text of its answer."""
    taken = []
    person, chat = bot.people[0]
    for _ in range(number):
        place = len(chat.everything) + 1
        began = bot.say(person, chat)

        def done(place: int = place) -> bool:
            return len(chat.everything) > place and bot.answered(chat.everything[place]) is not None

        await until(done, "an answer")
        taken.append(bot.shown(chat, chat.everything[place], began) - began)
        await bot.settled()
    return taken


def past_of(places: Sequence[tuple[ConversationKey, str]], messages: int, *, guild: str = "") -> Past:
    """So many messages behind each of these chats, of the kind that is written in them now."""
    said = "hello 10"
    talk = Talk(said, said, tuple(said.encode()), ScriptedEngine().name)
    return Past(places, messages // 2, talk, CUT_EVERY, guild)


@dataclass
class Measured:
    """What a bot did, round by round."""

    bot: Bot
    following: list[Round] = field(default_factory=list)
    """Each chat writes on when it is answered."""
    together: list[Round] = field(default_factory=list)
    """All messages at once."""
    first: list[list[float]] = field(default_factory=list)

    async def warm_up(self) -> None:
        """As the measurement, unmeasured."""
        await all_chats(self.bot, WARM_UP, at_once=False)

    async def round(self) -> None:
        """One of each kind."""
        self.following.append(await all_chats(self.bot, EACH, at_once=False))
        self.together.append(await all_chats(self.bot, EACH, at_once=True))
        self.first.append(await in_turn(self.bot, IN_TURN))

    def firsts(self) -> list[float]:
        """Of all rounds."""
        return [seconds for taken in self.first for seconds in taken]


class AtWork(Protocol):
    """Starts a bot of a kind (hearth, echo) on a folder; its chats may have a past of so many messages."""

    def __call__(self, kind: str, folder: Path, *, past: int = 0) -> AbstractAsyncContextManager[Bot]: ...


async def compare(folder: Path, at_work: AtWork) -> list[Measured]:
    """Hearth, the echo bot, and Hearth with a past; each begins in its turn."""
    async with AsyncExitStack() as stack:
        bots = [
            await stack.enter_async_context(at_work("hearth", folder / "new")),
            await stack.enter_async_context(at_work("echo", folder / "none")),
            await stack.enter_async_context(at_work("hearth", folder / "past", past=PAST)),
        ]
        measured = [Measured(bot) for bot in bots]
        for one in measured:
            await one.warm_up()
        for number in range(PAIRS):
            first = number % len(measured)
            for one in measured[first:] + measured[:first]:
                await one.round()
    return measured


def speed_table(name: str, hearth: Measured, echo: Measured, past: Measured, *, acknowledges: bool) -> Table:
    """Messages per second of 20 chats. `acknowledges`: the platform is told what was received."""
    rows = []
    for what, kind in (
        ("answered, each chat writes on when it is answered", "following"),
        (f"answered, {EACH} messages of each chat at once", "together"),
    ):
        ours, bare, later = ([each.answered for each in getattr(one, kind)] for one in (hearth, echo, past))
        rows += [
            _ratio(f"{what}: Hearth over bare", ours, bare, "{:.1f}", SPEED),
            _ratio(f"{what}: new over {PAST:,} messages", ours, later, "{:.1f}", FLAT),
        ]
    if acknowledges:
        ours, bare = ([each.stored for each in one.together] for one in (hearth, echo))
        rows.append(_ratio("acknowledged, all at once: Hearth (stored) over bare", ours, bare, "{:.1f}", None))
    ours, bare = ([each.processor * 1000 for each in one.following] for one in (hearth, echo))
    rows.append(_ratio("CPU per message: Hearth over bare", ours, bare, "{:.2f} ms", None))
    note = f"Messages per second: medians of {PAIRS} rounds of {CHATS * EACH} messages, and the median of the rounds' ratios."
    return Table(f"{name}: {CHATS} chats at once", ("first", "second", "ratios", "median ratio"), rows, [note])


def _ratio(what: str, first: Sequence[float], second: Sequence[float], form: str, aim: Aim | None) -> Row:
    ratios = [one / other for one, other in zip(first, second, strict=True)]
    ratio = percentile(ratios, 0.5)
    middle = (form.format(percentile(side, 0.5)) for side in (first, second))
    return Row(what, (*middle, f"{min(ratios):.2f} to {max(ratios):.2f}", f"{ratio:.2f}"), aim, ratio)


def first_text_table(name: str, hearth: Measured, echo: Measured, past: Measured) -> Table:
    """One chat, one message after the other."""
    rows = [
        Row(what, tuple(milliseconds(percentile(one.firsts(), share)) for share in (0.99, 0.5)))
        for what, one in (("bare: its reply", echo), ("Hearth", hearth), (f"Hearth, {PAST:,} messages", past))
    ]
    rows += [
        _times("Hearth over bare", hearth, echo, FIRST_TEXT),
        _times(f"{PAST:,} messages over new", past, hearth, FLAT),
    ]
    note = f"From the bot being told to the first text that is shown: {PAIRS} rounds of {IN_TURN} messages; ratios are the median of the rounds'."
    return Table(f"{name}: time to the first visible text, one chat", ("p99", "p50"), rows, [note])


def _times(what: str, one: Measured, other: Measured, aim: Aim) -> Row:
    p99 = percentile(one.firsts(), 0.99) / percentile(other.firsts(), 0.99)
    pairs = zip(one.first, other.first, strict=True)
    ratio = percentile([percentile(mine, 0.5) / percentile(theirs, 0.5) for mine, theirs in pairs], 0.5)
    return Row(what, (f"{p99:.2f}", f"{ratio:.2f}"), aim, ratio)


@dataclass(frozen=True, slots=True)
class Calls:
    """What answers in one kind of chat have cost."""

    what: str
    kinds: Sequence[str]
    """Of each call."""


def calls_table(name: str, columns: dict[str, str], uncounted: str, found: Sequence[Calls], refused: int) -> Table:
    """Calls per answer. `columns`: a call's kind, and its column; `uncounted`: the column of a call that is not among all."""
    rows = []
    for one in found:
        numbers = {column: one.kinds.count(kind) / PLACES for kind, column in columns.items()}
        counted = sum(number for column, number in numbers.items() if column != uncounted)
        rows.append(Row(one.what, (*(f"{number:.1f}" for number in numbers.values()), f"{counted:.1f}")))
    rows.append(
        Row("refused by the platform's limits of rate", ("",) * len(columns) + (str(refused),), REFUSED, refused)
    )
    seconds = ANSWER_TOKENS * SECONDS_PER_TOKEN
    answers = len(found) * PLACES
    note = f"The default pace, {answers} answers of {ANSWER_TOKENS} tokens at the same time, each in about {seconds:.0f} s; a typing sign is not among all calls."
    return Table(f"{name}: calls per answer", (*columns.values(), "all calls"), rows, [note])
