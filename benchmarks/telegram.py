"""What does Hearth cost on Telegram? Beside a bare echo bot of python-telegram-bot on the same stand-in for the platform.

Three bots, each a process of its own: Hearth; the library's Application with a handler that says a text back; and a Hearth
whose 20 chats have 10,000 messages each behind them. The stand-in of the tests runs in the measuring process, holds every
call against the documentation, and tells what a chat shows and since when. The bots are measured in turns.

Hearth is whole: everything is stored, every commit synced to the checkout's disk, and only the pace of calls is raised
(`benchmarks.telegram_bots`). Its model is a ScriptedEngine, which says the question back at once, one character at a
time, as the rival does ("hello 17"): a window of 1,024 tokens that the warm-up fills, prompts read in one step, no cache, 32
slots. For the calls per answer the pace is the default, and the script writes 300 tokens, one every 20 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import psutil

from benchmarks.filled import Talk
from benchmarks.report import Aim, Row, Table, milliseconds, percentile, run, scratch_directory
from benchmarks.telegram_bots import Settings, bot_process
from benchmarks.telegram_history import Past, fill
from bot.messages import ConversationKey
from bot.testing import ScriptedEngine
from storage.store import SqlStore
from tests.telegram import Call, Chat, TelegramServer, User, serving

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
"""Private chats, and as many groups, where long answers are written at the same time."""
SPEED, FIRST_TEXT, FLAT = Aim(0.5, at_least=True), Aim(1.5), Aim(1.2)
NONE = Aim(0)
KINDS = ("sendMessageDraft", "sendMessage", "editMessageText", "sendChatAction")


@dataclass
class Bot:
    """A bot at work, its platform, and those who talk to it."""

    server: TelegramServer
    process: psutil.Process
    people: list[tuple[User, Chat]]
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def say(self, person: User, chat: Chat) -> float:
        """Write something new; returns when the update was there to be taken."""
        chat.say(person, f"hello {next(self._numbers)}")
        return self.server.world.scene.now()

    async def settled(self) -> None:
        """Every update was acknowledged, and the afterwork is done."""
        await until(lambda: not self.server.queue.pending, "the last acknowledgement")
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
    """Until their acknowledgement; Hearth's is sent when they are committed."""
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
    now, queue = bot.server.world.scene.now, bot.server.queue
    processor = bot.processor()
    to_come = [each] * len(bot.people)
    waited = [0] * len(bot.people)
    seen = [len(chat.everything) for _, chat in bot.people]
    began, stored, ended = now(), 0.0, 0.0
    end = time.monotonic() + DEADLINE
    while any(to_come) or any(waited):
        assert time.monotonic() < end, f"not answered within {DEADLINE:.0f} s: {waited} and {to_come}"
        for n, (person, chat) in enumerate(bot.people):
            for message in chat.everything[seen[n] :]:
                waited[n] -= message.by_bot
                ended = max(ended, message.versions[0][0]) if message.by_bot else ended
            while to_come[n] and (at_once or not waited[n]):
                bot.say(person, chat)
                to_come[n] -= 1
                waited[n] += 1
            seen[n] = len(chat.everything)
        stored = stored or (0.0 if any(to_come) or queue.pending else now())
        await asyncio.sleep(LOOK)
    await bot.settled()
    total = each * len(bot.people)
    return Round(total / (ended - began), total / ((stored or now()) - began), (bot.processor() - processor) / total)


def _has(chat: Chat, messages: int) -> bool:
    """Whether there are more than so many."""
    return len(chat.everything) > messages


async def in_turn(bot: Bot, number: int) -> list[float]:
    """One chat, one question after the other: seconds from each update to the first text of its answer."""
    taken = []
    person, chat = bot.people[0]
    for _ in range(number):
        drafts, messages = len(chat.drafts), len(chat.everything) + 1
        began = bot.say(person, chat)
        await until(partial(_has, chat, messages), "an answer")
        shown = [draft.at for draft in chat.drafts[drafts:]] + [chat.everything[messages].versions[0][0]]
        taken.append(min(shown) - began)
        await bot.settled()
    return taken


@asynccontextmanager
async def at_work(kind: str, folder: Path, *, past: int = 0) -> AsyncIterator[Bot]:
    """A bot that asks for updates; its chats may have a past."""
    async with serving() as server:
        people = [server.world.user(f"Ada {n}") for n in range(CHATS)]
        chats = [server.world.private(person) for person in people]
        settings = Settings(url=server.url, token=server.token, data_dir=str(folder))
        if past:
            await give_past(folder, settings, chats, past)
        async with bot_process(kind, settings) as process:
            await until(lambda: server.queue.polled, f"{kind} to ask for updates")
            yield Bot(server, process, list(zip(people, chats, strict=True)))


