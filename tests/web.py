"""A web page that is served in a test, browsers that keep its rules, and connections that keep none."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from adapters.web.adapter import WebPage
from adapters.web.guard import HEADERS
from adapters.web.house import House
from bot.app import App, running
from bot.config import Config, ModelConfig
from bot.messages import Author, ConversationKey, Message
from bot.ports import ChatEngine, Store
from bot.recent import LastErrors
from bot.testing import ScriptedEngine
from tests.house import DEADLINE, configuration

OWNER_TOKEN = "owner-token-of-the-test"
ANN_TOKEN = "token-of-ann-in-the-test"
BEN_TOKEN = "token-of-ben-in-the-test"
TOKENS: dict[str, Any] = {"token": OWNER_TOKEN, "people": {"ann": ANN_TOKEN, "ben": BEN_TOKEN}}


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The words of an error."""
        return str(self.json["error"])


@dataclass
class Browser:
    """Somebody at the page: what the page's own script sends, and a cookie jar."""

    site: Site
    http: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, method: str, path: str, **how: Any) -> Answer:
        """One request, redirects not followed."""
        headers = self.headers | how.pop("headers", {})
        async with self.http.request(method, path, headers=headers, allow_redirects=False, **how) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **how: Any) -> Answer:
        """Look."""
        return await self.send("GET", path, **how)

    async def act(self, method: str, path: str, body: object = None, **how: Any) -> Answer:
        """Change something, as the page does."""
        own = {"Origin": self.site.origin, "X-Hearth": "page", "Content-Type": "application/json"}
        data = json.dumps({} if body is None else body)
        return await self.send(method, path, data=data, headers=own | how.pop("headers", {}), **how)

    async def post(self, path: str, body: object = None, **how: Any) -> Answer:
        """Do something."""
        return await self.act("POST", path, body, **how)

    async def login(self, token: str, **headers: str) -> Answer:
        """The form of the login page."""
        return await self.send("POST", "/login", data={"token": token}, headers={"Origin": self.site.origin} | headers)

    async def begin(self) -> str:
        """A new conversation's path."""
        made = await self.post("/api/conversations")
        assert made.status == 201
        return f"/api/conversations/{made.json['id']}"

    async def say(self, where: str, text: str, **more: object) -> str:
        """Say something; returns its event when it is committed."""
        event = uuid.uuid4().hex
        said = await self.post(f"{where}/messages", {"event": event, "text": text} | more)
        assert (said.status, said.json) == (202, {"received": True})
        return event

    async def bring(
        self,
        where: str,
        data: bytes | BytesIO | AsyncIterator[bytes],
        *,
        headers: dict[str, str] | None = None,
        **told: object,
    ) -> Answer:
        """Send a file, as the page does."""
        message = {"event": uuid.uuid4().hex, "text": "", "name": "voice.webm", "media_type": "audio/webm"} | told
        own = {"Origin": self.site.origin, "X-Hearth": "page", "Content-Type": "application/octet-stream"}
        own["X-Hearth-Message"] = quote(json.dumps(message))
        return await self.send("POST", f"{where}/files", data=data, headers=own | (headers or {}))

    async def ask(self, where: str, text: str, **more: object) -> dict[str, Any]:
        """Say something, and return the last message of the line once nothing waits."""
        await self.say(where, text, **more)
        return (await self.settled(where))["messages"][-1]  # type: ignore[no-any-return]

    async def settled(self, where: str) -> dict[str, Any]:
        """The conversation once all that was asked is answered."""
        async with asyncio.timeout(DEADLINE):
            while await self.site.app.store.pending():
                await asyncio.sleep(0.005)
        return (await self.get(where)).json  # type: ignore[no-any-return]


