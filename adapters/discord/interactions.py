"""Commands, presses and choices: the first answer within three seconds, and later ones by the interaction's token.

Discord waits three seconds, then tells the person that nothing came. An event is committed first. What is said at once is
the first answer itself; for what takes longer the person is shown that it is on its way, and the next thing said takes that
place. A token is good for fifteen minutes. By it alone can be changed what only one person sees, or what stands where the bot
is no member: such messages are noted, so that this works after a restart too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import discord
from discord.http import Route

from adapters.discord import payload
from adapters.discord.client import (
    ANSWERED_ALREADY,
    INVALID_WEBHOOK_TOKEN,
    UNKNOWN_INTERACTION,
    UNKNOWN_WEBHOOK,
    as_platform_errors,
)
from bot.errors import Unreachable
from bot.messages import Outgoing

TOKEN_SECONDS = 14.5 * 60
"""Half a minute less than Discord gives."""
DEFER_SECONDS = 1.0
"""What is said within this is the first answer; then the person is shown that it takes longer."""
SIGN_TRIES, SIGN_REST_SECONDS = 4, 0.2
"""A sign that cannot be given is tried again at once: who sees none within three seconds is told that there is no answer."""
ORIGINAL = "@original"
REMEMBERED = 10_000
_MESSAGE, _DEFERRED, _DEFERRED_UPDATE, _SUGGESTIONS = 4, 5, 6, 8
_OVER = frozenset({UNKNOWN_WEBHOOK, INVALID_WEBHOOK_TOKEN, UNKNOWN_INTERACTION})
NOTE = "reachable/"
"""Before the message's id in the name of a note."""

Files = list[discord.File]
Client = Callable[[], discord.Client]
"""The present client. Raises Unreachable."""


@dataclass
class Live:
    """An interaction that waits for its first answer, or had it here."""

    id: int
    token: str
    private: bool
    """Whether what takes longer is for one person alone."""
    answered: bool = False
    unsure: bool = False
    """Of a first answer Discord did not say whether it has arrived."""
    said: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Way:
    """By which token, and by which of its messages, something can be changed; until when, in seconds since 1970."""

    token: str
    message: str
    until: float


class Expired(Exception):
    """Nothing can be said by this token any more."""


class Answered(Expired):
    """The first answer was given already."""


