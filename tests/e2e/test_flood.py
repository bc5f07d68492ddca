"""Far too much at once, and a model that stands still: everybody is answered or told, and the process stays awake."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
import structlog

from adapters.console.client import Client
from bot.app import App, running
from bot.config import Config, ModelConfig
from bot.messages import Author, ConversationKey, Message, MessageRef
from bot.ports import ChatEngine
from bot.testing import MemoryAdapter, Posted, ScriptedEngine
from storage.store import SqlStore

PEOPLE, EACH = 500, 20
"""Together 10 000 messages."""
RATE = 5
"""Messages that one person may send in a minute, so that each is told once to wait."""
TOO_LONG = 4.0
"""Seconds for which a model may be silent: more than the machine may be away with something else between two words."""
LAG_SECONDS = 0.01
DEADLINE = 1200.0
pytestmark = pytest.mark.timeout(DEADLINE)
NOON = datetime.now(UTC)


class Stopped(SqlStore):
    """The store, whose clock stands still: all is received in the same minute, however long the machine takes for it."""

    @classmethod
    async def open(cls, url: str, **how: Any) -> Self:
        return await super().open(url, **{**how, "clock": lambda: NOON})


class Quick(MemoryAdapter):
    """The platform in memory, with its messages found by number: among ten thousand a search takes too long."""

    def _find(self, message: MessageRef) -> Posted | None:
        return self.messages[int(message.message_id) - 1]


@asynccontextmanager
async def house(folder: Path, engine: ScriptedEngine, platform: MemoryAdapter, **sections: Any) -> AsyncIterator[App]:
    """A whole Hearth in this process, with a scripted model."""
    config = Config.model_validate(
        {"data_dir": folder, "models": {"default": {"path": folder / "scripted.fake"}}, **sections}
    )

    async def load(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return engine

    async with running(config, adapters=[("bot", platform)], loaders={".fake": load}, store=Stopped) as app:
        yield app


def message(person: int, number: int, text: str) -> Message:
    """Somebody's question in a chat of their own."""
    return Message(
        key=ConversationKey("memory", "bot", f"chat{person}"),
        event_id=f"{person}-{number}",
        author=Author(f"{person}", "Ada"),
        text=text,
        sent_at=datetime.now(UTC),
        direct=True,
    )


async def settled(app: App) -> None:
    """Return when nothing waits for an answer."""
    end = time.monotonic() + DEADLINE
    while await app.store.pending() or app.dispatcher.in_progress:
        assert time.monotonic() < end, f"{await app.store.pending()} answers are still waiting"
        await asyncio.sleep(0.05)


async def lags(found: list[float]) -> None:
    """Write down by how much the event loop is late, for as long as this runs."""
    while True:
        due = time.monotonic() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        found.append(time.monotonic() - due)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Errors only: a line for each of ten thousand answers takes longer than the answers."""
    before = structlog.get_config()
    structlog.configure(**{**before, "wrapper_class": structlog.make_filtering_bound_logger(logging.ERROR)})
    yield
    structlog.configure(**before)


async def test_ten_thousand_messages_at_once_are_each_answered_or_told(tmp_path: Path, quiet: None) -> None:
    """In the order of each person's questions; the socket answers all the while, and how late the loop is is printed."""
    engine, platform, late = ScriptedEngine(), Quick(), list[float]()
    permissions = {"allow": ["memory:*"], "messages_per_minute": RATE}
    async with house(tmp_path, engine, platform, permissions=permissions) as app:
        watch = asyncio.create_task(lags(late))
        began = time.monotonic()
        every = [message(p, n, f"question {n}") for n in range(EACH) for p in range(PEOPLE)]
        await asyncio.gather(*(app.inbox.receive(one) for one in every))
        received = time.monotonic()
        async with Client(app.config.socket) as client:
            assert (await client.health())["status"] == "ok"
            await settled(app)
            answered = time.monotonic()
            assert (await client.health())["waiting"] == 0
        watch.cancel()
        late.sort()
        print(f"\n10000 received in {received - began:.1f} s, answered in {answered - received:.1f} s;", end=" ")
        print(f"the loop is late by {late[len(late) // 2] * 1000:.1f} ms (median), ", end="")
        print(f"{late[-len(late) // 100] * 1000:.1f} ms (99 of 100), {late[-1] * 1000:.0f} ms at most")
        expected = [f"You said: question {n}" for n in range(RATE)]
        for person in range(PEOPLE):
            texts = [one.text for one in platform.standing(ConversationKey("memory", "bot", f"chat{person}"))]
            assert texts[:RATE] == expected
            assert len(texts) == RATE + 1
            assert texts[-1].startswith(f"That was more than {RATE} messages in a minute.")


async def test_whoever_asks_a_model_that_stands_still_is_told_in_time(tmp_path: Path) -> None:
    """In the prompt or in the middle of the words; the next question is answered again."""
    engine, platform = ScriptedEngine(), MemoryAdapter()
    queue = {"first_token_timeout": TOO_LONG, "stall_timeout": TOO_LONG}
    async with house(tmp_path, engine, platform, permissions={"allow": ["memory:*"]}, queue=queue) as app:
        engine.stall_in_prefill = True
        await app.inbox.receive(message(1, 1, "Are you there?"))
        await settled(app)
        engine.stall_in_prefill, engine.stall_after = False, 4
        await app.inbox.receive(message(1, 2, "And now?"))
        await settled(app)
        engine.stall_after = None
        await app.inbox.receive(message(1, 3, "And now?"))
        await settled(app)
        assert [one.text for one in platform.standing(ConversationKey("memory", "bot", "chat1"))] == [
            "The model did not answer in time. Please try again.",
            "You \n\nThe model did not answer in time. Please try again.",
            "You said: And now?",
        ]
        assert engine.active == 0
