"""A whole Hearth in a test: SQLite in a folder, a scripted model, a platform in memory, and people who write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from adapters.delivery import Delivery
from adapters.delivery.pacing import Sleep
from bot.config import Config, ModelConfig
from bot.dispatcher import ATTEMPTS, Dispatcher
from bot.engines.registry import Registry
from bot.inbox import Inbox
from bot.manager import Manager
from bot.messages import (
    Action,
    ActionName,
    Attachment,
    Author,
    Conversation,
    ConversationKey,
    Deleted,
    Edited,
    Message,
    Role,
)
from bot.metered import Metered
from bot.metrics import Metrics
from bot.ports import ChatEngine, Forgotten
from bot.testing import MemoryAdapter, ScriptedEngine
from bot.voice import Voice
from storage.store import SqlStore

ADA = Author("1", "Ada")
BEA = Author("2", "Bea")
DEADLINE = 60.0
"""Seconds after which a wait fails. What is waited for takes milliseconds, on a machine that has nothing else to do."""
RETRY_SECONDS = 0.02
_NUMBERS = count(1)
"""Of events: a house that is opened again has seen the earlier ones."""


def configuration(**sections: Any) -> Config:
    """A configuration in which everybody on the platform in memory may talk."""
    permissions = {"allow": ["memory:*"], "messages_per_minute": 1000} | sections.pop("permissions", {})
    models = {"default": {"path": "scripted.fake"}} | sections.pop("models", {})
    return Config.model_validate({"permissions": permissions, "models": models, **sections})


async def until(condition: Callable[[], bool], what: str) -> None:
    """Return when the condition holds; fail at the deadline. It looks now and then: what holds must go on to hold."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"waited {DEADLINE:.0f} s for {what}"
        await asyncio.sleep(0.001)


def place(chat: str = "chat", account: str = "bot") -> ConversationKey:
    """A conversation on the platform in memory."""
    return ConversationKey("memory", account, chat)


@dataclass
class House:
    """The rooms of a running Hearth, and the ways in."""

    folder: Path
    config: Config
    engine: ScriptedEngine
    store: SqlStore
    registry: Registry
    platform: MemoryAdapter
    dispatcher: Dispatcher
    inbox: Inbox
    metrics: Metrics
    running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer."""
        self.running = asyncio.create_task(self.dispatcher.run())

    async def say(
        self,
        text: str,
        *,
        chat: str = "chat",
        author: Author = ADA,
        group: bool = False,
        addressed: bool = True,
        reply_to: str | None = None,
        account: str = "bot",
        attachments: tuple[Attachment, ...] = (),
        ago: timedelta = timedelta(0),
    ) -> str:
        """Write to the bot; returns the platform's id of the message when it is committed. `ago`: it was on its way for so long."""
        event = f"e{next(_NUMBERS)}"
        await self.inbox.receive(
            Message(
                key=place(chat, account),
                event_id=event,
                author=author,
                text=text,
                sent_at=datetime.now(UTC) - ago,
                direct=not group,
                addressed=addressed,
                reply_to=reply_to,
                attachments=attachments,
            )
        )
        return event

    async def edit(self, event: str, text: str, *, chat: str = "chat", author: Author = ADA) -> None:
        """Change a message."""
        revision = next(_NUMBERS)
        edited = Edited(
            key=place(chat), event_id=event, revision=revision, author=author, text=text, sent_at=datetime.now(UTC)
        )
        await self.inbox.receive(edited)

    async def delete(self, event: str, *, chat: str = "chat") -> None:
        """Remove a message."""
        await self.inbox.receive(Deleted(key=place(chat), event_id=event, sent_at=datetime.now(UTC)))

    async def press(
        self,
        name: ActionName,
        target: str | None = None,
        *,
        choice: str = "",
        chat: str = "chat",
        author: Author = ADA,
    ) -> None:
        """Press a button."""
        action = Action(
            key=place(chat),
            event_id=f"p{next(_NUMBERS)}",
            author=author,
            name=name,
            sent_at=datetime.now(UTC),
            target=target,
            choice=choice,
        )
        await self.inbox.receive(action)

    async def settled(self) -> None:
        """Return when nothing waits for an answer."""
        end = time.monotonic() + DEADLINE
        while await self.store.pending() or self.dispatcher.in_progress:
            assert time.monotonic() < end, "answers are still waiting"
            await asyncio.sleep(0.002)

    async def ask(self, text: str, **how: Any) -> str:
        """Write, wait for the answer, and return it: the last text in the chat."""
        await self.say(text, **how)
        await self.settled()
        return self.texts(how.get("chat", "chat"))[-1]

    def texts(self, chat: str = "chat") -> list[str]:
        """What stands in a chat."""
        return [message.text for message in self.platform.standing(place(chat))]

    async def conversation(self, chat: str = "chat") -> Conversation:
        """As the store knows it."""
        return await self.store.conversation(place(chat))

    async def line(self, chat: str = "chat") -> list[tuple[Role, str]]:
        """The conversation's current line."""
        head = (await self.conversation(chat)).head
        return [(message.role, message.text) for message in await self.store.history(head)]

    def prompts(self) -> list[str]:
        """What the model was asked, as text."""
        return [self.engine.decode(request.prompt) for request in self.engine.requests]

    async def drain(self, seconds: float = DEADLINE) -> None:
        """Stop answering."""
        await self.dispatcher.drain(seconds)
        if self.running is not None:
            await self.running
            self.running = None


