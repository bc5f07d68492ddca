"""How long does Hearth itself take for a message? From `Inbox.receive` being called to the engine's first `stream` call.

The whole real path: Inbox, SqlStore, Dispatcher, Manager, PromptBuilder, Scheduler, Delivery onto a platform in memory.
Only the generation is left out: the engine answers at once, and encodes with the embedded model's real tokenizer. The
same words are said to an empty database and to one with a million messages, in turns and in one process, so that the two
prompts are the same token for token and only the database differs.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from adapters.delivery import Delivery
from benchmarks.filled import ACCOUNT, Talk, fill, key_of
from benchmarks.report import Aim, Row, Table, milliseconds, percentile, run, scratch_directory
from benchmarks.script import fixed_answer, questions
from bot.config import EMBEDDED_CHAT_MODEL, Config, ModelConfig
from bot.dispatcher import ATTEMPTS, Dispatcher
from bot.engines.llamacpp import LlamaCppEngine
from bot.engines.registry import Registry
from bot.generation import Delta, Finish, Generation, Prefill, Usage
from bot.inbox import Inbox
from bot.manager import Manager
from bot.messages import Author, ConversationKey, Message
from bot.ports import ChatEngine
from bot.testing import MemoryAdapter
from storage.store import SqlStore
from tests import postgres

MESSAGES = 1_000_000
WINDOW, LONG_WINDOW = 2048, 8192
WARM_UP, MEASURED = 24, 400
"""Questions. The warm-up fills the window and cuts it, so that what is measured is the steady state."""
LONG_WARM_UP, LONG_MEASURED = 70, 140
"""The same for the longer window, which takes four times as many to fill."""
SETTLE = 0.005
"""Seconds of rest between two messages: the last one's afterwork is not the next one's time."""
DEADLINE = 30.0
P50, P99 = Aim(5, "ms"), Aim(20, "ms")
RATIO = Aim(1.2)


class AnswersAtOnce:
    """A ChatEngine with a real tokenizer and no model. Several share one tokenizer."""

    def __init__(self, tokenizer: ChatEngine, talk: Talk, context_length: int) -> None:
        self.name = talk.model
        self.control_strings = tokenizer.control_strings
        self.context_length = context_length
        self.template = tokenizer.template
        self.plain, self.text_of = tokenizer.plain, tokenizer.text_of
        self.encode = tokenizer.encode
        self.called: list[tuple[float, tuple[int, ...]]] = []
        """When `stream` was called, and with which prompt."""
        self._talk = talk

    async def stream(self, request: Generation) -> AsyncGenerator[Prefill | Delta | Finish, None]:
        """Note the time and answer."""
        self.called.append((time.perf_counter(), request.prompt))
        size = len(request.prompt)
        usage = Usage(prompt_tokens=size, completion_tokens=len(self._talk.answer_ids) + 1)
        yield Prefill(size, size, 0)
        yield Delta(self._talk.answer, self._talk.answer_ids)
        yield Finish(reason="stop", usage=usage)

    async def aclose(self) -> None:
        """There is nothing to free."""


@dataclass
class House:
    """Everything between a platform and an engine, on one database."""

    inbox: Inbox
    dispatcher: Dispatcher
    engine: AnswersAtOnce
    numbers: Any = field(default_factory=lambda: count(1))

    async def ask(self, key: ConversationKey, text: str) -> float:
        """Say something, wait until the answer is closed, and return the seconds until the engine was called."""
        number, before = next(self.numbers), len(self.engine.called)
        event = Message(
            key=key,
            event_id=f"new-{number}",
            author=Author(f"person-{key.chat}", "Ada"),
            text=text,
            sent_at=datetime.now(UTC),
            direct=True,
        )
        began = time.perf_counter()
        await self.inbox.receive(event)
        await _until(lambda: len(self.engine.called) > before and not self.dispatcher.in_progress)
        await asyncio.sleep(SETTLE)
        return self.engine.called[before][0] - began


@asynccontextmanager
async def open_house(folder: Path, url: str, engine: AnswersAtOnce) -> AsyncIterator[House]:
    """A running Hearth on a database."""
    config = Config.model_validate(
        {
            "permissions": {"allow": ["memory:*"], "messages_per_minute": 10**6},
            "models": {"default": {"path": "at-once.fake"}},
            "database": {"url": url},
        }
    )

    async def load(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return engine

    async with AsyncExitStack() as stack:
        store = await SqlStore.open(url, default_retention_days=config.retention.days)
        stack.push_async_callback(store.aclose)
        registry = Registry(config.models, config.queue, folder, loaders={".fake": load})
        stack.push_async_callback(registry.aclose)
        await registry.get("default")
        platform = MemoryAdapter()
        manager = Manager(store, registry, lambda: config, attempts=ATTEMPTS, removed=lambda _: None)
        adapters = {(platform.name, ACCOUNT): platform}
        dispatcher = Dispatcher(store, manager, Delivery(store), adapters, lambda: config)
        running = asyncio.create_task(dispatcher.run())
        try:
            told = (dispatcher.coming, dispatcher.committed, dispatcher.say)
            yield House(Inbox(store, lambda: config, *told), dispatcher, engine)
        finally:
            await dispatcher.drain(DEADLINE)
            await running


@dataclass
class Bench:
    """What all measurements share."""

    folder: Path
    tokenizer: ChatEngine
    talk: Talk
    questions: Sequence[str]

    def engine(self, window: int) -> AnswersAtOnce:
        """A new engine with a window of so many tokens."""
        return AnswersAtOnce(self.tokenizer, self.talk, window)

    async def fill(self, url: str) -> None:
        """Make the schema, and fill the tables."""
        store = await SqlStore.open(url, default_retention_days=30)
        await store.aclose()
        await asyncio.to_thread(fill, url, MESSAGES, self.talk)


@dataclass
class Compared:
    """Seconds per message."""

    first: list[float] = field(default_factory=list)
    """The first message of a conversation, in the empty database."""
    empty: list[float] = field(default_factory=list)
    full: list[float] = field(default_factory=list)
    prompt: float = 0.0
    """The mean prompt of the other two, in tokens."""


async def compare(bench: Bench, empty_url: str, full_url: str) -> Compared:
    """Fill one of two databases, and say the same to both.

    The big conversation's stored cut is at its last turn, and the empty database's conversation begins with the same
    turn: from then on both windows hold the same words.
    """
    await bench.fill(full_url)
    times = Compared()
    async with (
        open_house(bench.folder, empty_url, bench.engine(WINDOW)) as small,
        open_house(bench.folder, full_url, bench.engine(WINDOW)) as large,
    ):
        key = key_of(1)
        await small.ask(key, bench.talk.question)
        for number, question in enumerate(bench.questions[: WARM_UP + MEASURED]):
            # Who goes first pays for what a pause lets go cold; they take turns.
            pairs = [(small, times.empty), (large, times.full)][:: 1 if number % 2 else -1]
            prompts = []
            for house, seconds in pairs:
                seconds.append(await house.ask(key, question))
                prompts.append(house.engine.called[-1][1])
            assert prompts[0] == prompts[1], "the two conversations are not the same"
            times.first.append(await small.ask(key_of(10**6 + number), question))
        sizes = [len(prompt) for _, prompt in large.engine.called[WARM_UP:]]
    steady = (times.first[WARM_UP:], times.empty[WARM_UP:], times.full[WARM_UP:])
    return Compared(*steady, prompt=sum(sizes) / len(sizes))


async def converse_long(bench: Bench, url: str) -> tuple[list[float], float]:
    """Seconds per message in a longer window, and the mean prompt's tokens."""
    async with open_house(bench.folder, url, bench.engine(LONG_WINDOW)) as house:
        key = key_of(1)
        times = [await house.ask(key, text) for text in bench.questions[: LONG_WARM_UP + LONG_MEASURED]]
        sizes = [len(prompt) for _, prompt in house.engine.called[LONG_WARM_UP:]]
    return times[LONG_WARM_UP:], sum(sizes) / len(sizes)