@dataclass
class Site:
    """A whole Hearth with its page."""

    app: App
    engine: ScriptedEngine

    @property
    def page(self) -> WebPage:
        """The adapter."""
        assert self.app.page is not None
        return self.app.page

    @property
    def port(self) -> int:
        """That it listens on."""
        return self.page.server.port

    @property
    def origin(self) -> str:
        """As a browser says it."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def browser(self, **headers: str) -> AsyncIterator[Browser]:
        """Somebody new."""
        jar = aiohttp.CookieJar(unsafe=True)  # cookies of IP addresses too
        timeout = aiohttp.ClientTimeout(total=DEADLINE)
        own = {"Connection": "keep-alive"}  # as every browser
        async with aiohttp.ClientSession(self.origin, cookie_jar=jar, timeout=timeout, headers=own) as http:
            yield Browser(self, http, headers)

    @asynccontextmanager
    async def person(self, token: str) -> AsyncIterator[Browser]:
        """Somebody who has logged in."""
        async with self.browser() as browser:
            assert (await browser.login(token)).status == 303
            yield browser

    async def raw(self, data: bytes, *, seconds: float = DEADLINE) -> bytes:
        """Whatever bytes, and what comes back until the connection is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(seconds):
                return await reader.read()
        finally:
            writer.close()

    def request(self, line: str = "GET / HTTP/1.1", *headers: str, body: bytes = b"", host: str = "") -> bytes:
        """A request by hand, with a right Host and as a browser sends it, after which the connection ends."""
        own = [f"Host: {host or f'127.0.0.1:{self.port}'}", "Connection: keep-alive, close", *headers]
        return "\r\n".join([line, *own, "", ""]).encode("utf-8", "surrogateescape") + body


def config(folder: Path, web: dict[str, Any] | None = None, **sections: Any) -> Config:
    """A configuration with the page on a port that is free."""
    return configuration(data_dir=folder / "data", web={"port": 0} | (web or {}), **sections)


@asynccontextmanager
async def site(
    folder: Path,
    web: dict[str, Any] | None = None,
    *,
    engine: ScriptedEngine | None = None,
    errors: LastErrors | None = None,
    **sections: Any,
) -> AsyncIterator[Site]:
    """Open it on a folder; what an earlier one left there is found again."""
    engine = engine or ScriptedEngine()

    async def load(alias: str, model: ModelConfig, data_dir: Path) -> ChatEngine:
        return engine

    settings = config(folder, web, **sections)
    async with running(settings, loaders={".fake": load}, errors=errors or LastErrors()) as app:
        try:
            yield Site(app, engine)
        finally:
            engine.resume.set()


async def events(browser: Browser) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
    """What the page is told, as it comes."""
    async with browser.http.get("/api/events", headers=browser.headers, timeout=aiohttp.ClientTimeout(total=None)) as r:
        assert r.status == 200
        name = ""
        async for line in r.content:
            text = line.decode().rstrip("\n")
            if text.startswith("event: "):
                name = text.removeprefix("event: ")
            elif text.startswith("data: "):
                yield name, json.loads(text.removeprefix("data: "))


def asked(key: ConversationKey, event: str, text: str = "hello") -> Message:
    """A question as the page makes one of it."""
    author = Author(key.chat, key.chat)
    now = datetime.now(UTC)
    return Message(key=key, event_id=event, author=author, text=text, sent_at=now, direct=True, interaction=event)


def web_house(store: Store, folder: Path) -> House:
    """The rest of Hearth, as small as a page can have it: a store, and nobody who answers."""

    async def nothing() -> Any:
        return {"ready": True}

    return House(
        store=store,
        config=configuration,
        data_dir=folder,
        version="0",
        program="hearth",
        may_talk=lambda _: True,
        is_admin=lambda _: True,
        removed=lambda _: None,
        models=list,
        health=lambda: {"adapters": [], "in_progress": 0},
        readiness=nothing,
        scrape=nothing,
        last_errors=list,
        check=nothing,
        max_system_prompt=8000,
        max_days=36_500,
    )


def status(response: bytes) -> int:
    match = re.match(rb"HTTP/1\.[01] (\d{3}) ", response)
    assert match, response[:200]
    return int(match[1])


def body(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[2]


def shielded(response: bytes) -> bool:
    """Whether a response has the headers of every response."""
    head = response.partition(b"\r\n\r\n")[0].decode("latin-1").lower()
    own = "content-security-policy: default-src 'none'; "
    return own in head and all(f"{name.lower()}: " in head for name in HEADERS)