class Interactions:
    """All of one account."""

    def __init__(self, client: Client, note: Callable[[Mapping[str, str | None]], None]) -> None:
        """`note`: writes notes down without being waited for."""
        self._client = client
        self._note = note
        self._live: dict[str, Live] = {}
        self._ways: dict[str, Way] = {}
        self._under: dict[str, Live] = {}
        """By the message that was pressed: the press, until it is acknowledged."""

    def recall(self, notes: Mapping[str, str]) -> None:
        """Take over what an earlier process has noted."""
        old: dict[str, str | None] = {}
        for name, value in notes.items():
            if name.startswith(NOTE):
                until, message, token = value.split(" ", 2)
                if float(until) > time.time():
                    self._ways[name.removeprefix(NOTE)] = Way(token, message, float(until))
                else:
                    old[name] = None
        if old:
            self._note(old)

    def begin(self, interaction: discord.Interaction, *, private: bool, under: str = "") -> Live:
        """Somebody waits for an answer from now on. What the gateway tells twice is the same one.

        `under`: the message that was pressed, if it can be changed by this token alone.
        """
        if (known := self._live.get(interaction.token)) is not None:
            return known
        if len(self._live) >= REMEMBERED:
            self._live.pop(next(iter(self._live)))
        live = self._live[interaction.token] = Live(interaction.id, interaction.token, private)
        if under:
            self._under[under] = live
        return live

    async def defer(self, live: Live) -> None:
        """Show that the answer takes longer, unless it is there by then."""
        try:
            await asyncio.wait_for(live.said.wait(), DEFER_SECONDS)
            return
        except TimeoutError:
            pass
        async with live.turn:
            if not live.answered:
                flags = payload.EPHEMERAL if live.private else 0
                await self._sign(live, {"type": _DEFERRED, "data": {"flags": flags}})

    async def acknowledge(self, live: Live, under: str) -> None:
        """A press was taken: its message stays as it is for now. `under`: as for `begin`."""
        async with live.turn:
            try:
                if not live.answered:  # else by a word, which is what the token's own message is then
                    await self._sign(live, {"type": _DEFERRED_UPDATE})
                    if under:
                        self._remember(under, Way(live.token, ORIGINAL, time.time() + TOKEN_SECONDS))
            finally:
                if self._under.get(under) is live:
                    del self._under[under]

    async def suggest(self, interaction: discord.Interaction, names: list[str]) -> None:
        """Give suggestions for what is being typed."""
        live = Live(interaction.id, interaction.token, private=False)
        await self._first(live, {"type": _SUGGESTIONS, "data": {"choices": [{"name": n, "value": n} for n in names]}})

    async def say(self, token: str, what: Outgoing, files: Files, *, noted: bool) -> str:
        """Say something by a token and return the message's id. `noted`: it can be changed by this token alone.

        Raises Expired, PlatformError.
        """
        live = self._live.get(token)
        body = payload.message(what)
        body = {name: value for name, value in body.items() if name not in {"nonce", "enforce_nonce"}}
        way = ""
        if live is not None:
            async with live.turn:
                if not live.answered:
                    way = await self._first_words(live, body, what, files)
        target = ORIGINAL if way else ""
        if not way:
            way = target = await self._follow(token, body, files)
        if noted or (live is not None and live.private):
            self._remember(way, Way(token, target, time.time() + TOKEN_SECONDS))
        return way

    async def change(self, message: str, what: Outgoing) -> bool:
        """Change a message by the token that made it; False if there is none (any more). Raises PlatformError."""
        return await self._by_token("PATCH", message, payload.edit(what))

    async def remove(self, message: str) -> bool:
        """Remove a message likewise."""
        return await self._by_token("DELETE", message)

    async def _by_token(self, method: str, message: str, body: payload.Json | None = None) -> bool:
        try:
            if pressed := self._under.get(message):
                await self.acknowledge(pressed, message)
            way = self._ways.get(message)
            if way is None or way.until < time.time():
                return False
            await self._request(self._route(method, way.token, way.message), body, [])
            return True
        except Expired:
            if self._ways.pop(message, None):
                self._note({NOTE + message: None})
            return False

    def _remember(self, message: str, way: Way) -> None:
        """What is past its time goes, in memory and from the notes."""
        old = [known for known, has in self._ways.items() if has.until < time.time()]
        for known in old:
            del self._ways[known]
        self._ways[message] = way
        new = {NOTE + message: f"{way.until:.0f} {way.message} {way.token}"}
        self._note({**{NOTE + known: None for known in old}, **new})

    async def _sign(self, live: Live, answer: payload.Json) -> None:
        """A first answer without words. Raises as `_first`."""
        for tried in range(SIGN_TRIES):
            try:
                await self._first(live, answer)
            except Answered:
                return
            except Unreachable:
                if tried == SIGN_TRIES - 1:
                    raise
                await asyncio.sleep(SIGN_REST_SECONDS)
            else:
                return

    async def _first_words(self, live: Live, body: payload.Json, what: Outgoing, files: Files) -> str:
        """A first answer that is a message; its id, or nothing if it is to be said by the token. Raises as `_first`."""
        unsure = live.unsure
        try:
            return await self._first(live, {"type": _MESSAGE, "data": body}, files)
        except Answered:
            if not unsure:
                return ""
        for file in files:
            file.reset()
        made: Any = await self._request(self._route("PATCH", live.token, ORIGINAL), payload.edit(what), files)
        return str(made["id"])

    async def _first(self, live: Live, answer: payload.Json, files: Files | None = None) -> str:
        """The first answer; the id of its message, if it makes one. Raises PlatformError; Expired if it came too late.

        After Unreachable it is to be given again: the same interaction takes one only, and says Answered to a second.
        """
        route = Route(
            "POST",
            "/interactions/{interaction_id}/{webhook_token}/callback?with_response=true",
            interaction_id=live.id,
            webhook_token=live.token,
        )
        live.answered = True  # also if it is refused: what comes next is said by the token
        live.said.set()
        try:
            made: Any = await self._request(route, answer, files or [])
        except Unreachable:
            live.answered, live.unsure = False, True
            raise
        return str((made or {}).get("interaction", {}).get("response_message_id") or "")

    async def _follow(self, token: str, body: payload.Json, files: Files) -> str:
        made: Any = await self._request(self._route("POST", token), body, files)
        return str(made["id"])

    def _route(self, method: str, token: str, message: str = "") -> Route:
        # The library remembers each path for ever: no message's id is to be a part of one.
        rest = "" if not message else "/messages/@original" if message == ORIGINAL else "/messages/{message_id}"
        path = "/webhooks/{webhook_id}/{webhook_token}" + rest
        ids: dict[str, Any] = {"webhook_id": self._client().application_id, "message_id": message}
        return Route(method, path, webhook_token=token, **ids)

    async def _request(self, route: Route, body: payload.Json | None, files: Files) -> Any:
        client = self._client()
        with as_platform_errors():
            try:
                return await call(client, route, body, files)
            except discord.HTTPException as error:
                if error.code == ANSWERED_ALREADY:
                    raise Answered from error
                if error.code in _OVER:
                    raise Expired from error
                raise


async def call(client: discord.Client, route: Route, body: payload.Json | None, files: Files) -> Any:
    """Call Discord; files go beside the body. Raises the library's errors."""
    if not files:
        return await (client.http.request(route) if body is None else client.http.request(route, json=body))
    assert body is not None, "files come with a message"
    listed = [file.to_dict(number) for number, file in enumerate(files)]
    holder = body.get("data", body)
    holder["attachments"] = listed
    form: list[dict[str, Any]] = [{"name": "payload_json", "value": discord.utils._to_json(body)}]
    for number, file in enumerate(files):
        part = {"name": f"files[{number}]", "value": file.fp, "filename": file.filename}
        form.append(part | {"content_type": "application/octet-stream"})
    return await client.http.request(route, files=files, form=form)
