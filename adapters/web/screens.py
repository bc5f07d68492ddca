"""The screens: what people see of the answers that are made, rendered and pushed to their open pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

import structlog

from adapters.web.live import Answer, Live, Shown
from adapters.web.markdown import Growing, Renderer, plain, render_all
from adapters.web.streams import Streams
from bot.errors import DatabaseError
from bot.messages import Conversation, ConversationKey, Outgoing, StoredMessage
from bot.ports import Store

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PLATFORM = "web"
ACCOUNT = "local"
"""The bot account where one process alone uses the database."""
COMMAND_SIGN = "/"
RENDERERS = 2
"""Threads: however much some people have rendered, the loop shares the interpreter with no more than these."""
IN_A_THREAD = 2_000
"""Characters: to render more takes longer than the event loop should wait (2 ms of usual words, 16 ms of the worst)."""


class Screens:
    """What people see: the states of answers, rendered and pushed. `account`: the bot account of this page."""

    def __init__(self, store: Store, streams: Streams, *, account: str = ACCOUNT) -> None:
        self.live = Live()
        self.streams = streams
        self.renderer = Renderer()
        self.account = account
        self._store = store
        self._growing: dict[tuple[str, str, int], Growing] = {}
        self._threads = ThreadPoolExecutor(RENDERERS, "markdown")

    def key(self, person: str, conversation: str) -> ConversationKey:
        """Where a conversation is."""
        return ConversationKey(PLATFORM, self.account, person, conversation)

    async def show(self, shown: Shown) -> None:
        """Push a state to who looks."""
        person, _ = shown.place
        if self.streams.watched(person):
            state = await self.state(shown)
            if state["seq"] == shown.seq:  # else there is a newer one, which was or will be pushed
                self.streams.state(person, state)

    async def state(self, shown: Shown) -> dict[str, Any]:
        """A state as the page is told of it."""
        what, seq = shown.what, shown.seq
        files = [
            {"name": f.name, "media_type": f.media_type, "size": len(f.data), "url": f"/api/files/{name}"}
            for name, f in zip(shown.files, what.files, strict=False)
        ]
        return {
            "conversation": shown.place[1],
            "event": shown.event,
            "number": shown.number,
            "seq": seq,
            "html": await self._html(shown, what),
            "text": what.text,
            "final": what.final,
            "failed": what.failed,
            "notice": what.notice,
            "gone": shown.gone,
            "files": files,
        }

    async def rendered(self, texts: Sequence[str]) -> list[str]:
        """The HTML of finished texts."""
        unknown = sum(len(text) for text in texts if not self.renderer.knows(text))
        if unknown > IN_A_THREAD:
            return await self._beside(render_all, self.renderer, texts)
        return render_all(self.renderer, texts)

    async def states(self, person: str, conversation: str) -> list[dict[str, Any]]:
        """What stands in a conversation beside its line."""
        return [await self.state(shown) for shown in self.live.of((person, conversation))]

    async def settle(self, person: str, conversation: str) -> bool:
        """Drop what the store has in the line by now; whether there was something. Raises DatabaseError."""
        dropped = [await self._settle(answer) for answer in self.live.answers((person, conversation))]
        return any(dropped)

    async def look_after(self) -> None:
        """Until cancelled: drop what is closed, and tell the pages to ask for the line."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.live.wait()):
                    await self.live.poked.wait()
            self.live.poked.clear()
            for answer in self.live.due():
                try:
                    if not await self._settle(answer):
                        self.live.later(answer)
                except DatabaseError as error:
                    log.warning("not known whether an answer is closed", error=str(error))
                    self.live.later(answer)

    def forget(self, person: str, conversation: str | None = None) -> None:
        """Let go of what is in memory, of a person or of one conversation."""
        self.live.forget(person, conversation)
        self._growing = {k: v for k, v in self._growing.items() if k[0] != person}
        self.renderer.forget()

    async def _settle(self, answer: Answer) -> bool:
        """Whether the answer is closed; then it is dropped, or kept as words for who is there."""
        person, conversation = answer.place
        key = replace(self.key(person, conversation), account=answer.account)
        if answer.kept_since is not None:
            return self._let_go(answer)
        if await self._store.is_open(key, answer.event):
            return False
        place = await self._store.find_conversation(key)
        if place is None:
            # It was removed, perhaps with all that this person had: what is shown of that goes too.
            await self._forget_removed(person, but=answer)
        kept = await self._store.answer_to(key, answer.event)
        standing = [shown for shown in answer.messages.values() if not (shown.gone or shown.what.notice)]
        words = kept is None or any(shown.what.failed for shown in standing)
        if answer.ended and standing and (words or (place and await self._is_aside(place, answer.event, kept))):
            self.live.keep(answer)
        else:
            self.live.drop(answer)
        for number in answer.messages:
            self._growing.pop((person, answer.event, number), None)
        self.streams.changed(person, conversation)
        return True

    async def _is_aside(self, place: Conversation, event: str, kept: StoredMessage | None) -> bool:
        """Whether an answer is to a command itself, and leaves the line alone (/summarise): nobody would find it in the tree."""
        asked = await self._store.find_sent(place.key, event)
        if kept is None or asked is None or kept.parent != asked.id or not asked.text.startswith(COMMAND_SIGN):
            return False
        return all(node.message.id != kept.id for node in await self._store.line(place.id))

    def _let_go(self, answer: Answer) -> bool:
        due = answer.due <= self.live.clock()
        if due:
            self.live.drop(answer)
            self.streams.changed(*answer.place)
        return due

    async def _forget_removed(self, person: str, *, but: Answer) -> None:
        for place in self.live.places(person):
            if place == but.place or await self._store.find_conversation(self.key(*place)) is not None:
                continue
            self.live.forget(*place)

    async def _html(self, shown: Shown, what: Outgoing) -> str:
        if what.plain:
            return plain(what.text)
        if what.final:
            return await self._last(shown, what)
        name = (shown.place[0], shown.event, shown.number)
        growing = self._growing.setdefault(name, Growing(self.renderer))
        if growing.cost(what.text) > IN_A_THREAD:
            return await self._beside(growing.render, what.text)
        return growing.render(what.text)

    async def _beside(self, render: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(render, *args, **kwargs))

    async def _last(self, shown: Shown, what: Outgoing) -> str:
        """Kept with the state alone: where nothing is to be stored it goes with it."""
        if shown.html is None:
            long = len(what.text) > IN_A_THREAD
            once = self.renderer.render_once
            shown.html = await self._beside(once, what.text) if long else once(what.text)
        return shown.html