def seconds_per_sync(folder: Path) -> float:
    """What a commit cannot be faster than: a synced write of a page, the median of many."""
    page, times = b"x" * 4096, []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(page)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return percentile(times, 0.5)


def table_of(database: str, times: Compared, sync: float) -> Table:
    """One database's figures."""
    rows = [
        *_rows("first message of a conversation", times.first, aims=True),
        *_rows(f"empty database, prompt of {times.prompt:.0f} tokens", times.empty, aims=True),
        *_rows(f"{MESSAGES:,} messages, the same prompts", times.full, aims=True),
        _ratio("p50, full over empty", percentile(times.full, 0.5) / percentile(times.empty, 0.5), RATIO),
        _ratio("p99, full over empty", percentile(times.full, 0.99) / percentile(times.empty, 0.99), None),
    ]
    note = (
        f"{MEASURED} messages each, in turns. {MESSAGES // 100:,} of the {MESSAGES:,} messages are in the conversation. "
        f"A message waits for two commits; a synced write of a page takes {milliseconds(sync)} on this disk (median)."
    )
    return Table(f"own_time, {database}: from Inbox.receive to the engine's first stream call", ("",), rows, [note])


def long_table(times: Sequence[float], prompt: float) -> Table:
    """The figures of the longer window."""
    what = f"empty database, prompt of {prompt:.0f} tokens"
    title = f"own_time, SQLite, a window of {LONG_WINDOW:,} tokens"
    return Table(title, ("",), _rows(what, times, aims=False))


def _rows(what: str, times: Sequence[float], *, aims: bool) -> list[Row]:
    shares = ((0.5, P50), (0.99, P99))
    values = [(share, percentile(times, share), aim) for share, aim in shares]
    return [
        Row(f"{what}: p{share * 100:g}", (milliseconds(value),), aim if aims else None, value * 1000)
        for share, value, aim in values
    ]


def _ratio(what: str, ratio: float, aim: Aim | None) -> Row:
    return Row(what, (f"{ratio:.2f}",), aim, ratio)


async def measure() -> AsyncIterator[Table]:
    """SQLite, a longer window, PostgreSQL."""
    tokenizer_config = ModelConfig(path=EMBEDDED_CHAT_MODEL, context_length=WINDOW, threads=1, slots=1)
    with scratch_directory() as folder:
        tokenizer = await LlamaCppEngine.load("embedded", tokenizer_config, folder)
        try:
            bench = await _bench(folder, tokenizer)
            sync = seconds_per_sync(folder)
            files = [_file(folder, name) for name in ("empty", "full", "long")]
            yield table_of("SQLite", await compare(bench, *files[:2]), sync)
            yield long_table(*await converse_long(bench, files[2]))
            with postgres.running() as server:
                yield table_of("PostgreSQL", await compare(bench, server.create(), server.create()), sync)
        finally:
            await tokenizer.aclose()


async def _bench(folder: Path, tokenizer: ChatEngine) -> Bench:
    text, ids = await fixed_answer(tokenizer)
    needed = 1 + max(WARM_UP + MEASURED, LONG_WARM_UP + LONG_MEASURED)
    first, *others = await questions(tokenizer, needed)
    return Bench(folder, tokenizer, Talk(first, text, ids, tokenizer.name), others)


def _file(folder: Path, name: str) -> str:
    return f"sqlite+aiosqlite:///{folder / name}.db"


async def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"no answer within {DEADLINE:.0f} s"
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    run(measure())
