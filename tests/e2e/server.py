"""A whole Hearth on the platform of files, on Telegram or on Discord, and with its page: `python -m tests.e2e.server FOLDER [OPTIONS]`.

It is `bot.app.running` as the command line uses it, with the embedded model slowed down so that a kill can hit every
phase, and with wrappers that write each phase to FOLDER/trace.jsonl. FOLDER/config.toml configures it; a model whose
path ends with `.script` answers as `tests.e2e.script` says.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot import loop
from bot.app import configure_logging, running
from bot.config import Config, ModelConfig, load
from bot.engines.llamacpp import LlamaCppEngine
from bot.generation import Delta, Finish, Generation, Prefill
from bot.messages import Claim, Event, Finished, Limits, Outcome, SentPart, Triage
from bot.ports import Adapter, ChatEngine, Received
from bot.recent import LastErrors
from bot.testing import ScriptedEngine, ThrottledEngine
from storage.store import SqlStore
from tests.e2e.file_adapter import ACCOUNT, FileAdapter
from tests.e2e.holding import HeldEngine
from tests.e2e.script import answer
from tests.e2e.trace import QUESTION, Trace

PAGE, TELEGRAM, DISCORD = "web", "telegram", "discord"
UNMARKED = {PAGE, TELEGRAM, DISCORD}
"""Whose adapters mark nothing themselves."""
TEXT_LIMIT = 48
"""Of a message on Telegram and on Discord: so most answers are split over several."""


@dataclass(frozen=True)
class Options:
    """How slow the server is, in seconds, and what it cannot stand."""

    per_token: float = 0.01
    prefill: float = 0.04
    pause: float = 0.015
    lease: float = 60.0
    drops_repeats: bool = False
    deadly: str = ""
    """A text in a question at which the process ends at once, as a fault in native code would end it."""
    page: bool = False
    """Whether the web page is served too."""
    telegram: bool = False
    """Whether people write on Telegram, in place of the files."""
    discord: bool = False
    """Whether they write on Discord."""


class TracedEngine:
    """Another engine, with its phases marked, a longer prefill, and a text that it dies of."""

    def __init__(self, engine: ChatEngine, trace: Trace, options: Options) -> None:
        self._engine = engine
        self._trace = trace
        self._options = options
        self.name = engine.name
        self.control_strings = engine.control_strings
        self.context_length = engine.context_length
        self.template = engine.template
        self.plain, self.text_of = engine.plain, engine.text_of

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """As the other engine, or the end of the process."""
        if self._options.deadly and any(self._options.deadly in text for text in texts):
            os._exit(139)
        return await self._engine.encode(texts)

    async def stream(self, request: Generation) -> AsyncGenerator[Prefill | Delta | Finish, None]:
        """As the other engine."""
        self._trace.mark("prefill")
        await asyncio.sleep(self._options.prefill)
        started = False
        async with aclosing(self._engine.stream(request)) as events:
            async for event in events:
                if isinstance(event, Delta) and not started:
                    started = True
                    self._trace.mark("streaming")
                yield event

    async def aclose(self) -> None:
        """Free the other engine."""
        await self._engine.aclose()


def traced(trace: Trace, pause: float) -> type[SqlStore]:
    """The store, with its commits marked.

    The effects of the page, of Telegram and of Discord have nowhere to be marked: what comes from them and goes to them is marked
    here, with a `pause` between an effect and the word that it happened.
    """

    class TracedStore(SqlStore):
        async def receive(self, event: Event, triage: Triage) -> Received:
            received = await super().receive(event, triage)
            if event.key.platform in UNMARKED and not received.duplicate:
                question = f"{event.key.chat}/{event.event_id}"
                trace.mark("committed", question)
                await asyncio.sleep(pause)
                trace.mark("acknowledged", question)
            return received

        async def claims(self, *args: Any, **how: Any) -> Iterable[Claim]:
            return _marked(await super().claims(*args, **how), trace)

        async def record_sent(self, claim: Claim, part: SentPart) -> None:
            if claim.event.key.platform in UNMARKED:
                trace.mark("sent")
                await asyncio.sleep(pause)
            await super().record_sent(claim, part)
            trace.mark("recorded")

        async def intend(self, claim: Claim, part: SentPart, finished: Finished | None = None) -> None:
            await super().intend(claim, part, finished)
            if finished is not None:
                await self._kept(claim)

        async def keep(self, claim: Claim, finished: Finished) -> None:
            await super().keep(claim, finished)
            await self._kept(claim)

        async def _kept(self, claim: Claim) -> None:
            trace.mark("kept")
            if claim.event.key.platform in UNMARKED:
                await asyncio.sleep(pause)

        async def close(
            self, claim: Claim, outcome: Outcome, finished: Finished | None, sent: SentPart | None = None
        ) -> tuple[int, ...]:
            if sent is not None and claim.event.key.platform in UNMARKED:
                trace.mark("sent")
                await asyncio.sleep(pause)
            trace.mark("closing")
            new = await super().close(claim, outcome, finished, sent)
            if sent is not None:
                trace.mark("recorded")
            trace.mark("closed", outcome=str(outcome))
            return new

    return TracedStore


def _marked(claims: Iterable[Claim], trace: Trace) -> Iterator[Claim]:
    for claim in claims:
        # The dispatcher makes the answer's task next: the task and all its own begin with a copy of this.
        QUESTION.set(f"{claim.event.key.chat}/{claim.event.event_id}")
        trace.mark("claimed", attempt=claim.attempt)
        yield claim


async def serve(folder: Path, options: Options) -> None:
    """Serve until SIGTERM."""
    trace = Trace(folder / "trace.jsonl")
    config = load(folder / "config.toml", os.environ)
    errors = LastErrors() if options.page or options.discord else None
    configure_logging(config.log, errors=errors)

    async def slow(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        engine = await LlamaCppEngine.load(alias, model, data_dir)
        return TracedEngine(HeldEngine(ThrottledEngine(engine, options.per_token), folder), trace, options)

    async def scripted(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        engine = ScriptedEngine(answer, context_length=1_000_000, batch=100_000, seconds_per_token=options.per_token)
        return TracedEngine(HeldEngine(engine, folder), trace, options)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running(
        config,
        adapters=_adapters(config, folder, trace, options),
        loaders={".gguf": slow, ".script": scripted},
        store=traced(trace, options.pause),
        lease=options.lease,
        errors=errors,
    ):
        trace.mark("ready")
        await stop.wait()


def _adapters(config: Config, folder: Path, trace: Trace, options: Options) -> list[tuple[str, Adapter]]:
    if options.telegram:
        return [_telegram(config)]
    if options.discord:  # it is one of the configuration's own
        _trace_discord(trace, options.pause)
        return []
    return [(ACCOUNT, FileAdapter(folder, trace, options.pause, drops_repeats=options.drops_repeats))]


def _telegram(config: Config) -> tuple[str, Adapter]:
    """The bot, whose messages are short."""
    from adapters.telegram.adapter import Telegram

    class Short(Telegram):
        @property
        def limits(self) -> Limits:
            return replace(super().limits, text=TEXT_LIMIT)

    return config.telegram.account, Short(config.telegram)


def _trace_discord(trace: Trace, pause: float) -> None:
    """Let messages be short, and mark when the history is read."""
    from adapters.discord import adapter, catching_up, sessions

    class Traced(catching_up.CatchingUp):
        async def run(self, unread: Sequence[catching_up.Unread]) -> bool:
            trace.mark("reading back")
            await asyncio.sleep(pause)
            found = await super().run(unread)
            await asyncio.sleep(pause)
            trace.mark("read back")
            return found

    adapter.LONGEST_TEXT = TEXT_LIMIT
    vars(sessions)["CatchingUp"] = Traced


if __name__ == "__main__":
    loop.serve(serve(Path(sys.argv[1]), Options(**json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}"))))