async def give_past(folder: Path, settings: Settings, chats: Sequence[Chat], past: int) -> None:
    """A database in which these chats have so many messages; the chats' next one has the number after them."""
    folder.mkdir()
    path = folder / "hearth.db"
    store = await SqlStore.open(f"sqlite+aiosqlite:///{path}", default_retention_days=30)
    await store.aclose()
    places = []
    for chat in chats:
        chat.first_id = past + 1
        places.append((ConversationKey("telegram", settings.account, str(chat.id)), str(chat.id)))
    said = "hello 10"
    talk = Talk(said, said, tuple(said.encode()), ScriptedEngine().name)
    await asyncio.to_thread(fill, str(path), Past(places, past // 2, talk, CUT_EVERY))


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


async def compare(folder: Path) -> list[Measured]:
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


def speed_table(hearth: Measured, echo: Measured, past: Measured) -> Table:
    """Messages per second of 20 chats."""
    rows = []
    for what, name in (
        ("answered, each chat writes on when it is answered", "following"),
        (f"answered, {EACH} messages of each chat at once", "together"),
    ):
        ours, bare, later = ([each.answered for each in getattr(one, name)] for one in (hearth, echo, past))
        rows += [
            _ratio(f"{what}: Hearth over bare", ours, bare, "{:.1f}", SPEED),
            _ratio(f"{what}: new over {PAST:,} messages", ours, later, "{:.1f}", FLAT),
        ]
    ours, bare = ([each.stored for each in one.together] for one in (hearth, echo))
    rows.append(_ratio("acknowledged, all at once: Hearth (stored) over bare", ours, bare, "{:.1f}", None))
    ours, bare = ([each.processor * 1000 for each in one.following] for one in (hearth, echo))
    rows.append(_ratio("CPU per message: Hearth over bare", ours, bare, "{:.2f} ms", None))
    note = f"Messages per second: medians of {PAIRS} rounds of {CHATS * EACH} messages, and the median of the rounds' ratios."
    return Table(f"telegram: {CHATS} chats at once", ("first", "second", "ratios", "median ratio"), rows, [note])


def _ratio(what: str, first: Sequence[float], second: Sequence[float], form: str, aim: Aim | None) -> Row:
    ratios = [one / other for one, other in zip(first, second, strict=True)]
    ratio = percentile(ratios, 0.5)
    middle = (form.format(percentile(side, 0.5)) for side in (first, second))
    return Row(what, (*middle, f"{min(ratios):.2f} to {max(ratios):.2f}", f"{ratio:.2f}"), aim, ratio)


def first_text_table(hearth: Measured, echo: Measured, past: Measured) -> Table:
    """One chat, one message after the other."""
    rows = [
        Row(what, tuple(milliseconds(percentile(one.firsts(), share)) for share in (0.99, 0.5)))
        for what, one in (("bare: its reply", echo), ("Hearth", hearth), (f"Hearth, {PAST:,} messages", past))
    ]
    rows += [
        _times("Hearth over bare", hearth, echo, FIRST_TEXT),
        _times(f"{PAST:,} messages over new", past, hearth, FLAT),
    ]
    note = f"From the update to the first draft or message with text: {PAIRS} rounds of {IN_TURN} messages; ratios are the median of the rounds'."
    return Table("telegram: time to the first visible text, one chat", ("p99", "p50"), rows, [note])


def _times(what: str, one: Measured, other: Measured, aim: Aim) -> Row:
    p99 = percentile(one.firsts(), 0.99) / percentile(other.firsts(), 0.99)
    pairs = zip(one.first, other.first, strict=True)
    ratio = percentile([percentile(mine, 0.5) / percentile(theirs, 0.5) for mine, theirs in pairs], 0.5)
    return Row(what, (f"{p99:.2f}", f"{ratio:.2f}"), aim, ratio)


async def long_answers(folder: Path) -> Table:
    """What a long answer costs in calls, in private chats and in groups, with the default pace."""
    async with serving() as server:
        server.flood.enable()
        people = [server.world.user(f"Ada {n}") for n in range(PLACES)]
        groups = [server.world.supergroup(f"Group {person.id}", person) for person in people]
        settings = Settings(
            url=server.url,
            token=server.token,
            data_dir=str(folder / "paced"),
            paced=True,
            answer_tokens=ANSWER_TOKENS,
            seconds_per_token=SECONDS_PER_TOKEN,
        )
        async with bot_process("hearth", settings):
            await until(lambda: server.queue.polled, "hearth to ask for updates")
            before = len(server.calls)
            private = [server.world.private(person) for person in people]
            for person, group in zip(people, groups, strict=True):
                server.world.private(person).say(person, "tell me a story")
                group.say(person, f"{server.world.bot.mention} tell me a story")
            await until(lambda: all(map(is_told, [*private, *groups])), "the whole answers")
            await asyncio.sleep(SETTLE)
            calls = server.calls[before:]
        return calls_table(calls, {chat.id for chat in private}, len(server.flood.refused))


def is_told(chat: Chat) -> bool:
    """Whether the whole answer stands there, and no button is left to stop it."""
    last = chat.everything[-1]
    stoppable = any(button["text"] == "Stop" for button in last.buttons)
    return last.by_bot and len(last.text) >= ANSWER_TOKENS and not stoppable


def calls_table(calls: Sequence[Call], private: set[int], refused: int) -> Table:
    """Calls per answer by their kind."""
    rows = []
    for what, mine in (("private chat", True), ("group", False)):
        kinds = [call.method for call in calls if (call.given.get("chat_id") in private) is mine]
        numbers = [kinds.count(kind) / PLACES for kind in KINDS]
        counted = sum(numbers[:3])
        rows.append(Row(what, (*(f"{number:.1f}" for number in numbers), f"{counted:.1f}")))
    rows.append(Row("refused by the platform's limits of rate", ("",) * 4 + (str(refused),), NONE, refused))
    seconds = ANSWER_TOKENS * SECONDS_PER_TOKEN
    note = f"The default pace, {2 * PLACES} answers of {ANSWER_TOKENS} tokens at the same time, each in about {seconds:.0f} s; a typing sign is not among all calls."
    columns = ("drafts", "messages", "edits", "typing signs", "all calls")
    return Table("telegram: calls per answer", columns, rows, [note])


async def measure() -> AsyncIterator[Table]:
    """Speed, first text, calls."""
    with scratch_directory() as folder:
        measured = await compare(folder)
        yield speed_table(*measured)
        yield first_text_table(*measured)
        yield await long_answers(folder)


if __name__ == "__main__":
    run(measure())
