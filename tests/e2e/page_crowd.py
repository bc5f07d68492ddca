"""Twenty pages that are open at once: people talk on them, stop, ask for another answer, and lose the connection."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, repeat
from typing import Any

from tests.e2e import topics
from tests.e2e.page_client import Node, Seen, Server, Unreachable, View, event_id

LINE, RETRIED, LOOSE = "line", "retried", "loose"
"""What is done in a conversation: question after question; that, and answers are asked for again; each question begins
a line of its own, and answers are stopped and asked for again."""
PLAN = (
    ("owner", ((LINE, 1), (LINE, 1), (RETRIED, 1), (RETRIED, 1), (LOOSE, 1), (LOOSE, 1))),
    ("ada", ((LINE, 2), (LINE, 2))),
    ("bob", ((LINE, 1), (RETRIED, 1), (LINE, 2))),
    ("cleo", ((LINE, 1), (RETRIED, 1), (LOOSE, 1))),
    ("dan", ((LINE, 1), (LINE, 2))),
)
"""Person, and for each conversation at a time what is done in it, and on how many pages: twenty in all."""
TOKENS = {person: f"the token of {person}" for person, _ in PLAN}
QUESTIONS = (3, 6)
"""Of a conversation; then comes a new one."""
THINK_SECONDS = (0.1, 2.0)
"""Between what a person does and the next: about eight answers are under way at a time."""
LOOK_SECONDS = 0.2
SETTLE_SECONDS = 500.0
"""After so long a page that does not show the end of an answer will never show it. The kills go on meanwhile."""


@dataclass
class Talk:
    """A conversation that some pages have open."""

    id: str
    kind: str
    most: int
    """So many questions are asked in it."""
    number: int | None = None
    """Everybody asks for a count up to it, where several pages talk; one page alone asks for less each time."""
    promised: int = 0
    """So many are asked, or will be."""
    questions: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    """Page -> event and text of what it asked, in order."""
    tries: Counter[str] = field(default_factory=Counter)
    """Event -> how often an answer was asked for."""
    shown: list[list[Node]] = field(default_factory=list)
    """What each of its pages showed at the end."""

    @property
    def events(self) -> set[str]:
        """Of all questions that the server has received."""
        return {event for asked in self.questions.values() for event, _ in asked}


@dataclass
class Place:
    """Where one conversation follows the other."""

    person: str
    kind: str
    pages: int
    """So many are open in it."""
    talk: Talk | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Crowd:
    """All pages, in a thread of their own. `rng` is the killer's; each page has its own of the same seed."""

    port: int
    seed: int
    rng: random.Random
    talks: list[Talk] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    done: Counter[str] = field(default_factory=Counter)
    """What the pages did, and what they met."""
    actions: set[str] = field(default_factory=set)
    """Events that were no questions."""
    leaving: bool = False
    """Whether nothing more is to be asked."""
    _ended: Future[None] = field(default_factory=Future)

    def keep_busy(self) -> None:
        """They are busy by themselves. Raises what went wrong with them."""
        if self._ended.done():
            self._ended.result()

    @contextmanager
    def chatting(self) -> Iterator[None]:
        """For as long as the block; at its end no page is left."""
        loop = asyncio.new_event_loop()
        pages = loop.create_task(self._all())

        def live() -> None:
            try:
                loop.run_until_complete(pages)
            except BaseException as error:  # noqa: BLE001 - raised where `finish` is called
                self._ended.set_exception(error)
            else:
                self._ended.set_result(None)
            loop.close()

        thread = threading.Thread(target=live)
        thread.start()
        try:
            yield
        finally:
            if thread.is_alive():
                loop.call_soon_threadsafe(pages.cancel)
            thread.join()

    def finish(self) -> None:
        """Ask nothing more, and wait until every page shows the end of what it asked. Raises what went wrong."""
        self.leaving = True
        self._ended.result(2 * SETTLE_SECONDS)

    async def _all(self) -> None:
        numbers = count()
        async with asyncio.TaskGroup() as group:
            for person, places in PLAN:
                for kind, pages in places:
                    place = Place(person, kind, pages)
                    for _ in range(pages):
                        number = next(numbers)
                        group.create_task(Page(self, place, number).live())


