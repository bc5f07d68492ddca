"""The web page as an adapter: people talk to the bot in a browser.

Messages come in by the page's API (`adapters.web.conversations`), which answers once they are committed. What is sent
here is kept in memory and pushed to the open pages of its person; nothing is lost when nobody looks, for the store has
the line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import count

from adapters.web.house import House
from adapters.web.openai.programs import Programs
from adapters.web.openai.server import Api
from adapters.web.screens import ACCOUNT, PLATFORM, Screens
from adapters.web.server import Server
from adapters.web.streams import Streams
from adapters.web.uploads import MAX_FILE
from bot.config import WebConfig
from bot.errors import DatabaseError, MessageGone, TooLarge, Unreachable
from bot.messages import Attachment, Command, Destination, Limits, MessageRef, Outgoing, Preview, Typing
from bot.ports import Forgotten, Receive

PUSH_SECONDS = 0.05
"""20 pushes a second: beyond that nobody sees a difference."""
LONGEST = 2**20
"""Characters: a page has no longest message, and this is more than a model writes."""


class WebPage:
    """An Adapter whose platform is the web page."""

    name = PLATFORM
    limits = Limits(
        text=LONGEST, seconds_per_call=PUSH_SECONDS, burst=2, files=True, private_answers=True, file_bytes=MAX_FILE
    )

    def __init__(
        self, config: WebConfig, house: House, *, account: str = ACCOUNT, programs: Programs | None = None
    ) -> None:
        """`programs`: the rest of Hearth as programs see it; with these the API is served too."""
        self._store = house.store
        self.screens = Screens(house.store, Streams(), account=account)
        self.api = None if programs is None else Api(programs)
        self.server = Server(config, house, self.screens, self.api)
        self._numbers = count(time.time_ns() // 1_000_000)
        """Of messages. Later processes count from higher on: no number is used twice."""

    @property
    def listening(self) -> asyncio.Event:
        """Set while the page answers."""
        return self.server.listening

    @property
    def address(self) -> str:
        """Where people of this machine find it, while it answers."""
        return self.server.address

    async def about_programs(self) -> str:
        """Where programs find the API, and whether they need a key; empty where it is not served."""
        return "" if self.api is None else await self.api.about(self.address)

    async def listen(self, receive: Receive) -> None:
        """Serve the page until cancelled. Raises StartError if that cannot be done here."""
        work = (self.screens.look_after(), self.server.serve(receive))
        tasks = [asyncio.create_task(one) for one in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def refuse(self) -> None:
        """Take no message from now on; those that are being answered go on."""
        self.server.leaving = True
        if self.api is not None:
            self.api.refuse()

    async def drain(self, seconds: float) -> None:
        """Return when the requests of programs have ended, or have had so long."""
        if self.api is not None:
            await self.api.drain(seconds)

    def removed(self, gone: Forgotten) -> None:
        """Something was removed from the store: what was rendered of it must go too."""
        if gone.messages:
            self.screens.renderer.forget()

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """Show a message on the pages of who asked."""
        message = MessageRef(to.key, f"{to.interaction or ''}:{next(self._numbers)}")
        await self._show(message, what)
        return message

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """Show a message's new state."""
        shown = self.screens.live.find(message)
        if shown is not None and shown.gone:
            raise MessageGone("the message was taken off the page")
        if shown is None or shown.what != what:
            await self._show(message, what)

    async def delete(self, message: MessageRef) -> None:
        """Take a message off the pages."""
        shown = self.screens.live.take_away(message)
        if shown is not None:
            await self.screens.show(shown)

    async def show(self, to: Destination, sign: Typing | Preview) -> None:
        """A page shows its own sign of waiting."""

    async def fetch(self, attachment: Attachment) -> bytes:
        """A file that came from the page: the store holds it until it was read. Raises MessageGone."""
        try:
            data = await self._store.file(attachment.reference)
        except DatabaseError as error:
            raise Unreachable(str(error)) from error
        if data is None:
            raise MessageGone("the file is not kept any more")
        if len(data) > self.limits.file_bytes:
            raise TooLarge(self.limits.file_bytes)
        return data

    async def publish(self, commands: Sequence[Command]) -> None:
        """Keep the menu for the page's completion."""
        self.server.commands = list(commands)

    async def _show(self, message: MessageRef, what: Outgoing) -> None:
        await self.screens.show(self.screens.live.put(message, what))
