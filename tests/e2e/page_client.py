"""The web page without a browser: what adapters/web/static/{api,events,conversation}.js do, in Python.

It is written anew and not run from there because twenty browsers need more machine than a test may take; the modules
themselves run in a browser in `tests/e2e/test_page.py`.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

PATIENCE_SECONDS = 30.0
SILENCE_SECONDS = 40.0
"""A stream says something every 15 s."""
FIRST_SECONDS, LONGEST_SECONDS = 0.05, 0.8
"""The page's rests before it tries again are ten times as long: nobody here waits for them."""
GATEWAYS = frozenset({502, 503, 504})
OPEN = frozenset({"pending", "claimed", "streaming"})
"""How the answer to a question stands while it is not there."""

State = dict[str, Any]
Node = dict[str, Any]
Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Unreachable(Exception):
    """Nobody answers now; asking again later helps."""


def event_id() -> str:
    """As `eventId` of api.js."""
    return secrets.token_hex(16)


@dataclass
class Seen:
    """What all pages together were shown. What must never change is checked as it comes."""

    said: dict[str, set[str]] = field(default_factory=dict)
    """Event of a question -> every text of an answer to it that was shown on the way."""
    numbers: dict[str, set[int]] = field(default_factory=dict)
    """Event of a question -> the platform messages that were shown of its answers."""
    final: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    """Event and number -> the `seq` and the text that were shown as final."""
    failed: set[str] = field(default_factory=set)
    """Events of questions whose answer was given up; those are in no line any more."""
    nodes: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Id of a stored message -> its role and text."""

    def state(self, state: State) -> None:
        """A state was shown. Raises AssertionError if it takes back what was final."""
        if state["gone"]:
            return
        place = (state["event"], state["number"])
        self.numbers.setdefault(state["event"], set()).add(state["number"])
        seq, text = self.final.get(place, (state["seq"], state["text"]))
        if place in self.final and state["seq"] >= seq:  # a fetch may be slower than the stream
            assert state["final"] and state["text"] == text, f"final was {text!r}, now {state}"
        elif state["final"] and not state["notice"]:
            self.final[place] = (state["seq"], state["text"])
        if state["failed"]:
            self.failed.add(state["event"])
        elif not state["notice"]:
            self.said.setdefault(state["event"], set()).add(state["text"])

    def node(self, node: Node) -> None:
        """A stored message was shown. Raises AssertionError if it was another before."""
        told = (node["role"], node["text"])
        assert self.nodes.setdefault(node["id"], told) == told


class Server:
    """Requests of one page: JSON in, JSON out (api.js). Signs in once, by the form or with each request."""

    def __init__(self, port: int, token: str, *, form: bool, rng: random.Random) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._token = token
        self._form = form
        self._rng = rng
        self.met = Counter[str]()
        """What went wrong on the way."""
        headers = {"Origin": self.address, "Connection": "keep-alive"}
        if not form:
            headers["Authorization"] = f"Bearer {token}"
        self._session = aiohttp.ClientSession(
            self.address,
            headers=headers,
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(PATIENCE_SECONDS),
        )

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._session.close()

    async def sign_in(self) -> None:
        """Once: what comes later must know who this is, whatever happens to the server."""
        tries = 0
        while self._form and not len(self._session.cookie_jar):
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.post("/login", data={"token": self._token}, allow_redirects=False) as response:
                    assert response.status == 303, await response.text()
            tries = await self.rest(tries)

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Raises Unreachable, and AssertionError where the server says no: it is asked nothing improper."""
        unsafe: Any = {} if method == "GET" else {"json": body or {}, "headers": {"X-Hearth": "page"}}
        try:
            async with self._session.request(method, path, **unsafe) as response:
                if response.status in GATEWAYS:
                    self.met["503"] += 1
                    raise Unreachable
                assert response.ok, f"{method} {path}: {response.status} {await response.text()}"
                return await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.met[type(error).__name__] += 1
            raise Unreachable from error

    async def insist(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Ask the same until there is an answer."""
        tries = 0
        while True:
            try:
                return await self.ask(method, path, body)
            except Unreachable:
                self.met["asked again"] += 1
                tries = await self.rest(tries)

    async def rest(self, tries: int) -> int:
        """Wait longer each time, and not all at once; returns the number of the next try."""
        await asyncio.sleep(min(LONGEST_SECONDS, FIRST_SECONDS * 2**tries) * self._rng.uniform(0.5, 1.0))
        return tries + 1

    async def events(self) -> AsyncGenerator[tuple[str, Any]]:
        """One stream until it breaks; first comes ("open", None). Raises Unreachable."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS)
        try:
            async with self._session.get("/api/events", timeout=timeout) as response:
                assert response.status in {200, *GATEWAYS}, f"events: {response.status}"
                if response.status == 200:
                    yield "open", None
                    async for event in _parsed(response.content):
                        yield event
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable from error


async def _parsed(lines: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
    """The events of a stream, with their data."""
    name = ""
    async for raw in lines:
        key, _, value = raw.decode().rstrip("\n").partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)


def _each(live: Mapping[str, Mapping[int, State]]) -> Iterator[tuple[str, int, State]]:
    return ((event, number, state) for event, states in live.items() for number, state in states.items())


class View:
    """An open conversation (conversation.js): what the store has of it, and what is being answered.

    `spawn` makes the tasks of its fetches, `changed` is called after each change.
    """

    def __init__(
        self, server: Server, conversation: str, seen: Seen, *, changed: Callable[[], None], spawn: Spawn
    ) -> None:
        self.id = conversation
        self.messages: list[Node] = []
        self.live: dict[str, dict[int, State]] = {}
        """Event of a question -> number of a platform message -> its state."""
        self.sent: set[str] = set()
        """Questions of this page that the server has, but a fetch has not brought yet."""
        self.fresh = False
        """Whether it is as it was fetched last, and what was asked for is here."""
        self._server = server
        self._seen = seen
        self._changed = changed
        self._spawn = spawn
        self._since: list[State] = []
        self._again = False
        self._fetching: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        line = [(n["id"], n.get("event"), n["text"], n["state"], n.get("outcome")) for n in self.messages]
        return f"{self.id}: fresh {self.fresh}, {line}, live {self.live}, sent {self.sent}"

    @property
    def path(self) -> str:
        """Of its requests."""
        return f"/api/conversations/{self.id}"

    @property
    def busy(self) -> bool:
        """Whether something is being answered, or waits for it."""
        growing = any(not state["final"] for _, _, state in _each(self.live))
        return growing or bool(self.sent) or any(node.get("outcome") in OPEN for node in self.messages)

    def settled(self, events: set[str]) -> bool:
        """Whether all of these are in the line, and nothing is on its way.

        A failure leaves its words, and so does a stop before the first word: the question has no answer in the line.
        """
        answered = {node["parent"] for node in self.messages}
        bare = (node for node in self.messages if node["id"] not in answered)
        stopped = {node.get("event") for node in bare if node.get("outcome") == "stopped"}
        left = (state["failed"] or (state["final"] and event in stopped) for event, _, state in _each(self.live))
        standing = not all(left)
        here = {node.get("event") for node in self.messages}
        return self.fresh and events - self._seen.failed <= here and not self.busy and not standing

    def received(self, event: str) -> None:
        """The server has received this question."""
        if all(node.get("event") != event for node in self.messages):
            self.sent.add(event)

    def refresh(self) -> asyncio.Task[None]:
        """Fetch it, once more after the fetch that is under way. What cannot be reached comes with the connection."""
        self._again = True
        self.fresh = False
        if self._fetching is None or self._fetching.done():
            self._fetching = self._spawn(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        while self._again:
            self._again = False
            self._since = []
            with suppress(Unreachable):
                self._put(await self._server.ask("GET", self.path))
                self.fresh = not self._again
                self._changed()

    def _put(self, found: dict[str, Any]) -> None:
        before, self.live = self.live, {}
        for state in found["live"]:
            assert state["seq"] <= found["seq"]
            self._seen.state(state)
        for state in [*found["live"], *(state for state in self._since if state["seq"] > found["seq"])]:
            self._place(state)
        for event, number, state in _each(self.live):
            assert state["seq"] >= before.get(event, {}).get(number, state)["seq"], (
                "an older state took a newer one's place"
            )
        self.messages = found["messages"]
        assert not found["more"], "the conversations of this test are short"
        self._check_line()
        self.sent -= {node.get("event") for node in self.messages}

    def _check_line(self) -> None:
        ids = [node["id"] for node in self.messages]
        assert len(set(ids)) == len(ids), "a message is twice in a line"
        events = [node["event"] for node in self.messages if "event" in node]
        assert len(set(events)) == len(events), "a question is twice in a line"
        for node in self.messages:
            self._seen.node(node)

    def take(self, state: State) -> None:
        """A state from the stream."""
        first = state["event"] not in self.live and not state["gone"]
        self._seen.state(state)
        self._since.append(state)
        self._place(state)
        self._changed()
        if first:
            self.refresh()

    def _place(self, state: State) -> None:
        states = self.live.setdefault(state["event"], {})
        if state["gone"]:
            states.pop(state["number"], None)
        else:
            states[state["number"]] = state
        if not states:
            del self.live[state["event"]]