class Page:
    """One page: who sits there, and what it shows."""

    def __init__(self, crowd: Crowd, place: Place, number: int) -> None:
        self._crowd = crowd
        self._place = place
        self._number = number
        self._rng = random.Random(f"{crowd.seed}/{number}")
        self._view: View | None = None
        self._changed = asyncio.Event()
        self._opened = asyncio.Event()

    async def live(self) -> None:
        """Until the crowd leaves, and then until the page shows everything."""
        form = self._number % 2 == 0
        server = Server(self._crowd.port, TOKENS[self._place.person], form=form, rng=self._rng)
        try:
            await server.sign_in()
            async with self._following(server):
                await self._opened.wait()
                while (talk := await self._next(server)) is not None:
                    await self._talk(server, talk)
        finally:
            self._crowd.done.update(server.met)
            await server.aclose()

    @asynccontextmanager
    async def _following(self, server: Server) -> AsyncIterator[None]:
        """The stream is kept up (events.js)."""
        async with asyncio.TaskGroup() as self._tasks:
            task = self._tasks.create_task(self._follow(server))
            yield
            task.cancel()

    async def _follow(self, server: Server) -> None:
        tries = 0
        while True:
            try:
                async with aclosing(server.events()) as events:
                    async for name, data in events:
                        tries = 0
                        self._hear(name, data)
            except Unreachable:
                pass
            self._crowd.done["streams broken"] += 1
            tries = await server.rest(tries)

    def _hear(self, name: str, data: Any) -> None:
        view = self._view
        if name == "open":
            self._opened.set()
        if view is None:
            return
        if name == "open" or (name == "changed" and data["conversation"] == view.id):
            view.refresh()
        elif name == "state" and data["conversation"] == view.id:
            view.take(data)

    async def _next(self, server: Server) -> Talk | None:
        """The conversation in which something is to be asked; None when it is time to leave."""
        place = self._place
        async with place.lock:
            if self._crowd.leaving:
                return None
            talk = place.talk
            if talk is None or talk.promised >= talk.most:
                found = await server.insist("POST", "/api/conversations", {})
                talk = place.talk = Talk(found["id"], place.kind, self._rng.randint(*QUESTIONS))
                talk.number = self._rng.randint(*topics.NUMBERS) if place.pages > 1 else None
                self._crowd.talks.append(talk)
        return talk

    async def _talk(self, server: Server, talk: Talk) -> None:
        """Ask in one conversation until it has its questions, or until it is time to leave."""
        view = self._view = View(
            server, talk.id, self._crowd.seen, changed=self._changed.set, spawn=self._tasks.create_task
        )
        view.refresh()
        texts = _topic(self._rng, talk)
        while talk.promised < talk.most and not self._crowd.leaving:
            talk.promised += 1
            event = await self._ask(server, talk, view, next(texts))
            if talk.kind == LOOSE:
                await self._disturb(server, talk, view, event)
            elif talk.kind == RETRIED and self._rng.random() < 0.4:
                await self._settle(view, {event})
                await self._retry(server, talk, view, event)
            elif self._rng.random() < 0.6:
                await self._settle(view, {event})
            await asyncio.sleep(self._rng.uniform(*THINK_SECONDS))
        await self._until(lambda: len(talk.events) == talk.promised and view.settled(_last(talk)))
        talk.shown.append(view.messages)
        self._view = None

    async def _ask(self, server: Server, talk: Talk, view: View, text: str) -> str:
        """Send a question until it is received (outbox.js); now and then the same is sent once more, or twice at once."""
        event = event_id()
        body: dict[str, Any] = {"event": event, "text": text}
        if talk.kind == LOOSE:
            body["follows"] = 0
        times = 2 if self._rng.random() < 0.1 else 1
        told = await asyncio.gather(*(server.insist("POST", f"{view.path}/messages", body) for _ in range(times)))
        assert all(one == {"received": True} for one in told)
        asked = talk.questions.setdefault(self._number, [])
        asked.append((event, text))
        talk.tries[event] += 1
        view.received(event)
        view.refresh()
        self._crowd.done["questions"] += 1
        self._crowd.done["said again"] += times - 1
        if self._rng.random() < 0.2:
            old, words = self._rng.choice(asked)
            await server.insist("POST", f"{view.path}/messages", {**body, "event": old, "text": words})
            self._crowd.done["said again"] += 1
        return event

    async def _disturb(self, server: Server, talk: Talk, view: View, event: str) -> None:
        """Stop an answer on its way, or not; perhaps ask for another one, which may be stopped too."""
        await self._perhaps_stop(server, view, event, 0.6)
        await self._settle(view, {event})
        if self._rng.random() < 0.4:
            await self._retry(server, talk, view, event)

    async def _perhaps_stop(self, server: Server, view: View, event: str, chance: float) -> None:
        if self._rng.random() >= chance:
            return
        await self._until(lambda: event in view.live or not view.busy)
        await asyncio.sleep(self._rng.uniform(0, 0.1))
        await self._act(server, view, "stop", {})

    async def _retry(self, server: Server, talk: Talk, view: View, event: str) -> None:
        """Another answer, by the answer or by the question."""
        question = next((node for node in view.messages if node.get("event") == event), None)
        if question is None:  # given up
            return
        answers = [node for node in view.messages if node["parent"] == question["id"]]
        node = self._rng.choice([question, *answers])
        await self._act(server, view, "retry", {"message": node["id"]})
        talk.tries[event] += 1
        await view.refresh()
        if talk.kind == LOOSE:
            await self._perhaps_stop(server, view, event, 0.3)
        await self._settle(view, {event})

    async def _act(self, server: Server, view: View, what: str, body: dict[str, Any]) -> None:
        event = event_id()
        self._crowd.actions.add(event)
        told = await server.insist("POST", f"{view.path}/{what}", {**body, "event": event})
        assert told == {"received": True}
        self._crowd.done[what] += 1
        view.refresh()

    async def _settle(self, view: View, events: set[str]) -> None:
        await self._until(lambda: view.settled(events))

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Return when the page shows it."""
        end = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while not holds():
            assert asyncio.get_running_loop().time() < end, f"the end of an answer is never shown: {self._view}"
            self._changed.clear()
            with suppress(TimeoutError):  # what other pages were told counts too
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()


def _last(talk: Talk) -> set[str]:
    """What the line shows at the end: every question, or the last one where each begins a line of its own."""
    if talk.kind != LOOSE:
        return talk.events
    return {asked[-1][0] for asked in talk.questions.values()}


def _topic(rng: random.Random, talk: Talk) -> Iterator[str]:
    """What somebody asks, one after the other. Where several talk, nobody knows who of them is heard first."""
    if rng.random() < 0.3:
        yield from topics.names(rng)
    yield from topics.falling(rng) if talk.number is None else repeat(topics.count_to(talk.number))