@asynccontextmanager
async def house(
    folder: Path,
    config: Config | None = None,
    *,
    engine: ScriptedEngine | None = None,
    platform: MemoryAdapter | None = None,
    start: bool = True,
    store: SqlStore | None = None,
    lease: float = 60.0,
    sleep: Sleep = asyncio.sleep,
    voice: Voice | None = None,
) -> AsyncIterator[House]:
    """Open a house on a folder; what an earlier one left there is found again. `sleep` is delivery's."""
    config, metrics = config or configuration(), Metrics()
    engine, platform = engine or ScriptedEngine(), platform or MemoryAdapter()
    url, days = f"sqlite+aiosqlite:///{folder / 'hearth.db'}", config.retention.days
    opened = store or await SqlStore.open(url, default_retention_days=days, measured=metrics.database)

    async def load(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return engine

    registry = Registry(
        config.models,
        config.queue,
        folder,
        loaded_models=config.engine.loaded_models,
        loaders={".fake": load},
        grace=0.0,
        metrics=metrics,
    )

    def removed(gone: Forgotten) -> None:
        built.dispatcher.removed(gone)

    manager = Manager(opened, registry, lambda: built.config, attempts=ATTEMPTS, removed=removed, voice=voice)
    dispatcher = Dispatcher(
        opened,
        manager,
        Delivery(opened, sleep=sleep),
        {(platform.name, "bot"): Metered(platform, metrics)},
        lambda: built.config,
        retry=RETRY_SECONDS,
        rest=RETRY_SECONDS,
        lease=lease,
        metrics=metrics,
    )
    told = (dispatcher.coming, dispatcher.committed, dispatcher.say)
    inbox = Inbox(opened, lambda: built.config, *told, metrics=metrics)
    built = House(folder, config, engine, opened, registry, platform, dispatcher, inbox, metrics)
    if start:
        built.start()
    try:
        yield built
    finally:
        engine.resume.set()
        await built.drain(0)
        await registry.aclose()
        await opened.aclose()


def question(prompt: str) -> str:
    """The last thing that a prompt asks."""
    return prompt.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]


async def stalled(h: House, asked: str = "tell me", tokens: int = 5, **how: object) -> str:
    """Ask something whose answer stops in the middle of "You said: ..."; returns the question's id."""
    h.engine.stall_after = tokens
    event = await h.say(asked, **how)  # type: ignore[arg-type]  # passed on as they are
    await until(lambda: h.engine.active == 1 and "You s"[:tokens] in "".join(h.texts()), "the answer's first words")
    return event
